//! One run from a worker's side: the lease is renewed while the run is worked on, and every way in which the work can
//! end is handled.

use std::sync::Arc;

use rollcall_core::error::{Error, Reason};
use rollcall_metrics::metrics;
use rollcall_store::{RunHandle, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument;

use super::end::ending::end_early;
use super::executor::{Executor, Phase};
use super::steps::{Lease, work};
use super::stop::Stop;

/// Counts a run as under way while the value lives.
struct Counted;

impl Counted {
    fn new() -> Self {
        metrics().runs_in_progress.inc();
        Self
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        metrics().runs_in_progress.dec();
    }
}

/// Carries a run on until it ends or waits, the lease is lost or the process ends.
pub(super) async fn carry_out(x: Arc<Executor>, job: RunHandle, phase: Phase) {
    let (key, id) = (&job.key, job.id);
    let span = tracing::info_span!("run", run.id = %id, tenant = %key.tenant, user_sync = %key);
    let _counted = Counted::new();
    let (executor, of_work) = (x.clone(), job.clone());
    // Spawned as a task, so that a panic ends only this run.
    let mut work = tokio::spawn(async move { work(&executor, &of_work, phase).await }.instrument(span));
    // The lease was taken a moment ago, so the first renewal can wait.
    let beat = x.limits.lease_ttl / 3;
    let mut heartbeat = tokio::time::interval_at(Instant::now() + beat, beat);
    heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let stopped = loop {
        tokio::select! {
            finished = &mut work => break finished,
            _ = heartbeat.tick() => {}
        }
        match x.store.heartbeat_lease(&job.lease, x.limits.lease_ttl).await {
            Ok(()) => {}
            Err(StoreError::LeaseLost) => {
                tracing::warn!(run.id = %id, "the lease is lost; another worker has the run");
                work.abort();
                metrics().leases_lost.inc();
                x.done_with(id);
                return;
            }
            // While the store is away, renewals fail like all writes. Whether this worker goes on afterwards depends on
            // the lease.
            Err(error) => tracing::warn!(run.id = %id, error = %error, "the lease could not be renewed"),
        }
    };
    let stop = match stopped {
        Ok(Ok(lease)) => Ok(lease),
        Ok(Err(stop)) => Err(stop),
        Err(error) => Err(Stop::Failed(
            Error::new(Reason::Internal, "the run broke").caused_by(error),
        )),
    };
    let lease = match stop {
        Ok(lease) => lease,
        Err(stop) => {
            end_early(&x, &job, stop).await;
            Lease::Held
        }
    };
    if lease == Lease::Held
        && let Err(error) = x.store.release_lease(&job.lease).await
    {
        tracing::debug!(run.id = %id, error = %error, "the lease ends by itself");
    }
    x.done_with(id);
}
