//! Why work on a run stopped before its end.

use rollcall_core::error::{Error, Reason};
use rollcall_store::StoreError;

/// Why work on a run stopped before its end.
pub(crate) enum Stop {
    /// A person cancelled it.
    Cancelled,
    /// The configuration changed under it.
    Superseded,
    /// This process ends; another one goes on.
    Draining,
    /// The store is away or the lease lost: nothing can be written, least of all an end. The run is carried on
    /// by whoever has the lease next.
    Cut(Error),
    /// It cannot be done.
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
            // Of the user sync, by the plan's end.
            Self::Superseded
        } else {
            Error::from(error).into()
        }
    }
}
