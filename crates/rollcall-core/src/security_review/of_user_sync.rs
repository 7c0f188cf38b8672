//! How a user sync stands: whether it runs, and whom it claims.

use chrono::{DateTime, TimeDelta, Utc};

use super::facts::ReviewedSync;
use super::finding::{About, Finding, Practice, Subject};
use crate::check::StageResult;
use crate::issue::{HealthLevel, IssueKind};
use crate::run::RunState;
use crate::wording::counted;

/// A user sync that runs by itself and saw its whole directory longer ago than this is stale.
pub(crate) const STALE_AFTER: TimeDelta = TimeDelta::days(7);

pub(super) fn user_sync(reviewed: &ReviewedSync, now: DateTime<Utc>) -> Vec<Finding> {
    let sync = &reviewed.user_sync;
    let subject = Subject::UserSync(sync.id.clone());
    let time = reviewed
        .last_run
        .as_ref()
        .map(|run| run.end_time.unwrap_or(run.create_time));
    let about = About { subject, time };
    let mut findings = vec![runs(reviewed, now, &about), overlap(reviewed, &about)];
    if sync.settings.disabled {
        let hint = "Delete it if it is not needed any more, and say what becomes of its users.";
        findings.push(about.find(
            Practice::Unused,
            StageResult::Warn,
            "The user sync is switched off.",
            hint,
        ));
    }
    findings
}

fn runs(reviewed: &ReviewedSync, now: DateTime<Utc>, about: &About) -> Finding {
    let (sync, practice) = (&reviewed.user_sync, Practice::Runs);
    let Some(run) = &reviewed.last_run else {
        let hint = "Run it, or set auto_sync.";
        return about.find(practice, StageResult::Warn, "The user sync never ran.", hint);
    };
    if run.state == RunState::Held {
        let hint = "Look at its changes, then apply or cancel it.";
        return about.find(practice, StageResult::Warn, "The last run is held.", hint);
    }
    if run.state == RunState::Failed || sync.health.level == HealthLevel::Error {
        let message = run
            .failure
            .clone()
            .unwrap_or_else(|| sync.health.problems.join(" "));
        let message = format!("The last run failed: {message}");
        return about.find(
            practice,
            StageResult::Fail,
            message,
            "CheckUserSync tells what is wrong.",
        );
    }
    match sync.last_complete_pull_time {
        None => {
            let hint = "See the issues of its runs.";
            about.find(
                practice,
                StageResult::Warn,
                "No run has seen the whole directory yet.",
                hint,
            )
        }
        Some(last) if now - last > STALE_AFTER => {
            let message = format!("The directory was last seen whole on {}.", last.date_naive());
            let hint = match sync.settings.auto_sync {
                true => "See why its runs do not end complete.",
                false => "Run it, or set auto_sync: people who left keep their users meanwhile.",
            };
            about.find(practice, StageResult::Warn, message, hint)
        }
        Some(last) => {
            let message = format!("The directory was last seen whole on {}.", last.date_naive());
            about.find(practice, StageResult::Pass, message, "")
        }
    }
}

fn overlap(reviewed: &ReviewedSync, about: &About) -> Finding {
    let practice = Practice::Overlap;
    let Some(run) = &reviewed.last_run else {
        let message = "Whether it claims other user syncs' people is not known.";
        return about.find(
            practice,
            StageResult::Skipped,
            message,
            "CheckOverlaps tells before it runs.",
        );
    };
    match run.issue_counts.get(&IssueKind::Overlap).copied().unwrap_or(0) {
        0 => about.find(
            practice,
            StageResult::Pass,
            "Its last run claimed nobody of another user sync.",
            "",
        ),
        count => {
            let message = format!(
                "Its last run claimed {} of other user syncs.",
                counted(count, "person", "people")
            );
            about.find(practice, StageResult::Warn, message, IssueKind::Overlap.hint())
        }
    }
}
