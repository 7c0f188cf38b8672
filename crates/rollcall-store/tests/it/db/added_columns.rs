//! A later release adds columns while a replica of this one runs, whose statements are prepared: it goes on.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

use rollcall_core::audit::AuditFilter;
use rollcall_core::run::RunState;
use rollcall_store::{
    DirectoryUpdate, DueRun, DueStart, Mailing, NewSecrets, Recorded, Result, TABLES, UserFilter,
    UserSyncFilter,
};

use crate::engine::{Engine, Gateway, on_both};
use crate::fixture::*;
use crate::login::commit::finish;

on_both! {
    a_replica_goes_on_when_a_later_release_adds_columns,
}

async fn a_replica_goes_on_when_a_later_release_adds_columns(engine: Engine) {
    let gateway = engine.gateway().await;
    set_up(&gateway).await;
    let ada = creation(1, "ada");
    gateway.apply_single(&staff(), &ada, at(3)).await.unwrap();
    let rounds = Arc::new(AtomicI64::new(0));
    let working = tokio::spawn(work(gateway.clone(), rounds.clone()));
    // Every connection of the pools has prepared what it is asked for.
    wait_for(&rounds, 12).await;
    for table in TABLES {
        let before = rounds.load(Ordering::SeqCst);
        engine
            .sql(&format!(
                "ALTER TABLE {} ADD COLUMN of_a_later_release BIGINT NOT NULL DEFAULT 7",
                table.name
            ))
            .await;
        wait_for(&rounds, before + 2).await;
    }
    rounds.store(i64::MIN, Ordering::SeqCst);
    working.await.unwrap();
}

