//! Whether a report says anything new. The same findings are reported once, and not every night.

use ring::digest::{Context, SHA256, digest};
use rollcall_core::issue::Issue;
use rollcall_core::run::{Run, RunState};
use rollcall_core::user_sync::ReportWhen;
use rollcall_store::Told;

/// A fingerprint of issues that does not depend on their order.
#[derive(Default)]
pub(super) struct Issues {
    sum: [u64; 4],
    count: u64,
}

impl Issues {
    pub(super) fn add(&mut self, issue: &Issue) {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let hash = hash(&[
            issue.kind.word(),
            &issue.dn,
            &text(&issue.other_dn),
            &text(&issue.field),
            &text(&issue.attribute),
            &text(&issue.value),
        ]);
        for (sum, word) in self.sum.iter_mut().zip(hash.chunks_exact(8)) {
            let word = word.iter().fold(0, |word, byte| word << 8 | u64::from(*byte));
            *sum = sum.wrapping_add(word);
        }
        self.count += 1;
    }

    fn text(&self) -> String {
        let words = self.sum.map(|word| format!("{word:016x}"));
        format!("{}:{}", self.count, words.concat())
    }
}

/// What its readers know once a run in this state is reported to these addresses; `None` if the run says nothing about
/// what is wrong.
pub(super) fn known_after(run: &Run, issues: &Issues, addresses: &[String], told: &Told) -> Option<Told> {
    let reasons: Vec<&str> = match run.state {
        RunState::Failed => vec![run.failure.as_deref().unwrap_or_default()],
        RunState::Held | RunState::Expired => run
            .hold_reasons
            .iter()
            .map(|reason| reason.message.as_str())
            .collect(),
        RunState::Succeeded | RunState::SucceededWithIssues => {
            let found = issues.text();
            let issues = (issues.count > 0).then(|| fingerprint(&["ISSUES", &found], addresses));
            return Some(Told { alarm: None, issues });
        }
        RunState::Pending
        | RunState::Pulling
        | RunState::Planned
        | RunState::Applying
        | RunState::Cancelled
        | RunState::Superseded => return None,
    };
    let state = format!("{:?}", run.state);
    let parts: Vec<&str> = std::iter::once(state.as_str()).chain(reasons).collect();
    Some(Told {
        alarm: Some(fingerprint(&parts, addresses)),
        issues: told.issues.clone(),
    })
}

/// Whether a report that is wanted is to be sent. Its readers know `told` now, and would know `known` afterwards.
pub(super) fn is_news(when: ReportWhen, told: &Told, known: Option<&Told>) -> bool {
    when == ReportWhen::Always || known != Some(told)
}

/// The addresses are part of it, since a new address was told nothing yet.
fn fingerprint(parts: &[&str], addresses: &[String]) -> String {
    let mut addresses: Vec<&str> = addresses.iter().map(String::as_str).collect();
    addresses.sort_unstable();
    let hash = hash(&[parts, addresses.as_slice()].concat());
    hash.iter().take(16).map(|byte| format!("{byte:02x}")).collect()
}

fn hash(parts: &[&str]) -> [u8; 32] {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(digest(&SHA256, part.as_bytes()).as_ref());
    }
    let mut hash = [0; 32];
    hash.copy_from_slice(context.finish().as_ref());
    hash
}
