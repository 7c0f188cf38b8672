//! Tells how the deployment stands, for alerts: the same from every worker.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_metrics::metrics;
use rollcall_store::{Figures, FiguresAsked, StoreError};

use crate::worker::Worker;

/// How often the store is asked.
const INTERVAL: Duration = Duration::from_secs(30);
/// How many looks pass before the figures that must be counted one by one are counted again.
const LOOKS_UNTIL_COUNTED: u32 = 120;
/// A user sync is late if its run should have begun this long ago.
const LATE: TimeDelta = TimeDelta::hours(1);

/// Asks until the process is to stop.
pub(crate) async fn keep_telling(worker: Worker) {
    let mut ticks = tokio::time::interval(INTERVAL);
    ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
    let old = TimeDelta::from_std(worker.settings.review.bind_password_age).unwrap_or(TimeDelta::MAX);
    let mut until_counted = 0;
    while worker.stop.run_until_cancelled(ticks.tick()).await.is_some() {
        let now = worker.now();
        let asked = FiguresAsked {
            due: now - LATE,
            password_set: now.checked_sub_signed(old).unwrap_or(DateTime::UNIX_EPOCH),
        };
        let told = async {
            tell(&worker.store.figures(asked).await?, now);
            if until_counted == 0 {
                let scheduled = worker.store.scheduled_user_syncs().await?;
                metrics().user_syncs_enabled.set(scheduled);
                until_counted = LOOKS_UNTIL_COUNTED;
            }
            until_counted -= 1;
            Ok::<(), StoreError>(())
        };
        if let Err(error) = told.await {
            tracing::debug!(%error, "how the deployment stands could not be read");
        }
    }
}

fn tell(figures: &Figures, now: DateTime<Utc>) {
    let age = |time: Option<DateTime<Utc>>| time.map_or(0.0, |time| (now - time).as_seconds_f64().max(0.0));
    let metrics = metrics();
    metrics.runs_held.set(figures.held);
    metrics.user_syncs_late.set(figures.late);
    metrics.user_syncs_never_successful.set(figures.never);
    metrics
        .user_sync_oldest_success_seconds
        .set(age(figures.oldest_success));
    metrics.mails_waiting.set(figures.mails);
    metrics.mail_oldest_waiting_seconds.set(age(figures.oldest_mail));
    metrics.bind_passwords_old.set(figures.old_passwords);
    metrics
        .bind_password_oldest_seconds
        .set(age(figures.oldest_password));
    metrics
        .deployment_figures_time_seconds
        .set((now - DateTime::UNIX_EPOCH).as_seconds_f64());
}
