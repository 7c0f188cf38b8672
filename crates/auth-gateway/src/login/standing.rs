//! What is decided about a login before any directory is asked.

use rollcall_core::error::{Error, Reason};
use rollcall_core::user::{Origin, User, UserState};
use rollcall_proto::resource_name;
use rollcall_store::{LoginSync, LoginTarget};

/// Where a user stands.
pub enum Standing<'a> {
    /// Ask the directory.
    Ask {
        /// Where the user comes from.
        origin: &'a Origin,
        /// The sync and directory to use.
        sync: &'a LoginSync,
    },
    /// Refuse, without telling why. The text is for the audit log.
    Refused(&'static str),
    /// The product's own password store decides.
    Local,
    /// Nobody can say at the moment.
    Unable(Error),
}

/// Decides. A block comes before everything else, and what is told comes after what is not.
pub fn standing(target: &LoginTarget) -> Standing<'_> {
    let user = &target.user;
    if user.block.is_some() {
        return Standing::Refused("BLOCKED");
    }
    match user.state {
        UserState::Active => {}
        UserState::Deactivated => return Standing::Refused("DEACTIVATED"),
        UserState::Archived => return Standing::Refused("ARCHIVED"),
    }
    let (origin, sync) = match (&user.origin, &target.sync) {
        (None, _) => return Standing::Local,
        // Whoever owned the user is gone, and with it whoever could check a password.
        (Some(_), None) => return Standing::Refused("USER_SYNC_DELETED"),
        (Some(origin), Some(sync)) => (origin, sync),
    };
    match obstacle(target.tenant_enabled, user, sync) {
        Some(error) => Standing::Unable(error),
        None => Standing::Ask { origin, sync },
    }
}

/// The add-on is off for the whole tenant, known logins and unknown ones alike.
pub fn tenant_disabled(tenant: &rollcall_core::id::TenantId) -> Error {
    Error::new(Reason::SyncDisabled, "user sync is switched off for this tenant")
        .with("resource", resource_name::tenant(tenant))
}

fn obstacle(tenant_enabled: bool, user: &User, sync: &LoginSync) -> Option<Error> {
    let user_sync = || resource_name::user_sync(&user.tenant, &sync.user_sync);
    let directory = || resource_name::directory(&user.tenant, &sync.directory);
    if !tenant_enabled {
        return Some(tenant_disabled(&user.tenant));
    }
    let (reason, message, resource) = if sync.user_sync_disabled {
        (Reason::SyncDisabled, "the user sync is switched off", user_sync())
    } else if sync.directory_disabled {
        (Reason::SyncDisabled, "the directory is switched off", directory())
    } else if !sync.endpoint_confirmed {
        let message = "the endpoint of the directory was changed and is not yet confirmed";
        (Reason::EndpointUnconfirmed, message, directory())
    } else {
        return None;
    };
    Some(Error::new(reason, message).with("resource", resource))
}

#[cfg(test)]
#[path = "standing_tests.rs"]
mod tests;
