//! What happens without a call: due user syncs are started, runs of dead workers taken over, waiting plans expire, and
//! old data is deleted. Every replica does all of this; the store makes sure that each thing happens once.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use rollcall_core::audit::AskedBy;
use rollcall_core::error::Error;
use rollcall_core::run::RunTrigger;
use rollcall_core::user_sync::UserSync;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use super::due::Running;
use super::due_permits::{DuePermit, DuePermits};
use crate::retention::Retention;
use crate::worker::Worker;

/// Time between two searches for next times that a clock which was ahead has set.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);

/// How many more tenants are looked at than can have runs under way.
const MORE_TENANTS: u32 = 32;

/// The scheduler of one process.
pub struct Scheduler {
    worker: Worker,
    /// Each run that it started and that has not ended takes one.
    permits: DuePermits,
    run_ended: Arc<Notify>,
    retention: Retention,
    /// When schedules were last brought forward.
    last_look: Option<DateTime<Utc>>,
}

impl Scheduler {
    /// A scheduler that has done nothing yet.
    pub fn new(worker: Worker) -> Self {
        Self {
            retention: Retention::new(worker.clone()),
            permits: DuePermits::new(worker.settings.runs.concurrent),
            worker,
            run_ended: Arc::default(),
            last_look: None,
        }
    }

    /// Works until the process is to stop.
    pub async fn run(mut self) {
        let stop = self.worker.stop.clone();
        let mut ticks = tokio::time::interval(self.worker.settings.scheduler.interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let run_ended = Arc::clone(&self.run_ended);
        loop {
            let is_tick = tokio::select! {
                () = stop.cancelled() => return,
                _ = ticks.tick() => true,
                () = run_ended.notified() => false,
            };
            let work = async {
                match is_tick {
                    true => self.tick().await,
                    false => self.start_more().await,
                }
            };
            // A defect in one tick must not end all of them.
            if AssertUnwindSafe(work).catch_unwind().await.is_err() {
                tracing::error!("the scheduler broke; it goes on with its next tick");
            }
        }
    }

    /// Does what there is to do now. An error is logged, and the next tick tries again.
    pub async fn tick(&mut self) {
        let now = self.worker.now();
        let taken = self.worker.engine.recover().await;
        note("take over abandoned runs", taken.map(|_| ()));
        note("expire plans", self.worker.engine.expire().await);
        self.worker.directories.sweep();
        // Another process may have looked meanwhile, but it may be gone, and its wrong clock with it.
        let looked_lately = self
            .last_look
            .is_some_and(|last| last <= now && now - last < LOOK_AGAIN);
        if !looked_lately {
            note("bring schedules forward", self.worker.bring_forward().await);
            self.last_look = Some(now);
        }
        self.start_more().await;
        note(
            "remind people of what is due",
            self.worker.remind(now).await.map_err(Into::into),
        );
        let swept = self.worker.sweep_after_erasures(now).await;
        note("look after people who were erased", swept.map_err(Into::into));
        note(
            "delete what is too old",
            self.retention.work(now).await.map_err(Into::into),
        );
    }

    /// Starts what waited for a run to end, before the next tick.
    async fn start_more(&self) {
        if self.worker.settings.scheduler.enabled {
            note("start due user syncs", self.start_due().await);
        }
    }

    /// Starts as many due user syncs as there is room for. Times that were missed are made up for by one run.
    async fn start_due(&self) -> Result<(), Error> {
        // Each pass asks anew which tenants are next, since others start what is due too.
        while !self.permits.are_full() && self.start_some().await? {}
        Ok(())
    }

    /// Starts one user sync of each tenant that is next. False if there was nothing to start.
    async fn start_some(&self) -> Result<bool, Error> {
        let (store, now) = (&self.worker.store, self.worker.now());
        let mut has_started = false;
        for tenant in store.tenants_in_turn(now, self.portion()).await? {
            if self.permits.are_full() {
                break;
            }
            let Some(permit) = self.permits.take(&tenant) else {
                continue;
            };
            let per_directory = self.worker.settings.runs.per_directory;
            match store.next_due_of(&tenant, now, per_directory).await? {
                Some(sync) => has_started |= self.start(&sync, permit).await,
                None => store.pass_turn(&tenant, now).await?,
            }
        }
        Ok(has_started)
    }

    /// So many tenants that some of them find a permit even if all others have none.
    fn portion(&self) -> u32 {
        u32::try_from(self.worker.settings.runs.concurrent)
            .unwrap_or(u32::MAX)
            .saturating_add(MORE_TENANTS)
    }

    /// False if another process was faster, or the sync cannot be started now.
    async fn start(&self, sync: &UserSync, permit: DuePermit) -> bool {
        let key = sync.key();
        let started = self
            .worker
            .start_due(sync, RunTrigger::Schedule, &AskedBy::default())
            .await;
        match started {
            Ok(Some(Running::Started(underway))) => {
                let engine = self.worker.engine.clone();
                let run_ended = Arc::clone(&self.run_ended);
                tokio::spawn(async move {
                    let waited = engine.wait_for(*underway).await;
                    note("wait for a run", waited.map(|_| ()));
                    drop(permit);
                    run_ended.notify_one();
                });
                true
            }
            // The sync is not due any more.
            Ok(Some(Running::Already(_))) => true,
            Ok(None) => false,
            Err(error) => {
                tracing::warn!(user_sync = %key, reason = error.reason.as_str(), %error, "a due run was not started");
                false
            }
        }
    }
}

fn note(what: &'static str, result: Result<(), Error>) {
    if let Err(error) = result {
        let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(what, reason = error.reason.as_str(), %error, cause, "the scheduler could not do this");
    }
}
