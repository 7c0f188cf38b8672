//! Runs: one execution of a user sync.

use std::collections::BTreeMap;
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::audit::{AskedBy, Decision};
use crate::guard::HoldReason;
use crate::id::{RunId, UserSyncKey};
use crate::issue::{Health, HealthLevel, IssueKind};
use crate::revision::Revision;
use crate::vocabulary::vocabulary;
use crate::wording::counted;

mod transition;

pub use transition::{PlanOutcome, PlanResult};

/// How long a PLANNED or HELD run waits to be applied.
pub const PLAN_LIFETIME: chrono::TimeDelta = chrono::TimeDelta::hours(72);

/// How long somebody who asked for a run of a user sync has to wait for the next; `None` if they need not. If `last`
/// lies ahead, another clock wrote it, and nobody waits.
pub fn pause_left(last: Option<DateTime<Utc>>, pause: Duration, now: DateTime<Utc>) -> Option<Duration> {
    let passed = (now - last?).to_std().ok()?;
    pause.checked_sub(passed).filter(|left| !left.is_zero())
}

vocabulary! {
    /// Where a run is.
    pub closed enum RunState {
        /// Accepted, not started.
        Pending = "PENDING",
        /// Reading the directory.
        Pulling = "PULLING",
        /// The plan is there and waits: a preview.
        Planned = "PLANNED",
        /// The plan is there and the guard wants a person to look at it.
        Held = "HELD",
        /// Writing.
        Applying = "APPLYING",
        /// All done.
        Succeeded = "SUCCEEDED",
        /// All done but what the issues name.
        SucceededWithIssues = "SUCCEEDED_WITH_ISSUES",
        /// Ended without doing its work.
        Failed = "FAILED",
        /// A person stopped it.
        Cancelled = "CANCELLED",
        /// A newer run or a changed configuration made its plan worthless.
        Superseded = "SUPERSEDED",
        /// Nobody applied it in time.
        Expired = "EXPIRED",
    }
}

impl RunState {
    /// The state machine: true if a run may go from this state to `next`.
    pub(crate) fn may_become(self, next: Self) -> bool {
        use RunState::*;
        match (self, next) {
            // Again, after another worker took the run over. What the first worker read is discarded.
            (Pending | Pulling, Pulling) => true,
            (Pulling, Planned | Held | Applying) => true,
            (Planned | Held, Applying | Expired) => true,
            // A held run carries out its leavers first.
            (Applying, Held) => true,
            (Applying, Succeeded | SucceededWithIssues) => true,
            (Pending | Pulling | Applying, Failed) => true,
            (Pending | Pulling | Planned | Held | Applying, Superseded) => true,
            (Pending | Pulling | Planned | Held | Applying, Cancelled) => true,
            _ => false,
        }
    }

    /// True if the run changes no more.
    pub fn is_final(self) -> bool {
        use RunState::*;
        match self {
            Pending | Pulling | Planned | Held | Applying => false,
            Succeeded | SucceededWithIssues | Failed | Cancelled | Superseded | Expired => true,
        }
    }

    /// True if the run waits for a person.
    pub fn is_waiting(self) -> bool {
        matches!(self, RunState::Planned | RunState::Held)
    }

    /// True if a worker holds the run's lease.
    pub fn is_working(self) -> bool {
        matches!(self, RunState::Pending | RunState::Pulling | RunState::Applying)
    }
}

vocabulary! {
    /// What a run is for.
    pub closed enum RunMode {
        /// Plan, and apply unless the guard holds it.
        Apply = "APPLY",
        /// Plan only.
        Preview = "PREVIEW",
        /// Plan only, and match entries whose ids nobody has to the sync's users by login: for a directory that gave
        /// its entries other ids.
        Relink = "RELINK",
    }
}

vocabulary! {
    /// Who started a run.
    pub enum RunTrigger {
        /// The schedule.
        Schedule = "SCHEDULE",
        /// A call for all that is due by its schedule.
        Due = "DUE",
        /// A call for this very run.
        Call = "CALL",
    }
}

/// What a run has done, or would do while it is not applied.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct RunCounts {
    /// Entries read.
    pub entries: u64,
    /// Users created.
    pub created: u64,
    /// LOCAL users linked.
    pub linked: u64,
    /// Users with changed fields.
    pub updated: u64,
    /// Users that may log in again.
    pub reactivated: u64,
    /// Users deactivated.
    pub deactivated: u64,
    /// Users archived.
    pub archived: u64,
    /// Users taken over from another sync.
    pub transferred: u64,
    /// Users found by login under another external id.
    pub relinked: u64,
    /// Entries that are users already, unchanged.
    pub unchanged: u64,
    /// Entries left out as `new_users` or `existing_users` asks.
    pub ignored: u64,
    /// Issues.
    pub issues: u64,
    /// Search result references, which are never followed.
    pub referrals: u64,
    /// Changes written so far.
    pub applied: u64,
}

impl RunCounts {
    /// Changes that the plan has.
    pub fn changes(&self) -> u64 {
        self.created
            + self.linked
            + self.updated
            + self.reactivated
            + self.deactivated
            + self.archived
            + self.transferred
            + self.relinked
    }
}

