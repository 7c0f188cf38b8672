//! How a run moves from state to state. The store writes what these functions return and reports show it, so a mail says
//! what is stored. Each returns `None` if the run is not in a state that allows the step.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use super::{PLAN_LIFETIME, Run, RunCounts, RunState};
use crate::guard::HoldReason;
use crate::revision::Revision;

/// What becomes of a plan that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum PlanOutcome {
    /// It was a preview and waits.
    Planned,
    /// The guard holds it, for these reasons.
    Held(Vec<HoldReason>),
    /// The guard holds it, for these reasons, but its first so many chunks are applied before it waits.
    HeldAfter(Vec<HoldReason>, u32),
    /// It is applied at once.
    Apply,
}

/// A plan that is complete.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PlanResult {
    /// What becomes of it.
    pub outcome: PlanOutcome,
    /// What it would do.
    pub counts: RunCounts,
    /// True if every search ended Complete.
    pub complete: bool,
}

impl Run {
    /// The run as its pull begins, or begins anew after a takeover: nothing is counted yet.
    pub fn pulling(&self, user_sync_revision: Revision, directory_revision: Revision) -> Option<Self> {
        Some(Self {
            counts: RunCounts::default(),
            issue_counts: BTreeMap::new(),
            user_sync_revision,
            directory_revision,
            ..self.enter(RunState::Pulling)?
        })
    }

    /// The run once its plan is complete.
    pub fn with_plan(&self, plan: &PlanResult, now: DateTime<Utc>) -> Option<Self> {
        let pulling = (self.state == RunState::Pulling).then_some(self)?;
        let (state, reasons) = match &plan.outcome {
            PlanOutcome::Planned => (RunState::Planned, &[][..]),
            PlanOutcome::Held(reasons) => (RunState::Held, reasons.as_slice()),
            PlanOutcome::HeldAfter(reasons, _) => (RunState::Applying, reasons.as_slice()),
            PlanOutcome::Apply => (RunState::Applying, &[][..]),
        };
        Some(Self {
            hold_reasons: reasons.to_vec(),
            counts: plan.counts,
            complete: plan.complete,
            plan_time: Some(now),
            expire_time: state.is_waiting().then(|| now + PLAN_LIFETIME),
            ..pulling.enter(state)?
        })
    }

    /// The run once the leavers of a held plan are applied: the rest waits for a person.
    pub fn held(&self, now: DateTime<Utc>) -> Option<Self> {
        let applying = (self.state == RunState::Applying).then_some(self)?;
        Some(Self {
            expire_time: Some(now + PLAN_LIFETIME),
            ..applying.enter(RunState::Held)?
        })
    }

    /// The run once a person has released its plan.
    pub fn released(&self, now: DateTime<Utc>) -> Option<Self> {
        let waiting = (self.state.is_waiting() && !self.is_overdue(now)).then_some(self)?;
        Some(Self {
            expire_time: None,
            ..waiting.enter(RunState::Applying)?
        })
    }

    /// The run once its worker has ended it in a final state.
    pub fn ended(&self, state: RunState, failure: Option<String>, now: DateTime<Utc>) -> Option<Self> {
        let working = (self.state.is_working() && state.is_final()).then_some(self)?;
        Some(Self {
            failure,
            end_time: Some(now),
            ..working.enter(state)?
        })
    }

    /// The run once a person has cancelled its plan, which waits.
    pub fn cancelled(&self, now: DateTime<Utc>) -> Option<Self> {
        let waiting = self.state.is_waiting().then_some(self)?;
        Some(Self {
            end_time: Some(now),
            ..waiting.enter(RunState::Cancelled)?
        })
    }

    /// The run once its plan has waited for too long.
    pub fn expired(&self, now: DateTime<Utc>) -> Option<Self> {
        let overdue = (self.state.is_waiting() && self.is_overdue(now)).then_some(self)?;
        Some(Self {
            end_time: Some(now),
            ..overdue.enter(RunState::Expired)?
        })
    }

    fn is_overdue(&self, now: DateTime<Utc>) -> bool {
        self.expire_time.is_some_and(|time| time <= now)
    }

