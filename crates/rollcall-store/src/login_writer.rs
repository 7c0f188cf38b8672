//! How logins share a commit.
//!
//! Each login commits twice: the slot that it reserves before the bind, and its end. One task writes for all
//! logins of the process: while one transaction commits, those that arrive form the next batch by themselves,
//! so a single login waits for nobody and many share the cost. Each caller is answered after its commit.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::throttle::Settlement;
use tokio::sync::{mpsc, oneshot};

use crate::audit::{self, NewAuditEvent};
use crate::database::{Database, Engine};
use crate::error::{Result, StoreError};
use crate::few_trips::{FewTrips, Statements};
use crate::login_target::{LoginTarget, Revisions, revisions};
use crate::refusals::{self, Refusal};
use crate::store::Store;
use crate::throttles::{self, Counters, HeldSlot, Key, Reservation, Reserved, key};

/// Most attempts that share a transaction, which keeps it short.
const MAX_BATCH: usize = 256;

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

type Answer<T> = oneshot::Sender<Result<T>>;

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
    /// Answered when all jobs before it are done.
    Drain { answer: Answer<()> },
}

/// What is answered after the commit.
enum Outcome {
    Reserved(Reserved),
    Finished(LoginChange),
    Refused,
    Drained,
}

pub(crate) struct LoginWriter {
    jobs: mpsc::Sender<Job>,
}

