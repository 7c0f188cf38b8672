//! Counts of runs, and why they are held.

use std::collections::BTreeMap;

use rollcall_core::guard::{HoldReason, HoldRule};
use rollcall_core::issue::IssueKind;
use rollcall_core::run::RunCounts;
use serde::{Deserialize, Serialize};

use crate::error::Result;
use crate::tables::json::{JsonColumn, json_column, list_of, unreadable};
use crate::tables::labels::{self, Label};

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

json_column!(RunCounts, CountsMirror);

impl JsonColumn for BTreeMap<IssueKind, u64> {
    fn to_json(&self) -> Result<String> {
        let labels: BTreeMap<&str, u64> = self.iter().map(|(kind, count)| (kind.label(), *count)).collect();
        serde_json::to_string(&labels).map_err(unreadable)
    }

    fn from_json(text: &str) -> Result<Self> {
        let labels: BTreeMap<String, u64> = serde_json::from_str(text).map_err(unreadable)?;
        labels
            .into_iter()
            .map(|(label, count)| Ok((IssueKind::from_label(&label)?, count)))
            .collect()
    }
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "HoldReason")]
struct HoldReasonMirror {
    #[serde(with = "labels::optional", default)]
    rule: Option<HoldRule>,
    #[serde(default)]
    field: Option<String>,
    message: String,
}

list_of!(hold_reasons, HoldReason, "HoldReasonMirror");

#[derive(Serialize, Deserialize)]
#[serde(transparent)]
struct HoldReasonsMirror(#[serde(with = "hold_reasons")] Vec<HoldReason>);

impl JsonColumn for Vec<HoldReason> {
    fn to_json(&self) -> Result<String> {
        serde_json::to_string(&HoldReasonsMirror(self.clone())).map_err(unreadable)
    }

    fn from_json(text: &str) -> Result<Self> {
        // Earlier releases kept the sentences alone.
        if let Ok(sentences) = serde_json::from_str::<Vec<String>>(text) {
            return Ok(sentences
                .iter()
                .map(|sentence| sentence.as_str().into())
                .collect());
        }
        let mirror: HoldReasonsMirror = serde_json::from_str(text).map_err(unreadable)?;
        Ok(mirror.0)
    }
}
