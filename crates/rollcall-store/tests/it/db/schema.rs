//! Migration and the check of the schema.

use chrono::TimeDelta;
use rollcall_core::error::{Error, Reason};
use rollcall_core::soft_lock::{SoftLock, SoftLockPolicy, SoftLockSubject};
use rollcall_store::{LoginStore, Reservation, Reserved, Store, StoreError, StoreOptions};

use crate::engine::{Engine, KEY, keyring, on_both};
use crate::fixture::*;

on_both! {
    empty:
    a_service_refuses_a_schema_that_is_not_its_own,
    several_processes_may_migrate_at_once,
    what_was_stored_before_a_migration_can_be_used_after_it,
    health_answers,
}

async fn open(engine: &Engine) -> Result<Store, StoreError> {
    Store::open(
        &engine.url(),
        keyring(&format!("k1 {KEY}")),
        StoreOptions::default(),
    )
    .await
}

async fn a_service_refuses_a_schema_that_is_not_its_own(engine: Engine) {
    assert!(matches!(open(&engine).await, Err(StoreError::SchemaOutdated)));
    let store = engine.store().await;
    open(&engine).await.unwrap();
    engine
        .sql("INSERT INTO seaql_migrations (version, applied_at) VALUES ('m9999_future', 1)")
        .await;
    assert!(matches!(open(&engine).await, Err(StoreError::SchemaUnknown)));
    assert!(matches!(store.migrate().await, Err(StoreError::SchemaUnknown)));
    engine
        .sql("DELETE FROM seaql_migrations WHERE version <> 'm9999_future'")
        .await;
    assert!(matches!(open(&engine).await, Err(StoreError::SchemaUnknown)));
}

async fn several_processes_may_migrate_at_once(engine: Engine) {
    let stores: Vec<Store> = {
        let mut stores = Vec::new();
        for _ in 0..4 {
            let keys = keyring(&format!("k1 {KEY}"));
            stores.push(
                Store::connect(&engine.url(), keys, StoreOptions::default())
                    .await
                    .unwrap(),
            );
        }
        stores
    };
    let tasks: Vec<_> = stores
        .into_iter()
        .map(|store| tokio::spawn(async move { store.migrate().await }))
        .collect();
    for task in tasks {
        task.await.unwrap().unwrap();
    }
    open(&engine).await.unwrap();
}

async fn what_was_stored_before_a_migration_can_be_used_after_it(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    store.close().await;
    // As the release before had it: no soft locks of directories, no time of the last attempt.
    for sql in [
        "DROP TABLE login_refusals",
        "DROP TABLE login_requests",
        "DROP TABLE create_requests",
        "DROP TABLE mail_budgets",
        "ALTER TABLE user_syncs DROP COLUMN told",
        "ALTER TABLE sync_runs DROP COLUMN mails_withheld",
        "ALTER TABLE audit_events DROP COLUMN credential",
        "ALTER TABLE login_throttles DROP COLUMN last_time",
        "ALTER TABLE login_throttles DROP COLUMN proven_time",
        "CREATE INDEX login_throttles_by_age ON login_throttles (window_start)",
        "ALTER TABLE user_syncs DROP COLUMN deleting_revision",
        "ALTER TABLE user_syncs DROP COLUMN in_force_revision",
        "ALTER TABLE user_syncs DROP COLUMN hold",
        "ALTER TABLE sync_runs DROP COLUMN hold_at",
        "DROP TABLE user_sync_settings",
        "DROP TABLE guard_counts",
        "DELETE FROM seaql_migrations WHERE version IN (
            'm0002_soft_locks', 'm0003_deletions', 'm0004_throttles', 'm0005_login_requests',
            'm0006_in_force', 'm0007_own_counts', 'm0008_create_requests',
            'm0009_credentials', 'm0012_mail_budgets')",
        "UPDATE directories SET settings = replace(settings, '\"soft_lock\"', '\"unknown\"')",
        "INSERT INTO login_throttles (tenant, subject, window_start, failures, reserved)
            VALUES ('acme', 'user/00000000-0000-0000-0000-000000000001', 1700000010000000, 2, 0)",
    ] {
        engine.sql(sql).await;
    }
    assert!(matches!(open(&engine).await, Err(StoreError::SchemaOutdated)));
    let store = engine.store().await;
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(directory.settings.soft_lock, SoftLock::default());
    // The window began in 2023.
    let century = TimeDelta::days(36_500);
    let wanted = Reservation {
        subject: SoftLockSubject::User(user_id(1)),
        policy: SoftLockPolicy {
            limit: 2,
            window: century,
            lock: century,
            fixed: false,
        },
        shared: None,
        own: None,
    };
    let reserved = LoginStore::open(&store)
        .reserve(&acme(), &[wanted])
        .await
        .unwrap();
    assert!(
        matches!(&reserved, Reserved::Wait { time, .. } if *time < century),
        "{reserved:?}"
    );
}

async fn health_answers(engine: Engine) {
    let store = engine.store().await;
    store.ping().await.unwrap();
    let time = store.time().await.unwrap();
    assert_eq!(time.is_some(), matches!(engine, Engine::Postgres(_)));
    let later = store.time().await.unwrap();
    assert!(later >= time, "{time:?} {later:?}");
    store.close().await;
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    let answer = Error::from(error);
    assert_eq!(answer.reason, Reason::StoreUnavailable);
    assert!(answer.retry_after.is_some());
}
