//! Who calls, and what they may do.
//!
//! The server puts an `Arc<Caller>` into every request's extensions; a handler begins with [`authorize`],
//! before it looks whether anything exists (AIP-211).

use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use serde::Deserialize;
use subtle::ConstantTimeEq;

use crate::config::CallerEntry;

mod quota;

use quota::Quota;

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
    /// Read tenants, directories, user syncs and runs.
    #[serde(rename = "syncs.read")]
    SyncsRead,
    /// Change tenants, directories and user syncs, and check them.
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
    pub const ALL: [Permission; 7] = [
        Permission::Authenticate,
        Permission::UsersRead,
        Permission::UsersWrite,
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
            Permission::SyncsRead => "syncs.read",
            Permission::SyncsWrite => "syncs.write",
            Permission::Runs => "runs",
            Permission::Audit => "audit",
        }
    }
}

/// A service that calls.
#[derive(Debug)]
pub struct Caller {
    name: String,
    permissions: Vec<Permission>,
    tenants: Tenants,
    quota: Option<Quota>,
}

/// Whose data a call is about.
#[derive(Clone, Copy, Debug)]
pub enum Scope<'a> {
    /// One tenant's.
    Tenant(&'a TenantId),
    /// Every tenant's. Needs a caller that may touch all of them.
    AllTenants,
    /// A tenant that is not known yet; [`Caller::may_touch`] must be asked as soon as it is.
    Unresolved,
}

#[derive(Debug)]
enum Tenants {
    All,
    Some(Vec<String>),
}

/// Checks that the caller of a request may do this within this scope, and returns the caller.
///
/// # Errors
/// `CALLER_UNAUTHENTICATED` if the request passed no authentication, `PERMISSION_MISSING`, or
/// `TENANT_ACCESS_DENIED`, which says nothing about whether the tenant exists.
pub fn authorize(
    extensions: &http::Extensions,
    permission: Permission,
    scope: Scope<'_>,
) -> Result<Arc<Caller>, Error> {
    let caller = extensions.get::<Arc<Caller>>().ok_or_else(unauthenticated)?;
    if !caller.permissions.contains(&permission) {
        let message = format!("the caller lacks the permission {}", permission.as_str());
        return Err(Error::new(Reason::PermissionMissing, message).with("permission", permission.as_str()));
    }
    match scope {
        Scope::Tenant(tenant) => caller.may_touch(tenant)?,
        Scope::AllTenants if !caller.may_touch_all() => {
            return Err(Error::new(
                Reason::TenantAccessDenied,
                "the caller may not act for all tenants",
            ));
        }
        Scope::AllTenants | Scope::Unresolved => {}
    }
    Ok(Arc::clone(caller))
}

impl Caller {
    /// The caller's name, for logs and audit.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// True if the caller may act for every tenant.
    pub fn may_touch_all(&self) -> bool {
        matches!(self.tenants, Tenants::All)
    }

    /// Checks that the caller may act for this tenant.
    ///
    /// # Errors
    /// `TENANT_ACCESS_DENIED`.
    pub fn may_touch(&self, tenant: &TenantId) -> Result<(), Error> {
        let allowed = match &self.tenants {
            Tenants::All => true,
            Tenants::Some(ids) => ids.iter().any(|id| id == tenant.as_str()),
        };
        if allowed {
            return Ok(());
        }
        let message = "the caller may not act for this tenant, or it does not exist";
        Err(Error::new(Reason::TenantAccessDenied, message).with("tenant", tenant.as_str()))
    }

    /// Takes one call from the quota.
    pub(crate) fn spend(&self) -> Result<(), Error> {
        let Some(quota) = &self.quota else { return Ok(()) };
        quota.spend().map_err(|wait| {
            Error::new(Reason::CallerQuotaExhausted, "the caller's quota is used up").retry_after(wait)
        })
    }

    fn from_entry(entry: &CallerEntry) -> Self {
        let tenants = if entry.tenants == ["*"] {
            Tenants::All
        } else {
            Tenants::Some(entry.tenants.clone())
        };
        Self {
            name: entry.name.clone(),
            permissions: entry.permissions.clone(),
            tenants,
            quota: Quota::new(entry.requests_per_second, entry.burst),
        }
    }

    fn local() -> Self {
        Self {
            name: "local".to_owned(),
            permissions: Permission::ALL.to_vec(),
            tenants: Tenants::All,
            quota: None,
        }
    }
}

/// The callers that a server knows.
#[derive(Clone)]
pub(crate) struct Callers(Arc<Known>);

enum Known {
    /// None is configured: whoever can connect is the local caller.
    Anyone(Arc<Caller>),
    Listed(Vec<Credentials>),
}

struct Credentials {
    tokens: Vec<Token>,
    certificate_name: Option<String>,
    caller: Arc<Caller>,
}

