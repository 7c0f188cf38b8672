//! The user whom a login means, and what decides that login.

use chrono::{DateTime, Utc};
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::revision::Revision;
use rollcall_core::user::User;

/// The user whom a login means, and everything that decides whether and where the login is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginTarget {
    /// The user.
    pub user: User,
    /// The tenant's add-on switch.
    pub tenant_enabled: bool,
    /// The tenant's revision.
    pub tenant_revision: Revision,
    /// The user sync that owns the user; `None` if the user is LOCAL, or its sync was deleted (then
    /// [`User::origin`] is set all the same).
    pub sync: Option<LoginSync>,
    /// When the user last logged in, as far as it was noted. Decides nothing.
    pub last_login_time: Option<DateTime<Utc>>,
}

/// The user sync and directory that decide a login. The rest of them is in
/// [`LoginConfig`](crate::LoginConfig).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginSync {
    /// The user sync.
    pub user_sync: UserSyncId,
    /// Its revision.
    pub user_sync_revision: Revision,
    /// The revision of its configuration in force. Runs change it without a new revision.
    pub in_force_revision: Option<Revision>,
    /// It is switched off.
    pub user_sync_disabled: bool,
    /// Its directory.
    pub directory: DirectoryId,
    /// The directory's revision.
    pub directory_revision: Revision,
    /// The directory is switched off.
    pub directory_disabled: bool,
    /// The directory's endpoint may be used.
    pub endpoint_confirmed: bool,
    /// When the directory's observations were made.
    pub observe_time: Option<DateTime<Utc>>,
    /// When a pull of the user sync last ended Complete: the user's DN is as fresh as that. It is not kept in memory,
    /// since runs change it without a new revision.
    pub last_complete_pull_time: Option<DateTime<Utc>>,
}

impl LoginTarget {
    /// True if a verdict that was made with the other target holds for this one too: they differ in nothing that
    /// decides a login.
    pub(crate) fn decides_like(&self, other: &Self) -> bool {
        let revisions = |target: &Self| {
            let sync = target.sync.as_ref();
            (
                target.tenant_revision,
                sync.map(|sync| (sync.user_sync_revision, sync.directory_revision)),
            )
        };
        self.user_key() == other.user_key()
            && self.user.stands_like(&other.user)
            && revisions(self) == revisions(other)
    }

    pub(super) fn user_key(&self) -> (TenantId, UserId) {
        (self.user.tenant.clone(), self.user.id)
    }
}
