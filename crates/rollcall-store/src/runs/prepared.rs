//! A chunk's changes after they were checked, before events and counts are written.

use rollcall_core::issue::Issue;
use rollcall_core::plan::ChangeKind;

use crate::users::write::UserWrite;

/// The changes that can be written, and those that cannot.
#[derive(Default)]
pub(crate) struct Prepared {
    pub(super) writes: Vec<UserWrite>,
    /// Changes that are not written.
    pub(super) refused: Vec<(ChangeKind, Issue)>,
    /// Issues about what written changes lack.
    pub(super) issues: Vec<Issue>,
}
