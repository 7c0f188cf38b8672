//! Reports: what a tenant's admin reads by mail after a run.
//!
//! [`is_wanted`] and [`compose`] are pure; [`Reports`] asks the store for what they need. Names and values come
//! from the directory, which may be hostile: [`compose`] takes control characters out of each, `render` escapes
//! them, and nothing of a directory reaches the subject.

mod content;
mod notice;
mod outgoing;
mod render;

use rollcall_core::issue::Issue;
use rollcall_core::run::{Run, RunMode, RunState};
use rollcall_core::user_sync::ReportWhen;

use chrono_tz::Tz;

pub(crate) use notice::Confirmation;
pub(crate) use outgoing::Reports;

/// What a report is made from.
pub(crate) struct About<'a> {
    /// The run, in the state that is reported.
    pub(crate) run: &'a Run,
    /// Its first issues.
    pub(crate) issues: &'a [Issue],
    /// The user sync's name for people.
    pub(crate) user_sync: &'a str,
    /// The directory's name for people.
    pub(crate) directory: &'a str,
    /// Where the reader's clock is.
    pub(crate) time_zone: Tz,
}

/// A report, ready to be sent.
#[derive(Debug)]
pub(crate) struct Composed {
    /// One line.
    pub(crate) subject: String,
    /// The plain text.
    pub(crate) text: String,
    /// The same as a whole HTML document.
    pub(crate) html: String,
}

/// True if a run that rests in this state is to be reported.
pub(crate) fn is_wanted(when: ReportWhen, run: &Run) -> bool {
    let rests = run.state.is_final() || run.state == RunState::Held;
    // Who asks for a preview looks at it; it becomes a run like others when it is held or released.
    let shown_only = run.plan_time.is_none() || run.state == RunState::Expired;
    let unreleased_preview = run.mode != RunMode::Apply && run.hold_reasons.is_empty() && shown_only;
    let stopped_on_purpose = matches!(run.state, RunState::Cancelled | RunState::Superseded);
    let alarming = matches!(run.state, RunState::Failed | RunState::Held | RunState::Expired)
        || !run.issue_counts.is_empty();
    rests
        && !unreleased_preview
        && match when {
            ReportWhen::Always => true,
            ReportWhen::OnIssues => alarming && !stopped_on_purpose,
            ReportWhen::Never => false,
        }
}

/// Writes a report.
pub(crate) fn compose(about: &About<'_>) -> Composed {
    let content = content::Content::of(about);
    Composed {
        text: render::text(&content),
        html: render::html(&content),
        subject: content.subject,
    }
}

#[cfg(test)]
mod tests;
