//! Reports of checks: what was tried, how it went and what to do.

use crate::vocabulary::vocabulary;
use std::time::Duration;

vocabulary! {
    /// What a check step looks at.
    pub enum StageKind {
        /// The settings themselves.
        Parse = "PARSE",
        /// May Rollcall connect there at all?
        EgressPolicy = "EGRESS_POLICY",
        /// Name resolution.
        Dns = "DNS",
        /// Connecting.
        Tcp = "TCP",
        /// The TLS handshake and the certificate.
        Tls = "TLS",
        /// The service account's bind.
        Bind = "BIND",
        /// The server's root DSE: vendor, controls, limits.
        RootDse = "ROOT_DSE",
        /// A search's base.
        SearchBase = "SEARCH_BASE",
        /// A search's filter.
        SearchFilter = "SEARCH_FILTER",
        /// Paged results (RFC 2696).
        Paging = "PAGING",
        /// The external id on the found entries.
        ExternalId = "EXTERNAL_ID",
        /// The mapped attributes on the found entries.
        FieldMappings = "FIELD_MAPPINGS",
        /// The attributes that tell whether accounts are enabled.
        AccountState = "ACCOUNT_STATE",
        /// The role rules.
        RoleRules = "ROLE_RULES",
        /// Other user syncs that claim the same entries.
        Overlaps = "OVERLAPS",
        /// What the service account may do.
        Privilege = "PRIVILEGE",
    }
}

/// Which part of a check tries a stage.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum CheckPart {
    /// Once, before a host is dialled.
    Settings,
    /// Each host.
    Host,
    /// The first host that answers.
    ServiceAccount,
    /// The searches of a user sync.
    Searches,
    /// What becomes of the entries that they find.
    Entries,
}

impl StageKind {
    /// Which part of a check tries this stage; `None` if a newer release added the stage.
    pub fn part(self) -> Option<CheckPart> {
        Some(match self {
            Self::Parse => CheckPart::Settings,
            Self::EgressPolicy | Self::Dns | Self::Tcp | Self::Tls | Self::Bind | Self::RootDse => {
                CheckPart::Host
            }
            Self::Privilege => CheckPart::ServiceAccount,
            Self::SearchBase | Self::SearchFilter | Self::Paging => CheckPart::Searches,
            Self::ExternalId
            | Self::FieldMappings
            | Self::AccountState
            | Self::RoleRules
            | Self::Overlaps => CheckPart::Entries,
            Self::Newer(_) => return None,
        })
    }

    /// The stages of these parts, in the order in which they are tried.
    pub fn of(parts: &[CheckPart]) -> impl Iterator<Item = Self> {
        let all = Self::ALL.iter().copied();
        all.filter(|kind| kind.part().is_some_and(|part| parts.contains(&part)))
    }
}

vocabulary! {
    /// How a stage went.
    pub closed enum StageResult {
        /// As it should be.
        Pass = "PASS",
        /// Works, but needs a look.
        Warn = "WARN",
        /// Does not work.
        Fail = "FAIL",
        /// Not tried, since an earlier stage failed.
        Skipped = "SKIPPED",
    }
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
    /// The worst result of all stages. A skipped stage is never worse than the failed stage before it.
    pub fn result(&self) -> StageResult {
        let tried = self
            .stages
            .iter()
            .map(|stage| stage.result)
            .filter(|result| *result != StageResult::Skipped);
        tried.max().unwrap_or(StageResult::Skipped)
    }
}
