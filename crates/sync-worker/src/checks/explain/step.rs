//! One step of an explanation.

use rollcall_core::check::StageResult;
use rollcall_proto::v1;
pub(super) use rollcall_proto::v1::ExplanationStepKind as Kind;

/// A step that says so in a sentence.
pub(super) fn step(
    kind: Kind,
    result: StageResult,
    subject: &str,
    message: impl Into<String>,
    hint: &str,
) -> v1::ExplanationStep {
    v1::ExplanationStep {
        kind: kind.into(),
        outcome: v1::CheckOutcome::from(result).into(),
        subject: subject.to_owned(),
        message: message.into(),
        hint: hint.to_owned(),
        clauses: Vec::new(),
        candidates: Vec::new(),
    }
}

/// At most so many characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}
