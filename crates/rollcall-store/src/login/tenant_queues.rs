//! Separate queues on PostgreSQL for tenants whose rows another session holds. No other tenant waits for
//! them, and they wait for no other tenant.

use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::sync::mpsc::{self, Receiver, Sender};
use tokio::task::JoinSet;
use tokio::time::{Instant, timeout};

use crate::db::batcher::{BatchHandler, MAX_BATCH, conclude};
use crate::db::database::Database;
use crate::error::StoreError;
use crate::login::commits::Commits;
use crate::login::job::Job;

/// How long a queue waits for a row. It is much shorter than a login may take, so that the caller still gets an answer.
const PATIENCE: &str = "2s";
/// Most queues of a process, since each has a connection. The jobs of a further tenant fail at once.
pub(super) const MAX_TENANT_QUEUES: u32 = 4;
/// After a failure a queue stays open for this long, so that the tenant's next job does not make all others wait again.
const KEPT_OPEN: Duration = Duration::from_secs(5);

/// The queues of a process.
pub(super) struct TenantQueues {
    database: Arc<Database>,
    queues: Mutex<HashMap<String, TenantQueue>>,
    tasks: Mutex<JoinSet<()>>,
}

enum TenantQueue {
    Open(Sender<Job>),
    /// No queue was free.
    Full {
        until: Instant,
    },
}

impl TenantQueues {
    pub(super) fn new(database: Arc<Database>) -> Arc<Self> {
        Arc::new(Self {
            database,
            queues: Mutex::default(),
            tasks: Mutex::default(),
        })
    }

    /// Takes the jobs of tenants that have a queue, and returns those of all others.
    pub(super) fn take_theirs(&self, jobs: Vec<Job>) -> Vec<Job> {
        let mut queues = self.queues.lock();
        if queues.is_empty() {
            return jobs;
        }
        let now = Instant::now();
        queues.retain(|_, queue| !matches!(queue, TenantQueue::Full { until } if *until <= now));
        let mut others = Vec::with_capacity(jobs.len());
        for job in jobs {
            match queues.get(job.tenant()) {
                None => others.push(job),
                Some(queue) => queue.send(job),
            }
        }
        others
    }

    /// Opens a queue for a tenant, with these jobs to begin with.
    pub(super) fn open(self: &Arc<Self>, tenant: String, jobs: Vec<Job>) {
        let mut queues = self.queues.lock();
        let is_full = queues.len() >= MAX_TENANT_QUEUES as usize;
        let queue = match queues.entry(tenant) {
            // Logins and refusals may find out at the same time.
            Entry::Occupied(open) => open.into_mut(),
            Entry::Vacant(entry) if is_full => {
                tracing::error!(
                    tenant = entry.key(),
                    "too many tenants' logins wait for rows that other sessions hold"
                );
                let until = Instant::now() + KEPT_OPEN;
                entry.insert(TenantQueue::Full { until })
            }
            Entry::Vacant(entry) => {
                tracing::warn!(
                    tenant = entry.key(),
                    "another session holds rows of this tenant's logins: they wait, and nobody else does"
                );
                let (sender, incoming) = mpsc::channel(MAX_BATCH * 4);
                let work = work(Arc::clone(self), entry.key().clone(), incoming);
                let mut tasks = self.tasks.lock();
                while tasks.try_join_next().is_some() {}
                tasks.spawn(work);
                entry.insert(TenantQueue::Open(sender))
            }
        };
        for job in jobs {
            queue.send(job);
        }
    }

    /// Waits for the jobs in the queues. Call it once nothing opens queues any more.
    pub(super) async fn end(&self) {
        self.queues.lock().clear();
        let tasks = std::mem::take(&mut *self.tasks.lock());
        tasks.join_all().await;
    }
}

impl TenantQueue {
    fn send(&self, job: Job) {
        let refused = match self {
            TenantQueue::Open(sender) => sender
                .try_send(job)
                .err()
                .map(mpsc::error::TrySendError::into_inner),
            TenantQueue::Full { .. } => Some(job),
        };
        if let Some(job) = refused {
            job.answer(Err(StoreError::Locked));
        }
    }
}

/// Does the jobs of one tenant, until there are none.
async fn work(queues: Arc<TenantQueues>, tenant: String, mut incoming: Receiver<Job>) {
    let mut commits = Commits::new(queues.database.clone(), PATIENCE);
    let mut jobs = Vec::new();
    let mut failed = false;
    loop {
        if failed {
            let _ = timeout(KEPT_OPEN, incoming.recv_many(&mut jobs, MAX_BATCH)).await;
        }
        while jobs.len() < MAX_BATCH
            && let Ok(job) = incoming.try_recv()
        {
            jobs.push(job);
        }
        if !jobs.is_empty() {
            let batch = std::mem::take(&mut jobs);
            let result = commits.carry_out(&batch).await;
            failed = matches!(result, Err(StoreError::Locked));
            conclude(&mut commits, batch, result).await;
            continue;
        }
        let mut queues = queues.queues.lock();
        if incoming.is_empty() {
            queues.remove(&tenant);
            return;
        }
    }
}