struct Token {
    /// Empty for the only one.
    id: String,
    sha256: [u8; 32],
    expire_time: Option<DateTime<Utc>>,
}

/// Whose call it is, and with which token.
pub(crate) struct Identity {
    pub(crate) caller: Arc<Caller>,
    /// The id of the token; empty without one.
    pub(crate) token: String,
}

impl Callers {
    /// Takes entries that the configuration found valid.
    pub(crate) fn new(entries: &[CallerEntry]) -> Self {
        if entries.is_empty() {
            return Self(Arc::new(Known::Anyone(Arc::new(Caller::local()))));
        }
        let listed = entries.iter().map(|entry| Credentials {
            tokens: tokens(entry),
            certificate_name: Some(entry.certificate_name.clone()).filter(|name| !name.is_empty()),
            caller: Arc::new(Caller::from_entry(entry)),
        });
        Self(Arc::new(Known::Listed(listed.collect())))
    }

    /// True if at least one caller has a token, so that a connection without a certificate may be fine.
    pub(crate) fn any_has_token(&self) -> bool {
        match &*self.0 {
            Known::Anyone(_) => true,
            Known::Listed(listed) => listed.iter().any(|credentials| !credentials.tokens.is_empty()),
        }
    }

    /// Finds the caller by the `authorization` header if there is one, else by the names of the verified
    /// client certificate. A token that has ended is like any other wrong one.
    pub(crate) fn identify(
        &self,
        authorization: Option<&[u8]>,
        certificate_names: &[String],
        now: impl Fn() -> DateTime<Utc>,
    ) -> Result<Identity, Error> {
        let listed = match &*self.0 {
            Known::Anyone(caller) => return Ok(Identity::of(caller, "")),
            Known::Listed(listed) => listed,
        };
        let found = match authorization {
            Some(header) => bearer_token(header).and_then(|token| by_token(listed, token, now)),
            None => by_certificate(listed, certificate_names).map(|caller| Identity::of(caller, "")),
        };
        found.ok_or_else(unauthenticated)
    }
}

impl Identity {
    fn of(caller: &Arc<Caller>, token: &str) -> Self {
        Self {
            caller: Arc::clone(caller),
            token: token.to_owned(),
        }
    }
}

fn tokens(entry: &CallerEntry) -> Vec<Token> {
    let one = parse_sha256(&entry.token_sha256).map(|sha256| Token {
        id: String::new(),
        sha256,
        expire_time: None,
    });
    let several = entry.tokens.iter().filter_map(|token| {
        Some(Token {
            id: token.id.clone(),
            sha256: parse_sha256(&token.sha256)?,
            expire_time: parse_time(&token.expire_time),
        })
    });
    one.into_iter().chain(several).collect()
}

/// Reads a time as RFC 3339 has it.
pub(crate) fn parse_time(text: &str) -> Option<DateTime<Utc>> {
    DateTime::parse_from_rfc3339(text).ok().map(|time| time.to_utc())
}

/// Reads 64 hex digits.
pub(crate) fn parse_sha256(text: &str) -> Option<[u8; 32]> {
    let digits = text.as_bytes();
    if digits.len() != 64 {
        return None;
    }
    let mut bytes = [0; 32];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

fn bearer_token(header: &[u8]) -> Option<&[u8]> {
    let (scheme, token) = header.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"bearer ").then_some(token)
}

/// Compares with every token, so that the time taken tells nothing about where a match is.
fn by_token(listed: &[Credentials], token: &[u8], now: impl Fn() -> DateTime<Utc>) -> Option<Identity> {
    let digest = ring::digest::digest(&ring::digest::SHA256, token);
    let mut found = None;
    for credentials in listed {
        for known in &credentials.tokens {
            if bool::from(known.sha256.as_slice().ct_eq(digest.as_ref())) {
                found = Some((credentials, known));
            }
        }
    }
    let (credentials, known) = found?;
    if known.expire_time.is_some_and(|end| now() >= end) {
        let (caller, token) = (credentials.caller.name(), known.id.as_str());
        tracing::info!(
            caller.name = caller,
            caller.token = token,
            "a token is used that has ended"
        );
        return None;
    }
    Some(Identity::of(&credentials.caller, &known.id))
}

fn by_certificate<'a>(listed: &'a [Credentials], names: &[String]) -> Option<&'a Arc<Caller>> {
    let is_named = |credentials: &&Credentials| {
        credentials
            .certificate_name
            .as_ref()
            .is_some_and(|name| names.contains(name))
    };
    listed
        .iter()
        .find(is_named)
        .map(|credentials| &credentials.caller)
}

fn unauthenticated() -> Error {
    Error::new(
        Reason::CallerUnauthenticated,
        "the call needs a valid bearer token or client certificate",
    )
}

#[cfg(test)]
mod tests;
