//! Resource names (AIP-122): the one place that writes and parses them.

use chrono::{DateTime, Utc};
use rollcall_core::id::{DirectoryId, RunId, TenantId, UserId, UserSyncId, UserSyncKey};
use rollcall_core::violation::Violations;

/// Names one directory of one tenant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct DirectoryName {
    /// The tenant.
    pub tenant: TenantId,
    /// The directory within the tenant.
    pub directory: DirectoryId,
}

/// Names one user of one tenant.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct UserName {
    /// The tenant.
    pub tenant: TenantId,
    /// The user within the tenant.
    pub user: UserId,
}

/// Names one run of one user sync.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RunName {
    /// The user sync.
    pub user_sync: UserSyncKey,
    /// The run of it.
    pub run: RunId,
}

/// One tenant, or all that the caller may act for (`tenants/-`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum TenantScope {
    /// One.
    One(TenantId),
    /// All.
    All,
}

impl TenantScope {
    /// The one tenant; `None` for all.
    pub fn tenant(&self) -> Option<&TenantId> {
        match self {
            TenantScope::One(tenant) => Some(tenant),
            TenantScope::All => None,
        }
    }
}

/// The parent of runs: one user sync, or all of a tenant (`tenants/{tenant}/userSyncs/-`).
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct RunParent {
    /// The tenant.
    pub tenant: TenantId,
    /// The user sync; `None` for all of them.
    pub user_sync: Option<UserSyncId>,
}

/// `tenants/{tenant}`
pub fn tenant(tenant: &TenantId) -> String {
    format!("tenants/{tenant}")
}

/// `tenants/{tenant}/directories/{directory}`
pub fn directory(tenant: &TenantId, directory: &DirectoryId) -> String {
    format!("tenants/{tenant}/directories/{directory}")
}

/// `tenants/{tenant}/userSyncs/{user_sync}`
pub fn user_sync(tenant: &TenantId, user_sync: &UserSyncId) -> String {
    format!("tenants/{tenant}/userSyncs/{user_sync}")
}

/// `tenants/{tenant}/userSyncs/{user_sync}/runs/{run}`
pub fn run(user_sync: &UserSyncKey, run: RunId) -> String {
    format!("{user_sync}/runs/{run}")
}

/// `tenants/{tenant}/users/{user}`
pub fn user(tenant: &TenantId, user: UserId) -> String {
    format!("tenants/{tenant}/users/{user}")
}

/// `tenants/{tenant}/auditEvents/{audit_event}`; the tenant is `-` if there is none. The time tells the event from one that
/// gets the same number after a restore of the database.
pub fn audit_event(tenant: Option<&TenantId>, id: i64, time: DateTime<Utc>) -> String {
    format!(
        "tenants/{}/auditEvents/{}-{id}",
        tenant.map_or("-", TenantId::as_str),
        time.timestamp_micros()
    )
}

/// `tenants/{tenant}/securityReview`
pub fn security_review(tenant: &TenantId) -> String {
    format!("tenants/{tenant}/securityReview")
}

/// Parses `tenants/{tenant}`.
pub fn parse_tenant(name: &str) -> Option<TenantId> {
    let [tenant] = parts(name, ["tenants"])?;
    TenantId::parse(tenant)
}

/// Parses `tenants/{tenant}` or `tenants/-`.
pub fn parse_tenant_scope(name: &str) -> Option<TenantScope> {
    match parts(name, ["tenants"])? {
        ["-"] => Some(TenantScope::All),
        [tenant] => TenantId::parse(tenant).map(TenantScope::One),
    }
}

/// The tenant of any resource; all if its name begins with `tenants/-`.
pub fn scope_of(name: &str) -> Option<TenantScope> {
    let rest = name.strip_prefix("tenants/")?;
    match rest.split('/').next()? {
        "-" => Some(TenantScope::All),
        tenant => TenantId::parse(tenant).map(TenantScope::One),
    }
}

