//! User syncs that are due: how exactly one of many schedulers and callers starts each of them.

use std::collections::HashMap;
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::id::{DirectoryId, RunId, TenantId, UserSyncKey};
use rollcall_core::run::{Run, RunMode, RunState, RunTrigger};
use rollcall_core::user_sync::UserSync;
use rollcall_core::wording::counted;
use rollcall_store::{Due, DueCursor, DueRun, NewRun};
use tokio::sync::mpsc;
use tokio::task::{Id, JoinSet};
use tokio::time::interval;
use tokio_util::task::AbortOnDropHandle;

use super::due_permits::{DuePermit, DuePermits};
use super::next_run::next_run_time;
use super::queue::DueQueue;
use crate::run::{RunEngine, Underway};
use crate::worker::Worker;

/// How many user syncs are asked for at a time.
const PORTION: u32 = 1000;

/// Most user syncs that are brought forward at a time.
const MAX_AHEAD: u32 = 10_000;

/// A plan at most this much older than the time at which a sync became due shows the directory as it is.
const FRESH: TimeDelta = TimeDelta::hours(1);

/// True if a run under way does what is due. A run whose plan an outage left half applied does not: it carries out what
/// was right on another day.
fn counts_for(run: &Run, due: DateTime<Utc>) -> bool {
    run.mode == RunMode::Apply && run.plan_time.is_none_or(|planned| planned + FRESH >= due)
}

/// A run for what is due.
pub(crate) enum Running {
    /// This process has started it.
    Started(Box<Underway>),
    /// It was under way already.
    Already(Box<Run>),
}

impl Running {
    /// Waits until the run rests.
    async fn rest(self, engine: &RunEngine) -> Result<Run, Error> {
        match self {
            Self::Started(underway) => engine.wait_for(*underway).await,
            Self::Already(run) => engine.wait(&run.user_sync, run.id).await,
        }
    }
}

/// How one due user sync went.
pub(crate) struct DueResult {
    pub(crate) user_sync: UserSyncKey,
    /// The run, which has ended or waits for a person; or why there is none.
    pub(crate) run: Result<Run, Error>,
}

/// How many syncs went which way.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub(crate) struct DueCounts {
    pub(crate) succeeded: u64,
    pub(crate) failed: u64,
    pub(crate) held: u64,
}

impl DueCounts {
    pub(crate) fn add(&mut self, result: &DueResult) {
        match result.run.as_ref().map(|run| run.state) {
            Ok(RunState::Succeeded | RunState::SucceededWithIssues) => self.succeeded += 1,
            Ok(RunState::Held) => self.held += 1,
            Ok(_) | Err(_) => self.failed += 1,
        }
    }

    /// # Errors
    /// `SYNCS_NEED_ATTENTION` if any failed or is held.
    pub(crate) fn into_result(self) -> Result<(), Error> {
        let Self {
            succeeded,
            failed,
            held,
        } = self;
        if failed + held == 0 {
            return Ok(());
        }
        let message = format!(
            "{} succeeded, {failed} failed, {} held for a person to look at",
            counted(succeeded, "user sync", "user syncs"),
            counted(held, "is", "are")
        );
        let error = Error::new(Reason::SyncsNeedAttention, message).with("succeeded", succeeded.to_string());
        Err(error
            .with("failed", failed.to_string())
            .with("held", held.to_string()))
    }
}