async fn wait_for(rounds: &AtomicI64, wanted: i64) {
    let deadline = tokio::time::Instant::now() + TTL;
    while rounds.load(Ordering::SeqCst) < wanted {
        assert!(tokio::time::Instant::now() < deadline, "the replica stopped");
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

/// Reads and writes rows of all that has a struct, round by round, until the count is below zero.
async fn work(gateway: Gateway, rounds: Arc<AtomicI64>) {
    for round in 0.. {
        settings(&gateway, round).await.unwrap();
        runs(&gateway, round).await.unwrap();
        people(&gateway, round).await.unwrap();
        if rounds.fetch_add(1, Ordering::SeqCst) < 0 {
            return;
        }
    }
}

async fn settings(store: &Gateway, round: i64) -> Result<()> {
    let (acme, main, staff) = (acme(), directory_id("main"), sync_id("staff"));
    let domain = format!("round{round}.test");
    let by = |seconds: i64| at(10 + seconds + round);
    let revision = store.tenant(&acme).await?.revision;
    let settings = tenant_settings(&[&domain]);
    store
        .update_tenant(&acme, revision, &settings, Recorded::by_nobody(by(0)))
        .await?;
    assert!(store.tenant_by_domain(&domain).await?.is_some());
    assert_eq!(store.list_tenants(None, &all()).await?.items.len(), 1);
    let update = DirectoryUpdate {
        expected_revision: store.directory(&acme, &main).await?.revision,
        settings: &directory_settings(),
        secrets: NewSecrets::default(),
        endpoint_confirmed: true,
    };
    store
        .update_directory(&acme, &main, update, Recorded::by_nobody(by(1)))
        .await?;
    assert_eq!(store.list_directories(&acme, &all()).await?.items.len(), 1);
    let revision = store.user_sync(&acme, &staff).await?.revision;
    let (settings, record) = (sync_settings("main"), Recorded::by_nobody(by(2)));
    store
        .update_user_sync(&acme, &staff, revision, &settings, Some(at(100)), record)
        .await?;
    assert_eq!(store.list_user_syncs(&acme, &all()).await?.items.len(), 1);
    let filter = UserSyncFilter {
        directory: Some(main.clone()),
        ..UserSyncFilter::default()
    };
    assert_eq!(store.find_user_syncs(None, &filter, &all()).await?.items.len(), 1);
    assert_eq!(store.user_syncs_of_directory(&acme, &main).await?.len(), 1);
    assert_eq!(store.user_syncs_due_after(at(0), 9).await?.len(), 1);
    Ok(())
}

async fn runs(store: &Gateway, round: i64) -> Result<()> {
    let number = 1000 + u128::try_from(round).unwrap();
    assert!(store.next_due_of(&acme(), at(200), 9).await?.is_some());
    let due = DueRun {
        key: staff(),
        due: at(100),
        next: None,
        run: new_run(number),
    };
    let started = store.start_due(due, "worker", TTL, at(200)).await?;
    let DueStart::Started(lease, run) = started else {
        panic!("{started:?}");
    };
    assert!(store.working_run(&staff()).await?.is_some());
    assert!(store.abandoned_runs(9).await?.is_empty());
    let job = handle(&lease, &staff(), run.id);
    store.begin_pull(&job, 9).await?;
    store
        .end_run(&job, ended(RunState::Cancelled), &Mailing::default(), at(300))
        .await?;
    store.release_lease(&lease).await?;
    assert_eq!(store.run(&staff(), run.id).await?.state, RunState::Cancelled);
    assert!(store.find_run(&acme(), run.id).await?.is_some());
    assert!(!store.list_runs(&staff(), &all()).await?.items.is_empty());
    assert!(!store.list_tenant_runs(&acme(), &all()).await?.items.is_empty());
    assert!(store.overdue_runs(at(400), 9).await?.is_empty());
    Ok(())
}

async fn people(gateway: &Gateway, round: i64) -> Result<()> {
    let (acme, ada) = (acme(), user_id(1));
    let user = gateway.user(&acme, ada).await?;
    let renamed = update(&user, |profile| {
        profile.set_text(
            rollcall_core::field::TextField::PhoneNumber,
            Some(round.to_string()),
        );
    });
    gateway.apply_single(&staff(), &renamed, at(400)).await?;
    let user = gateway.user(&acme, ada).await?;
    let alone = std::slice::from_ref(&user);
    assert_eq!(gateway.batch_users(&acme, &[ada]).await?, alone);
    assert_eq!(gateway.lookup_user(&acme, "ada").await?.as_ref(), Some(&user));
    let found = gateway
        .users_by_external_ids(&acme, &directory_id("main"), &[external_id(1)])
        .await?;
    assert_eq!(found, alone);
    let filter = UserFilter::default();
    let found = gateway.list_users(&acme, &filter, &all()).await?.items;
    assert_eq!(found, alone);
    assert_eq!(gateway.list_all_users(&filter, &all()).await?.items, found);
    assert!(!events_behind(gateway, Some(&acme), 0).await.is_empty());
    assert!(!events_behind(gateway, None, 0).await.is_empty());
    gateway.feed_end(None).await?;
    let filter = AuditFilter::default();
    gateway.list_audit(Some(&acme), &filter, &all()).await?;
    let target = gateway.logins.target(&acme, "ada").await?.unwrap();
    assert_eq!(target.user, user);
    let config = gateway.logins.config(&acme, target.sync.as_ref().unwrap());
    config.await?;
    gateway.logins.finish(finish("a login", Some(target))).await?;
    let by = Recorded::by_nobody(at(500));
    gateway.block_user(&acme, ada, None, "left", by).await?;
    let target = gateway.logins.target(&acme, "ada").await?.unwrap();
    let by = Recorded::by_nobody(at(501));
    gateway.unblock_user(&acme, ada, None, by).await?;
    // What was expected is not so any more: the target is read again.
    gateway.logins.finish(finish("a login", Some(target))).await?;
    Ok(())
}

/// What the names of columns are for: a statement that takes them all breaks when one is added.
#[test]
fn no_statement_takes_all_columns_of_a_table() {
    let mut folders = vec![std::path::PathBuf::from(concat!(
        env!("CARGO_MANIFEST_DIR"),
        "/src"
    ))];
    let mut found = Vec::new();
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
                continue;
            }
            let text = std::fs::read_to_string(&path).unwrap();
            let takes_all = |line: &&str| {
                // Of a list that names its columns, of a list of numbers, and within `look_up`, outside of which they are named.
                let of_names = ["SELECT * FROM (", "generate_series", "LATERAL (SELECT * "];
                let all = line.contains("SELECT *") || line.contains(".* FROM") || line.contains(".*,");
                all && !of_names.iter().any(|named| line.contains(named))
            };
            found.extend(text.lines().filter(takes_all).map(str::to_owned));
        }
    }
    assert_eq!(found, Vec::<String>::new());
}
