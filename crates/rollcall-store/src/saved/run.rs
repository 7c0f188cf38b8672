//! Counts of runs.

use std::collections::BTreeMap;

use rollcall_core::issue::IssueKind;
use rollcall_core::run::RunCounts;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::saved::{Saved, saved_as, unreadable};
use crate::words::Word;

#[derive(Serialize, Deserialize)]
#[serde(remote = "RunCounts")]
struct CountsMirror {
    entries: u64,
    created: u64,
    linked: u64,
    updated: u64,
    reactivated: u64,
    deactivated: u64,
    archived: u64,
    transferred: u64,
    /// Runs of earlier releases have none.
    #[serde(default)]
    relinked: u64,
    unchanged: u64,
    ignored: u64,
    issues: u64,
    referrals: u64,
    applied: u64,
}

saved_as!(RunCounts, CountsMirror);

impl Saved for BTreeMap<IssueKind, u64> {
    fn to_json(&self) -> Result<String> {
        let words: BTreeMap<&str, u64> = self.iter().map(|(kind, count)| (kind.word(), *count)).collect();
        serde_json::to_string(&words).map_err(unreadable)
    }

    fn from_json(text: &str) -> Result<Self> {
        let words: BTreeMap<String, u64> = serde_json::from_str(text).map_err(unreadable)?;
        words
            .into_iter()
            .map(|(word, count)| Ok((IssueKind::from_word(&word)?, count)))
            .collect()
    }
}

impl Saved for Vec<String> {
    fn to_json(&self) -> Result<String> {
        serde_json::to_string(self).map_err(unreadable)
    }

    fn from_json(text: &str) -> Result<Self> {
        serde_json::from_str(text).map_err(unreadable)
    }
}
