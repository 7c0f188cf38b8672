//! What logins ask the writer to commit.

use rollcall_core::id::TenantId;

use crate::db::batcher::Answer;
use crate::db::pipeline::Durability;
use crate::error::{Result, StoreError};
use crate::login::finish::{FinishLogin, FinishOutcome};
use crate::login::refusals::Refusal;
use crate::login::soft_lock::rows::{Key, key};
use crate::login::soft_lock::{Reservation, Reserved};
use crate::login::target::LoginTarget;

/// Something to commit.
pub(super) enum Job {
    Reserve {
        tenant: TenantId,
        reservations: Vec<Reservation>,
        answer: Answer<Reserved>,
    },
    Finish {
        finish: Box<FinishLogin>,
        answer: Answer<FinishOutcome>,
    },
    Refuse {
        refusal: Box<Refusal>,
        answer: Answer<()>,
    },
}

/// What a job's caller is told after the commit.
pub(super) enum JobOutcome {
    Reserved(Reserved),
    Finished(FinishOutcome),
    Refused,
}

impl Job {
    /// The tenant whose rows the job locks; empty if there is none.
    pub(super) fn tenant(&self) -> &str {
        match self {
            Job::Reserve { tenant, .. } => tenant.as_str(),
            Job::Finish { finish, .. } => finish.tenant.as_ref().map_or("", TenantId::as_str),
            Job::Refuse { refusal, .. } => refusal.tenant(),
        }
    }

    /// The counters that the job reads or changes.
    pub(super) fn keys(&self) -> Vec<Key> {
        let mut keys = self.reserved();
        match self {
            Job::Reserve {
                tenant, reservations, ..
            } => {
                let own = reservations
                    .iter()
                    .filter_map(|reservation| reservation.own.as_ref());
                keys.extend(own.map(|own| key(tenant, &own.subject)));
            }
            Job::Finish { finish, .. } => {
                if let Some(tenant) = &finish.tenant {
                    let held = finish.slots.iter().map(|held| &held.subject);
                    keys.extend(held.chain(&finish.proven_at).map(|subject| key(tenant, subject)));
                }
            }
            Job::Refuse { .. } => {}
        }
        keys
    }

    /// The counters that the job takes slots of, whether they exist or not.
    pub(super) fn reserved(&self) -> Vec<Key> {
        match self {
            Job::Reserve {
                tenant, reservations, ..
            } => reservations
                .iter()
                .map(|reservation| key(tenant, &reservation.subject))
                .collect(),
            Job::Finish { .. } | Job::Refuse { .. } => Vec::new(),
        }
    }

    /// The refusal to count, if the job is one.
    pub(super) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Job::Refuse { refusal, .. } => Some(refusal),
            Job::Reserve { .. } | Job::Finish { .. } => None,
        }
    }

    /// What the job expects to be unchanged.
    pub(super) fn expected(&self) -> Option<&LoginTarget> {
        match self {
            Job::Finish { finish, .. } => finish.expect.as_ref(),
            Job::Reserve { .. } | Job::Refuse { .. } => None,
        }
    }

    /// Answers the caller. The job of a caller that went away is committed all the same.
    pub(super) fn answer(self, result: Result<JobOutcome>) {
        let mismatch = || StoreError::corrupt("a job has the outcome of another kind of job");
        match self {
            Job::Reserve { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    JobOutcome::Reserved(reserved) => Ok(reserved),
                    JobOutcome::Finished(_) | JobOutcome::Refused => Err(mismatch()),
                }));
            }
            Job::Finish { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    JobOutcome::Finished(look) => Ok(look),
                    JobOutcome::Reserved(_) | JobOutcome::Refused => Err(mismatch()),
                }));
            }
            Job::Refuse { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    JobOutcome::Refused => Ok(()),
                    JobOutcome::Reserved(_) | JobOutcome::Finished(_) => Err(mismatch()),
                }));
            }
        }
    }
}

/// How durable the commit of these jobs has to be. A reservation alone answers no login: a failing machine that forgets
/// the reservation forgets the attempt too.
pub(super) fn durability(jobs: &[Job]) -> Durability {
    match jobs.iter().all(|job| matches!(job, Job::Reserve { .. })) {
        true => Durability::ProcessCrash,
        false => Durability::MachineCrash,
    }
}