impl Worker {
    /// Starts a due user sync, unless another process does. A run for the same purpose that is under way already counts
    /// as started.
    ///
    /// # Errors
    /// `SYNC_IN_PROGRESS` if another kind of run is under way; the sync stays due. Whatever else keeps a run from
    /// starting.
    pub(crate) async fn start_due(
        &self,
        sync: &UserSync,
        trigger: RunTrigger,
        asked_by: &AskedBy,
    ) -> Result<Option<Running>, Error> {
        let key = sync.key();
        let Some(due) = sync.next_run_time else {
            return Ok(None);
        };
        let next = next_run_time(&key, &sync.settings, self.settings.scheduler.spread, self.now());
        let run = NewRun {
            id: RunId(self.random_id()?),
            mode: RunMode::Apply,
            trigger,
            asked_by: asked_by.clone(),
        };
        let due_run = DueRun {
            key: key.clone(),
            due,
            next,
            run,
        };
        let error = match self.engine.start_due(due_run).await {
            Ok(Some(underway)) => return Ok(Some(Running::Started(Box::new(underway)))),
            Ok(None) => return Ok(None),
            Err(error) => error,
        };
        let (tenant, id) = (&key.tenant, &key.user_sync);
        match error.reason == Reason::SyncInProgress {
            true => {
                // Other syncs of the tenant come first, and other tenants.
                self.store.pass_turn(tenant, self.now()).await?;
                match self.store.working_run(&key).await? {
                    Some(run) if counts_for(&run, due) => {
                        self.store.set_next_run_time(tenant, id, Some(due), next).await?;
                        Ok(Some(Running::Already(Box::new(run))))
                    }
                    Some(_) => Err(error),
                    // A run is just about to start, or has just ended. The next look will tell.
                    None => Ok(None),
                }
            }
            // The user sync is all right: it stays due.
            false if error.kind() == ErrorKind::Unavailable => Err(error),
            // A sync that cannot be started now is not tried again and again.
            false => {
                self.store.set_next_run_time(tenant, id, Some(due), next).await?;
                Err(error)
            }
        }
    }

    /// Brings forward user syncs whose next time is later than their schedule says: a clock that was ahead has set it.
    pub(crate) async fn bring_forward(&self) -> Result<(), Error> {
        let now = self.now();
        self.store.bring_turns_forward(now).await?;
        for sync in self.store.user_syncs_due_after(now, MAX_AHEAD).await? {
            let key = sync.key();
            let next = next_run_time(&key, &sync.settings, self.settings.scheduler.spread, now);
            if next.is_some() && next < sync.next_run_time {
                tracing::warn!(user_sync = %key, "a run was scheduled by a clock that was ahead");
                self.store
                    .set_next_run_time(&key.tenant, &key.user_sync, sync.next_run_time, next)
                    .await?;
            }
        }
        Ok(())
    }

    /// Runs every user sync that is due now, several at a time: those of one tenant, or of all tenants that `wanted`
    /// accepts. Reports each one when it has ended or waits. Starts no more once the receiver is gone; started runs go
    /// on.
    ///
    /// # Errors
    /// `SHUTTING_DOWN` if this process stops before all were started. What keeps it from knowing what is due.
    pub(crate) async fn run_due(
        &self,
        tenant: Option<&TenantId>,
        wanted: impl Fn(&TenantId) -> bool,
        asked_by: &AskedBy,
        results: mpsc::Sender<DueResult>,
    ) -> Result<(), Error> {
        let mut queue = self.all_due(tenant, wanted).await?;
        let limits = &self.settings.runs;
        let permits = DuePermits::new(limits.concurrent);
        let mut waiting = JoinSet::new();
        let mut reading: HashMap<Id, ((TenantId, DirectoryId), DuePermit)> = HashMap::new();
        loop {
            let going_on = !results.is_closed() && !self.stop.is_cancelled();
            let has_room = |due: &Due| {
                let busy = reading.values().filter(|(busy, _)| *busy == directory_of(due));
                busy.count() < limits.per_directory as usize
            };
            let next = going_on.then(|| queue.next(&permits, has_room)).flatten();
            let Some((due, permit)) = next else {
                match waiting.join_next_with_id().await {
                    Some(Ok((id, ()))) => reading.remove(&id),
                    Some(Err(broken)) => reading.remove(&broken.id()),
                    None => break,
                };
                continue;
            };
            let user_sync = due.key.clone();
            let run = match self.start_listed(&due, asked_by).await {
                Ok(None) => continue,
                Ok(Some(run)) => Ok(run),
                Err(error) => Err(error),
            };
            let (engine, stop, results) = (self.engine.clone(), self.stop.clone(), results.clone());
            let task = waiting.spawn(async move {
                let run = match run {
                    // If this process gives a run up, another one carries it on, and nobody waits for it here.
                    Ok(run) => stop
                        .run_until_cancelled(run.rest(&engine))
                        .await
                        .unwrap_or_else(|| {
                            Err(shutting_down(
                                "this replica is shutting down; another one goes on",
                            ))
                        }),
                    Err(error) => Err(error),
                };
                // The caller may be gone; the run is in the store all the same.
                let _ = results.send(DueResult { user_sync, run }).await;
            });
            reading.insert(task.id(), (directory_of(&due), permit));
        }
        match queue.is_empty() || results.is_closed() {
            true => Ok(()),
            false => Err(shutting_down(
                "this replica is shutting down; not all that is due was started",
            )),
        }
    }

