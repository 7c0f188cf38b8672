//! The metrics of runs.

use rollcall_core::run::{Run, RunState};
use rollcall_metrics::{RunEnd, UserChange, metrics};

/// Counts a finished plan: its issues, and whether it waits.
pub(super) fn of_plan(run: &Run) {
    for (kind, issues) in &run.issue_counts {
        metrics().run_issues.add(*kind, *issues);
    }
    of_end(run.state);
}

/// Counts the changes of an applied plan.
pub(super) fn of_changes(run: &Run) {
    let (counts, changes) = (&run.counts, &metrics().run_user_changes);
    changes.add(UserChange::Created, counts.created);
    changes.add(UserChange::Updated, counts.updated);
    changes.add(UserChange::Reactivated, counts.reactivated);
    changes.add(UserChange::Removed, counts.deactivated + counts.archived);
}

/// Counts a run that came to this state, if it ended or waits in it.
pub(super) fn of_end(state: RunState) {
    metrics().runs.count(match state {
        RunState::Pending | RunState::Pulling | RunState::Applying => return,
        RunState::Planned => RunEnd::Planned,
        RunState::Held => RunEnd::Held,
        RunState::Succeeded => RunEnd::Succeeded,
        RunState::SucceededWithIssues => RunEnd::SucceededWithIssues,
        RunState::Failed => RunEnd::Failed,
        RunState::Cancelled => RunEnd::Cancelled,
        RunState::Superseded => RunEnd::Superseded,
        RunState::Expired => RunEnd::Expired,
    });
}
