//! How a batch of jobs is committed. On PostgreSQL first by [`optimistic_commit`], then by [`locking_commit`]; on SQLite,
//! where the writer is alone anyway, always by the latter.

use std::sync::Arc;

use crate::db::batcher::BatchHandler;
use crate::db::database::Database;
use crate::db::dedicated_connection::{DedicatedConnection, Purpose};
use crate::db::engine::Engine;
use crate::error::Result;
use crate::login::job::{Job, JobOutcome};
use crate::login::{locking_commit, optimistic_commit};

/// Commits batches on a connection of its own.
pub(super) struct Commits {
    connection: DedicatedConnection,
}

impl Commits {
    pub(super) fn new(database: Arc<Database>, lock_timeout: &'static str) -> Self {
        let purpose = Purpose::Writing { lock_timeout };
        Self {
            connection: DedicatedConnection::new(database, purpose),
        }
    }
}

impl BatchHandler for Commits {
    type Job = Job;
    type Outcome = JobOutcome;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<JobOutcome>> {
        if self.connection.engine() == Engine::Postgres
            && let Some(outcomes) = optimistic_commit::commit(&mut self.connection, jobs).await?
        {
            return Ok(outcomes);
        }
        locking_commit::commit(&mut self.connection, jobs).await
    }

    fn answer(job: Job, outcome: Result<JobOutcome>) {
        job.answer(outcome);
    }
}
