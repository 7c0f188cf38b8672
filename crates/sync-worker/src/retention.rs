//! Deletes what is old: in one replica at a time, and a little at a time, since the scheduler has more to do.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_store::{Kept, LeaseName, StoreError, Sweep};
use tokio::time::Instant;

use crate::config::Retention as Retained;
use crate::worker::Worker;

/// Time between two clean-ups.
const INTERVAL: Duration = Duration::from_secs(3600);
/// How long a clean-up may keep the scheduler. The rest waits for the next tick.
const SLICE: Duration = Duration::from_secs(2);
/// A worker that has not finished a slice by then is gone.
const LEASE: Duration = Duration::from_secs(600);
/// How much the clocks of hosts may differ.
const MAX_CLOCK_DIFFERENCE: TimeDelta = TimeDelta::hours(1);
/// The clean-up of one process.
pub(crate) struct Retention {
    worker: Worker,
    finished: Option<Instant>,
}

impl Retention {
    pub(crate) fn new(worker: Worker) -> Self {
        Self {
            worker,
            finished: None,
        }
    }

    /// Deletes what is too old at `now`, for a short while, if a clean-up is due. Does nothing if this clock is far
    /// from the database's: a clock that is a year ahead for a moment would delete everything.
    ///
    /// # Errors
    /// What the store says; the next call tries again.
    pub(crate) async fn work(&mut self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if self
            .finished
            .is_some_and(|finished| finished.elapsed() < INTERVAL)
        {
            return Ok(());
        }
        let store = &self.worker.store;
        let ahead = store.time().await?.map_or(TimeDelta::zero(), |right| now - right);
        if ahead.abs() > MAX_CLOCK_DIFFERENCE {
            tracing::error!(
                minutes = ahead.num_minutes(),
                "the clock of this host is far from the database's; nothing is deleted until they agree"
            );
            return Ok(());
        }
        let name = LeaseName::job("retention");
        let Some(lease) = store.acquire_lease(&name, "scheduler", LEASE).await? else {
            return Ok(());
        };
        let finished = self.delete(now).await;
        store.release_lease(&lease).await?;
        if finished? {
            self.finished = Some(Instant::now());
        }
        Ok(())
    }

    /// True if nothing is left to delete.
    async fn delete(&self, now: DateTime<Utc>) -> Result<bool, StoreError> {
        let store = &self.worker.store;
        let Retained { runs, events, audit } = self.worker.settings.retention;
        let kept = Kept { runs, events, audit };
        let begin = Instant::now();
        let mut all = 0;
        let finished = loop {
            let mut deleted = self.worker.erase_left(now).await?;
            for &sweep in Sweep::ALL {
                deleted += store.sweep(sweep, &kept, now).await?;
            }
            all += deleted;
            if deleted == 0 {
                break true;
            }
            if begin.elapsed() >= SLICE || self.worker.stop.is_cancelled() {
                break false;
            }
        };
        if all > 0 {
            tracing::info!(deleted = all, "deleted what is too old");
        }
        Ok(finished)
    }
}
