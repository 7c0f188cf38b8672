//! What customers set up: tenants, their directories with the sealed secrets, and their user syncs.

pub(crate) mod directories;
pub(crate) mod pending_passwords;
pub(crate) mod secrets;
pub(crate) mod starting;
pub(crate) mod tenants;
pub(crate) mod turns;
mod user_sync_deletion;
pub(crate) mod user_syncs;
