//! Reports: what a tenant's admin reads by mail after a run.
//!
//! [`is_wanted`] and [`compose`] are pure; [`Reports`] asks the store for what they need. Names and values come
//! from the directory, which may be hostile: [`compose`] takes control characters out of each, `render` escapes
//! them, and nothing of a directory reaches the subject.

mod content;
mod news;
mod notice;
mod outgoing;
mod own_domains;
mod reminder;
mod render;

use rollcall_core::run::{Run, RunMode, RunState};
use rollcall_core::user_sync::ReportWhen;

use content::{About, Content};
pub(crate) use notice::Confirmation;
pub(crate) use outgoing::Reports;
pub(crate) use own_domains::OwnDomains;
pub(crate) use reminder::{News, Readers};
use render::Composed;

/// True if a run that ended, or waits, in this state is to be reported.
fn is_wanted(when: ReportWhen, run: &Run) -> bool {
    let rests = run.state.is_final() || run.state == RunState::Held;
    // The person who asks for a preview looks at it. Once it is held or released, it is a run like others.
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
fn compose(about: &About<'_>) -> Composed {
    Composed::of(Content::of(about))
}

#[cfg(test)]
mod tests;
