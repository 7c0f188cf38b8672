//! The one mapping from errors to gRPC statuses, and back for clients. No other file of the workspace makes a status.
//!
//! Every status carries `google.rpc.ErrorInfo`; INVALID_ARGUMENT carries `BadRequest` with all bad fields; what may be
//! tried again carries `RetryInfo`. What caused the error stays behind: it is for the log.

use std::time::Duration;

use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::violation::Violations;
use tonic::{Code, Status};
use tonic_types::{ErrorDetails, StatusExt};

/// The `domain` of every `ErrorInfo`.
pub const DOMAIN: &str = "rollcall";
/// When to try again what is UNAVAILABLE, unless the error says otherwise.
pub const DEFAULT_RETRY_AFTER: Duration = Duration::from_secs(1);
/// Most bytes of field violations in one status. Details travel in a header, in base64, and clients take headers of
/// 8 KiB.
const MAX_VIOLATION_BYTES: usize = 3 * 1024;
/// Most characters of one field violation.
const MAX_DESCRIPTION_CHARS: usize = 400;

/// The status that tells a caller about an error.
#[expect(
    clippy::disallowed_methods,
    reason = "this is the one place that makes a status"
)]
pub fn to_status(error: &Error) -> Status {
    let mut details = ErrorDetails::new();
    let metadata = error
        .metadata
        .iter()
        .map(|(key, value)| ((*key).to_owned(), value.clone()));
    details.set_error_info(
        error.reason.as_str(),
        DOMAIN,
        metadata.collect::<std::collections::HashMap<_, _>>(),
    );
    add_violations(&mut details, &error.violations);
    let default = (error.kind() == ErrorKind::Unavailable).then_some(DEFAULT_RETRY_AFTER);
    let retry_after = error.retry_after.or(default);
    if retry_after.is_some() {
        details.set_retry_info(retry_after);
    }
    Status::with_error_details(code(error.kind()), error.message.clone(), details)
}

/// The reason that a status of Rollcall carries; `None` for a status of somebody else, such as a proxy.
pub fn reason(status: &Status) -> Option<Reason> {
    let info = status.get_details_error_info()?;
    let known = Reason::ALL
        .iter()
        .copied()
        .find(|reason| reason.as_str() == info.reason);
    known.filter(|_| info.domain == DOMAIN)
}

fn code(kind: ErrorKind) -> Code {
    match kind {
        ErrorKind::InvalidArgument => Code::InvalidArgument,
        ErrorKind::Unauthenticated => Code::Unauthenticated,
        ErrorKind::PermissionDenied => Code::PermissionDenied,
        ErrorKind::NotFound => Code::NotFound,
        ErrorKind::AlreadyExists => Code::AlreadyExists,
        ErrorKind::FailedPrecondition => Code::FailedPrecondition,
        ErrorKind::Aborted => Code::Aborted,
        ErrorKind::ResourceExhausted => Code::ResourceExhausted,
        ErrorKind::Unavailable => Code::Unavailable,
        ErrorKind::DeadlineExceeded => Code::DeadlineExceeded,
        ErrorKind::Cancelled => Code::Cancelled,
        ErrorKind::Unimplemented => Code::Unimplemented,
        ErrorKind::Internal => Code::Internal,
    }
}

fn add_violations(details: &mut ErrorDetails, violations: &Violations) {
    let mut room = MAX_VIOLATION_BYTES;
    let mut left_out = 0;
    for violation in violations.iter() {
        let description: String = violation
            .description
            .chars()
            .take(MAX_DESCRIPTION_CHARS)
            .collect();
        let size = violation.field.len() + description.len() + 8;
        if left_out == 0 && size <= room {
            room -= size;
            details.add_bad_request_violation(&violation.field, description);
        } else {
            left_out += 1;
        }
    }
    if left_out > 0 {
        details.add_bad_request_violation("", format!("and {left_out} more, too many to name"));
    }
}
