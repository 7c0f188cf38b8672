//! How far a search came. Only a complete one says anything about entries that it did not return.

use std::collections::BTreeSet;

use crate::error::LdapError;
use crate::result_code::ResultCode;

/// The end of a search.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum SearchOutcome {
    /// Every page ended with success: an entry that did not come is not there, as far as the service
    /// account can see.
    Complete(SearchStats),
    /// The entries that came are true, but there are or may be others.
    Partial {
        /// Why.
        reason: PartialReason,
        /// What came.
        stats: SearchStats,
    },
    /// Nothing came.
    Failed {
        /// Why.
        error: LdapError,
    },
}

/// Why a search is not complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PartialReason {
    /// The server cut it short with this code (size, time or administrative limit).
    ServerLimit(ResultCode),
    /// It broke off after some entries.
    Interrupted(LdapError),
    /// More entries or bytes than the budget allows.
    BudgetSpent,
    /// The caller stopped reading.
    Abandoned,
}

/// What a search brought.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct SearchStats {
    /// Entries since the last restart.
    pub entries: u64,
    /// Pages since the last restart.
    pub pages: u32,
    /// Bytes received, restarts included.
    pub bytes: u64,
    /// Search result references (RFC 4511 section 4.5.3), which name other servers. They were not followed. On Active
    /// Directory a search at the root of a domain always has some.
    pub search_result_references: u64,
    /// Entries since the last restart that had names which are not UTF-8; they came with `tainted` set.
    pub tainted: u64,
    /// Times that the search began anew, with smaller pages, without pages, or after a lost cookie.
    pub restarts: u32,
    /// Attributes, in lower case, of which at least one entry had only a range of the values
    /// (MS-ADTS 3.1.1.3.1.3.3).
    pub ranged_attributes: BTreeSet<String>,
}
