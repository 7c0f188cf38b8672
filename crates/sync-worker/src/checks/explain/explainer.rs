//! What an explanation is based on: the user sync that explains, the person whom it is about, and the time that it has.

use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::user::User;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use rollcall_proto::convert::explain::PersonAsked;
use tokio::time::Instant;

use crate::checks::Span;
use crate::worker::Worker;

/// A user sync that explains.
pub(super) struct Subject {
    pub(super) tenant: TenantId,
    /// The stored user sync that it is, or that the draft is to become.
    pub(super) stored: Option<UserSync>,
    pub(super) settings: UserSyncSettings,
}

impl Subject {
    pub(super) fn id(&self) -> Option<&UserSyncId> {
        self.stored.as_ref().map(|sync| &sync.id)
    }

    /// True for a user whom this user sync owns.
    pub(super) fn owns(&self, user: &User) -> bool {
        let owner = user.origin.as_ref().map(|origin| &origin.user_sync);
        owner.is_some() && owner == self.id()
    }
}

/// Explains by one user sync.
pub(super) struct Explainer<'a> {
    pub(super) worker: &'a Worker,
    pub(super) subject: &'a Subject,
    pub(super) person: &'a PersonAsked,
    /// The user who was asked about, or has the identifier.
    pub(super) user: Option<&'a User>,
    pub(super) span: Span,
    pub(super) end: Instant,
}
