//! A pooler between a service and PostgreSQL.

use rollcall_core::error::chain;
use rollcall_store::{Store, StoreError, StoreOptions};
use rollcall_testkit::{PgBouncer, TestDatabase};

use crate::engine::{Gateway, KEY, keyring};
use crate::fixture::*;

async fn migrated(url: &str) -> Result<Store, StoreError> {
    let options = StoreOptions::default();
    let store = Store::connect(url, keyring(&format!("k1 {KEY}")), options).await?;
    store.migrate().await?;
    Ok(store)
}

/// A statement that is prepared on one connection is asked for on another. Whoever set this up is told what it is.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_transaction_mode_it_is_refused_with_words() {
    let database = TestDatabase::new().unwrap();
    // As a service that has been connected long before.
    let store = migrated(database.url()).await.unwrap();
    set_up(&store).await;
    let pooler = PgBouncer::start(&database, "transaction").unwrap();
    let refused = async {
        for _ in 0..20 {
            let store = migrated(pooler.url()).await?;
            store.tenant(&acme()).await?;
        }
        Ok(())
    };
    let refused: Result<(), StoreError> = refused.await;
    let Err(error @ StoreError::Unavailable(_)) = refused else {
        panic!("{refused:?}")
    };
    let told = chain(&error);
    assert!(told.contains("session mode"), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn in_session_mode_a_gateway_and_a_worker_do_their_work_behind_it() {
    let database = TestDatabase::new().unwrap();
    let pooler = PgBouncer::start(&database, "session").unwrap();
    let worker = migrated(pooler.url()).await.unwrap();
    set_up(&worker).await;
    let token = lease(&worker, &staff()).await;
    let run = worker
        .create_run(&token, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    assert_eq!(run.id, run_id(1));
    let gateway = Gateway::of(migrated(pooler.url()).await.unwrap());
    let found = gateway.logins.target(&acme(), "nobody").await.unwrap();
    assert!(found.is_none());
    gateway.close().await;
}
