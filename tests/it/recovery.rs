//! A worker that dies at any moment leaves a run that another one carries to its end, once.

use std::time::Duration;

use anyhow::Result;
use rollcall_proto::v1;
use rollcall_testkit::{Slapd, TestCa, hostile_people, people_ldif, wait_for};
use system_tests::{Backend, Service, System};

use crate::company::{BASE, people_dn};

const PEOPLE: usize = 5_000;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_its_worker_on_sqlite() -> Result<()> {
    killed_while(Backend::Sqlite, v1::SyncRunState::Pulling).await?;
    killed_while(Backend::Sqlite, v1::SyncRunState::Applying).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_survives_its_worker_on_postgresql() -> Result<()> {
    killed_while(Backend::Postgres, v1::SyncRunState::Pulling).await?;
    killed_while(Backend::Postgres, v1::SyncRunState::Applying).await
}

async fn killed_while(backend: Backend, state: v1::SyncRunState) -> Result<()> {
    let ca = TestCa::new()?;
    let base_dn = people_dn();
    let people = people_ldif(&hostile_people(PEOPLE), &base_dn);
    let ldif = format!("dn: {base_dn}\nobjectClass: organizationalUnit\nou: People\n\n{people}");
    let builder = Slapd::builder().base_dn(BASE).certificate(ca.loopback_server()?).size_limit(20_000).ldif(&ldif);
    let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
    let mut system = System::start(backend, &[slapd.tls_address().port()]).await?;
    let tenant = system.connect("acme", &slapd, &ca, &base_dn).await?;

    let request = v1::RunUserSyncRequest {
        name: format!("{tenant}/userSyncs/staff"),
        mode: v1::SyncRunMode::Apply.into(),
        ..v1::RunUserSyncRequest::default()
    };
    let run = system.user_syncs().await?.run_user_sync(request).await?.into_inner().name;
    let mut updates = system.runs().await?.watch_sync_run(v1::WatchSyncRunRequest { name: run.clone() }).await?.into_inner();
    while let Some(update) = updates.message().await? {
        let seen = update.sync_run.unwrap();
        let counts = seen.counts.unwrap_or_default();
        let begun = counts.entries > 0 && (state == v1::SyncRunState::Pulling || counts.applied > 0);
        if seen.state() == state && begun {
            break;
        }
        assert!(seen.end_time.is_none(), "the run ended before it could be interrupted: {seen:?}");
    }
    system.worker.kill()?;
    system.worker = Service::start("sync-worker", &system.config("worker"))?;

    let ended = async || -> bool {
        let Ok(mut runs) = system.runs().await else { return false };
        let answer = runs.get_sync_run(v1::GetSyncRunRequest { name: run.clone() }).await;
        answer.is_ok_and(|run| run.into_inner().end_time.is_some())
    };
    wait_for("the run to be taken over and end", Duration::from_secs(120), ended).await?;
    let ended = system.runs().await?.get_sync_run(v1::GetSyncRunRequest { name: run }).await?.into_inner();
    assert_eq!(ended.state(), v1::SyncRunState::Succeeded, "{ended:?}");
    assert_eq!(ended.counts.unwrap().applied, PEOPLE as i64, "nothing is applied twice and nothing is lost");
    assert_eq!(system.all_users(&tenant).await?.len(), PEOPLE);
    assert_eq!(events(&system, &tenant).await?, PEOPLE, "one event for each user");
    Ok(())
}

async fn events(system: &System, tenant: &str) -> Result<usize> {
    let mut client = system.users().await?;
    let (mut count, mut after) = (0, String::new());
    loop {
        let request = v1::ListUserEventsRequest {
            parent: tenant.to_owned(),
            page_size: 1000,
            after,
            ..v1::ListUserEventsRequest::default()
        };
        let page = client.list_user_events(request).await?.into_inner();
        if page.events.is_empty() {
            return Ok(count);
        }
        count += page.events.len();
        after = page.next_cursor;
    }
}
