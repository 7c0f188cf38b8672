//! How a call that went wrong ends: one status for the caller, and what is behind it for the log.

use rollcall_core::error::{Error, ErrorKind, causes};
use tonic::Status;

/// The status for the caller. What is behind the error goes to the log, down to the last cause.
pub fn failed(error: &Error) -> Status {
    let (reason, cause) = (error.reason.as_str(), causes(error));
    match error.kind() {
        ErrorKind::Internal => tracing::error!(reason, message = %error, cause, "call failed"),
        ErrorKind::Unavailable | ErrorKind::Aborted => {
            tracing::warn!(reason, message = %error, cause, "call failed");
        }
        ErrorKind::InvalidArgument
        | ErrorKind::Unauthenticated
        | ErrorKind::PermissionDenied
        | ErrorKind::NotFound
        | ErrorKind::AlreadyExists
        | ErrorKind::FailedPrecondition
        | ErrorKind::ResourceExhausted
        | ErrorKind::DeadlineExceeded
        | ErrorKind::Cancelled
        | ErrorKind::Unimplemented => {
            tracing::debug!(reason, message = %error, cause, "call refused");
        }
    }
    rollcall_proto::status::to_status(error)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::{Arc, Mutex};

    use rollcall_core::error::Reason;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(error: &Error) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || failed(error));
        let text = log.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_log_has_every_cause_and_warns_of_what_the_caller_did_not_bring_about() {
        for (reason, level) in [
            (Reason::Internal, "ERROR"),
            (Reason::StoreUnavailable, "WARN"),
            (Reason::WorkerUnavailable, "WARN"),
            (Reason::UserNotFound, "DEBUG"),
        ] {
            let inner =
                Error::new(Reason::StoreUnavailable, "inner").caused_by(std::io::Error::other("innermost"));
            let line = logged(&Error::new(reason, "outer").caused_by(inner));
            assert!(line.contains(level) && line.contains(reason.as_str()), "{line}");
            assert!(line.contains("inner: innermost"), "{line}");
        }
    }
}