/// Parses `tenants/{tenant}/directories/{directory}`.
pub fn parse_directory(name: &str) -> Option<DirectoryName> {
    let [tenant, directory] = parts(name, ["tenants", "directories"])?;
    Some(DirectoryName {
        tenant: TenantId::parse(tenant)?,
        directory: DirectoryId::parse(directory)?,
    })
}

/// Parses `tenants/{tenant}/userSyncs/{user_sync}`.
pub fn parse_user_sync(name: &str) -> Option<UserSyncKey> {
    let [tenant, user_sync] = parts(name, ["tenants", "userSyncs"])?;
    Some(UserSyncKey {
        tenant: TenantId::parse(tenant)?,
        user_sync: UserSyncId::parse(user_sync)?,
    })
}

/// Parses `tenants/{tenant}/userSyncs/{user_sync}` or `tenants/{tenant}/userSyncs/-`.
pub fn parse_run_parent(name: &str) -> Option<RunParent> {
    let [tenant, user_sync] = parts(name, ["tenants", "userSyncs"])?;
    Some(RunParent {
        tenant: TenantId::parse(tenant)?,
        user_sync: match user_sync {
            "-" => None,
            user_sync => Some(UserSyncId::parse(user_sync)?),
        },
    })
}

/// Parses `tenants/{tenant}/userSyncs/{user_sync}/runs/{run}`.
pub fn parse_run(name: &str) -> Option<RunName> {
    let [tenant, user_sync, run] = parts(name, ["tenants", "userSyncs", "runs"])?;
    Some(RunName {
        user_sync: UserSyncKey {
            tenant: TenantId::parse(tenant)?,
            user_sync: UserSyncId::parse(user_sync)?,
        },
        run: RunId::parse(run)?,
    })
}

/// Parses `tenants/{tenant}/users/{user}`.
pub fn parse_user(name: &str) -> Option<UserName> {
    let [tenant, user] = parts(name, ["tenants", "users"])?;
    Some(UserName {
        tenant: TenantId::parse(tenant)?,
        user: UserId::parse(user)?,
    })
}

/// Parses `tenants/{tenant}/securityReview`.
pub fn parse_security_review(name: &str) -> Option<TenantId> {
    parse_tenant(name.strip_suffix("/securityReview")?)
}

/// The ids between these collections.
fn parts<'a, const N: usize>(name: &'a str, collections: [&str; N]) -> Option<[&'a str; N]> {
    let mut segments = name.split('/');
    let mut ids = [""; N];
    for (id, collection) in ids.iter_mut().zip(collections) {
        if segments.next()? != collection {
            return None;
        }
        *id = segments.next()?;
    }
    segments.next().is_none().then_some(ids)
}

/// Decodes a field that holds a name of the form `pattern`.
pub(crate) fn decode<T>(
    found: &mut Violations,
    field: &str,
    name: &str,
    pattern: &str,
    parse: impl Fn(&str) -> Option<T>,
) -> Option<T> {
    let parsed = parse(name);
    if parsed.is_none() {
        let what = if name.is_empty() {
            "is required and has"
        } else {
            "must have"
        };
        found.add(field, format!("{what} the form {pattern}"));
    }
    parsed
}

/// How a tenant's name looks.
pub(crate) const TENANT: &str = "tenants/{tenant}";
/// How a tenant's name looks where all tenants may be meant.
pub(crate) const TENANT_SCOPE: &str = "tenants/{tenant} or tenants/-";
/// How a directory's name looks.
pub(crate) const DIRECTORY: &str = "tenants/{tenant}/directories/{directory}";
/// How a user sync's name looks.
pub(crate) const USER_SYNC: &str = "tenants/{tenant}/userSyncs/{user_sync}";
/// How the parent of runs looks.
pub(crate) const RUN_PARENT: &str = "tenants/{tenant}/userSyncs/{user_sync} or tenants/{tenant}/userSyncs/-";
/// How a run's name looks.
pub(crate) const RUN: &str = "tenants/{tenant}/userSyncs/{user_sync}/runs/{run}";
/// How a user's name looks.
pub(crate) const USER: &str = "tenants/{tenant}/users/{user}";
