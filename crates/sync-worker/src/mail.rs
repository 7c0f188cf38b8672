//! Sends the mails of the outbox.
//!
//! A replica claims a mail for longer than its delivery may take, so that no other sends it. If the sender dies, the
//! mail is due again, and may then arrive twice, with the same `Message-ID`. Addresses and texts are never logged.

mod message;
mod settings;
mod smtp;

use std::time::Duration;

use futures::future::join_all;
use rollcall_metrics::{SentMail, metrics};
use rollcall_runtime::clock::Clock;
use rollcall_store::{ClaimedMail, Store, StoreError};
use tokio::time::MissedTickBehavior;
use tokio_util::sync::CancellationToken;

pub use settings::{Mail, MailLimits, Security};
pub use smtp::Smtp;

/// Mails that are sent at a time.
const BATCH: u32 = 8;
/// How long a replica's claim on a mail holds; longer than any delivery, whose limit is `mail.timeout`.
const CLAIM: Duration = Duration::from_secs(600);
/// Longest pause between two attempts.
const MAX_PAUSE: Duration = Duration::from_secs(3600);

/// Sends mails.
pub(crate) struct Sender {
    pub(crate) store: Store,
    pub(crate) smtp: Smtp,
    pub(crate) clock: Clock,
    pub(crate) poll_interval: Duration,
    pub(crate) retry_interval: Duration,
    pub(crate) max_attempts: u32,
}

impl Sender {
    /// Sends what is due until the process is to stop. A delivery under way is finished.
    pub(crate) async fn run(self, stop: CancellationToken) {
        let mut ticks = tokio::time::interval(self.poll_interval);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        while stop.run_until_cancelled(ticks.tick()).await.is_some() {
            if let Err(error) = self.send_due(&stop).await {
                tracing::warn!(%error, "the outbox could not be read");
            }
        }
    }

    /// Sends what is due now; what fails is due again later.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn send_due(&self, stop: &CancellationToken) -> Result<(), StoreError> {
        while !stop.is_cancelled() {
            let claimed = self.store.claim_mail(BATCH, CLAIM, self.clock.now()).await?;
            if claimed.is_empty() {
                break;
            }
            let results = join_all(claimed.into_iter().map(|mail| self.deliver(mail))).await;
            results.into_iter().collect::<Result<(), _>>()?;
        }
        Ok(())
    }

    async fn deliver(&self, mail: ClaimedMail) -> Result<(), StoreError> {
        let (position, tenant, attempts) = (mail.position, &mail.tenant, mail.attempts);
        let problem = match self.smtp.send(&mail.mail, self.clock.now()).await {
            Ok(()) => {
                metrics().mails_sent.count(SentMail::Sent);
                tracing::info!(mail = position, %tenant, "a mail was sent");
                return self.store.finish_mail(position).await;
            }
            Err(problem) => problem,
        };
        if problem.is_final() || attempts >= self.max_attempts {
            metrics().mails_sent.count(SentMail::GivenUp);
            tracing::error!(mail = position, %tenant, attempts, %problem, "a mail was given up");
            return self.store.finish_mail(position).await;
        }
        metrics().mails_sent.count(SentMail::Deferred);
        let pause = pause_after(attempts, self.retry_interval);
        tracing::warn!(mail = position, %tenant, attempts, %problem, ?pause, "a mail could not be sent; it will be tried again");
        self.store.postpone_mail(position, self.clock.now() + pause).await
    }
}

/// How long to wait after so many attempts: twice as long each time.
fn pause_after(attempts: u32, first: Duration) -> Duration {
    let doublings = attempts.saturating_sub(1).min(16);
    first.saturating_mul(1 << doublings).min(MAX_PAUSE)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pauses_double_up_to_a_bound() {
        let first = Duration::from_secs(60);
        let pauses = [1, 2, 3, 6, 7, 100, u32::MAX].map(|attempts| pause_after(attempts, first).as_secs());
        assert_eq!(pauses, [60, 120, 240, 1920, 3600, 3600, 3600]);
    }
}
