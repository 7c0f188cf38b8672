//! Turns: only so many runs read one directory at a time, in all replicas together. A customer's directory has
//! other work to do, and one tenant's many user syncs must not fill a worker. Nothing is written under a turn,
//! so one that was lost by a frozen process costs the directory some load and nobody else anything.

use std::time::Duration;

use rollcall_store::{LeaseName, LeaseToken, Store, StoreError};
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval, sleep};

use super::executor::{Executor, Job};
use super::stop::Stop;

/// How often a run that waits looks whether a turn is free.
const POLL: Duration = Duration::from_secs(1);

/// One of a directory's turns, held until it is ended or dropped.
pub(super) struct Turn {
    store: Store,
    lease: LeaseToken,
    renewing: JoinHandle<()>,
}

impl Turn {
    fn hold(store: Store, lease: LeaseToken, ttl: Duration) -> Self {
        let (renewed, held) = (store.clone(), lease.clone());
        let renewing = tokio::spawn(async move {
            let mut ticks = interval(ttl / 3);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                match renewed.heartbeat_lease(&held, ttl).await {
                    Err(StoreError::LeaseLost) => return,
                    Err(error) => tracing::debug!(%error, "a turn could not be renewed"),
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
    pub(super) async fn end(self) {
        self.renewing.abort();
        if let Err(error) = self.store.release_lease(&self.lease).await {
            tracing::debug!(%error, "a turn ends by itself");
        }
    }
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.renewing.abort();
    }
}

/// Waits for a turn to read the run's directory.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn turn(x: &Executor, job: &Job) -> Result<Turn, Stop> {
    // Only which directory it is: the rest may change while the run waits.
    let directory = x.sync(job).await?.settings.directory;
    let ttl = x.limits.lease_ttl;
    loop {
        x.keep_going(job).await?;
        for number in 0..x.limits.per_directory {
            let name = LeaseName::turn(&job.key.tenant, &directory, number);
            if let Some(lease) = x.store.acquire_lease(&name, &x.holder, ttl).await? {
                return Ok(Turn::hold(x.store.clone(), lease, ttl));
            }
        }
        sleep(POLL).await;
    }
}
