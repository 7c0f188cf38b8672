//! Why work on a run stopped before its end.

use rollcall_core::error::{Error, Reason};
use rollcall_store::StoreError;

/// Why work on a run stopped before its end.
pub(crate) enum Stop {
    /// A person cancelled it.
    Cancelled,
    /// The configuration changed during the run.
    Superseded,
    /// This process ends; another one goes on.
    Draining,
    /// The store is away or the lease is lost, so nothing can be written, not even an end. The next holder of the lease
    /// carries the run on.
    Cut(Error),
    /// The run cannot be done.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        match error.reason == Reason::StoreUnavailable {
            true => Self::Cut(error),
            false => Self::Failed(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        if matches!(error, StoreError::LeaseLost) {
            Self::Cut(error.into())
        } else if matches!(error, StoreError::CancelRequested) {
            Self::Cancelled
        } else if matches!(error, StoreError::RevisionMismatch) {
            // By the end of its plan, the store found that the user sync has changed.
            Self::Superseded
        } else {
            Error::from(error).into()
        }
    }
}