#[derive(Debug, thiserror::Error)]
#[error("the commit that the attempt was part of failed")]
struct SharedFailure(#[source] Arc<StoreError>);

#[derive(Debug, thiserror::Error)]
#[error("the task that commits logins has ended")]
struct WriterGone;

impl LoginWriter {
    pub(crate) fn start(database: Arc<Database>) -> Self {
        let (jobs, queue) = mpsc::channel(MAX_BATCH * 4);
        tokio::spawn(work(database, queue));
        Self { jobs }
    }

    pub(crate) async fn submit<T>(&self, job: impl FnOnce(Answer<T>) -> Job) -> Result<T> {
        let gone = || StoreError::Unavailable(WriterGone.into());
        let (answer, answered) = oneshot::channel();
        self.jobs.send(job(answer)).await.map_err(|_| gone())?;
        answered.await.unwrap_or_else(|_| Err(gone()))
    }

    pub(crate) async fn drain(&self) {
        // If the task is gone there is nothing to wait for.
        let _ = self.submit(|answer| Job::Drain { answer }).await;
    }
}

async fn work(database: Arc<Database>, mut queue: mpsc::Receiver<Job>) {
    let mut batch = Vec::with_capacity(MAX_BATCH);
    while queue.recv_many(&mut batch, MAX_BATCH).await > 0 {
        commit_and_answer(&database, std::mem::take(&mut batch)).await;
    }
}

/// Commits jobs together. If that fails for a reason that may lie in one of them, each is tried by itself, so
/// that nobody fails for another's sake.
async fn commit_and_answer(database: &Database, jobs: Vec<Job>) {
    let error = match commit(database, &jobs).await {
        Ok(outcomes) => {
            for (job, outcome) in jobs.into_iter().zip(outcomes) {
                job.answer(Ok(outcome));
            }
            return;
        }
        Err(error) => error,
    };
    match error {
        StoreError::Unavailable(_) => {
            let shared = Arc::new(error);
            for job in jobs {
                job.answer(Err(StoreError::Unavailable(SharedFailure(shared.clone()).into())));
            }
        }
        error if jobs.len() == 1 => {
            let mut error = Some(error);
            for job in jobs {
                if let Some(error) = error.take() {
                    job.answer(Err(error));
                }
            }
        }
        _ => {
            for job in jobs {
                let result = commit(database, std::slice::from_ref(&job)).await;
                let outcome = result.and_then(|outcomes| {
                    outcomes
                        .into_iter()
                        .next()
                        .ok_or(StoreError::corrupt("a login has no outcome"))
                });
                job.answer(outcome);
            }
        }
    }
}

/// A transaction for some jobs, and what it found: the counters that it locked, and the users as they are.
struct Begun {
    tx: FewTrips,
    counters: Counters,
    current: HashMap<(TenantId, UserId), LoginExpectation>,
}

/// Begins. On PostgreSQL a counter that is not there cannot be locked; `create` makes those that reservations
/// want.
async fn begin(database: &Database, jobs: &[Job], create: bool) -> Result<Begun> {
    let mut reads = Statements::that_read(database.engine);
    if create {
        let wanted = jobs.iter().filter(|job| matches!(job, Job::Reserve { .. }));
        let wanted = wanted.flat_map(Job::keys).collect();
        reads.push(|_, _| Ok(throttles::creation(&wanted)))?;
    }
    let keys = jobs.iter().flat_map(Job::keys).collect();
    let counted = reads.push(|engine, first| Ok(throttles::selection(&keys, engine, first)))?;
    let expected = jobs.iter().filter_map(Job::expected);
    let expected = reads.push(|engine, first| Ok(revisions(expected, engine, first)))?;
    let (tx, found) = FewTrips::begin(database, reads).await?;
    let current = found.rows(expected)?.into_iter().map(|row: Revisions| {
        let (tenant, basis) = row.into_domain()?;
        Ok(((tenant, basis.user), basis))
    });
    Ok(Begun {
        tx,
        counters: Counters::of(found.rows(counted)?)?,
        current: current.collect::<Result<_>>()?,
    })
}

async fn commit(database: &Database, jobs: &[Job]) -> Result<Vec<Outcome>> {
    let engine = database.engine;
    let mut begun = begin(database, jobs, false).await?;
    let reserving = || jobs.iter().filter(|job| matches!(job, Job::Reserve { .. }));
    if engine == Engine::Postgres
        && !reserving()
            .flat_map(Job::keys)
            .all(|key| begun.counters.has(&key))
    {
        // From the beginning, so that everybody locks in the same order.
        drop(begun);
        begun = begin(database, jobs, true).await?;
    }
    let Begun {
        mut tx,
        mut counters,
        current,
    } = begun;
    let mut events: Vec<&NewAuditEvent> = Vec::new();
    let mut outcomes = Vec::with_capacity(jobs.len());
    for job in jobs {
        outcomes.push(match job {
            Job::Reserve {
                tenant,
                reservations,
                now,
                ..
            } => Outcome::Reserved(counters.reserve(tenant, reservations, *now)),
            Job::Finish { finish, .. } => {
                if let Some(tenant) = &finish.tenant {
                    counters.settle(tenant, &finish.slots, finish.settlement);
                }
                let change = finish.compare(&current);
                events.push(match &finish.audit_if_changed {
                    Some(audit) if change.any() => audit,
                    _ => &finish.audit,
                });
                Outcome::Finished(change)
            }
            Job::Refuse { .. } => Outcome::Refused,
            Job::Drain { .. } => Outcome::Drained,
        });
    }
    events.extend(refusals::count(&mut tx, engine, jobs.iter().filter_map(Job::refusal)).await?);
    let mut writes = Statements::that_write(engine);
    writes.push(|engine, first| Ok(counters.saving(engine, first)))?;
    writes.push(|engine, first| audit::insertion(events.into_iter(), engine, first))?;
    tx.commit(writes).await?;
    Ok(outcomes)
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
    fn keys(&self) -> Vec<Key> {
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
            Job::Refuse { .. } | Job::Drain { .. } => Vec::new(),
        }
    }

    fn refusal(&self) -> Option<&Refusal> {
        match self {
            Job::Refuse { refusal, .. } => Some(refusal),
            Job::Reserve { .. } | Job::Finish { .. } | Job::Drain { .. } => None,
        }
    }

    fn expected(&self) -> Option<(&TenantId, UserId)> {
        match self {
            Job::Finish { finish, .. } => Some((finish.tenant.as_ref()?, finish.expect.as_ref()?.user)),
            Job::Reserve { .. } | Job::Refuse { .. } | Job::Drain { .. } => None,
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
            Job::Drain { answer } => {
                let _ = answer.send(result.and_then(|outcome| match outcome {
                    Outcome::Drained => Ok(()),
                    _ => Err(mismatch()),
                }));
            }
        }
    }
}
