//! Looks at each tenant regularly, and reminds its admins of what they have to see to. What is due is the core's to
//! say; each tenant is looked at by one replica at a time.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::TenantId;
use rollcall_core::reminder::matters::matters;
use rollcall_core::reminder::{Matter, due};
use rollcall_core::security_review::Facts;
use rollcall_store::{Reminders, StoreError};
use tokio::time::Instant;

use crate::report::{News, Readers};
use crate::worker::Worker;

/// Time between two looks at one tenant.
const INTERVAL: TimeDelta = TimeDelta::hours(1);
/// Tenants that are looked at before the clock is asked again.
const TENANTS: u32 = 10;
/// How long this may keep the scheduler. The remaining tenants wait for the next tick.
const SLICE: Duration = Duration::from_secs(2);

impl Worker {
    /// Reminds the admins of the tenants whose look is due.
    ///
    /// # Errors
    /// What the store says. A tenant that was not looked at because of the error is due again an hour later.
    pub(crate) async fn remind(&self, now: DateTime<Utc>) -> Result<(), StoreError> {
        if self.smtp.is_none() {
            return Ok(());
        }
        let begin = Instant::now();
        while begin.elapsed() < SLICE && !self.stop.is_cancelled() {
            let tenants = self
                .store
                .claim_reminder_looks(TENANTS, now + INTERVAL, now)
                .await?;
            if tenants.is_empty() {
                break;
            }
            for tenant in tenants {
                match self.remind_people_of(&tenant, now).await {
                    // The tenant was deleted meanwhile.
                    Err(StoreError::NotFound(_)) => {}
                    looked => looked?,
                }
            }
        }
        Ok(())
    }

    async fn remind_people_of(&self, tenant: &TenantId, now: DateTime<Utc>) -> Result<(), StoreError> {
        let reviewed = self.reviewed(tenant).await?;
        let facts = Facts {
            idle: None,
            egress_addresses: &self.egress_addresses,
            directories: &reviewed.directories,
            user_syncs: &reviewed.user_syncs,
            last_review: reviewed.last.as_ref().map(|last| last.time),
            bind_password_age: self.settings.review.bind_password_age,
            review_interval: self.settings.review.interval,
        };
        let readers = Readers {
            tenant,
            directories: &reviewed.directories,
            user_syncs: &reviewed.user_syncs,
        };
        // A matter that nobody can be told of now is told as soon as there is an address.
        let mut matters = matters(&facts, now);
        matters.retain(|matter| !readers.of(&matter.subject).is_empty());
        let before = self.store.reminders(tenant).await?;
        let due = due(&matters, &before.known, before.week, now);
        let begun: Vec<&Matter> = due.begun.iter().filter_map(|index| matters.get(*index)).collect();
        let news = News {
            begun,
            ended: &due.ended,
            summary: due.summary.then_some(matters.as_slice()),
        };
        let mut after = Reminders {
            known: due.remembered,
            week: due.week,
        };
        after.known.sort_by(|one, other| one.key.cmp(&other.key));
        if after == before {
            return Ok(());
        }
        let mailings = self.reports().of_reminders(&readers, &news, now).await?;
        if !self.store.remind(tenant, &after, &mailings, now).await? {
            tracing::warn!(%tenant, "reminders wait for another day: the tenant's budget of mails is used up");
        }
        Ok(())
    }
}
