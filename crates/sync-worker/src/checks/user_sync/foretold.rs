//! The stages that say what a run would do.

use std::collections::BTreeMap;

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::guard::HoldReason;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::wording::counted;

use super::forecast::Forecast;
use super::stage;

const HELD: &str = "Nothing of a held plan is carried out before an administrator has looked at it, but for removals \
                    within the limit. If so many changes are not meant, correct the searches, the mapping or the rules \
                    first.";
const ABSENT: &str = "If these people are still in the directory, the searches do not find them: change the base, the \
                      scope or the filter.";

impl Forecast {
    /// One stage for each kind of issue, one for each reason to hold the plan, and one about users who were not found.
    pub(super) fn stages(&self) -> Vec<Stage> {
        let mut stages = self.issue_stages();
        let held = |reason: &HoldReason| {
            let message = format!("A run would be held: {}.", reason.message);
            stage(StageKind::SearchFilter, StageResult::Warn, message, HELD)
        };
        stages.extend(self.holds.iter().map(held));
        stages.extend(self.absence_stage());
        let held_if_left = |reason: &HoldReason| {
            let message = format!(
                "A run would be held if the users who were not found have left: {}.",
                reason.message
            );
            stage(StageKind::SearchFilter, StageResult::Warn, message, HELD)
        };
        stages.extend(self.holds_if_left.iter().map(held_if_left));
        if self.partial {
            let message = format!(
                "What a run would do is said of the first {} entries only.",
                self.entries()
            );
            stages.push(stage(StageKind::FieldMappings, StageResult::Pass, message, ""));
        }
        stages
    }

    fn issue_stages(&self) -> Vec<Stage> {
        let mut kinds: BTreeMap<(IssueKind, Option<&str>), (u64, &Issue)> = BTreeMap::new();
        for issue in self.issues.iter().filter(|issue| !is_said(issue)) {
            let kind = (issue.kind, issue.attribute.as_deref());
            kinds.entry(kind).or_insert((0, issue)).0 += 1;
        }
        let of_kind = |((kind, attribute), (count, first)): ((IssueKind, Option<&str>), (u64, &Issue))| {
            let value = match &first.value {
                Some(value) if !value.is_empty() => format!(" with {value:?}"),
                _ => String::new(),
            };
            let message = format!(
                "{count} of {}: {}; one is {}{value}.",
                entries(self.entries()),
                first.text(),
                first.dn
            );
            let stage_kind = match kind == IssueKind::Overlap {
                true => StageKind::Overlaps,
                false => StageKind::FieldMappings,
            };
            let hint = format!("A run would raise {}. {}", kind.word(), first.hint());
            Stage {
                subject: attribute.unwrap_or_default().to_owned(),
                ..stage(stage_kind, StageResult::Warn, message, &hint)
            }
        };
        kinds.into_iter().map(of_kind).collect()
    }

    fn absence_stage(&self) -> Option<Stage> {
        let message = match self.absent {
            0 => return None,
            1 => {
                "1 user was not found; a run would ask for it by its id before it removes anybody.".to_owned()
            }
            count => format!(
                "{count} users were not found; a run would ask for each by its id before it removes anybody."
            ),
        };
        Some(stage(StageKind::SearchFilter, StageResult::Warn, message, ABSENT))
    }
}

/// True for issues that the stages of the ids and of the fields report already.
fn is_said(issue: &Issue) -> bool {
    let always = [IssueKind::MissingRequiredField, IssueKind::MissingExternalId];
    always.contains(&issue.kind) || (issue.kind == IssueKind::UndecodableEntry && issue.attribute.is_some())
}

fn entries(count: usize) -> String {
    counted(count as u64, "entry", "entries")
}
