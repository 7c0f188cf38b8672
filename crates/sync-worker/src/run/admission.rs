//! Which runs are worked on now; the others wait. Only a few runs read a directory at a time, in all replicas together:
//! a customer's directory has other work to do, and one tenant's many user syncs must not fill a worker. And a run
//! needs a permit of this worker. A run that waits for a busy directory has no permit, so others may work meanwhile.
//!
//! A run's state says that it reads its directory. So nothing else has to be taken and given back, and the run of a
//! dead worker counts only as long as its lease holds.

use std::time::Duration;

use rollcall_store::{PullBegun, RunHandle};
use tokio::time::{sleep, timeout};

use super::executor::Executor;
use super::permits::WorkerPermit;
use super::stop::Stop;

/// How often a run that waits looks whether it may go on.
const POLL: Duration = Duration::from_secs(1);

/// Proof that the run may be worked on.
pub(super) struct MayWork {
    _permit: WorkerPermit,
}

/// Waits until the run may read its directory, and begins to.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn begin_pull(x: &Executor, job: &RunHandle) -> Result<(PullBegun, MayWork), Stop> {
    loop {
        let may_work = admit(x, job).await?;
        if let Some(begun) = x.store.begin_pull(job, x.limits.per_directory).await? {
            x.moved_on(job.id);
            return Ok((begun, may_work));
        }
        drop(may_work);
        sleep(POLL).await;
    }
}

/// Waits until the run may be worked on in this process.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn admit(x: &Executor, job: &RunHandle) -> Result<MayWork, Stop> {
    loop {
        x.expect_running()?;
        if let Ok(Ok(permit)) = timeout(POLL, x.permits.take(&job.key.tenant)).await {
            return Ok(MayWork { _permit: permit });
        }
        x.keep_going(job).await?;
    }
}
