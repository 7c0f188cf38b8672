//! The writer: one task commits for all logins of the process, and jobs that wait share a transaction.
//!
//! Each login commits twice: it reserves a slot before the bind, and records its end after it. A caller is answered
//! after its commit, which is made as [`commits`](super::commits) says.
//!
//! On PostgreSQL other sessions can lock rows: a replica that froze, for as long as the server lets it. So the writer
//! waits for locked rows only briefly. Then it does the batch tenant by tenant, and tenants whose rows are held go on
//! in a queue of their own ([`tenant_queues`](super::tenant_queues)). Refusals have a task of their own there: they
//! need the slower kind of commit, and a flood of them must not slow logins down.

use std::collections::BTreeMap;
use std::sync::Arc;

use crate::db::batcher::{Answer, BatchHandler, Batcher, conclude};
use crate::db::database::Database;
use crate::db::engine::Engine;
use crate::error::{Result, StoreError};
use crate::login::commits::Commits;
use crate::login::job::{Job, JobOutcome};
use crate::login::tenant_queues::TenantQueues;

/// How long the writer, and with it all logins, waits for a row that another session has locked. Healthy sessions hold
/// such rows for a few milliseconds.
const PATIENCE_OF_ALL: &str = "100ms";

/// Commits the jobs of all logins of the process.
pub(super) struct LoginWriter {
    logins: Batcher<Job>,
    /// On PostgreSQL.
    refusals: Option<Batcher<Job>>,
    /// On PostgreSQL.
    tenant_queues: Option<Arc<TenantQueues>>,
}

impl LoginWriter {
    pub(super) fn start(database: Arc<Database>) -> Self {
        let tenant_queues =
            (database.engine == Engine::Postgres).then(|| TenantQueues::new(database.clone()));
        let start = || {
            Batcher::start(SharedWriter {
                commits: Commits::new(database.clone(), PATIENCE_OF_ALL),
                tenant_queues: tenant_queues.clone(),
            })
        };
        Self {
            logins: start(),
            refusals: tenant_queues.is_some().then(start),
            tenant_queues: tenant_queues.clone(),
        }
    }

    pub(super) async fn submit<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T> {
        self.logins.submit(job).await
    }

    /// Submits a job of kind [`Job::Refuse`].
    pub(super) async fn submit_refusal<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T> {
        self.refusals.as_ref().unwrap_or(&self.logins).submit(job).await
    }

    /// Commits the jobs that were submitted; later ones fail as unavailable.
    pub(super) async fn end(&self) {
        self.logins.end().await;
        if let Some(refusals) = &self.refusals {
            refusals.end().await;
        }
        if let Some(tenant_queues) = &self.tenant_queues {
            tenant_queues.end().await;
        }
    }
}

/// Commits for all tenants together, except those whose rows other sessions hold.
struct SharedWriter {
    commits: Commits,
    tenant_queues: Option<Arc<TenantQueues>>,
}

impl BatchHandler for SharedWriter {
    type Job = Job;
    type Outcome = JobOutcome;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<JobOutcome>> {
        self.commits.carry_out(jobs).await
    }

    fn answer(job: Job, outcome: Result<JobOutcome>) {
        job.answer(outcome);
    }

    async fn work(&mut self, jobs: Vec<Job>) {
        let Some(tenant_queues) = self.tenant_queues.clone() else {
            let result = self.carry_out(&jobs).await;
            return conclude(self, jobs, result).await;
        };
        let jobs = tenant_queues.take_theirs(jobs);
        if jobs.is_empty() {
            return;
        }
        match self.carry_out(&jobs).await {
            Err(StoreError::Locked) => self.tenant_by_tenant(&tenant_queues, jobs).await,
            result => conclude(self, jobs, result).await,
        }
    }
}

impl SharedWriter {
    async fn tenant_by_tenant(&mut self, tenant_queues: &Arc<TenantQueues>, jobs: Vec<Job>) {
        let mut tenants: BTreeMap<String, Vec<Job>> = BTreeMap::new();
        for job in jobs {
            tenants.entry(job.tenant().to_owned()).or_default().push(job);
        }
        let is_alone = tenants.len() == 1;
        for (tenant, jobs) in tenants {
            let result = match is_alone {
                true => Err(StoreError::Locked),
                false => self.carry_out(&jobs).await,
            };
            match result {
                Err(StoreError::Locked) => tenant_queues.open(tenant, jobs),
                result => conclude(self, jobs, result).await,
            }
        }
    }
}