/// A run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The user sync.
    pub user_sync: UserSyncKey,
    /// Its id.
    pub id: RunId,
    /// Where it is.
    pub state: RunState,
    /// What it is for.
    pub mode: RunMode,
    /// Who started it.
    pub trigger: RunTrigger,
    /// Who asked for it; nobody for the schedule.
    pub asked_by: AskedBy,
    /// Who released its plan, if it waited for that.
    pub release: Option<Decision>,
    /// Who wants it to stop, or stopped it.
    pub cancellation: Option<Decision>,
    /// What it did.
    pub counts: RunCounts,
    /// Issues by kind.
    pub issue_counts: BTreeMap<IssueKind, u64>,
    /// Why the guard holds it.
    pub hold_reasons: Vec<HoldReason>,
    /// Why it failed, for the tenant's admin.
    pub failure: Option<String>,
    /// True if every search ended Complete, so that absences could be counted.
    pub complete: bool,
    /// Revision of the user sync that the plan was made with.
    pub user_sync_revision: Revision,
    /// Revision of the directory that the plan was made with.
    pub directory_revision: Revision,
    /// When it was accepted.
    pub create_time: DateTime<Utc>,
    /// When the plan was ready.
    pub plan_time: Option<DateTime<Utc>>,
    /// When it ended.
    pub end_time: Option<DateTime<Utc>>,
    /// When a waiting plan expires.
    pub expire_time: Option<DateTime<Utc>>,
    /// Mails about it that were not sent, because of the tenant's budget or of domains that are not verified.
    pub mails_withheld: u64,
}

/// The health of a user sync whose run broke off in the middle of being applied, and will be carried on.
pub fn health_interrupted(why: &str) -> Health {
    Health {
        level: HealthLevel::Error,
        problems: vec![format!(
            "The last run broke off while it was applied: {why}. It goes on by itself; if this stays, cancel it and \
             run the user sync again."
        )],
    }
}

/// Said while the login of somebody is another's too.
const LOGINS_AMBIGUOUS: &str = "Nobody can log in with some logins, at the latest when the last plan is applied: an entry does not \
                                have the login of its user any more, and another entry asks for it. The issues LOGIN_AMBIGUOUS \
                                name both.";

/// Said of a waiting run, in front of the hold's reasons.
const HELD: &str = "The last run is held: ";

/// The health of a user sync whose run is not held any more, so that there is nothing to apply or to cancel.
pub fn health_without_hold(before: &Health) -> Health {
    let problems = before
        .problems
        .iter()
        .filter(|problem| !problem.starts_with(HELD));
    let problems: Vec<String> = problems.cloned().collect();
    match problems.len() == before.problems.len() {
        true => before.clone(),
        // The level of the remaining problems.
        false => Health {
            level: match problems.is_empty() {
                true => HealthLevel::Ok,
                false => before.level,
            },
            problems,
        },
    }
}

/// The health of a user sync after this run, which ended or waits. `before` is what it was.
pub fn health_after(run: &Run, before: &Health) -> Health {
    let mut health = health_in(run);
    let known = before.problems.iter().any(|problem| problem == LOGINS_AMBIGUOUS);
    // A run that did not read all entries cannot know that the login is unambiguous again.
    if run.issue_counts.contains_key(&IssueKind::LoginAmbiguous) || (known && !run.complete) {
        health.level = HealthLevel::Error;
        health.problems.insert(0, LOGINS_AMBIGUOUS.to_owned());
    }
    health
}

fn health_in(run: &Run) -> Health {
    let (level, problem) = match run.state {
        RunState::Failed => {
            let why = run.failure.as_deref().unwrap_or("the cause is not known");
            (
                HealthLevel::Error,
                format!(
                    "The last run failed: {why}. Users stay as they are until a run succeeds. CheckConnection and \
                     CheckUserSync show what is wrong; then run the user sync again."
                ),
            )
        }
        RunState::Held => {
            let why = sentences(&run.hold_reasons);
            (
                HealthLevel::Warning,
                format!("{HELD}{why}. Look at its changes, then apply or cancel it."),
            )
        }
        // Of waiting runs only held ones come here: a preview that expires leaves the health as it is.
        RunState::Expired => {
            let why = sentences(&run.hold_reasons);
            (
                HealthLevel::Warning,
                format!(
                    "The last run was held, and nobody applied it in time: {why}. Run the user sync again and look at \
                     its changes."
                ),
            )
        }
        RunState::SucceededWithIssues => (
            HealthLevel::Warning,
            format!(
                "The last run left {}; each names what to do about it.",
                counted(run.issue_counts.values().sum(), "issue", "issues")
            ),
        ),
        RunState::Pending
        | RunState::Pulling
        | RunState::Planned
        | RunState::Applying
        | RunState::Succeeded
        | RunState::Cancelled
        | RunState::Superseded => return Health::default(),
    };
    Health {
        level,
        problems: vec![problem],
    }
}

