//! What every step of a run works with, and two things that each step needs: whether to go on, and whom to notify of
//! progress.

use std::collections::HashMap;
use std::time::Duration;

use parking_lot::{Mutex, MutexGuard};
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::user_sync::UserSync;
use rollcall_runtime::clock::Clock;
use rollcall_service::directories::Directories;
use rollcall_store::{RunHandle, Store, StoreError};
use tokio::sync::watch;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::permits::WorkerPermits;
use super::stop::Stop;
use crate::mail::MailLimits;
use crate::report::Reports;

/// How often a pull reports how far it is, and asks whether to go on. Each time is a transaction.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);

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
    /// Which mails may be sent; `None` if mails are not sent, so that no reports are written.
    pub reports: Option<MailLimits>,
    /// Time between two runs of a user sync that somebody asks for.
    pub manual_pause: Duration,
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
            reports: None,
            manual_pause: Duration::ZERO,
        }
    }
}

/// What all runs of a process share.
pub(crate) struct Executor {
    pub(super) store: Store,
    pub(super) directories: Directories,
    pub(super) clock: Clock,
    pub(super) limits: RunLimits,
    pub(super) reports: Reports,
    /// Names this process in leases, for people.
    pub(super) holder: String,
    pub(super) permits: WorkerPermits,
    pub(super) stopping: CancellationToken,
    pub(super) progress: Mutex<HashMap<RunId, watch::Sender<Progress>>>,
}

/// What this process has done with a run so far.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Progress {
    /// How many steps it has made.
    pub moves: u64,
    /// How often this process has finished with it. Afterwards the run has ended or waits, unless another process has
    /// it.
    pub(super) rests: u64,
}

/// The step from which a run is carried on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Phase {
    Pull,
    Apply,
}

impl Executor {
    /// # Errors
    /// Why the run has to stop here.
    pub(super) async fn keep_going(&self, run: &RunHandle) -> Result<(), Stop> {
        self.expect_running()?;
        if self.store.cancel_requested(&run.key, run.id).await? {
            return Err(Stop::Cancelled);
        }
        Ok(())
    }

    /// # Errors
    /// `Draining` if this process ends.
    pub(super) fn expect_running(&self) -> Result<(), Stop> {
        match self.stopping.is_cancelled() {
            true => Err(Stop::Draining),
            false => Ok(()),
        }
    }

    /// The user sync of a run, as it is now.
    ///
    /// # Errors
    /// What the store says.
    pub(super) async fn sync(&self, run: &RunHandle) -> Result<UserSync, StoreError> {
        self.store.user_sync(&run.key.tenant, &run.key.user_sync).await
    }

    /// Waits until the run must not go on. For work that does not check this itself.
    pub(super) async fn stopped(&self, run: &RunHandle) -> Stop {
        loop {
            sleep(PROGRESS_INTERVAL).await;
            if let Err(stop) = self.keep_going(run).await {
                return stop;
            }
        }
    }

    /// Wakes those who watch the run.
    pub(super) fn moved_on(&self, id: RunId) {
        self.tell(id, |progress| progress.moves += 1);
    }

    /// Also wakes those who wait for the run's end.
    pub(super) fn done_with(&self, id: RunId) {
        self.tell(id, |progress| {
            progress.moves += 1;
            progress.rests += 1;
        });
    }

    fn tell(&self, id: RunId, what: impl FnOnce(&mut Progress)) {
        if let Some(sender) = self.progress().get(&id) {
            sender.send_modify(what);
        }
    }

    pub(super) fn progress(&self) -> MutexGuard<'_, HashMap<RunId, watch::Sender<Progress>>> {
        self.progress.lock()
    }

    /// Makes a user sync due at once, if it runs by itself: a change in the night must not cost it the night's run.
    pub(super) async fn run_again(&self, key: &UserSyncKey) -> Result<(), StoreError> {
        let (tenant, user_sync, now) = (&key.tenant, &key.user_sync, self.clock.now());
        let sync = self.store.user_sync(tenant, user_sync).await?;
        if sync.next_run_time.is_some() {
            self.store
                .set_next_run_time(tenant, user_sync, sync.next_run_time, Some(now))
                .await?;
        }
        Ok(())
    }
}
