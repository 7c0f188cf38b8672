//! What a caller may be allowed to do.

use std::sync::LazyLock;

use rollcall_core::text_enum;
use serde::{Deserialize, Deserializer, de::Error};

text_enum! {
    /// What a caller may be allowed to do, as the configuration names it.
    pub enum Permission {
        /// Check passwords.
        Authenticate = "authenticate",
        /// Read users and their events.
        UsersRead = "users.read",
        /// Change users.
        UsersWrite = "users.write",
        /// Erase people. A permission of its own, since an erasure also removes what the audit log says about them.
        UsersErase = "users.erase",
        /// Make, change and unmake tenants; for callers of all tenants.
        TenantsWrite = "tenants.write",
        /// Read tenants, directories, user syncs and runs.
        SyncsRead = "syncs.read",
        /// Change directories and user syncs, and check them.
        SyncsWrite = "syncs.write",
        /// Start, apply and cancel runs.
        Runs = "runs",
        /// Read the audit log and record reviews.
        Audit = "audit",
    }
}

static NAMES: LazyLock<Vec<&str>> =
    LazyLock::new(|| Permission::ALL.iter().map(|one| one.as_str()).collect());

impl<'de> Deserialize<'de> for Permission {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let name = String::deserialize(deserializer)?;
        let known = Self::ALL.iter().copied().find(|one| one.as_str() == name);
        known.ok_or_else(|| D::Error::unknown_variant(&name, &NAMES))
    }
}
