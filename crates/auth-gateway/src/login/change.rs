//! Did the entry change in a way that the user should follow?

use rollcall_core::entry::Entry;
use rollcall_core::mapping::Mapping;
use rollcall_core::user::User;
use rollcall_core::user_sync::{ExistingUsers, LoginChanges, UserSyncSettings};

/// What a login brought to light.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The user is as the entry says.
    None,
    /// Some fields are not; the answer may be given all the same.
    Fields,
    /// The role is not: the answer must not be given before it is right.
    Role,
}

/// Compares. `role` is the role that the entry should have, if it could be told.
pub fn change(
    settings: &UserSyncSettings,
    mapping: &Mapping,
    user: &User,
    entry: &Entry,
    role: Option<&str>,
) -> Change {
    if settings.existing_users == ExistingUsers::Ignore {
        return Change::None;
    }
    let role = role.unwrap_or(&user.profile.role);
    if role != user.profile.role {
        return Change::Role;
    }
    // An entry that cannot be mapped is an issue of the next run, which keeps the user as it is.
    let Ok(mapped) = mapping.map(entry, role) else {
        return Change::None;
    };
    let mut wanted = mapped.profile;
    if settings.login_changes == LoginChanges::Reject {
        wanted.login.clone_from(&user.profile.login);
    }
    let moved = user.origin.as_ref().is_some_and(|origin| origin.dn != entry.dn);
    if moved || user.profile != wanted {
        Change::Fields
    } else {
        Change::None
    }
}
