//! Collects the stages of a check with their durations.

use rollcall_core::check::{CheckPart, Stage, StageKind, StageResult};
use tokio::time::Instant;

/// The stages about one subject, in order.
pub(super) struct Stages {
    subject: String,
    stages: Vec<Stage>,
    since: Instant,
}

impl Stages {
    pub(super) fn about(subject: impl Into<String>) -> Self {
        Self {
            subject: subject.into(),
            stages: Vec::new(),
            since: Instant::now(),
        }
    }

    /// Ends a stage. It lasted since the last one ended.
    pub(super) fn add(
        &mut self,
        kind: StageKind,
        result: StageResult,
        message: impl Into<String>,
        hint: impl Into<String>,
    ) {
        let now = Instant::now();
        self.stages.push(Stage {
            kind,
            subject: self.subject.clone(),
            result,
            duration: now - self.since,
            message: message.into(),
            hint: hint.into(),
        });
        self.since = now;
    }

    pub(super) fn pass(&mut self, kind: StageKind, message: impl Into<String>) {
        self.add(kind, StageResult::Pass, message, "");
    }

    pub(super) fn warn(&mut self, kind: StageKind, message: impl Into<String>, hint: impl Into<String>) {
        self.add(kind, StageResult::Warn, message, hint);
    }

    pub(super) fn fail(&mut self, kind: StageKind, message: impl Into<String>, hint: impl Into<String>) {
        self.add(kind, StageResult::Fail, message, hint);
    }

    /// Marks the stages of a part that have no result as skipped.
    pub(super) fn skip_rest(&mut self, part: CheckPart) {
        for kind in StageKind::of(&[part]) {
            if self.stages.iter().all(|stage| stage.kind != kind) {
                self.add(
                    kind,
                    StageResult::Skipped,
                    "not tried, since an earlier stage failed",
                    "",
                );
            }
        }
    }

    pub(super) fn into_stages(self) -> Vec<Stage> {
        self.stages
    }
}
