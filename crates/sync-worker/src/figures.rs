//! Tells how the deployment stands, for alerts: the same from every worker.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_metrics::metrics;
use rollcall_store::Figures;

use crate::worker::Worker;

/// How often the store is asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// A user sync is late if it should have begun so long ago.
const LATE: TimeDelta = TimeDelta::hours(1);

/// Asks until the process is to stop.
pub(crate) async fn keep_telling(worker: Worker) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    while worker.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = worker.now();
        match worker.store.figures(now - LATE).await {
            Ok(figures) => tell(&figures, now),
            Err(error) => tracing::debug!(%error, "how the deployment stands could not be read"),
        }
    }
}

fn tell(figures: &Figures, now: DateTime<Utc>) {
    let age = |time: Option<DateTime<Utc>>| time.map_or(0.0, |time| (now - time).as_seconds_f64().max(0.0));
    let metrics = metrics();
    metrics.runs_held.set(figures.held);
    metrics.user_syncs_enabled.set(figures.scheduled);
    metrics.user_syncs_late.set(figures.late);
    metrics.user_syncs_never_successful.set(figures.never);
    metrics
        .user_sync_oldest_success_seconds
        .set(age(figures.oldest_success));
    metrics.mails_waiting.set(figures.mails);
    metrics.mail_oldest_waiting_seconds.set(age(figures.oldest_mail));
    metrics
        .deployment_figures_time_seconds
        .set((now - DateTime::UNIX_EPOCH).as_seconds_f64());
}
