//! The writer: one task commits for all logins of the process, and jobs that wait share a transaction.
//!
//! Each login commits twice: it reserves a slot before the bind, and records its end after it. A caller is answered
//! after its commit. On PostgreSQL the writer first tries [`optimistic_commit`], then [`locking_commit`]; on SQLite, where
//! the writer is alone anyway, always the latter.

use std::sync::Arc;

use crate::db::batcher::{Answer, BatchHandler, Batcher};
use crate::db::database::Database;
use crate::db::dedicated_connection::{DedicatedConnection, Purpose};
use crate::db::engine::Engine;
use crate::error::Result;
use crate::login::job::{Job, JobOutcome};
use crate::login::{locking_commit, optimistic_commit};

/// Commits the jobs of all logins of the process.
pub(super) struct LoginWriter {
    batcher: Batcher<Job>,
}

impl LoginWriter {
    pub(super) fn start(database: Arc<Database>) -> Self {
        let connection = DedicatedConnection::new(database, Purpose::Writing);
        Self {
            batcher: Batcher::start(Commits { connection }),
        }
    }

    pub(super) async fn submit<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T> {
        self.batcher.submit(job).await
    }

    /// Commits the jobs that were submitted; later ones fail as unavailable.
    pub(super) async fn end(&self) {
        self.batcher.end().await;
    }
}

struct Commits {
    connection: DedicatedConnection,
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
