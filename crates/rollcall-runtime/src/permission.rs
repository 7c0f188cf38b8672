//! What a caller may be allowed to do.

use serde::Deserialize;

/// What a caller may be allowed to do.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
pub enum Permission {
    /// Check passwords.
    #[serde(rename = "authenticate")]
    Authenticate,
    /// Read users and their events.
    #[serde(rename = "users.read")]
    UsersRead,
    /// Change users.
    #[serde(rename = "users.write")]
    UsersWrite,
    /// Erase people: of its own, since that takes away too what the audit log tells of them.
    #[serde(rename = "users.erase")]
    UsersErase,
    /// Make, change and unmake tenants; for callers of all tenants.
    #[serde(rename = "tenants.write")]
    TenantsWrite,
    /// Read tenants, directories, user syncs and runs.
    #[serde(rename = "syncs.read")]
    SyncsRead,
    /// Change directories and user syncs, and check them.
    #[serde(rename = "syncs.write")]
    SyncsWrite,
    /// Start, apply and cancel runs.
    #[serde(rename = "runs")]
    Runs,
    /// Read the audit log and record reviews.
    #[serde(rename = "audit")]
    Audit,
}

impl Permission {
    /// Every permission.
    pub const ALL: [Permission; 9] = [
        Permission::Authenticate,
        Permission::UsersRead,
        Permission::UsersWrite,
        Permission::UsersErase,
        Permission::TenantsWrite,
        Permission::SyncsRead,
        Permission::SyncsWrite,
        Permission::Runs,
        Permission::Audit,
    ];

    /// The permission's name, as in the configuration.
    pub fn as_str(self) -> &'static str {
        match self {
            Permission::Authenticate => "authenticate",
            Permission::UsersRead => "users.read",
            Permission::UsersWrite => "users.write",
            Permission::UsersErase => "users.erase",
            Permission::TenantsWrite => "tenants.write",
            Permission::SyncsRead => "syncs.read",
            Permission::SyncsWrite => "syncs.write",
            Permission::Runs => "runs",
            Permission::Audit => "audit",
        }
    }
}
