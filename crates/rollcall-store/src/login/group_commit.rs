//! How logins share a commit.
//!
//! Each login commits twice: the slot that it reserves before the bind, and its end. One task writes for all
//! logins of the process, and those that wait for it share a transaction ([`Batcher`]). Each caller is answered
//! after its commit.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::throttle::{Settlement, ThrottleSubject};
use rollcall_core::user::User;

use crate::audit::{self, NewAuditEvent};
use crate::db::batcher::{Answer, BatchHandler, Batcher};
use crate::db::database::Database;
use crate::db::dedicated_connection::{DedicatedConnection, Purpose};
use crate::db::engine::Engine;
use crate::db::pipeline::{Durability, PipelinedTransaction, Script};
use crate::error::{Result, StoreError};
use crate::login::optimistic_commit;
use crate::login::refusals::{self, Refusal};
use crate::login::soft_lock::{self, Counters, HeldSlot, Key, Reservation, Reserved, key};
use crate::login::target::{LoginTarget, Revisions, Row as TargetRow, anew, revisions};
use crate::store::Store;

/// The end of a login attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FinishLogin {
    /// The tenant whose slots and user these are; `None` if the attempt names no known one, and so has
    /// neither.
    pub tenant: Option<TenantId>,
    /// The audit row.
    pub audit: NewAuditEvent,
    /// The slots of the attempt.
    pub slots: Vec<HeldSlot>,
    /// What becomes of the slots.
    pub settlement: Settlement,
    /// The user at the address where the password was right: from here on the address is known to be theirs.
    pub proven_at: Option<ThrottleSubject>,
    /// What the verdict relies on.
    pub expect: Option<LoginTarget>,
}

/// What was found when a login's end was recorded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum LastLook {
    /// All that the verdict relies on is as it was. The end is recorded.
    Same,
    /// The user changed, but in nothing that decides a login: this is the user now. The end is recorded.
    Renewed(Box<User>),
    /// What decides the login changed, and this is what does now; `None` if the user is gone. Nothing is recorded, and the
    /// slots are held as before.
    Changed(Option<Box<LoginTarget>>),
}

impl Store {
    /// Ends a login attempt in one transaction: reads again what the verdict relies on, writes the audit row and settles
    /// the slots. What was committed before that read decides; what is committed later comes after the login. Committed
    /// when it returns; without that, the caller must not answer.
    ///
    /// # Errors
    /// `Unavailable`; `Contended`. Nothing was written, or, if the connection broke during the commit,
    /// perhaps everything was.
    pub async fn finish_login(&self, finish: FinishLogin) -> Result<LastLook> {
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
        answer: Answer<LastLook>,
    },
    Refuse {
        refusal: Box<Refusal>,
        answer: Answer<()>,
    },
}

/// What is answered after the commit.
pub(crate) enum Outcome {
    Reserved(Reserved),
    Finished(LastLook),
    Refused,
}

pub(crate) struct LoginWriter {
    batches: Batcher<Job>,
}

