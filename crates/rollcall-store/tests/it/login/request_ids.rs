//! Request ids of logins, shared by all replicas.

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    one_replica_has_a_request_until_it_expires_or_is_given_back,
    old_requests_go,
}

async fn one_replica_has_a_request_until_it_expires_or_is_given_back(engine: Engine) {
    let (one, other) = (engine.gateway().await, engine.gateway().await);
    let (first, second) = tokio::join!(
        one.logins.claim_request("a", at(300), at(0)),
        other.logins.claim_request("a", at(300), at(0)),
    );
    assert_ne!(first.unwrap(), second.unwrap());
    assert!(!other.logins.claim_request("a", at(599), at(299)).await.unwrap());
    assert!(other.logins.claim_request("b", at(300), at(0)).await.unwrap());
    assert!(other.logins.claim_request("a", at(600), at(300)).await.unwrap());
    assert!(!one.logins.claim_request("a", at(700), at(400)).await.unwrap());
    other.logins.release_request("a").await.unwrap();
    assert!(one.logins.claim_request("a", at(700), at(400)).await.unwrap());
    assert!(!one.logins.claim_request("b", at(599), at(299)).await.unwrap());
}

async fn old_requests_go(engine: Engine) {
    let store = engine.gateway().await;
    for (request, expires) in [("a", 10), ("b", 20), ("c", 30)] {
        assert!(
            store
                .logins
                .claim_request(request, at(expires), at(0))
                .await
                .unwrap()
        );
    }
    assert_eq!(store.delete_old_login_requests(at(20), 1).await.unwrap(), 1);
    assert_eq!(store.delete_old_login_requests(at(20), 10).await.unwrap(), 1);
    assert_eq!(store.delete_old_login_requests(at(20), 10).await.unwrap(), 0);
    // The clock of whoever asks decides: these two are gone, whatever it says.
    assert!(store.logins.claim_request("a", at(50), at(0)).await.unwrap());
    assert!(!store.logins.claim_request("c", at(50), at(0)).await.unwrap());
}
