//! One step of an explanation.

use prost::Message;
use rollcall_core::check::StageResult;
use rollcall_proto::v1;
pub(super) use rollcall_proto::v1::ExplanationStepKind as Kind;

/// A step with its sentence.
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

/// Most bytes of one explanation. With it, an answer that any client accepts has room for others.
const MAX_BYTES: usize = 1024 * 1024;
/// Said instead of details that are left out.
const LEFT_OUT: &str = " The details are left out: the answer would be too large.";

/// Leaves out the details of the last steps, as far as the explanation is larger than a client takes.
pub(super) fn fit(explanation: &mut v1::Explanation) {
    let mut bytes = explanation.encoded_len();
    for step in explanation.steps.iter_mut().rev() {
        if bytes <= MAX_BYTES {
            return;
        }
        let before = step.encoded_len();
        step.clauses.clear();
        step.candidates.clear();
        let freed = before - step.encoded_len();
        if freed > 0 {
            step.message += LEFT_OUT;
            bytes = bytes.saturating_sub(freed) + LEFT_OUT.len();
        }
    }
}

/// At most so many characters.
pub(super) fn cut(text: &str, max: usize) -> String {
    match text.char_indices().nth(max) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn with_clause(bytes: usize) -> v1::ExplanationStep {
        let mut told = step(Kind::Role, StageResult::Pass, "", "It does not match.", "");
        told.clauses.push(v1::FilterClause {
            clause: "x".repeat(bytes),
            ..v1::FilterClause::default()
        });
        told
    }

    fn left(sizes: &[usize]) -> Vec<usize> {
        let mut explanation = v1::Explanation {
            steps: sizes.iter().map(|size| with_clause(*size)).collect(),
            ..v1::Explanation::default()
        };
        fit(&mut explanation);
        assert!(explanation.encoded_len() <= MAX_BYTES);
        let told = explanation.steps.iter();
        assert!(
            told.clone()
                .all(|step| step.clauses.is_empty() == step.message.ends_with(LEFT_OUT))
        );
        let kept = |step: &v1::ExplanationStep| step.clauses.iter().map(|it| it.clause.len()).sum();
        told.map(kept).collect()
    }

    #[test]
    fn the_last_details_give_way_where_there_are_too_many() {
        assert!(left(&[]).is_empty());
        assert_eq!(left(&[1000, 1000]), [1000, 1000]);
        assert_eq!(left(&[MAX_BYTES / 2; 4]), [MAX_BYTES / 2, 0, 0, 0]);
        assert_eq!(left(&[100, MAX_BYTES, 100]), [100, 0, 0]);
    }
}
