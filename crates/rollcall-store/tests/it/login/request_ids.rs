//! Request ids of logins, shared by all replicas.

use std::time::Duration;

use crate::engine::{Engine, on_both};

on_both! {
    one_replica_has_a_request_until_it_expires_or_is_given_back,
    old_requests_go,
}

const LONG: Duration = Duration::from_secs(300);

/// Lets time pass, which the database counts.
async fn later(engine: &Engine, seconds: i64) {
    let sql = format!(
        "UPDATE login_requests SET expire_time = expire_time - {}",
        seconds * 1_000_000
    );
    engine.sql(&sql).await;
}

async fn one_replica_has_a_request_until_it_expires_or_is_given_back(engine: Engine) {
    let (one, other) = (engine.gateway().await, engine.gateway().await);
    let (first, second) = tokio::join!(
        one.logins.claim_request("a", LONG),
        other.logins.claim_request("a", LONG)
    );
    assert_ne!(first.unwrap(), second.unwrap());
    later(&engine, 240).await;
    assert!(!other.logins.claim_request("a", LONG).await.unwrap());
    assert!(other.logins.claim_request("b", LONG).await.unwrap());
    later(&engine, 61).await;
    assert!(other.logins.claim_request("a", LONG).await.unwrap());
    assert!(!one.logins.claim_request("a", LONG).await.unwrap());
    other.logins.release_request("a").await.unwrap();
    assert!(one.logins.claim_request("a", LONG).await.unwrap());
    assert!(!one.logins.claim_request("b", LONG).await.unwrap());
}

async fn old_requests_go(engine: Engine) {
    let store = engine.gateway().await;
    for (request, seconds) in [("a", 10), ("b", 20), ("c", 3_000)] {
        let time = Duration::from_secs(seconds);
        assert!(store.logins.claim_request(request, time).await.unwrap());
    }
    later(&engine, 20).await;
    assert_eq!(store.delete_old_login_requests(1).await.unwrap(), 1);
    assert_eq!(store.delete_old_login_requests(10).await.unwrap(), 1);
    assert_eq!(store.delete_old_login_requests(10).await.unwrap(), 0);
    assert!(store.logins.claim_request("a", LONG).await.unwrap());
    assert!(!store.logins.claim_request("c", LONG).await.unwrap());
}
