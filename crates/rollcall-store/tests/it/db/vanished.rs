//! A PostgreSQL whose machine is gone, of which the network says nothing.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_store::{Store, StoreError, StoreOptions};
use rollcall_testkit::{Proxy, TestDatabase, wait_for};

use crate::engine::{KEY, keyring};
use crate::fixture::*;

#[tokio::test(flavor = "multi_thread")]
async fn a_statement_waits_half_a_minute_for_it_and_the_next_ones_find_the_new_one() {
    let database = TestDatabase::new().unwrap();
    let mut parts = database.url().split(['@', '/']);
    let server: SocketAddr = parts.find_map(|part| part.parse().ok()).unwrap();
    let line = Proxy::start(server).await.unwrap();
    let url = database
        .url()
        .replace(&server.to_string(), &line.address().to_string());
    let store = Store::connect(&url, keyring(&format!("k1 {KEY}")), StoreOptions::default())
        .await
        .unwrap();
    store.migrate().await.unwrap();
    let mut lost = store.tenant(&acme()).await;
    for _ in 0..8 {
        // Meanwhile a connection that was used finds its way back to the pool, most likely.
        database.sql("SELECT 1").unwrap();
        line.silence();
        lost = store.tenant(&acme()).await;
        if matches!(lost, Err(StoreError::Unavailable(_))) {
            break;
        }
    }
    assert!(matches!(lost, Err(StoreError::Unavailable(_))), "{lost:?}");
    let found = wait_for("the new one is found", Duration::from_secs(60), async || {
        matches!(store.tenant(&acme()).await, Err(StoreError::NotFound(_)))
    });
    found.await.unwrap();
}