    fn enter(&self, state: RunState) -> Option<Self> {
        self.state.may_become(state).then(|| Self {
            state,
            ..self.clone()
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::TimeDelta;

    use super::*;
    use crate::audit::AskedBy;
    use crate::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
    use crate::run::{RunMode, RunTrigger};

    fn at(hours: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::hours(hours)
    }

    fn run(state: RunState) -> Run {
        Run {
            user_sync: UserSyncKey {
                tenant: TenantId::parse("acme").unwrap(),
                user_sync: UserSyncId::parse("staff").unwrap(),
            },
            id: RunId(Uuid::nil()),
            state,
            mode: RunMode::Apply,
            trigger: RunTrigger::Schedule,
            asked_by: AskedBy::default(),
            release: None,
            cancellation: None,
            counts: RunCounts::default(),
            issue_counts: BTreeMap::new(),
            hold_reasons: Vec::new(),
            failure: None,
            complete: false,
            user_sync_revision: Revision::FIRST,
            directory_revision: Revision::FIRST,
            create_time: at(0),
            plan_time: None,
            end_time: None,
            expire_time: None,
            mails_withheld: 0,
        }
    }

    fn plan(outcome: PlanOutcome) -> PlanResult {
        PlanResult {
            outcome,
            counts: RunCounts {
                created: 3,
                ..RunCounts::default()
            },
            complete: true,
        }
    }

    #[test]
    fn a_plan_that_waits_expires_and_one_that_is_applied_does_not() {
        let pulling = run(RunState::Pulling);
        let reasons = vec![HoldReason::from("too many")];
        for (outcome, state, held) in [
            (PlanOutcome::Planned, RunState::Planned, false),
            (PlanOutcome::Held(reasons.clone()), RunState::Held, true),
            (
                PlanOutcome::HeldAfter(reasons.clone(), 2),
                RunState::Applying,
                true,
            ),
            (PlanOutcome::Apply, RunState::Applying, false),
        ] {
            let planned = pulling.with_plan(&plan(outcome), at(1)).unwrap();
            assert_eq!(planned.state, state);
            assert_eq!(planned.hold_reasons.is_empty(), !held, "{state:?}");
            assert_eq!((planned.plan_time, planned.complete), (Some(at(1)), true));
            assert_eq!(planned.counts.created, 3);
            let expires = state.is_waiting().then(|| at(1) + PLAN_LIFETIME);
            assert_eq!(planned.expire_time, expires, "{state:?}");
        }
        assert_eq!(
            run(RunState::Held).with_plan(&plan(PlanOutcome::Apply), at(1)),
            None
        );
    }

    #[test]
    fn a_held_plan_is_released_in_time_or_expires() {
        let held = run(RunState::Applying).held(at(1)).unwrap();
        let end = at(1) + PLAN_LIFETIME;
        let before = end - TimeDelta::seconds(1);
        assert_eq!(held.expired(before), None);
        let released = held.released(before).unwrap();
        assert_eq!((released.state, released.expire_time), (RunState::Applying, None));
        assert_eq!(held.released(end), None);
        let expired = held.expired(end).unwrap();
        assert_eq!((expired.state, expired.end_time), (RunState::Expired, Some(end)));
        assert_eq!(run(RunState::Pulling).held(at(1)), None);
    }

    #[test]
    fn a_worker_ends_what_it_works_on_and_a_person_what_waits() {
        use RunState::*;
        for state in [Pending, Pulling, Applying] {
            let failed = run(state).ended(Failed, Some("gone".into()), at(2)).unwrap();
            assert_eq!((failed.state, failed.end_time), (Failed, Some(at(2))));
            assert_eq!(failed.failure.as_deref(), Some("gone"));
            assert_eq!(run(state).ended(Held, None, at(2)), None, "no final state");
            assert_eq!(run(state).cancelled(at(2)), None);
        }
        for state in [Planned, Held] {
            assert_eq!(run(state).ended(Failed, None, at(2)), None);
            assert_eq!(run(state).cancelled(at(2)).unwrap().state, Cancelled);
        }
    }
}
