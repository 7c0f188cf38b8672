//! The run engine: starts runs, carries them out in the background, and takes over those whose worker died.
//!
//! A run belongs to the holder of its user sync's lease. Every write checks that the lease is still held, so a worker
//! that slept through the end of its lease can do no harm. And another worker can go on from every state: PULLING pulls
//! again, APPLYING goes on after the last chunk.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{RunId, UserSyncKey, Uuid};
use rollcall_core::run::{Run, RunMode, RunState, RunTrigger, pause_left};
use rollcall_runtime::clock::Clock;
use rollcall_service::directories::Directories;
use rollcall_store::{DueRun, DueStart, LeaseName, LeaseToken, NewAuditEvent, NewRun, RunHandle, Store};
use tokio::sync::watch;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::report::Reports;
use rollcall_service::in_use::open_for_use;

mod admission;
mod apply;
mod carry_out;
mod end;
mod executor;
pub(crate) mod lookups;
mod new_user_id;
mod permits;
mod planning;
mod refresh;
mod source;
mod steps;
mod stop;
mod tally;

use carry_out::carry_out;
use executor::{Executor, Phase};
pub use executor::{Progress, RunLimits};
use lookups::known::Asking;
use lookups::others::Others;
use permits::WorkerPermits;
pub(crate) use permits::per_tenant;
pub(crate) use refresh::{Foreseen, removal};
pub use refresh::{RefreshOutcome, Refreshed};
pub(crate) use source::Source;

/// How long a worker may take to give up the lease after its run ended or came to wait.
const LETTING_GO: Duration = Duration::from_secs(3);
/// How often the lease is looked at meanwhile.
const LOOK_AGAIN: Duration = Duration::from_millis(20);

/// How often a run is looked at that another process may have by now, to see whether it ended or waits.
const LOOK_FOR_END: Duration = Duration::from_secs(1);

/// Abandoned runs taken over at a time.
const TAKEOVERS: u32 = 16;

/// A run that this process has just started.
pub(crate) struct Underway {
    /// The run, PENDING.
    pub(crate) run: Run,
    progress: watch::Receiver<Progress>,
}

/// Carries out runs. Clones share it.
#[derive(Clone)]
pub struct RunEngine {
    x: Arc<Executor>,
    tasks: TaskTracker,
}

impl RunEngine {
    /// An engine that works on nothing yet.
    pub fn new(store: Store, directories: Directories, clock: Clock, limits: RunLimits) -> Self {
        Self {
            x: Arc::new(Executor {
                reports: Reports::new(store.clone(), limits.reports),
                permits: WorkerPermits::new(limits.concurrent),
                store,
                directories,
                clock,
                limits,
                holder: format!("worker {}", Uuid::new_v4().simple()),
                progress: Mutex::default(),
                stopping: CancellationToken::new(),
            }),
            tasks: TaskTracker::new(),
        }
    }

    /// Accepts a run, which goes on in the background. Waiting plans of the sync end SUPERSEDED.
    ///
    /// # Errors
    /// `SYNC_IN_PROGRESS`, `SYNC_DISABLED`, `ENDPOINT_UNCONFIRMED`, `RUNS_RATE_LIMITED`, `ALREADY_EXISTS` for the id, and what the
    /// store says.
    pub async fn start(&self, key: &UserSyncKey, new: NewRun, record: &NewAuditEvent) -> Result<Run, Error> {
        self.expect_ready(key).await?;
        self.begin(key, new, record).await
    }

    /// Starts a user sync that is due, unless another process does. Returns its run, with a signal for when this
    /// process is done with it. No caller waits to hear why it cannot work: if the directory may not be used, the run
    /// fails, and the user sync's health and its report say why.
    ///
    /// # Errors
    /// `SYNC_IN_PROGRESS`, and what the store says.
    pub(crate) async fn start_due(&self, due: DueRun) -> Result<Option<Underway>, Error> {
        let x = &self.x;
        let (key, id) = (due.key.clone(), due.run.id);
        let (holder, ttl) = (&x.holder, x.limits.lease_ttl);
        let started = x.store.start_due(due, holder, ttl, x.clock.now());
        let (lease, run) = match started.await? {
            DueStart::Started(lease, run) => (lease, *run),
            DueStart::NotDue => return Ok(None),
            DueStart::Busy => return Err(in_progress(&key)),
            DueStart::LeftBehind(lease) => {
                if let Ok(lease) = self.take_over(&key, lease).await? {
                    self.give_up(&lease).await;
                }
                return Err(in_progress(&key));
            }
        };
        // Watched from before the run may end.
        let progress = self.watch(id);
        self.carry_out(RunHandle { lease, key, id }, Phase::Pull);
        Ok(Some(Underway { run, progress }))
    }

