//! Which runs are worked on now; the others wait. A run reads its directory under a permit of the directory, of which there
//! are few in all replicas together: a customer's directory has other work to do, and one tenant's many user syncs must not
//! fill a worker. Then it is worked on under a permit of this worker. In this order: who has a permit of the worker must not
//! wait for a busy directory.
//!
//! Nothing is written under a permit of a directory, so one that was lost by a frozen process costs the directory some load
//! and nobody else anything.

use std::time::Duration;

use rollcall_store::{LeaseName, LeaseToken, RunHandle, Store, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep, timeout};

use super::executor::Executor;
use super::permits::WorkerPermit;
use super::stop::Stop;

/// The run may read its directory and plan.
pub(super) struct MayPull {
    directory: DirectoryPermit,
    worker: WorkerPermit,
}

/// The plan of the run may be applied.
pub(super) struct MayApply {
    _worker: WorkerPermit,
}

impl MayPull {
    /// Others may read the directory as soon as the plan is made; the permit of the worker is kept for applying it.
    pub(super) async fn planned(self) -> MayApply {
        self.directory.end().await;
        MayApply { _worker: self.worker }
    }
}

/// Waits until the run may read its directory.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn admit_to_pull(x: &Executor, job: &RunHandle) -> Result<MayPull, Stop> {
    let directory = directory_permit(x, job).await?;
    match worker_permit(x, job).await {
        Ok(worker) => Ok(MayPull { directory, worker }),
        Err(stop) => {
            directory.end().await;
            Err(stop)
        }
    }
}

/// Waits until a plan that was made before may be applied.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn admit_to_apply(x: &Executor, job: &RunHandle) -> Result<MayApply, Stop> {
    Ok(MayApply {
        _worker: worker_permit(x, job).await?,
    })
}

async fn worker_permit(x: &Executor, job: &RunHandle) -> Result<WorkerPermit, Stop> {
    loop {
        x.keep_going(job).await?;
        if let Ok(Ok(permit)) = timeout(POLL, x.permits.take(&job.key.tenant)).await {
            return Ok(permit);
        }
    }
}

async fn directory_permit(x: &Executor, job: &RunHandle) -> Result<DirectoryPermit, Stop> {
    // Only which directory it is: the rest may change while the run waits.
    let directory = x.sync(job).await?.settings.directory;
    let ttl = x.limits.lease_ttl;
    loop {
        x.keep_going(job).await?;
        for number in 0..x.limits.per_directory {
            let name = LeaseName::directory_permit(&job.key.tenant, &directory, number);
            if let Some(lease) = x.store.acquire_lease(&name, &x.holder, ttl).await? {
                return Ok(DirectoryPermit::hold(x.store.clone(), lease, ttl));
            }
        }
        sleep(POLL).await;
    }
}

/// How often a run that waits looks whether a permit is free.
const POLL: Duration = Duration::from_secs(1);

/// One of a directory's permits, held until it is ended or dropped.
struct DirectoryPermit {
    store: Store,
    lease: LeaseToken,
    renewing: JoinHandle<()>,
}

impl DirectoryPermit {
    fn hold(store: Store, lease: LeaseToken, ttl: Duration) -> Self {
        let (renewed, held) = (store.clone(), lease.clone());
        let renewing = tokio::spawn(async move {
            let mut ticks = interval(ttl / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match renewed.heartbeat_lease(&held, ttl).await {
                    Err(StoreError::LeaseLost) => return,
                    Err(error) => tracing::debug!(%error, "a permit could not be renewed"),
                    Ok(()) => {}
                }
            }
        });
        Self {
            store,
            lease,
            renewing,
        }
    }

    /// Lets the next run have it.
    async fn end(self) {
        self.renewing.abort();
        if let Err(error) = self.store.release_lease(&self.lease).await {
            tracing::debug!(%error, "a permit ends by itself");
        }
    }
}

impl Drop for DirectoryPermit {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}
