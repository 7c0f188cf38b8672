//! How a batch of jobs is decided: from the counters and the targets as the database has them now. Does no I/O.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};

use crate::audit::NewAuditEvent;
use crate::login::finish::{FinishLogin, FinishOutcome};
use crate::login::job::{Job, JobOutcome};
use crate::login::soft_lock::counters::Counters;
use crate::login::target::LoginTarget;

/// What was read to decide a batch of jobs.
pub(super) struct Snapshot {
    /// The database's time.
    pub(super) now: DateTime<Utc>,
    pub(super) counters: Counters,
    /// The targets that are not what a job expects, as they are now; `None` if the user is gone.
    pub(super) changed: HashMap<(TenantId, UserId), Option<LoginTarget>>,
}

impl Snapshot {
    /// True if every counter exists that a reservation takes a slot of. On PostgreSQL a row that does not exist cannot be
    /// locked.
    pub(super) fn has_all_counters(&self, jobs: &[Job]) -> bool {
        jobs.iter()
            .all(|job| job.reserved().iter().all(|key| self.counters.has(key)))
    }

    /// Decides each job and changes the counters accordingly. Returns the outcomes and the events to audit, without
    /// those of refusals.
    pub(super) fn decide<'j>(&mut self, jobs: &'j [Job]) -> (Vec<JobOutcome>, Vec<&'j NewAuditEvent>) {
        let mut events = Vec::new();
        let outcomes = jobs.iter().map(|job| match job {
            Job::Reserve {
                tenant, reservations, ..
            } => JobOutcome::Reserved(self.counters.reserve(tenant, reservations, self.now)),
            Job::Finish { finish, .. } => {
                let outcome = self.compare(finish);
                if !matches!(outcome, FinishOutcome::TargetChanged(_)) {
                    self.settle(finish);
                    events.push(&finish.audit);
                }
                JobOutcome::Finished(outcome)
            }
            Job::Refuse { .. } => JobOutcome::Refused,
        });
        (outcomes.collect(), events)
    }

    fn compare(&self, finish: &FinishLogin) -> FinishOutcome {
        let Some(expected) = &finish.expect else {
            return FinishOutcome::Unchanged;
        };
        match self.changed.get(&expected.user_key()) {
            None => FinishOutcome::Unchanged,
            Some(Some(now)) if now == expected => FinishOutcome::Unchanged,
            Some(Some(now)) if now.decides_like(expected) => {
                FinishOutcome::UserChanged(Box::new(now.user.clone()))
            }
            Some(now) => FinishOutcome::TargetChanged(now.clone().map(Box::new)),
        }
    }

    fn settle(&mut self, finish: &FinishLogin) {
        let Some(tenant) = &finish.tenant else {
            return;
        };
        self.counters.settle(tenant, &finish.slots, finish.settlement);
        if let Some(user_at) = &finish.proven_at {
            self.counters.prove(tenant, user_at, self.now);
        }
    }
}