fn sentences(reasons: &[HoldReason]) -> String {
    let sentences: Vec<&str> = reasons.iter().map(|reason| reason.message.as_str()).collect();
    sentences.join("; ")
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::HashSet;

    use super::RunState::{self, *};
    use super::*;
    use crate::id::{TenantId, UserSyncId, Uuid};

    const ALL: [RunState; 11] = [
        Pending,
        Pulling,
        Planned,
        Held,
        Applying,
        Succeeded,
        SucceededWithIssues,
        Failed,
        Cancelled,
        Superseded,
        Expired,
    ];

    fn run(state: RunState, complete: bool, issues: &[IssueKind]) -> Run {
        Run {
            user_sync: UserSyncKey {
                tenant: TenantId::parse("acme").unwrap(),
                user_sync: UserSyncId::parse("staff").unwrap(),
            },
            id: RunId(Uuid::from_u128(1)),
            state,
            mode: RunMode::Apply,
            trigger: RunTrigger::Call,
            asked_by: AskedBy::default(),
            release: None,
            cancellation: None,
            counts: RunCounts::default(),
            issue_counts: issues.iter().map(|kind| (*kind, 1)).collect(),
            hold_reasons: Vec::new(),
            failure: None,
            mails_withheld: 0,
            complete,
            user_sync_revision: Revision::FIRST,
            directory_revision: Revision::FIRST,
            create_time: DateTime::UNIX_EPOCH,
            plan_time: None,
            end_time: None,
            expire_time: None,
        }
    }

    /// A login that nobody can use is an error whatever else became of the run, until a run has read that it is over.
    #[test]
    fn an_ambiguous_login_is_an_error_until_a_complete_run_finds_none() {
        let ambiguous = [IssueKind::LoginAmbiguous];
        for state in [Held, SucceededWithIssues, Expired] {
            let health = health_after(&run(state, true, &ambiguous), &Health::default());
            assert_eq!(health.level, HealthLevel::Error, "{state:?}");
            assert!(health.problems[0].contains("LOGIN_AMBIGUOUS"), "{health:?}");
            assert_eq!(health.problems.len(), 2, "{health:?}");
            for state in [Held, Succeeded, SucceededWithIssues, Failed] {
                let with_gaps = health_after(&run(state, false, &[]), &health);
                assert_eq!(with_gaps.level, HealthLevel::Error, "{state:?}");
                assert_eq!(with_gaps.problems[0], health.problems[0], "{state:?}");
                let again = health_after(&run(state, false, &ambiguous), &with_gaps);
                let told = again
                    .problems
                    .iter()
                    .filter(|problem| **problem == LOGINS_AMBIGUOUS);
                assert_eq!(told.count(), 1, "{again:?}");
            }
            let read = health_after(&run(Succeeded, true, &[]), &health);
            assert_eq!(read, Health::default());
            let held = health_after(&run(Held, true, &[]), &health);
            assert_eq!((held.level, held.problems.len()), (HealthLevel::Warning, 1));
        }
    }

    fn next(state: RunState) -> impl Iterator<Item = RunState> {
        ALL.into_iter().filter(move |next| state.may_become(*next))
    }

    #[test]
    fn what_ended_changes_no_more_and_all_else_can_end() {
        for state in ALL {
            assert_eq!(next(state).count() == 0, state.is_final(), "{state:?}");
            assert_eq!(
                next(state).any(RunState::is_final),
                !state.is_final(),
                "{state:?}"
            );
        }
    }

    #[test]
    fn every_state_is_reached_and_only_by_a_plan_does_a_run_write() {
        let mut reached = HashSet::from([Pending]);
        while let Some(new) = ALL
            .into_iter()
            .find(|state| !reached.contains(state) && reached.iter().any(|from| from.may_become(*state)))
        {
            reached.insert(new);
        }
        assert_eq!(reached.len(), ALL.len());
        for state in ALL {
            let may_write = state.may_become(Applying);
            assert_eq!(may_write, [Pulling, Planned, Held].contains(&state), "{state:?}");
            let may_succeed = state.may_become(Succeeded) || state.may_become(SucceededWithIssues);
            assert_eq!(may_succeed, state == Applying, "{state:?}");
        }
    }

    #[test]
    fn a_hold_that_is_none_any_more_leaves_what_else_was_wrong() {
        let held = |problems: &[&str], level| Health {
            level,
            problems: problems.iter().map(|problem| (*problem).to_owned()).collect(),
        };
        let waits = format!("{HELD}5 users would lose access. Look at its changes, then apply or cancel it.");
        let alone = held(&[&waits], HealthLevel::Warning);
        assert_eq!(health_without_hold(&alone), Health::default());
        let both = held(&[LOGINS_AMBIGUOUS, &waits], HealthLevel::Error);
        assert_eq!(
            health_without_hold(&both),
            held(&[LOGINS_AMBIGUOUS], HealthLevel::Error)
        );
        let other = held(&["The last run left 1 issue."], HealthLevel::Warning);
        assert_eq!(health_without_hold(&other), other);
    }
}
