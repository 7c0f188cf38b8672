//! Messages as lines of text. Text from a directory is shown without its control characters, which could
//! otherwise steer the terminal.

use std::fmt::Write;

use rollcall_proto::v1::{
    ChangeType, CheckOutcome, CheckStage, CheckStageKind, IssueType, SampleEntry, SyncIssue, SyncRun,
    SyncRunChange, SyncRunCounts, SyncRunState,
};

use crate::verdict::Verdict;

/// A run in one line: name, state, counts, and why if there is something wrong.
pub(crate) fn run(run: &SyncRun) -> String {
    let mut line = format!("{}  {}", clean(&run.name), state(run));
    if let Some(counts) = &run.counts {
        line.push_str(&self::counts(counts));
    }
    let held = run.hold_reasons.iter().map(|reason| &reason.message);
    for message in held.chain(run.failure.iter().map(|failure| &failure.message)) {
        // Writing to a string cannot fail.
        let _ = write!(line, "  {}", clean(message));
    }
    line
}

/// What the state of a run means for the exit code.
pub(crate) fn verdict(run: &SyncRun) -> Verdict {
    match run.state() {
        SyncRunState::Succeeded | SyncRunState::SucceededWithIssues | SyncRunState::Planned => Verdict::Well,
        SyncRunState::Held => Verdict::NeedsAttention,
        SyncRunState::Unspecified
        | SyncRunState::Pending
        | SyncRunState::Pulling
        | SyncRunState::Applying
        | SyncRunState::Failed
        | SyncRunState::Cancelled
        | SyncRunState::Superseded
        | SyncRunState::Expired => Verdict::Failed,
    }
}

/// True if a run does not change any more by itself.
pub(crate) fn is_at_rest(run: &SyncRun) -> bool {
    !matches!(
        run.state(),
        SyncRunState::Unspecified | SyncRunState::Pending | SyncRunState::Pulling | SyncRunState::Applying
    )
}

/// One change of a run.
pub(crate) fn change(change: &SyncRunChange) -> String {
    let fields: Vec<&str> = change
        .field_changes
        .iter()
        .map(|field| field.field.as_str())
        .collect();
    let kind = name(change.r#type().as_str_name(), "CHANGE_TYPE_");
    let mut line = format!("{kind:<11} {}  {}", clean(&change.login), clean(&change.dn));
    if change.r#type() == ChangeType::Update && !fields.is_empty() {
        let _ = write!(line, "  ({})", clean(&fields.join(", ")));
    }
    line
}

/// One issue of a run or of a sample.
pub(crate) fn issue(issue: &SyncIssue) -> String {
    let kind = IssueType::try_from(issue.r#type).unwrap_or_default();
    let mut line = format!(
        "{}  {}",
        name(kind.as_str_name(), "ISSUE_TYPE_"),
        clean(&issue.dn)
    );
    for text in [&issue.message, &issue.hint] {
        if !text.is_empty() {
            let _ = write!(line, "  {}", clean(text));
        }
    }
    line
}

/// One stage of a check.
pub(crate) fn stage(stage: &CheckStage) -> String {
    let kind = CheckStageKind::try_from(stage.kind).unwrap_or_default();
    let mut line = format!(
        "{:<7} {}",
        name(stage.outcome().as_str_name(), "CHECK_OUTCOME_"),
        name(kind.as_str_name(), "CHECK_STAGE_KIND_")
    );
    for text in [&stage.subject, &stage.message, &stage.hint] {
        if !text.is_empty() {
            let _ = write!(line, "  {}", clean(text));
        }
    }
    line
}

/// What the outcome of a check means for the exit code.
pub(crate) fn check_verdict(outcome: CheckOutcome) -> Verdict {
    match outcome {
        CheckOutcome::Pass => Verdict::Well,
        CheckOutcome::Warn => Verdict::NeedsAttention,
        CheckOutcome::Unspecified | CheckOutcome::Fail | CheckOutcome::Skipped => Verdict::Failed,
    }
}

/// One entry of a sample.
pub(crate) fn sample(sample: &SampleEntry) -> String {
    match &sample.user {
        Some(user) => format!(
            "{}  {}  {}  {}",
            clean(&user.login),
            clean(&user.email),
            clean(&user.display_name),
            clean(&sample.dn)
        ),
        None => format!("(not taken)  {}", clean(&sample.dn)),
    }
}

/// Text from outside, without control characters.
pub(crate) fn clean(text: &str) -> String {
    text.chars()
        .map(|c| if c.is_control() { '\u{fffd}' } else { c })
        .collect()
}

fn state(run: &SyncRun) -> &'static str {
    name(run.state().as_str_name(), "SYNC_RUN_STATE_")
}

/// The name of an enum value without the prefix that all its values have.
pub(crate) fn name(value: &'static str, prefix: &str) -> &'static str {
    value.strip_prefix(prefix).unwrap_or(value)
}

fn counts(counts: &SyncRunCounts) -> String {
    let all = [
        ("entries", counts.entries),
        ("created", counts.created),
        ("linked", counts.linked),
        ("updated", counts.updated),
        ("reactivated", counts.reactivated),
        ("deactivated", counts.deactivated),
        ("archived", counts.archived),
        ("transferred", counts.transferred),
        ("relinked", counts.relinked),
        ("unchanged", counts.unchanged),
        ("issues", counts.issues),
    ];
    let told = all
        .iter()
        .filter(|(name, count)| *name == "entries" || *count != 0);
    told.map(|(name, count)| format!("  {name}={count}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use rollcall_proto::v1::HoldReason;

    #[test]
    fn a_run_is_one_line_whatever_the_directory_says() {
        let run = SyncRun {
            name: "tenants/acme/userSyncs/staff/runs/1".to_owned(),
            state: SyncRunState::Held.into(),
            counts: Some(SyncRunCounts {
                entries: 9,
                deactivated: 7,
                ..Default::default()
            }),
            hold_reasons: vec![HoldReason {
                message: "too many\n\u{1b}[2Jremovals".to_owned(),
                ..HoldReason::default()
            }],
            ..Default::default()
        };
        assert_eq!(
            self::run(&run),
            "tenants/acme/userSyncs/staff/runs/1  HELD  entries=9  deactivated=7  \
             too many\u{fffd}\u{fffd}[2Jremovals"
        );
        assert_eq!(verdict(&run), Verdict::NeedsAttention);
    }
}