    /// All that is due now. Only the names are kept: for a night of ten thousand user syncs they are a megabyte.
    async fn all_due(
        &self,
        tenant: Option<&TenantId>,
        wanted: impl Fn(&TenantId) -> bool,
    ) -> Result<DueQueue, Error> {
        let now = self.now();
        let mut queue = DueQueue::default();
        let mut cursor = Some(DueCursor::default());
        while let Some(after) = cursor {
            let (due, next) = self.store.list_due(now, tenant, &after, PORTION).await?;
            due.into_iter()
                .filter(|due| wanted(&due.key.tenant))
                .for_each(|due| queue.push(due));
            cursor = next;
        }
        Ok(queue)
    }

    /// Starts a sync that was due when the list was made, if it still is.
    async fn start_listed(&self, due: &Due, asked_by: &AskedBy) -> Result<Option<Running>, Error> {
        match self.store.still_due(due, self.now()).await? {
            Some(sync) => self.start_due(&sync, RunTrigger::Due, asked_by).await,
            None => Ok(None),
        }
    }
}

fn shutting_down(message: &str) -> Error {
    Error::new(Reason::ShuttingDown, message)
}

/// How often a caller that runs what is due looks for runs whose worker died, if no server does so.
const RECOVERY_INTERVAL: Duration = Duration::from_secs(5);

impl Worker {
    /// Runs everything that is due on a host without a server. Runs that were left unfinished are finished first, or as
    /// soon as their worker's lease is over, and are reported too.
    pub(crate) async fn run_due_alone(
        &self,
        asked_by: &AskedBy,
        results: mpsc::Sender<DueResult>,
    ) -> Result<(), Error> {
        // Each run once: one that breaks off at once is found again.
        let mut left: HashMap<RunId, UserSyncKey> = HashMap::new();
        loop {
            let known = left.len();
            let taken = self.engine.recover().await?;
            left.extend(taken.into_iter().map(|run| (run.id, run.user_sync)));
            if left.len() == known {
                break;
            }
        }
        let engine = self.engine.clone();
        let _recovering = AbortOnDropHandle::new(tokio::spawn(async move {
            let mut again = interval(RECOVERY_INTERVAL);
            loop {
                again.tick().await;
                if let Err(error) = engine.recover().await {
                    tracing::warn!(%error, "runs that were left behind could not be looked for");
                }
            }
        }));
        let ran = self.run_due(None, |_| true, asked_by, results.clone()).await;
        for (id, user_sync) in left {
            let waited = self.engine.wait(&user_sync, id);
            let Some(run) = self.stop.run_until_cancelled(waited).await else {
                break;
            };
            _ = results.send(DueResult { user_sync, run }).await;
        }
        ran
    }
}

fn directory_of(due: &Due) -> (TenantId, DirectoryId) {
    (due.key.tenant.clone(), due.directory.clone())
}
