//! Sealing everything anew with the current key, while everything runs.

use std::collections::BTreeMap;

use rollcall_core::id::DirectoryId;
use rollcall_core::revision::Revision;
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_store::{DirectoryUpdate, IdentifierUniqueness, NewSecrets, Purpose, Recorded, Rotation, Store};

use crate::engine::{Engine, KEY, OTHER_KEY, on_both};
use crate::fixture::*;

on_both! {
    a_rotation_lets_the_old_key_go,
    rotations_that_break_off_and_run_at_once_seal_each_secret_once,
    a_password_that_is_set_meanwhile_stays,
    a_damaged_secret_is_named_and_stops_nothing,
}

/// More than one batch.
const DIRECTORIES: usize = 130;
/// Passwords, one client key, and the keys of purposes.
const SECRETS: u64 = (DIRECTORIES + 1 + Purpose::ALL.len()) as u64;

async fn store_with(engine: &Engine, keys: &str) -> Store {
    engine.store_with(keys, IdentifierUniqueness::Tenant).await
}

fn both() -> String {
    format!("k2 {OTHER_KEY}\nk1 {KEY}")
}

fn number(number: usize) -> DirectoryId {
    directory_id(&format!("d{number}"))
}

fn password(text: &str) -> Password {
    Password::new(text.into()).ok().unwrap()
}

async fn with_secrets(store: &Store) {
    store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let key = SecretBytes::new(b"client key".to_vec());
    for index in 0..DIRECTORIES {
        let secrets = NewSecrets {
            bind_password: Some(&password(&format!("tulip {index}"))),
            client_key: (index == 7).then_some(&key),
        };
        let record = Recorded::by_nobody(at(0));
        store
            .create_directory(&acme(), &number(index), &directory_settings(), secrets, record)
            .await
            .unwrap();
    }
}

async fn rotate(store: &Store) -> Rotation {
    let mut rotation = Rotation::default();
    while store.rotate_keys(&mut rotation).await.unwrap() {}
    rotation
}

async fn all_passwords(store: &Store) -> Vec<String> {
    let mut passwords = Vec::new();
    for index in 0..DIRECTORIES {
        let password = store.bind_password(&acme(), &number(index)).await.unwrap();
        passwords.push(password.unwrap().expose().to_owned());
    }
    passwords
}

fn uses(uses: &[(&str, u64)]) -> BTreeMap<String, u64> {
    let owned = |(id, secrets): &(&str, u64)| ((*id).to_owned(), *secrets);
    uses.iter().map(owned).collect()
}

async fn a_rotation_lets_the_old_key_go(engine: Engine) {
    let old = engine.store().await;
    with_secrets(&old).await;
    let tag = |store: &Store| store.keys().unwrap().of(Purpose::Logins).tag(&[b"ada"]);
    let (passwords, before) = (all_passwords(&old).await, tag(&old));
    assert_eq!(old.key_uses().await.unwrap(), uses(&[("k1", SECRETS)]));
    let rotating = store_with(&engine, &both()).await;
    let rotation = rotate(&rotating).await;
    assert_eq!((rotation.sealed, rotation.damaged.len()), (SECRETS, 0));
    assert_eq!(rotating.key_uses().await.unwrap(), uses(&[("k2", SECRETS)]));
    assert_eq!(rotate(&rotating).await.sealed, 0, "it was all done");
    let new = store_with(&engine, &format!("k2 {OTHER_KEY}")).await;
    assert_eq!(all_passwords(&new).await, passwords);
    assert_eq!(
        new.client_key(&acme(), &number(7))
            .await
            .unwrap()
            .unwrap()
            .expose(),
        b"client key"
    );
    assert_eq!(tag(&new), before, "what was hashed before does not fit any more");
}

async fn rotations_that_break_off_and_run_at_once_seal_each_secret_once(engine: Engine) {
    let old = engine.store().await;
    with_secrets(&old).await;
    let rotating = store_with(&engine, &both()).await;
    let mut killed = Rotation::default();
    for _ in 0..2 {
        assert!(rotating.rotate_keys(&mut killed).await.unwrap());
    }
    assert!(killed.sealed > 0 && killed.sealed < SECRETS, "{}", killed.sealed);
    let mut running = Vec::new();
    for _ in 0..3 {
        let store = store_with(&engine, &both()).await;
        running.push(tokio::spawn(async move { rotate(&store).await }));
    }
    let mut sealed = killed.sealed;
    for rotation in running {
        sealed += rotation.await.unwrap().sealed;
    }
    assert_eq!(sealed, SECRETS);
    let new = store_with(&engine, &format!("k2 {OTHER_KEY}")).await;
    assert_eq!(new.key_uses().await.unwrap(), uses(&[("k2", SECRETS)]));
    assert_eq!(all_passwords(&new).await, all_passwords(&rotating).await);
}

/// Setters that do not have the new key yet, as before they are started anew.
async fn a_password_that_is_set_meanwhile_stays(engine: Engine) {
    let old = engine.store().await;
    with_secrets(&old).await;
    let setter = old.clone();
    let setting = tokio::spawn(async move {
        for index in (0..DIRECTORIES).rev() {
            let (id, new) = (number(index), password(&format!("rose {index}")));
            let secrets = NewSecrets {
                bind_password: Some(&new),
                ..NewSecrets::default()
            };
            let record = Recorded::by_nobody(at(1));
            let settings = directory_settings();
            let update = DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets,
                endpoint_confirmed: true,
            };
            setter
                .update_directory(&acme(), &id, update, record)
                .await
                .unwrap();
        }
    });
    let rotating = store_with(&engine, &both()).await;
    while !setting.is_finished() {
        rotate(&rotating).await;
    }
    setting.await.unwrap();
    rotate(&rotating).await;
    let new = store_with(&engine, &format!("k2 {OTHER_KEY}")).await;
    assert_eq!(new.key_uses().await.unwrap().len(), 1);
    let expected: Vec<String> = (0..DIRECTORIES).map(|index| format!("rose {index}")).collect();
    assert_eq!(all_passwords(&new).await, expected);
}

async fn a_damaged_secret_is_named_and_stops_nothing(engine: Engine) {
    let old = engine.store().await;
    with_secrets(&old).await;
    // One is another's, and one is no sealed secret at all.
    engine
        .sql(
            "UPDATE directories SET bind_password = (SELECT bind_password FROM directories WHERE id = 'd1')
            WHERE id = 'd0'",
        )
        .await;
    engine
        .sql("UPDATE directories SET client_key = NULL, bind_password = client_key WHERE id = 'd7'")
        .await;
    let empty = match engine {
        Engine::Sqlite(_) => "x''",
        Engine::Postgres(_) => "'\\x'",
    };
    engine
        .sql(&format!(
            "UPDATE directories SET bind_password = {empty} WHERE id = 'd9'"
        ))
        .await;
    let rotating = store_with(&engine, &both()).await;
    let rotation = rotate(&rotating).await;
    let mut damaged = rotation.damaged;
    damaged.sort();
    assert_eq!(
        damaged,
        [
            "bind_password of tenants/acme/directories/d0",
            "bind_password of tenants/acme/directories/d7",
            "bind_password of tenants/acme/directories/d9",
        ]
    );
    assert_eq!(rotation.sealed, SECRETS - 4);
    assert_eq!(
        rotating.key_uses().await.unwrap(),
        uses(&[("k1", 2), ("k2", SECRETS - 4)])
    );
}
