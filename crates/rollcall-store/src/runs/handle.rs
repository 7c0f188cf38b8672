//! A run in the hands of the worker that holds its lease.

use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::run::RunState;
use sea_orm::ConnectionTrait;

use crate::error::Result;
use crate::runs::leases::{LeaseToken, require_lease};
use crate::tables::sync_run::{self, Model};

/// A run, and the lease to work on it. Every change of a run under way needs one.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunHandle {
    /// The lease of the user sync.
    pub lease: LeaseToken,
    /// The user sync.
    pub key: UserSyncKey,
    /// The run.
    pub id: RunId,
}

impl RunHandle {
    /// Makes sure that the lease is still held, until the transaction ends.
    pub(crate) async fn require_lease(&self, tx: &impl ConnectionTrait) -> Result<()> {
        require_lease(tx, &self.lease, &self.key).await
    }

    /// Locks the run.
    pub(crate) async fn lock(&self, tx: &impl ConnectionTrait) -> Result<Model> {
        sync_run::lock(tx, &self.key, self.id).await
    }

    /// Makes sure that the lease is still held, and locks the run, which must be in one of these states.
    pub(crate) async fn lock_in_state(
        &self,
        tx: &impl ConnectionTrait,
        states: &[RunState],
    ) -> Result<Model> {
        self.require_lease(tx).await?;
        sync_run::lock_in_state(tx, &self.key, self.id, states).await
    }
}
