//! How logins share a commit.
//!
//! Each login commits twice: the slot that it reserves before the bind, and its end. One task writes for all
//! logins of the process, and those that wait for it share a transaction ([`Batches`]). Each caller is answered
//! after its commit.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::throttle::Settlement;

use crate::audit::{self, NewAuditEvent};
use crate::batches::{Answer, Batch, Batches};
use crate::database::{Database, Engine};
use crate::error::{Result, StoreError};
use crate::few_trips::{Durability, FewTrips, Statements};
use crate::login_target::{LoginTarget, Revisions, revisions};
use crate::own_connection::{OwnConnection, Purpose};
use crate::refusals::{self, Refusal};
use crate::store::Store;
use crate::throttles::{self, Counters, HeldSlot, Key, Reservation, Reserved, key};
use crate::two_trips;

/// The end of a login attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishLogin {
    /// The tenant whose slots and user these are; `None` if the attempt names no known one, and so has
    /// neither.
    pub tenant: Option<TenantId>,
    /// The audit row.
    pub audit: NewAuditEvent,
    /// The audit row to write instead if something changed meanwhile.
    pub audit_if_changed: Option<NewAuditEvent>,
    /// The slots of the attempt.
    pub slots: Vec<HeldSlot>,
    /// What becomes of the slots.
    pub settlement: Settlement,
    /// What the verdict relies on.
    pub expect: Option<LoginExpectation>,
}

/// What a verdict relies on: the revisions that it was made with.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginExpectation {
    /// The user.
    pub user: UserId,
    /// The user's revision.
    pub user_revision: i64,
    /// The tenant's revision.
    pub tenant_revision: i64,
    /// The revision of the user's sync; `None` if it has none.
    pub user_sync_revision: Option<i64>,
    /// The revision of the sync's directory; `None` if there is none.
    pub directory_revision: Option<i64>,
}

/// What changed since the verdict's basis was read. Any change should deny.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct LoginChange {
    /// The user changed or is gone.
    pub user_changed: bool,
    /// The tenant changed.
    pub tenant_changed: bool,
    /// The user sync changed or is gone.
    pub user_sync_changed: bool,
    /// The directory changed or is gone.
    pub directory_changed: bool,
}

impl LoginExpectation {
    /// What a verdict relies on that was made with this target.
    pub fn of(target: &LoginTarget) -> Self {
        Self {
            user: target.user.id,
            user_revision: target.user.revision,
            tenant_revision: target.tenant_revision,
            user_sync_revision: target.sync.as_ref().map(|sync| sync.user_sync_revision),
            directory_revision: target.sync.as_ref().map(|sync| sync.directory_revision),
        }
    }

    fn compare(&self, now: Option<&Self>) -> LoginChange {
        let differs = |part: fn(&Self) -> Option<i64>| now.and_then(part) != part(self);
        LoginChange {
            user_changed: differs(|basis| Some(basis.user_revision)),
            tenant_changed: differs(|basis| Some(basis.tenant_revision)),
            user_sync_changed: differs(|basis| basis.user_sync_revision),
            directory_changed: differs(|basis| basis.directory_revision),
        }
    }
}

impl LoginChange {
    /// True if anything changed.
    pub fn any(&self) -> bool {
        self.user_changed || self.tenant_changed || self.user_sync_changed || self.directory_changed
    }
}

impl Store {
    /// Ends a login attempt in one transaction: writes its audit row, settles its slots and reads again what
    /// the verdict relies on. Committed when it returns; without that, the caller must not answer.
    ///
    /// # Errors
    /// `Unavailable`; `Contended`. Nothing was written, or, if the connection broke during the commit,
    /// perhaps everything was.
    pub async fn finish_login(&self, finish: FinishLogin) -> Result<LoginChange> {
        let finish = Box::new(finish);
        self.inner
            .login_writer
            .submit(|answer| Job::Finish { finish, answer })
            .await
    }
}

