//! Why work on a run stopped before its end.

use rollcall_core::error::Error;
use rollcall_store::StoreError;

/// Why work on a run stopped before its end.
pub(super) enum Stop {
    /// A person cancelled it.
    Cancelled,
    /// The configuration changed under it.
    Superseded,
    /// This process ends; another one goes on.
    Draining,
    /// It cannot be done.
    Failed(Error),
}

impl From<Error> for Stop {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<StoreError> for Stop {
    fn from(error: StoreError) -> Self {
        Self::Failed(error.into())
    }
}
