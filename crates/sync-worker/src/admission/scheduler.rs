//! What happens without a call: due user syncs are started, runs of dead workers taken over, waiting plans
//! expire, and old things go. Every replica does all of this; the store sees to it that each thing happens
//! once.

use std::collections::HashMap;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use chrono::{DateTime, TimeDelta, Utc};
use futures::FutureExt;
use parking_lot::Mutex;
use rollcall_core::audit::AskedBy;
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::run::RunTrigger;
use tokio::sync::Notify;
use tokio::time::MissedTickBehavior;

use crate::retention::Retention;
use crate::run::per_tenant;
use crate::worker::Worker;

/// Time between two looks for schedules that a clock that was ahead has made.
const LOOK_AGAIN: TimeDelta = TimeDelta::hours(1);

/// The scheduler of one process.
pub struct Scheduler {
    worker: Worker,
    /// Runs that it started and that have not ended, by tenant.
    running: Arc<Mutex<HashMap<TenantId, usize>>>,
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
            worker,
            running: Arc::default(),
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

    /// Does what there is to do now. What goes wrong is logged, and tried again by the next tick.
    pub async fn tick(&mut self) {
        let now = self.worker.now();
        let taken = self.worker.engine.recover().await;
        note("take over abandoned runs", taken.map(|_| ()));
        note("expire plans", self.worker.engine.expire().await);
        self.worker.directories.sweep();
        // Whoever has seen to it may be gone with its wrong clock.
        let looked_lately = self
            .last_look
            .is_some_and(|last| last <= now && now - last < LOOK_AGAIN);
        if !looked_lately {
            note("bring schedules forward", self.worker.bring_forward().await);
            self.last_look = Some(now);
        }
        self.start_more().await;
        let swept = self.worker.sweep_after_erasures(now).await;
        note("look after people who were erased", swept.map_err(Into::into));
        note(
            "delete what is too old",
            self.retention.work(now).await.map_err(Into::into),
        );
    }

    /// What waited for a run to end need not wait for the next tick.
    async fn start_more(&self) {
        if self.worker.settings.scheduler.enabled {
            note("start due user syncs", self.start_due(self.worker.now()).await);
        }
    }

    /// Starts as many due user syncs as there is room for. What was missed is caught up once.
    async fn start_due(&self, now: DateTime<Utc>) -> Result<(), Error> {
        let limits = &self.worker.settings.runs;
        let running = self.running.lock().values().sum();
        let room = limits.concurrent.saturating_sub(running);
        let room = u32::try_from(room).unwrap_or(u32::MAX);
        if room == 0 {
            return Ok(());
        }
        for sync in self
            .worker
            .store
            .due_user_syncs(now, limits.per_directory, room)
            .await?
        {
            // Others of its tenant would only wait for it, and keep those of other tenants from starting.
            let Some(running) = Running::begin(&self.running, &sync.tenant, per_tenant(limits.concurrent))
            else {
                continue;
            };
            let key = sync.key();
            match self
                .worker
                .start_due(&sync, RunTrigger::Schedule, &AskedBy::default())
                .await
            {
                Ok(Some(run)) => {
                    let engine = self.worker.engine.clone();
                    let run_ended = Arc::clone(&self.run_ended);
                    tokio::spawn(async move {
                        note("wait for a run", engine.wait(&key, run.id).await.map(|_| ()));
                        drop(running);
                        run_ended.notify_one();
                    });
                }
                Ok(None) => {}
                Err(error) => {
                    tracing::warn!(user_sync = %key, reason = error.reason.as_str(), %error, "a due run was not started");
                }
            }
        }
        Ok(())
    }
}

/// A run that a scheduler started, until it is dropped.
struct Running {
    all: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl Running {
    /// `None` if the tenant has so many already.
    fn begin(all: &Arc<Mutex<HashMap<TenantId, usize>>>, tenant: &TenantId, limit: usize) -> Option<Self> {
        let mut runs = all.lock();
        let of_tenant = runs.entry(tenant.clone()).or_default();
        if *of_tenant >= limit {
            return None;
        }
        *of_tenant += 1;
        Some(Self {
            all: Arc::clone(all),
            tenant: tenant.clone(),
        })
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let mut runs = self.all.lock();
        if let Some(count) = runs.get_mut(&self.tenant) {
            *count -= 1;
        }
        runs.retain(|_, count| *count > 0);
    }
}

fn note(what: &'static str, result: Result<(), Error>) {
    if let Err(error) = result {
        let cause = error.source.as_ref().map(ToString::to_string).unwrap_or_default();
        tracing::warn!(what, reason = error.reason.as_str(), %error, cause, "the scheduler could not do this");
    }
}
