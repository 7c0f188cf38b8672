//! What a check of a user sync is about.

use rollcall_core::id::{TenantId, UserSyncId};
use rollcall_core::user_sync::{UserSync, UserSyncSettings};

/// The user sync that is tried.
pub(super) struct Subject<'a> {
    pub(super) tenant: &'a TenantId,
    /// The stored user sync that is tried, or that the draft is to become.
    pub(super) stored: Option<UserSync>,
    pub(super) settings: UserSyncSettings,
}

impl Subject<'_> {
    pub(super) fn id(&self) -> Option<&UserSyncId> {
        self.stored.as_ref().map(|sync| &sync.id)
    }
}
