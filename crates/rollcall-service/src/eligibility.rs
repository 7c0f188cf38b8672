//! Whether a directory is asked about a login at all, or the store's data already decides it.

use rollcall_core::audit::OwnReason;
use rollcall_core::directory::Directory;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::identifier::normalize;
use rollcall_core::user::{Origin, StateReason, UserState};
use rollcall_core::user_sync::UserSync;
use rollcall_proto::resource_name;
use rollcall_store::{LoginSync, LoginTarget};

/// What becomes of a login before any directory is asked.
pub enum Eligibility {
    /// Ask the directory.
    Ask {
        /// Where the user comes from.
        origin: Origin,
        /// The sync and directory to use.
        sync: LoginSync,
    },
    /// Refuse, without telling why.
    Refused(OwnReason),
    /// The product's own password store decides.
    Local,
    /// It cannot be decided at the moment.
    Unable(Obstacle),
}

/// What an admin has switched off, or has yet to confirm, so that no directory is asked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Obstacle {
    reason: Reason,
    message: &'static str,
    resource: String,
}

impl Obstacle {
    /// The add-on is off for the whole tenant.
    pub fn tenant_disabled(tenant: &TenantId) -> Self {
        Self {
            reason: Reason::SyncDisabled,
            message: "user sync is switched off for this tenant",
            resource: resource_name::tenant(tenant),
        }
    }

    /// What prevents the users of this sync from logging in, if anything does.
    pub fn of_sync(sync: &UserSync, directory: &Directory) -> Option<Self> {
        Self::between(
            &resource_name::user_sync(&sync.tenant, &sync.id),
            sync.settings.disabled,
            &resource_name::directory(&directory.tenant, &directory.id),
            directory.settings.disabled,
            directory.endpoint_confirmed,
        )
    }

    fn between(
        user_sync: &str,
        user_sync_disabled: bool,
        directory: &str,
        directory_disabled: bool,
        endpoint_confirmed: bool,
    ) -> Option<Self> {
        let (reason, message, resource) = if user_sync_disabled {
            (Reason::SyncDisabled, "the user sync is switched off", user_sync)
        } else if directory_disabled {
            (Reason::SyncDisabled, "the directory is switched off", directory)
        } else if !endpoint_confirmed {
            let message = "the endpoint of the directory was changed and is not yet confirmed";
            (Reason::EndpointUnconfirmed, message, directory)
        } else {
            return None;
        };
        Some(Self {
            reason,
            message,
            resource: resource.to_owned(),
        })
    }
}

impl From<Obstacle> for Error {
    fn from(obstacle: Obstacle) -> Self {
        Self::new(obstacle.reason, obstacle.message).with("resource", obstacle.resource)
    }
}

/// Decides. A block comes before everything else. What the caller is not told comes before what the caller is told. A
/// user whom the directory disabled may have been enabled there since, so the directory is asked. `typed` is the typed
/// login, normalized.
pub fn eligibility(target: &LoginTarget, typed: &str) -> Eligibility {
    let user = &target.user;
    if user.block.is_some() {
        return Eligibility::Refused(OwnReason::Blocked);
    }
    let by_directory = matches!(
        user.state_reason,
        Some(StateReason::DisabledInDirectory | StateReason::ExpiredInDirectory)
    );
    match user.state {
        UserState::Active => {}
        UserState::Deactivated if by_directory => {}
        UserState::Deactivated => return Eligibility::Refused(OwnReason::Deactivated),
        UserState::Archived => return Eligibility::Refused(OwnReason::Archived),
    }
    let (origin, sync) = match (&user.origin, &target.sync) {
        (None, _) => return Eligibility::Local,
        // The user sync that owned the user is gone, and with it the directory that could check a password.
        (Some(_), None) => return Eligibility::Refused(OwnReason::UserSyncDeleted),
        (Some(origin), Some(sync)) => (origin, sync),
    };
    // The user's e-mail address is still unambiguous.
    if user.login_ambiguous && normalize(&user.profile.login) == typed {
        return Eligibility::Refused(OwnReason::AmbiguousLogin);
    }
    let tenant = &user.tenant;
    let obstacle = match target.tenant_enabled {
        false => Some(Obstacle::tenant_disabled(tenant)),
        true => Obstacle::between(
            &resource_name::user_sync(tenant, &sync.user_sync),
            sync.user_sync_disabled,
            &resource_name::directory(tenant, &sync.directory),
            sync.directory_disabled,
            sync.endpoint_confirmed,
        ),
    };
    match obstacle {
        Some(obstacle) => Eligibility::Unable(obstacle),
        None => Eligibility::Ask {
            origin: origin.clone(),
            sync: sync.clone(),
        },
    }
}

/// Whether a user whose password is right may log in.
pub enum Admission {
    /// They may.
    Admitted,
    /// They may not, and are not told why.
    Denied(OwnReason),
    /// The product's own password store decides.
    Local,
    /// It cannot be decided at the moment.
    Unable(Obstacle),
}

/// Decides after the user's entry was dealt with, by the user as stored. If this refuses, the user has changed since
/// the password was tried.
pub fn admission(target: &LoginTarget, typed: &str) -> Admission {
    match eligibility(target, typed) {
        Eligibility::Ask { .. } if target.user.state == UserState::Active => Admission::Admitted,
        Eligibility::Ask { .. } => Admission::Denied(OwnReason::Deactivated),
        Eligibility::Refused(_) => Admission::Denied(OwnReason::ChangedMeanwhile),
        Eligibility::Local => Admission::Local,
        Eligibility::Unable(obstacle) => Admission::Unable(obstacle),
    }
}

#[cfg(test)]
mod tests;
