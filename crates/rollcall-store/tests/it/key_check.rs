//! A keyring that is not the one of this database is found before it is used.

use rollcall_core::secret::Password;
use rollcall_store::{KeyMismatch, NewSecrets, Purpose, Recorded, Rotation, Store, StoreError};

use crate::engine::{Engine, KEY, OTHER_KEY, on_both};
use crate::fixture::*;

on_both! {
    a_missing_key_is_named_with_what_it_seals,
    another_key_by_the_same_id_is_refused_before_it_seals_anything,
    of_two_new_keys_with_one_id_the_first_counts,
}

const THIRD_KEY: &str = "AwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwMDAwM=";

async fn create_directory(store: &Store, id: &str) {
    let password = Password::new("tulip".into()).ok().unwrap();
    let secrets = NewSecrets {
        bind_password: Some(&password),
        ..NewSecrets::default()
    };
    let record = Recorded::by_nobody(at(0));
    store
        .create_directory(&acme(), &directory_id(id), &directory_settings(), secrets, record)
        .await
        .unwrap();
}

async fn set_up_with_directory(store: &Store) {
    store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    create_directory(store, "main").await;
}

async fn mismatches(engine: &Engine, keys: &str) -> Vec<KeyMismatch> {
    match engine.open(keys).await {
        Ok(_) => Vec::new(),
        Err(StoreError::KeyringDoesNotFit(mismatches)) => mismatches,
        Err(other) => panic!("{other}"),
    }
}

fn missing(key_id: &str, secrets: u64) -> KeyMismatch {
    let key_id = key_id.to_owned();
    KeyMismatch::Missing { key_id, secrets }
}

fn wrong(key_id: &str) -> KeyMismatch {
    let key_id = key_id.to_owned();
    KeyMismatch::Wrong { key_id }
}

async fn a_missing_key_is_named_with_what_it_seals(engine: Engine) {
    let first = engine.store().await;
    set_up_with_directory(&first).await;
    create_directory(&first, "second").await;
    let second = engine.open(&format!("k2 {OTHER_KEY}\nk1 {KEY}")).await.unwrap();
    create_directory(&second, "third").await;
    // All at once: one is missing, one is another.
    let sealed = 2 + Purpose::ALL.len() as u64;
    let third = format!("k3 {THIRD_KEY}\nk2 {KEY}");
    assert_eq!(
        mismatches(&engine, &third).await,
        [wrong("k2"), missing("k1", sealed)]
    );
    let text = engine.open(&third).await.err().unwrap().to_string();
    assert!(text.contains("k1") && text.contains("k2"), "{text}");
    let mut rotation = Rotation::default();
    while second.rotate_keys(&mut rotation).await.unwrap() {}
    assert_eq!(mismatches(&engine, &format!("k2 {OTHER_KEY}")).await, []);
    assert_eq!(
        mismatches(&engine, &format!("k1 {KEY}")).await,
        [missing("k2", sealed + 1)]
    );
}

async fn another_key_by_the_same_id_is_refused_before_it_seals_anything(engine: Engine) {
    set_up_with_directory(&engine.store().await).await;
    assert_eq!(
        mismatches(&engine, &format!("k1 {OTHER_KEY}")).await,
        [wrong("k1")]
    );
    // A key that seals nothing yet is known by its id as well: replicas were given it before it is the first.
    let staged = format!("k1 {KEY}\nk2 {OTHER_KEY}");
    assert_eq!(mismatches(&engine, &staged).await, []);
    let mistaken = format!("k2 {THIRD_KEY}\nk1 {KEY}");
    assert_eq!(mismatches(&engine, &mistaken).await, [wrong("k2")]);
    // What was refused left no trace.
    let refused = format!("k3 {THIRD_KEY}\nk1 {OTHER_KEY}");
    assert_eq!(mismatches(&engine, &refused).await, [wrong("k1")]);
    let other_third = format!("k3 {OTHER_KEY}\nk1 {KEY}");
    assert_eq!(mismatches(&engine, &other_third).await, []);
}

async fn of_two_new_keys_with_one_id_the_first_counts(engine: Engine) {
    engine.store().await;
    engine.forget_keys().await;
    let url = engine.url();
    let mut starting = Vec::new();
    for number in 0..8 {
        let key = if number % 2 == 0 { KEY } else { OTHER_KEY };
        let (url, keys) = (url.clone(), crate::engine::keyring(&format!("k1 {key}")));
        starting.push(tokio::spawn(async move {
            let opened = Store::open(&url, keys, Default::default()).await;
            (number % 2, opened.is_ok())
        }));
    }
    let mut fit = Vec::new();
    for start in starting {
        let (key, fits) = start.await.unwrap();
        if fits {
            fit.push(key);
        }
    }
    assert_eq!(fit.len(), 4);
    assert!(fit.iter().all(|key| *key == fit[0]), "both keys count");
}
