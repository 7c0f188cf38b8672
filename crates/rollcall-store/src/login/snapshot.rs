//! How a batch of jobs is decided: from the counters and the targets as the database has them now. Does no I/O.

use std::collections::HashMap;

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::last_login;

use crate::audit::NewAuditEvent;
use crate::login::finish::{FinishLogin, FinishOutcome};
use crate::login::job::{Job, JobOutcome};
use crate::login::last_logins::Noted;
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

/// What was decided about a batch of jobs.
pub(super) struct Decided<'j> {
    pub(super) outcomes: Vec<JobOutcome>,
    /// The events to be audited, without those of refusals.
    pub(super) events: Vec<&'j NewAuditEvent>,
    /// The logins to be noted as the last ones of their users.
    pub(super) logins: Noted,
}

impl Snapshot {
    /// True if every counter exists of which a reservation takes a slot. On PostgreSQL a row that does not exist cannot
    /// be locked.
    pub(super) fn has_all_counters(&self, jobs: &[Job]) -> bool {
        jobs.iter()
            .all(|job| job.reserved().iter().all(|key| self.counters.has(key)))
    }

    /// Decides each job and changes the counters accordingly.
    pub(super) fn decide<'j>(&mut self, jobs: &'j [Job]) -> Decided<'j> {
        let (mut events, mut logins) = (Vec::new(), Noted::new());
        let outcomes = jobs.iter().map(|job| match job {
            Job::Reserve {
                tenant, reservations, ..
            } => JobOutcome::Reserved(self.counters.reserve(tenant, reservations, self.now)),
            Job::Finish { finish, .. } => {
                let outcome = self.compare(finish);
                if !matches!(outcome, FinishOutcome::TargetChanged(_)) {
                    self.settle(finish);
                    events.push(&finish.audit);
                    logins.extend(self.first_of_hour(finish));
                }
                JobOutcome::Finished(outcome)
            }
            Job::Refuse { .. } => JobOutcome::Refused,
        });
        Decided {
            outcomes: outcomes.collect(),
            events,
            logins,
        }
    }

    /// The login to note, if it succeeded and its user's last noted login is long enough ago.
    fn first_of_hour(&self, finish: &FinishLogin) -> Option<((TenantId, UserId), DateTime<Utc>)> {
        let target = finish.expect.as_ref()?;
        last_login::is_due(target.last_login_time, self.now).then(|| (target.user_key(), self.now))
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
