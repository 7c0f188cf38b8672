//! A deletion whose worker dies half way is carried on by its repeat, at once, and each step of it happens once.

use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use rollcall_proto::v1;
use rollcall_proto::v1::{SyncRunMode, SyncRunState};
use system_tests::Backend;
use tonic::{Code, Status};

use crate::crowd::Crowd;

/// Two transactions of users.
const PEOPLE: usize = 1_200;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_survive_their_worker_on_sqlite() -> Result<()> {
    survive(Backend::Sqlite).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deletions_survive_their_worker_on_postgresql() -> Result<()> {
    survive(Backend::Postgres).await
}

async fn survive(backend: Backend) -> Result<()> {
    let mut crowd = Crowd::start(backend, PEOPLE).await?;
    let run = crowd.system.run(&crowd.sync(), SyncRunMode::Apply).await?;
    ensure!(run.state() == SyncRunState::Succeeded, "{run:?}");
    let before = crowd.events().await?;
    let get = v1::GetUserSyncRequest { name: crowd.sync() };
    let sync = crowd
        .system
        .user_syncs()
        .await?
        .get_user_sync(get)
        .await?
        .into_inner();
    let delete_sync = v1::DeleteUserSyncRequest {
        name: sync.name,
        etag: sync.etag,
        user_disposition: v1::UserDisposition::Archive.into(),
    };
    let killed = until_gone(&mut crowd, async |crowd: &Crowd| {
        let mut client = crowd.system.user_syncs().await?;
        Ok(client.delete_user_sync(delete_sync.clone()).await.map(drop))
    });
    ensure!(killed.await? > 0, "the deletion was never interrupted");
    let users = crowd.system.all_users(&crowd.tenant).await?;
    ensure!(users.iter().all(|user| user.state() == v1::UserState::Archived));
    ensure!(
        crowd.events().await? == before + PEOPLE,
        "an event is missing, or is there twice"
    );

    let get = v1::GetTenantRequest {
        name: crowd.tenant.clone(),
    };
    let tenant = crowd.system.tenants().await?.get_tenant(get).await?.into_inner();
    let delete_tenant = v1::DeleteTenantRequest {
        name: tenant.name,
        etag: tenant.etag,
        force: true,
    };
    until_gone(&mut crowd, async |crowd: &Crowd| {
        let mut client = crowd.system.tenants().await?;
        Ok(client.delete_tenant(delete_tenant.clone()).await.map(drop))
    })
    .await?;
    Ok(())
}

/// Repeats the same call, killing the worker a little later each time, until nothing is left; returns how often it was
/// killed.
async fn until_gone(
    crowd: &mut Crowd,
    delete: impl AsyncFn(&Crowd) -> Result<Result<(), Status>>,
) -> Result<u32> {
    let mut moment = Duration::from_millis(5);
    for killed in 0..40 {
        moment = moment * 4 / 3;
        match tokio::time::timeout(moment, delete(crowd)).await {
            Ok(Ok(Ok(()))) => return Ok(killed),
            // Its last step was done when it was killed.
            Ok(Ok(Err(status))) if status.code() == Code::NotFound && killed > 0 => return Ok(killed),
            Ok(Ok(Err(status))) => bail!("after {killed} kills: {status:?}"),
            Ok(Err(error)) => return Err(error).context("no connection"),
            Err(_) => crowd.replace_worker()?,
        }
    }
    bail!("it is never done")
}
