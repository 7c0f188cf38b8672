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
        match error.reason {
            Reason::StoreUnavailable => Self::Cut(error),
            _ => Self::Failed(error),
        }
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::LeaseLost => Self::Cut(error.into()),
            StoreError::CancelRequested => Self::Cancelled,
            // Of the user sync, by the plan's end.
            StoreError::RevisionMismatch => Self::Superseded,
            other => Error::from(other).into(),
        }
    }
}
