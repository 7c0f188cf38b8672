//! Plans that nobody applied in time.

use rollcall_core::error::Error;
use rollcall_core::run::{RunState, health_after};
use rollcall_store::Mailing;

use crate::run::executor::Executor;
use crate::run::tally;

/// Plans that expire at a time; the rest waits for the next tick.
const BATCH: u32 = 100;

/// Ends plans whose time is over, and tells about those that were held.
///
/// # Errors
/// What the store says.
pub(crate) async fn expire(x: &Executor) -> Result<(), Error> {
    let now = x.clock.now();
    for run in x.store.overdue_runs(now, BATCH).await? {
        let key = &run.user_sync;
        let (mut health, mut mailing) = (None, Mailing::default());
        if run.state == RunState::Held {
            let sync = x.store.user_sync(&key.tenant, &key.user_sync).await?;
            let expired = run.expired(now);
            health = expired
                .as_ref()
                .map(|expired| health_after(expired, &sync.health));
            mailing = x.reports.about(&sync, expired).await;
        }
        x.store
            .expire_run(key, run.id, health.as_ref(), &mailing, now)
            .await?;
        tally::of_end(RunState::Expired);
    }
    Ok(())
}