impl LoginWriter {
    pub(crate) fn start(database: Arc<Database>) -> Self {
        Self {
            batches: Batcher::start(Commits {
                connection: DedicatedConnection::new(database, Purpose::Writing),
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
    connection: DedicatedConnection,
}

impl BatchHandler for Commits {
    type Job = Job;
    type Outcome = Outcome;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<Outcome>> {
        commit(&mut self.connection, jobs).await
    }

    fn answer(job: Job, outcome: Result<Outcome>) {
        job.answer(outcome);
    }
}

/// What a batch of jobs is decided by.
pub(crate) struct Basis {
    pub(crate) counters: Counters,
    /// Users of whom something changed since, as they are now; `None` if they are gone.
    pub(crate) changed: HashMap<(TenantId, UserId), Option<LoginTarget>>,
}

impl Basis {
    /// Whether no counter is missing that a reservation wants. On PostgreSQL one that is not there cannot be locked.
    pub(crate) fn is_complete(&self, jobs: &[Job]) -> bool {
        jobs.iter()
            .all(|job| job.reserved().iter().all(|key| self.counters.has(key)))
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
                let look = self.look(finish);
                if !matches!(look, LastLook::Changed(_)) {
                    self.settle(finish);
                    events.push(&finish.audit);
                }
                Outcome::Finished(look)
            }
            Job::Refuse { .. } => Outcome::Refused,
        });
        (outcomes.collect(), events)
    }

    fn look(&self, finish: &FinishLogin) -> LastLook {
        let Some(expected) = &finish.expect else {
            return LastLook::Same;
        };
        match self.changed.get(&key_of(expected)) {
            None => LastLook::Same,
            Some(Some(now)) if now == expected => LastLook::Same,
            Some(Some(now)) if now.decides_like(expected) => LastLook::Renewed(Box::new(now.user.clone())),
            Some(now) => LastLook::Changed(now.clone().map(Box::new)),
        }
    }

    fn settle(&mut self, finish: &FinishLogin) {
        let Some(tenant) = &finish.tenant else {
            return;
        };
        self.counters.settle(tenant, &finish.slots, finish.settlement);
        if let Some(user_at) = &finish.proven_at {
            self.counters.prove(tenant, user_at, finish.audit.time);
        }
    }
}

fn key_of(target: &LoginTarget) -> (TenantId, UserId) {
    (target.user.tenant.clone(), target.user.id)
}

/// What is only reserved, nobody was answered for. If a failing machine forgets it, so it forgets the attempt.
pub(crate) fn durability(jobs: &[Job]) -> Durability {
    match jobs.iter().all(|job| matches!(job, Job::Reserve { .. })) {
        true => Durability::ProcessCrash,
        false => Durability::MachineCrash,
    }
}

async fn commit(connection: &mut DedicatedConnection, jobs: &[Job]) -> Result<Vec<Outcome>> {
    if connection.engine() == Engine::Postgres
        && let Some(outcomes) = optimistic_commit::commit(connection, jobs).await?
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
    connection: &mut DedicatedConnection,
    jobs: &[Job],
    create: bool,
) -> Result<Option<Vec<Outcome>>> {
    let engine = connection.engine();
    let mut reads = Script::of_reads(engine);
    if create {
        let wanted = jobs.iter().flat_map(Job::reserved).collect();
        reads.push(|_, _| Ok(soft_lock::creation(&wanted)))?;
    }
    let keys = jobs.iter().flat_map(Job::keys).collect();
    let counted = reads.push(|engine, first| Ok(soft_lock::locking_selection(&keys, engine, first)))?;
    let expected = jobs.iter().filter_map(Job::expected);
    let expected = reads.push(|engine, first| Ok(revisions(expected, engine, first)))?;
    let (mut tx, found) = PipelinedTransaction::begin(connection, durability(jobs), reads).await?;
    let mut basis = Basis {
        counters: Counters::of(found.rows(counted)?)?,
        changed: HashMap::new(),
    };
    if engine == Engine::Postgres && !basis.is_complete(jobs) {
        tx.roll_back().await?;
        return Ok(None);
    }
    basis.changed = changed(&mut tx, engine, jobs, found.rows(expected)?).await?;
    let (outcomes, mut events) = basis.decide(jobs);
    events.extend(refusals::count(&mut tx, engine, jobs.iter().filter_map(Job::refusal)).await?);
    let mut writes = Script::of_writes(engine);
    writes.push(|engine, first| Ok(basis.counters.saving("true", engine, first)))?;
    writes.push(|engine, first| audit::insertion(events.into_iter(), "true", engine, first))?;
    tx.commit(writes).await?;
    Ok(Some(outcomes))
}

/// Those of whom something changed. They are few, so only they are read in full.
async fn changed(
    tx: &mut PipelinedTransaction<'_>,
    engine: Engine,
    jobs: &[Job],
    now: Vec<Revisions>,
) -> Result<HashMap<(TenantId, UserId), Option<LoginTarget>>> {
    let now: HashSet<Revisions> = now.into_iter().collect();
    let expected = jobs.iter().filter_map(Job::expected);
    let stale: Vec<_> = expected
        .filter(|target| !now.contains(&Revisions::of(target)))
        .collect();
    let mut changed: HashMap<_, _> = stale.iter().map(|target| (key_of(target), None)).collect();
    if let Some((sql, cells)) = anew(stale.into_iter(), engine) {
        for row in tx.rows::<TargetRow>(sql, cells).await? {
            let target = row.into_domain()?;
            changed.insert(key_of(&target), Some(target));
        }
    }
    Ok(changed)
}

impl Job {
    /// The counters that it changes or looks at.
    pub(crate) fn keys(&self) -> Vec<Key> {
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

    /// The counters that it takes slots of, whether they are there or not.
    fn reserved(&self) -> Vec<Key> {
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

    pub(crate) fn refusal(&self) -> Option<&Refusal> {
        match self {
            Job::Refuse { refusal, .. } => Some(refusal),
            Job::Reserve { .. } | Job::Finish { .. } => None,
        }
    }

    pub(crate) fn expected(&self) -> Option<&LoginTarget> {
        match self {
            Job::Finish { finish, .. } => finish.expect.as_ref(),
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
                    Outcome::Finished(look) => Ok(look),
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
