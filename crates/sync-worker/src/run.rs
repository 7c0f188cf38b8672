//! The run engine: starts runs, carries them out in the background, and takes over those whose worker died.
//!
//! A run belongs to whoever holds the lease of its user sync. Every write proves that it is still held, so a
//! worker that slept through the end of its lease can do no harm; and every state is one that another worker
//! can go on from: PULLING pulls again, APPLYING goes on after the last chunk.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{RunId, UserSyncKey, Uuid};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::run::{Run, RunMode, RunState, RunTrigger};
use rollcall_runtime::clock::Clock;
use rollcall_store::{LeaseName, LeaseToken, NewRun, Store};
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::directories::Directories;
use crate::report::Reports;

mod absences;
mod applying;
mod carry_out;
mod context;
mod disputes;
mod expiry;
mod owners;
mod place;
mod planning;
mod refresh;
mod relinking;
mod source;
mod stop;
mod superseded;
mod turn;

use place::Places;
pub(crate) use place::per_tenant;
pub use refresh::{RefreshOutcome, Refreshed};

/// Abandoned runs taken over at a time.
const TAKEOVERS: u32 = 16;

/// How runs are carried out.
#[derive(Clone, Debug)]
pub struct RunLimits {
    /// Which logins are acceptable.
    pub login_policy: LoginPolicy,
    /// A worker that is silent for this long has lost its runs.
    pub lease_ttl: Duration,
    /// Runs that are worked on at a time in this process, however they were started.
    pub concurrent: usize,
    /// Runs that may read one directory at a time, in all replicas together.
    pub per_directory: u32,
    /// Entries that the searches of one user sync may bring; a run that meets more is incomplete.
    pub max_entries: u32,
    /// Whether reports are written; false where nobody sends them.
    pub reports: bool,
}

impl Default for RunLimits {
    /// The default login policy, 30 s, four runs, two a directory, two million entries, no reports.
    fn default() -> Self {
        Self {
            login_policy: LoginPolicy::default(),
            lease_ttl: Duration::from_secs(30),
            concurrent: 4,
            per_directory: 2,
            max_entries: 2_000_000,
            reports: false,
        }
    }
}

/// Carries out runs. Clones share it.
#[derive(Clone)]
pub struct RunEngine {
    inner: Arc<Inner>,
}

pub(super) struct Inner {
    store: Store,
    directories: Directories,
    clock: Clock,
    limits: RunLimits,
    reports: Reports,
    /// Names this process in leases, for people.
    holder: String,
    progress: Mutex<HashMap<RunId, watch::Sender<u64>>>,
    tasks: TaskTracker,
    places: Places,
    stopping: CancellationToken,
}

/// From where a run is carried on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Phase {
    Pull,
    Apply,
}

impl RunEngine {
    /// An engine that works on nothing yet.
    pub fn new(store: Store, directories: Directories, clock: Clock, limits: RunLimits) -> Self {
        Self {
            inner: Arc::new(Inner {
                reports: Reports::new(store.clone(), limits.reports),
                places: Places::new(limits.concurrent),
                store,
                directories,
                clock,
                limits,
                holder: format!("worker {}", Uuid::new_v4().simple()),
                progress: Mutex::default(),
                tasks: TaskTracker::new(),
                stopping: CancellationToken::new(),
            }),
        }
    }

    /// Accepts a run, which goes on in the background. Waiting plans of the sync end SUPERSEDED.
    ///
    /// # Errors
    /// `SYNC_IN_PROGRESS`, `SYNC_DISABLED`, `ENDPOINT_UNCONFIRMED`, `ALREADY_EXISTS` for the id, and what the
    /// store says.
    pub async fn start(
        &self,
        key: &UserSyncKey,
        id: RunId,
        mode: RunMode,
        trigger: RunTrigger,
        started_by: &str,
    ) -> Result<Run, Error> {
        self.expect_ready(key).await?;
        let new = NewRun {
            id,
            mode,
            trigger,
            started_by: started_by.to_owned(),
        };
        self.begin(key, new).await
    }

