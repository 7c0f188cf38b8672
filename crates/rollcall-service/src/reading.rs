//! How a user sync reads the entries of its directory: put together here alone, so that a run, a login, a refresh and a check
//! take the same entry for the same person in the same state.

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectorySettings;
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::mapping::Mapping;
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::UserSyncSettings;

/// What reads the entries of a directory of this kind by the settings of a user sync.
pub fn reader(
    dialect: Dialect,
    directory: &DirectorySettings,
    settings: &UserSyncSettings,
    policy: &LoginPolicy,
) -> EntryReader {
    let mapping = Mapping::new(settings, policy.clone());
    EntryReader::new(dialect, directory.external_id_attribute.as_deref(), mapping)
}
