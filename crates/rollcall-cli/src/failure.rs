//! Why a command could not be carried out, in words for a person.

use std::fmt;

use tonic::Status;
use tonic_types::StatusExt;

/// Why a command could not be carried out.
pub(crate) enum Failure {
    /// Something on this side.
    Local(String),
    /// The worker refused, or could not be asked.
    Call(Box<Status>),
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        Self::Call(Box::new(status))
    }
}

impl From<std::io::Error> for Failure {
    fn from(error: std::io::Error) -> Self {
        Self::Local(format!("cannot print: {error}"))
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let status = match self {
            Failure::Local(text) => return f.write_str(text),
            Failure::Call(status) => status,
        };
        // A server that does not know the method, and many a proxy, sends a bare code.
        f.write_str(if status.message().is_empty() {
            "the call was refused"
        } else {
            status.message()
        })?;
        match status.get_details_error_info() {
            Some(info) => write!(f, " ({})", info.reason)?,
            None => write!(f, " ({:?})", status.code())?,
        }
        let violations = status
            .get_details_bad_request()
            .map(|details| details.field_violations);
        for violation in violations.unwrap_or_default() {
            write!(f, "\n  {}: {}", violation.field, violation.description)?;
        }
        Ok(())
    }
}