    /// Accepts a run that is due. Nobody waits to hear why it cannot work, so if the directory may not be used it
    /// fails, which the user sync's health and its report then tell.
    ///
    /// # Errors
    /// `SYNC_IN_PROGRESS`, and what the store says.
    pub async fn start_due(
        &self,
        key: &UserSyncKey,
        id: RunId,
        trigger: RunTrigger,
        started_by: &str,
    ) -> Result<Run, Error> {
        let new = NewRun {
            id,
            mode: RunMode::Apply,
            trigger,
            started_by: started_by.to_owned(),
        };
        self.begin(key, new).await
    }

    async fn begin(&self, key: &UserSyncKey, new: NewRun) -> Result<Run, Error> {
        let inner = &self.inner;
        let lease = self.free_lease(key).await?;
        let run = match inner.store.create_run(&lease, key, new, inner.clock.now()).await {
            Ok(run) => run,
            Err(error) => {
                self.give_up(&lease).await;
                return Err(error.into());
            }
        };
        self.carry_out(key, run.id, lease, Phase::Pull);
        Ok(run)
    }

    /// Releases a plan that waits: exactly the changes that it shows, once.
    ///
    /// # Errors
    /// `RUN_NOT_IN_STATE`, `SYNC_IN_PROGRESS`, `SYNC_DISABLED`, `ENDPOINT_UNCONFIRMED` and what the store says.
    pub async fn apply(&self, key: &UserSyncKey, id: RunId) -> Result<Run, Error> {
        self.expect_ready(key).await?;
        let inner = &self.inner;
        let lease = self.free_lease(key).await?;
        let run = match inner.store.begin_apply(&lease, key, id, inner.clock.now()).await {
            Ok(run) => run,
            Err(error) => {
                self.give_up(&lease).await;
                return Err(error.into());
            }
        };
        self.carry_out(key, id, lease, Phase::Apply);
        Ok(run)
    }

    /// Stops a run: at once if it waits, else before its next step. What it has applied stays.
    ///
    /// # Errors
    /// `RUN_NOT_IN_STATE` if it ended already, and what the store says.
    pub async fn cancel(&self, key: &UserSyncKey, id: RunId) -> Result<Run, Error> {
        let store = &self.inner.store;
        let run = store.run(key, id).await?;
        if run.state.is_waiting() {
            return Ok(store.cancel_waiting_run(key, id, self.inner.clock.now()).await?);
        }
        store.request_cancel(key, id).await?;
        Ok(store.run(key, id).await?)
    }

    /// Waits until a run rests: it ended, or waits for a person. A store that is away for a while ends no run, and
    /// this neither.
    ///
    /// # Errors
    /// What else the store says.
    pub async fn wait(&self, key: &UserSyncKey, id: RunId) -> Result<Run, Error> {
        let mut changes = self.watch(id);
        loop {
            changes.mark_unchanged();
            match self.inner.store.run(key, id).await.map_err(Error::from) {
                Ok(run) if !run.state.is_working() => return Ok(run),
                Err(error) if error.reason != Reason::StoreUnavailable => return Err(error),
                Ok(_) | Err(_) => {}
            }
            // Another process may have the run, which says nothing here.
            let _ = tokio::time::timeout(Duration::from_secs(1), changes.changed()).await;
        }
    }

    /// Makes a user sync whose run was superseded due at once, if it runs by itself.
    ///
    /// # Errors
    /// What the store says.
    pub(crate) async fn run_again(&self, key: &UserSyncKey) -> Result<(), Error> {
        Ok(self.inner.run_again(key).await?)
    }

    /// Changes whenever this process moved the run on. Runs of other processes have to be asked for.
    pub fn watch(&self, id: RunId) -> watch::Receiver<u64> {
        let mut progress = self.inner.progress();
        progress.retain(|_, sender| sender.receiver_count() > 0);
        progress
            .entry(id)
            .or_insert_with(|| watch::Sender::new(0))
            .subscribe()
    }