/// Something to commit.
pub(crate) enum Job {
    Reserve {
        tenant: TenantId,
        reservations: Vec<Reservation>,
        now: DateTime<Utc>,
        answer: Answer<Reserved>,
    },
    Finish {
        finish: Box<FinishLogin>,
        answer: Answer<LoginChange>,
    },
    Refuse {
        refusal: Box<Refusal>,
        answer: Answer<()>,
    },
}

/// What is answered after the commit.
pub(crate) enum Outcome {
    Reserved(Reserved),
    Finished(LoginChange),
    Refused,
}

pub(crate) struct LoginWriter {
    batches: Batches<Job>,
}

impl LoginWriter {
    pub(crate) fn start(database: Arc<Database>) -> Self {
        Self {
            batches: Batches::start(Commits {
                connection: OwnConnection::new(database, Purpose::Writing),
            }),
        }
    }

    pub(crate) async fn submit<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T> {
        self.batches.submit(job).await
    }

    pub(crate) async fn end(&self) {
        self.batches.end().await;
    }
}

struct Commits {
    connection: OwnConnection,
}

impl Batch for Commits {
    type Job = Job;
    type Outcome = Outcome;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>> {
        commit(&mut self.connection, jobs).await
    }

    fn answer(job: Job, outcome: Result<Outcome>) {
        job.answer(outcome);
    }
}

/// What a batch of jobs is decided by: the counters, and the users as they are.
pub(crate) struct Basis {
    pub(crate) counters: Counters,
    pub(crate) current: HashMap<(TenantId, UserId), LoginExpectation>,
}

impl Basis {
    pub(crate) fn new(
        counters: Vec<throttles::Row>,
        revisions: impl IntoIterator<Item = Revisions>,
    ) -> Result<Self> {
        let current = revisions.into_iter().map(|row| {
            let (tenant, basis) = row.into_domain()?;
            Ok(((tenant, basis.user), basis))
        });
        Ok(Self {
            counters: Counters::of(counters)?,
            current: current.collect::<Result<_>>()?,
        })
    }

    /// Whether no counter is missing that a reservation wants. On PostgreSQL one that is not there cannot be locked.
    pub(crate) fn is_complete(&self, jobs: &[Job]) -> bool {
        let mut reserving = jobs.iter().filter(|job| matches!(job, Job::Reserve { .. }));
        reserving.all(|job| job.keys().iter().all(|key| self.counters.has(key)))
    }

    /// Decides: changes the counters, and tells the outcomes and what is to be audited. The refusals' events are not
    /// among these.
    pub(crate) fn decide<'j>(&mut self, jobs: &'j [Job]) -> (Vec<Outcome>, Vec<&'j NewAuditEvent>) {
        let mut events = Vec::new();
        let outcomes = jobs.iter().map(|job| match job {
            Job::Reserve {
                tenant,
                reservations,
                now,
                ..
            } => Outcome::Reserved(self.counters.reserve(tenant, reservations, *now)),
            Job::Finish { finish, .. } => {
                if let Some(tenant) = &finish.tenant {
                    self.counters.settle(tenant, &finish.slots, finish.settlement);
                }
                let change = finish.compare(&self.current);
                events.push(match &finish.audit_if_changed {
                    Some(audit) if change.any() => audit,
                    _ => &finish.audit,
                });
                Outcome::Finished(change)
            }
            Job::Refuse { .. } => Outcome::Refused,
        });
        (outcomes.collect(), events)
    }
}

/// What is only reserved, nobody was answered for. If a failing machine forgets it, so it forgets the attempt.
pub(crate) fn durability(jobs: &[Job]) -> Durability {
    match jobs.iter().all(|job| matches!(job, Job::Reserve { .. })) {
        true => Durability::OfProcess,
        false => Durability::OfMachine,
    }
}

async fn commit(connection: &mut OwnConnection, jobs: &[Job]) -> Result<Vec<Outcome>> {
    if connection.engine() == Engine::Postgres
        && let Some(outcomes) = two_trips::commit(connection, jobs).await?
    {
        return Ok(outcomes);
    }
    if let Some(outcomes) = commit_locked(connection, jobs, false).await? {
        return Ok(outcomes);
    }
    let outcomes = commit_locked(connection, jobs, true).await?;
    outcomes.ok_or(StoreError::corrupt("a counter that was made is missing"))
}

