//! A chunk of a plan that is started while the one before it is being applied, so that the database works on both at
//! once.
//!
//! This is right for creations alone: they release nothing that the next chunk could claim, and lock no existing user.
//! The users of the later chunk are inserted first. Then it waits for the earlier chunk, since only afterwards does the
//! run's pointer say that it is the next.

use chrono::{DateTime, Utc};
use rollcall_core::plan::{Change, ChangeKind};
use sea_orm::DatabaseTransaction;
use tokio::sync::OwnedSemaphorePermit;

use crate::db::engine::Engine;
use crate::db::timestamp::to_stored;
use crate::runs::handle::RunHandle;
use crate::runs::prepared::Prepared;
use crate::store::Store;

/// A transaction that has written the users of a chunk and waits for the chunk before it. It is rolled back if it is
/// not [applied](Store::apply_started).
pub struct StartedChunk {
    pub(super) tx: DatabaseTransaction,
    pub(super) prepared: Prepared,
    _permit: OwnedSemaphorePermit,
}

impl Store {
    /// Starts a chunk while `before` is being applied, if possible. It is not possible on SQLite, where one transaction
    /// writes at a time, and not if other runs have the connections for it. An error is dropped here: it comes again
    /// when the chunk is applied.
    pub async fn start_chunk(
        &self,
        run: &RunHandle,
        before: &[Change],
        changes: &[Change],
        now: DateTime<Utc>,
    ) -> Option<StartedChunk> {
        let database = &self.inner.database;
        let create = |changes: &[Change]| {
            let mut kinds = changes.iter().map(|change| change.kind);
            kinds.all(|kind| kind == ChangeKind::Create)
        };
        if database.engine == Engine::Sqlite || !create(before) || !create(changes) {
            return None;
        }
        let permit = self.inner.starts.clone().try_acquire_owned().ok()?;
        let tx = database.begin().await.ok()?;
        let prepared = self
            .write_prepared(&tx, &run.key, changes, to_stored(now))
            .await
            .ok()?;
        Some(StartedChunk {
            tx,
            prepared,
            _permit: permit,
        })
    }
}