    /// Takes over runs whose worker died; returns those.
    ///
    /// # Errors
    /// What the store says.
    pub async fn recover(&self) -> Result<Vec<Run>, Error> {
        let mut taken = Vec::new();
        for run in self.inner.store.abandoned_runs(TAKEOVERS).await? {
            if let Some(lease) = self.lease(&run.user_sync).await? {
                taken.extend(self.take_over(&run.user_sync, lease).await?.err());
            }
        }
        Ok(taken)
    }

    /// Carries on what somebody left of this user sync, or else gives the lease back.
    async fn take_over(
        &self,
        key: &UserSyncKey,
        lease: LeaseToken,
    ) -> Result<Result<LeaseToken, Run>, Error> {
        let run = match self.inner.store.working_run(key).await {
            Ok(Some(run)) => run,
            // It may have been carried to its end before the lease was ours.
            Ok(None) => return Ok(Ok(lease)),
            Err(error) => {
                self.give_up(&lease).await;
                return Err(error.into());
            }
        };
        let phase = match run.state {
            RunState::Applying => Phase::Apply,
            _ => Phase::Pull,
        };
        tracing::info!(run.id = %run.id, "taking over a run whose worker is gone");
        self.carry_out(key, run.id, lease, phase);
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
        self.inner.refresh(tenant, user).await
    }

    /// Lets runs come to a state from which another worker goes on, and gives their leases up.
    pub async fn drain(&self, deadline: Duration) {
        self.inner.stopping.cancel();
        self.inner.tasks.close();
        if tokio::time::timeout(deadline, self.inner.tasks.wait())
            .await
            .is_err()
        {
            tracing::warn!("runs were still busy at the end of the drain; another worker takes them over");
        }
    }

    /// Somebody who asks for a run hears at once why it could not work.
    async fn expect_ready(&self, key: &UserSyncKey) -> Result<(), Error> {
        let inner = &self.inner;
        let sync = inner.store.user_sync(&key.tenant, &key.user_sync).await?;
        if sync.settings.disabled {
            return Err(Error::new(Reason::SyncDisabled, "the user sync is switched off"));
        }
        let directory = &sync.settings.directory;
        inner.directories.open(&key.tenant, directory).await.map(|_| ())
    }

    async fn lease(&self, key: &UserSyncKey) -> Result<Option<LeaseToken>, Error> {
        let name = LeaseName::run_of(key);
        let (holder, ttl) = (&self.inner.holder, self.inner.limits.lease_ttl);
        Ok(self.inner.store.acquire_lease(&name, holder, ttl).await?)
    }

    /// The lease for something new. What was left half done comes first: its plan may be of another day.
    async fn free_lease(&self, key: &UserSyncKey) -> Result<LeaseToken, Error> {
        let free = match self.lease(key).await? {
            Some(lease) => self.take_over(key, lease).await?.ok(),
            None => None,
        };
        free.ok_or_else(|| {
            let message = "a run of this user sync is under way; wait for it or cancel it";
            Error::new(Reason::SyncInProgress, message).with("user_sync", key.to_string())
        })
    }

    async fn give_up(&self, lease: &LeaseToken) {
        if let Err(error) = self.inner.store.release_lease(lease).await {
            tracing::debug!(error = %error, "a lease ends by itself");
        }
    }

    fn carry_out(&self, key: &UserSyncKey, id: RunId, lease: LeaseToken, phase: Phase) {
        let inner = self.inner.clone();
        let key = key.clone();
        self.inner
            .tasks
            .spawn(async move { inner.carry_out(key, id, lease, phase).await });
    }
}

impl Inner {
    fn progress(&self) -> std::sync::MutexGuard<'_, HashMap<RunId, watch::Sender<u64>>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Wakes those who watch the run.
    fn moved_on(&self, id: RunId) {
        if let Some(sender) = self.progress().get(&id) {
            sender.send_modify(|count| *count += 1);
        }
    }
}
