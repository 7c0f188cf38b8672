//! Migration and the check of the schema.

use rollcall_core::error::{Error, Reason};
use rollcall_store::{Store, StoreError, StoreOptions};

use crate::engine::{Engine, KEY, keyring, on_both};

on_both! {
    a_service_refuses_a_schema_that_is_not_its_own,
    several_processes_may_migrate_at_once,
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

async fn health_answers(engine: Engine) {
    let store = engine.store().await;
    store.ping().await.unwrap();
    store.close().await;
    let error = store.ping().await.unwrap_err();
    assert!(matches!(error, StoreError::Unavailable(_)));
    let answer = Error::from(error);
    assert_eq!(answer.reason, Reason::StoreUnavailable);
    assert!(answer.retry_after.is_some());
}