/// One transaction that locks the counters first. `None` if one is missing that has to be made: from the beginning,
/// so that everybody locks in the same order.
async fn commit_locked(
    connection: &mut OwnConnection,
    jobs: &[Job],
    create: bool,
) -> Result<Option<Vec<Outcome>>> {
    let engine = connection.engine();
    let mut reads = Statements::that_read(engine);
    if create {
        let wanted = jobs.iter().filter(|job| matches!(job, Job::Reserve { .. }));
        let wanted = wanted.flat_map(Job::keys).collect();
        reads.push(|_, _| Ok(throttles::creation(&wanted)))?;
    }
    let keys = jobs.iter().flat_map(Job::keys).collect();
    let counted = reads.push(|engine, first| Ok(throttles::locking_selection(&keys, engine, first)))?;
    let expected = jobs.iter().filter_map(Job::expected);
    let expected = reads.push(|engine, first| Ok(revisions(expected, engine, first)))?;
    let (mut tx, found) = FewTrips::begin(connection, durability(jobs), reads).await?;
    let mut basis = Basis::new(found.rows(counted)?, found.rows(expected)?)?;
    if engine == Engine::Postgres && !basis.is_complete(jobs) {
        tx.roll_back().await?;
        return Ok(None);
    }
    let (outcomes, mut events) = basis.decide(jobs);
    events.extend(refusals::count(&mut tx, engine, jobs.iter().filter_map(Job::refusal)).await?);
    let mut writes = Statements::that_write(engine);
    writes.push(|engine, first| Ok(basis.counters.saving("true", engine, first)))?;
    writes.push(|engine, first| audit::insertion(events.into_iter(), "true", engine, first))?;
    tx.commit(writes).await?;
    Ok(Some(outcomes))
}

impl FinishLogin {
    fn compare(&self, current: &HashMap<(TenantId, UserId), LoginExpectation>) -> LoginChange {
        match (&self.tenant, &self.expect) {
            (Some(tenant), Some(expect)) => expect.compare(current.get(&(tenant.clone(), expect.user))),
            _ => LoginChange::default(),
        }
    }
}

impl Job {
    pub(crate) fn keys(&self) -> Vec<Key> {
        match self {
            Job::Reserve {
                tenant, reservations, ..
            } => reservations
                .iter()
                .map(|reservation| key(tenant, &reservation.subject))
                .collect(),
            Job::Finish { finish, .. } => match &finish.tenant {
                Some(tenant) => finish
                    .slots
                    .iter()
                    .map(|held| key(tenant, &held.subject))
                    .collect(),
                None => Vec::new(),
            },
            Job::Refuse { .. } => Vec::new(),
        }
    }

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Job::Refuse { refusal, .. } => Some(refusal),
            Job::Reserve { .. } | Job::Finish { .. } => None,
        }
    }

    pub(crate) fn expected(&self) -> Option<(&TenantId, UserId)> {
        match self {
            Job::Finish { finish, .. } => Some((finish.tenant.as_ref()?, finish.expect.as_ref()?.user)),
            Job::Reserve { .. } | Job::Refuse { .. } => None,
        }
    }

    /// A caller that went away is no longer interested; what it asked for is committed all the same.
    fn answer(self, result: Result<Outcome>) {
        let mismatch = || StoreError::corrupt("a login has another's outcome");
        match self {
            Job::Reserve { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    Outcome::Reserved(reserved) => Ok(reserved),
                    _ => Err(mismatch()),
                }));
            }
            Job::Finish { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    Outcome::Finished(change) => Ok(change),
                    _ => Err(mismatch()),
                }));
            }
            Job::Refuse { answer, .. } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    Outcome::Refused => Ok(()),
                    _ => Err(mismatch()),
                }));
            }
        }
    }
}
