//! How a user sync reads the entries of its directory. It is put together only here, so that a run, a login, a refresh
//! and a check take the same entry for the same person in the same state.

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::id::UserSyncId;
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::mapping::Mapping;
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::UserSyncSettings;

/// The reader for entries of a directory of this kind, by the settings of a user sync. A draft has no id.
pub fn reader(
    dialect: Dialect,
    directory: &Directory,
    user_sync: Option<&UserSyncId>,
    settings: &UserSyncSettings,
    policy: &LoginPolicy,
) -> EntryReader {
    let mapping = Mapping::new(settings, policy.clone());
    let id_attribute = directory.settings.external_id_attribute.as_deref();
    EntryReader::new(dialect, id_attribute, mapping).with_hidden(hidden_state(directory, user_sync))
}

/// The attributes of the account's state that may not be read of the entries of a user sync, as last found out.
pub fn hidden_state<'a>(directory: &'a Directory, user_sync: Option<&UserSyncId>) -> &'a [String] {
    let hidden = user_sync.and_then(|id| directory.observed.hidden_state.get(id));
    hidden.map_or(&[], Vec::as_slice)
}
