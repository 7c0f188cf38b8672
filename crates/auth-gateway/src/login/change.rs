//! Whether the entry has changed so that the user should follow.

use rollcall_core::judgement::EntryReading;
use rollcall_core::role::RoleFinding;
use rollcall_core::user::User;
use rollcall_core::user_sync::UserSyncSettings;

/// How an entry differs from its user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Change {
    /// The user is as the entry says.
    None,
    /// Some fields differ; the answer may be given all the same.
    Fields,
    /// The role or the state differs: no answer may be given before the user is renewed.
    Role,
}

/// Compares, by the same judgement as a run. `role` is what the rules say about the entry.
pub fn change(
    settings: &UserSyncSettings,
    reading: &EntryReading,
    user: &User,
    role: &RoleFinding,
) -> Change {
    let judged = reading.for_known(role, user, true, settings);
    let moved = user.origin.as_ref().is_some_and(|origin| origin.dn != judged.dn);
    if judged.profile.role != user.profile.role || judged.state != user.state {
        Change::Role
    } else if moved || user.profile != judged.profile {
        Change::Fields
    } else {
        Change::None
    }
}