    async fn begin(&self, key: &UserSyncKey, new: NewRun, record: &NewAuditEvent) -> Result<Run, Error> {
        let x = &self.x;
        let lease = self.free_lease(key).await?;
        if let Err(error) = self.expect_pause(key, &new).await {
            self.give_up(&lease).await;
            return Err(error);
        }
        let run = match x
            .store
            .create_run(&lease, key, new, Some(record), x.clock.now())
            .await
        {
            Ok(run) => run,
            Err(error) => {
                self.give_up(&lease).await;
                return Err(error.into());
            }
        };
        let (key, id) = (key.clone(), run.id);
        self.carry_out(RunHandle { lease, key, id }, Phase::Pull);
        Ok(run)
    }

    /// Somebody who asks for run after run burdens the directory and fills mailboxes. Previews do not count: people
    /// work with them.
    async fn expect_pause(&self, key: &UserSyncKey, new: &NewRun) -> Result<(), Error> {
        if new.trigger != RunTrigger::Call || new.mode == RunMode::Preview {
            return Ok(());
        }
        let (pause, now) = (self.x.limits.manual_pause, self.x.clock.now());
        let last = self.x.store.last_manual_run(key).await?;
        match pause_left(last, pause, now) {
            None => Ok(()),
            Some(left) => {
                let message = "this user sync was run a moment ago; run it again a little later";
                let error = Error::new(Reason::RunsRateLimited, message).with("resource", key.to_string());
                Err(error.retry_after(left))
            }
        }
    }

    /// Releases a plan that waits: exactly the changes that it shows, and only once.
    ///
    /// # Errors
    /// `RUN_NOT_IN_STATE`, `SYNC_IN_PROGRESS`, `SYNC_DISABLED`, `ENDPOINT_UNCONFIRMED` and what the store says.
    pub async fn apply(&self, key: &UserSyncKey, id: RunId, record: &NewAuditEvent) -> Result<Run, Error> {
        self.expect_ready(key).await?;
        let x = &self.x;
        let lease = self.free_lease(key).await?;
        let key = key.clone();
        let handle = RunHandle { lease, key, id };
        let run = match x.store.begin_apply(&handle, record).await {
            Ok(run) => run,
            Err(error) => {
                self.give_up(&handle.lease).await;
                return Err(error.into());
            }
        };
        self.carry_out(handle, Phase::Apply);
        Ok(run)
    }

    /// Stops a run: at once if it waits, else before its next step. What it has applied stays.
    ///
    /// # Errors
    /// `RUN_NOT_IN_STATE` if it ended already, and what the store says.
    pub async fn cancel(&self, key: &UserSyncKey, id: RunId, record: &NewAuditEvent) -> Result<Run, Error> {
        let store = &self.x.store;
        let run = store.run(key, id).await?;
        if run.state.is_waiting() {
            return Ok(store.cancel_waiting_run(key, id, record).await?);
        }
        store.request_cancel(key, id, record).await?;
        Ok(store.run(key, id).await?)
    }

    /// Waits until a run has ended or waits for a person. While the store is away, this goes on waiting: the outage
    /// ends no run either.
    ///
    /// # Errors
    /// Other errors of the store.
    pub async fn wait(&self, key: &UserSyncKey, id: RunId) -> Result<Run, Error> {
        let progress = self.watch(id);
        match self.at_rest(key, id).await? {
            Some(run) => Ok(run),
            None => self.wait_on(key, id, progress).await,
        }
    }

    /// The same for a run that has just been started. The store is asked only once there is news of the run.
    ///
    /// # Errors
    /// As [`wait`](Self::wait).
    pub(crate) async fn wait_for(&self, underway: Underway) -> Result<Run, Error> {
        let Underway { run, progress } = underway;
        self.wait_on(&run.user_sync, run.id, progress).await
    }

    async fn wait_on(
        &self,
        key: &UserSyncKey,
        id: RunId,
        mut progress: watch::Receiver<Progress>,
    ) -> Result<Run, Error> {
        let mut rests = 0;
        loop {
            // Another process may have the run, and sends no news here.
            let done = progress.wait_for(|progress| progress.rests > rests);
            if let Ok(Ok(progress)) = tokio::time::timeout(LOOK_FOR_END, done).await {
                rests = progress.rests;
            }
            if let Some(run) = self.at_rest(key, id).await? {
                return Ok(run);
            }
        }
    }

