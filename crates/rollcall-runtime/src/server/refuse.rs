//! How a handler ends a call that went wrong.

use std::error::Error as _;

use rollcall_core::error::{Error, ErrorKind};
use tonic::Status;

/// The status for the caller. Its cause, if it has one, goes to the log here and nowhere else; the level says
/// whose turn it is.
pub fn refuse(error: Error) -> Status {
    if error.source().is_some() {
        let (reason, cause) = (error.reason.as_str(), causes(&error));
        match error.kind() {
            ErrorKind::Internal => tracing::error!(error.reason = reason, error.cause = cause, "{error}"),
            ErrorKind::Unavailable | ErrorKind::DeadlineExceeded => {
                tracing::warn!(error.reason = reason, error.cause = cause, "{error}");
            }
            _ => tracing::info!(error.reason = reason, error.cause = cause, "{error}"),
        }
    }
    rollcall_proto::status::to_status(&error)
}

fn causes(error: &Error) -> String {
    let chain = std::iter::successors(error.source(), |&cause| cause.source());
    chain.map(ToString::to_string).collect::<Vec<_>>().join(": ")
}
