//! Reports of checks: what was tried, how it went and what to do.

use std::time::Duration;

/// What a check step looks at.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StageKind {
    /// The settings themselves.
    Parse,
    /// May Rollcall connect there at all?
    EgressPolicy,
    /// Name resolution.
    Dns,
    /// Connecting.
    Tcp,
    /// The TLS handshake and the certificate.
    Tls,
    /// The service account's bind.
    Bind,
    /// The server's root DSE: vendor, controls, limits.
    RootDse,
    /// A search's base.
    SearchBase,
    /// A search's filter.
    SearchFilter,
    /// Paged results (RFC 2696).
    Paging,
    /// The external id on the found entries.
    ExternalId,
    /// The mapped attributes on the found entries.
    FieldMappings,
    /// What tells whether accounts are enabled.
    AccountState,
    /// The role rules.
    RoleRules,
    /// Other user syncs that claim the same entries.
    Overlaps,
    /// What the service account may do.
    Privilege,
}

/// How a stage went.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StageResult {
    /// As it should be.
    Pass,
    /// Works, but needs a look.
    Warn,
    /// Does not work.
    Fail,
    /// Not tried, since an earlier stage failed.
    Skipped,
}

/// One stage of a check.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Stage {
    /// What was looked at.
    pub kind: StageKind,
    /// The host, base DN, filter or field concerned, as the admin wrote it; empty if none.
    pub subject: String,
    /// How it went.
    pub result: StageResult,
    /// How long it took.
    pub duration: Duration,
    /// What was found, in a sentence.
    pub message: String,
    /// What to do; empty if nothing.
    pub hint: String,
}

/// The stages of a check in the order in which they were tried.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct CheckReport {
    /// The stages.
    pub stages: Vec<Stage>,
}

impl CheckReport {
    /// The worst result of all; a skipped stage is never worse than what made it skip.
    pub fn result(&self) -> StageResult {
        let tried = self
            .stages
            .iter()
            .map(|stage| stage.result)
            .filter(|result| *result != StageResult::Skipped);
        tried.max().unwrap_or(StageResult::Skipped)
    }
}
