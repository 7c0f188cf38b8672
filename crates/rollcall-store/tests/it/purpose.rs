//! Keys of what hashes or signs.

use rollcall_store::{Purpose, Store, StoreError};

use crate::engine::{Engine, KEY, on_both};

on_both! {
    keys_are_made_once_and_stay_the_same,
    a_key_is_of_one_purpose,
}

fn tags(store: &Store) -> Vec<[u8; 32]> {
    let keys = store.keys().unwrap();
    let tag = |purpose| keys.of(purpose).tag(&[b"the same"]);
    Purpose::ALL.into_iter().map(tag).collect()
}

async fn keys_are_made_once_and_stay_the_same(engine: Engine) {
    engine.store().await;
    engine.forget_keys().await;
    let url = engine.url();
    let mut starting = Vec::new();
    for _ in 0..8 {
        let (url, keys) = (url.clone(), crate::engine::keyring(&format!("k1 {KEY}")));
        starting.push(tokio::spawn(async move {
            tags(&Store::open(&url, keys, Default::default()).await.unwrap())
        }));
    }
    let mut made = Vec::new();
    for start in starting {
        made.push(start.await.unwrap());
    }
    for tags in &made {
        assert_eq!(tags, &made[0], "two processes have different keys");
    }
    for (index, tag) in made[0].iter().enumerate() {
        assert!(!made[0][..index].contains(tag), "two purposes have one key");
    }
    assert_eq!(tags(&engine.store().await), made[0]);
    // One that is new in a release is made beside the others.
    engine
        .sql("DELETE FROM purpose_keys WHERE purpose = 'page-tokens'")
        .await;
    let upgraded = tags(&engine.store().await);
    for (purpose, (old, new)) in Purpose::ALL.into_iter().zip(made[0].iter().zip(&upgraded)) {
        assert_eq!(old == new, purpose != Purpose::PageTokens, "{purpose:?}");
    }
}

async fn a_key_is_of_one_purpose(engine: Engine) {
    engine.store().await;
    engine
        .sql(
            "UPDATE purpose_keys SET sealed = (SELECT sealed FROM purpose_keys WHERE purpose = 'logins')
            WHERE purpose = 'page-tokens'",
        )
        .await;
    let moved = engine.open(&format!("k1 {KEY}")).await;
    assert!(matches!(moved, Err(StoreError::Corrupt { .. })));
}
