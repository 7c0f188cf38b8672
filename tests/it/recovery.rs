//! A worker that dies at any moment leaves a run that another one carries to its end, once.

use std::time::Instant;

use anyhow::Result;
use rollcall_proto::v1;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use system_tests::{Backend, Service};

use crate::crowd::Crowd;

/// Two chunks of a plan.
const PEOPLE: usize = 1_200;
/// Moments of a run at which the worker is killed.
const MOMENTS: u32 = 6;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_its_worker_on_sqlite() -> Result<()> {
    survives(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_its_worker_on_postgresql() -> Result<()> {
    survives(Backend::Postgres).await
}

/// Kills the worker at moments spread over the whole length of a run, then after a HELD and during the
/// ApplySyncRun that releases it.
async fn survives(backend: Backend) -> Result<()> {
    let mut crowd = Crowd::start(backend, PEOPLE).await?;
    let begin = Instant::now();
    let run = crowd.system.run(&crowd.sync(), SyncRunMode::Apply).await?;
    let length = begin.elapsed();
    assert_eq!(
        (run.state(), crowd.events().await?),
        (SyncRunState::Succeeded, PEOPLE)
    );

    let mut interrupted = 0;
    for moment in 0..MOMENTS {
        crowd.rename_all(&format!("at moment {moment}")).await?;
        let before = crowd.events().await?;
        let run = crowd.start_run().await?;
        tokio::time::sleep(length * moment / MOMENTS).await;
        let state = crowd.state(&run).await?;
        interrupted += usize::from(matches!(
            state,
            SyncRunState::Pending | SyncRunState::Pulling | SyncRunState::Applying
        ));
        crowd.replace_worker()?;
        let ended = crowd.rest(&run).await?;
        assert_eq!(
            ended.state(),
            SyncRunState::Succeeded,
            "killed in {state:?}: {ended:?}"
        );
        assert_eq!(
            ended.counts.unwrap().applied,
            PEOPLE as i64,
            "killed in {state:?}"
        );
        assert_eq!(
            crowd.events().await? - before,
            PEOPLE,
            "one event a change, killed in {state:?}"
        );
        crowd.equals_the_directory().await?;
    }
    assert!(interrupted > 1, "the runs were too short to be interrupted");

    crowd.delete(0..PEOPLE * 6 / 10).await?;
    let before = crowd.events().await?;
    let held = crowd.system.run(&crowd.sync(), SyncRunMode::Apply).await?;
    assert_eq!(held.state(), SyncRunState::Held, "{held:?}");
    crowd.replace_worker()?;
    assert_eq!(crowd.state(&held.name).await?, SyncRunState::Held);
    let request = v1::ApplySyncRunRequest {
        name: held.name.clone(),
    };
    crowd.system.runs().await?.apply_sync_run(request.clone()).await?;
    crowd.replace_worker()?;
    let released = crowd.rest(&held.name).await?;
    assert_eq!(released.state(), SyncRunState::Succeeded, "{released:?}");
    crowd.system.runs().await?.apply_sync_run(request).await?;
    assert_eq!(crowd.events().await? - before, PEOPLE * 6 / 10, "released once");
    crowd.equals_the_directory().await
}

/// A worker that is asked to stop gives its run up at once, and nobody has to wait for its lease to end.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_that_stops_leaves_its_run_to_the_next() -> Result<()> {
    let mut crowd = Crowd::start(Backend::Sqlite, PEOPLE).await?;
    let run = crowd.start_run().await?;
    assert!(crowd.system.worker.stop()?);
    crowd.system.worker = Service::start("sync-worker", &crowd.system.config("worker"))?;
    let ended = crowd.rest(&run).await?;
    assert_eq!(ended.state(), SyncRunState::Succeeded, "{ended:?}");
    assert_eq!(crowd.events().await?, PEOPLE);
    crowd.equals_the_directory().await
}
