//! Reports of checks.

use std::time::Duration;

use rollcall_core::check::{CheckReport, Stage, StageKind, StageResult};
use serde::{Deserialize, Serialize};

use crate::tables::json::{json_column, list_of};
use crate::tables::labels;

#[derive(Serialize, Deserialize)]
#[serde(remote = "CheckReport")]
struct ReportMirror {
    #[serde(with = "stages")]
    stages: Vec<Stage>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Stage")]
struct StageMirror {
    #[serde(with = "labels")]
    kind: StageKind,
    subject: String,
    #[serde(with = "labels")]
    result: StageResult,
    duration: Duration,
    message: String,
    hint: String,
}

list_of!(stages, Stage, "StageMirror");

json_column!(CheckReport, ReportMirror);