    /// The run, if it has ended or waits for a person, and the store can say so.
    async fn at_rest(&self, key: &UserSyncKey, id: RunId) -> Result<Option<Run>, Error> {
        match self.x.store.run(key, id).await.map_err(Error::from) {
            Ok(run) => Ok((!run.state.is_working()).then_some(run)),
            Err(error) if error.reason == Reason::StoreUnavailable => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// A signal for each step that this process takes with the run. For runs of other processes, ask the store.
    pub fn watch(&self, id: RunId) -> watch::Receiver<Progress> {
        let mut progress = self.x.progress();
        progress.retain(|_, sender| sender.receiver_count() > 0);
        progress
            .entry(id)
            .or_insert_with(|| watch::Sender::new(Progress::default()))
            .subscribe()
    }

    /// Takes over runs whose worker died, and returns them.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn recover(&self) -> Result<Vec<Run>, Error> {
        let mut taken = Vec::new();
        for run in self.x.store.abandoned_runs(TAKEOVERS).await? {
            if let Some(lease) = self.lease(&run.user_sync).await? {
                taken.extend(self.take_over(&run.user_sync, lease).await?.err());
            }
        }
        Ok(taken)
    }

    /// Carries on the run of this user sync that its worker left, or gives the lease back if there is none.
    async fn take_over(
        &self,
        key: &UserSyncKey,
        lease: LeaseToken,
    ) -> Result<Result<LeaseToken, Run>, Error> {
        let run = match self.x.store.working_run(key).await {
            Ok(Some(run)) => run,
            // The run may have ended before this process had the lease.
            Ok(None) => return Ok(Ok(lease)),
            Err(error) => {
                self.give_up(&lease).await;
                return Err(error.into());
            }
        };
        let phase = match run.state == RunState::Applying {
            true => Phase::Apply,
            false => Phase::Pull,
        };
        tracing::info!(run.id = %run.id, "taking over a run whose worker is gone");
        let (key, id) = (key.clone(), run.id);
        self.carry_out(RunHandle { lease, key, id }, phase);
        Ok(Err(run))
    }

    /// Brings one user up to date by the rules of its sync.
    ///
    /// # Errors
    /// `USER_NOT_FOUND`; `FAILED_PRECONDITION` for a LOCAL user; what the directory and the store say.
    pub async fn refresh(
        &self,
        tenant: &rollcall_core::id::TenantId,
        user: rollcall_core::id::UserId,
    ) -> Result<Refreshed, Error> {
        refresh::refresh(&self.x, tenant, user).await
    }

    /// What a refresh of this user would do. Writes nothing.
    ///
    /// # Errors
    /// As [`refresh`](Self::refresh).
    pub(crate) async fn foresee_refresh(&self, user: &rollcall_core::user::User) -> Result<Foreseen, Error> {
        refresh::foresee(&self.x, user).await
    }

    /// What a check that foretells a run of this user sync looks up in the store and in other syncs, as the run would.
    pub(crate) fn others<'a>(&'a self, asking: Asking<'a>, source: &'a Source) -> Others<'a> {
        Others::new(&self.x, asking, source)
    }

    /// Ends plans whose time is over, and tells about those that were held.
    ///
    /// # Errors
    /// What the store says.
    pub async fn expire(&self) -> Result<(), Error> {
        end::expiry::expire(&self.x).await
    }

    /// The held run that may be applied, or was, for one that it superseded; `None` if there is none, or if it has changes
    /// that the superseded one did not show.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn newest_hold_of(&self, superseded: &Run) -> Result<Option<Run>, Error> {
        end::superseded::newest_hold_of(&self.x.store, superseded).await
    }

    /// Lets runs come to a state from which another worker goes on, and gives up their leases.
    pub async fn drain(&self, deadline: Duration) {
        self.x.stopping.cancel();
        self.tasks.close();
        if tokio::time::timeout(deadline, self.tasks.wait()).await.is_err() {
            tracing::warn!("runs were still busy at the end of the drain; another worker takes them over");
        }
    }

    /// A caller who asks for a run hears at once why it could not work.
    async fn expect_ready(&self, key: &UserSyncKey) -> Result<(), Error> {
        let x = &self.x;
        let sync = x.store.user_sync(&key.tenant, &key.user_sync).await?;
        if sync.settings.disabled {
            return Err(Error::new(Reason::SyncDisabled, "the user sync is switched off"));
        }
        let directory = &sync.settings.directory;
        open_for_use(&x.store, &x.directories, &key.tenant, directory)
            .await
            .map(|_| ())
    }

    async fn lease(&self, key: &UserSyncKey) -> Result<Option<LeaseToken>, Error> {
        let name = LeaseName::run_of(key);
        let (holder, ttl) = (&self.x.holder, self.x.limits.lease_ttl);
        Ok(self.x.store.acquire_lease(&name, holder, ttl).await?)
    }

    /// The lease for something new. A run that was left unfinished comes first: its plan may be of another day.
    async fn free_lease(&self, key: &UserSyncKey) -> Result<LeaseToken, Error> {
        let patience = Instant::now() + LETTING_GO;
        let free = loop {
            if let Some(lease) = self.lease(key).await? {
                break self.take_over(key, lease).await?.ok();
            }
            // A run ends, or comes to wait, before its worker gives up the lease. So a caller who saw that may come
            // here too early.
            let rests = self.x.store.working_run(key).await?.is_none();
            if !rests || Instant::now() >= patience {
                break None;
            }
            sleep(LOOK_AGAIN).await;
        };
        free.ok_or_else(|| in_progress(key))
    }

    async fn give_up(&self, lease: &LeaseToken) {
        if let Err(error) = self.x.store.release_lease(lease).await {
            tracing::debug!(error = %error, "a lease ends by itself");
        }
    }

    fn carry_out(&self, run: RunHandle, phase: Phase) {
        self.tasks.spawn(carry_out(self.x.clone(), run, phase));
    }
}

fn in_progress(key: &UserSyncKey) -> Error {
    let message = "a run of this user sync is under way; wait for it or cancel it";
    Error::new(Reason::SyncInProgress, message).with("user_sync", key.to_string())
}
