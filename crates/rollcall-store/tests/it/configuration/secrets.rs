//! Secrets at rest.

use rollcall_core::revision::Revision;
use rollcall_core::secret::{Password, SecretBytes};
use rollcall_store::{DirectoryUpdate, NewSecrets, Recorded, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

const CANARY: &str = "tulip-canary-7d1f";
const CANARY_KEY: &[u8] = b"iris-canary-9c2e";

on_both! {
    a_stored_secret_is_not_readable_at_rest,
    a_secret_moved_to_another_row_opens_nowhere,
    an_update_without_secrets_keeps_them,
}

async fn with_secrets(store: &Store) {
    store
        .create_tenant(&acme(), &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let (password, key) = (
        Password::new(CANARY.into()).ok().unwrap(),
        SecretBytes::new(CANARY_KEY.to_vec()),
    );
    let secrets = NewSecrets {
        bind_password: Some(&password),
        client_key: Some(&key),
    };
    store
        .create_directory(
            &acme(),
            &directory_id("main"),
            &directory_settings(),
            secrets,
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
}

async fn password(store: &Store, directory: &str) -> Result<String, StoreError> {
    let password = store.bind_password(&acme(), &directory_id(directory)).await?;
    Ok(password.unwrap().expose().to_owned())
}

fn holds(haystack: &[u8], needle: &[u8]) -> bool {
    haystack.windows(needle.len()).any(|window| window == needle)
}

async fn a_stored_secret_is_not_readable_at_rest(engine: Engine) {
    let store = engine.store().await;
    with_secrets(&store).await;
    assert_eq!(password(&store, "main").await.unwrap(), CANARY);
    let key = store
        .client_key(&acme(), &directory_id("main"))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(key.expose(), CANARY_KEY);
    let stored = engine.bytes_at_rest("directories");
    assert!(
        holds(&stored, b"cn=rollcall,dc=example"),
        "the search itself does not work"
    );
    assert!(!holds(&stored, CANARY.as_bytes()));
    assert!(!holds(&stored, CANARY_KEY));
}

async fn a_secret_moved_to_another_row_opens_nowhere(engine: Engine) {
    let store = engine.store().await;
    with_secrets(&store).await;
    let none = NewSecrets::default();
    store
        .create_directory(
            &acme(),
            &directory_id("evil"),
            &directory_settings(),
            none,
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    let sql =
        "UPDATE directories SET bind_password = (SELECT bind_password FROM directories WHERE id = 'main')";
    engine.sql(sql).await;
    assert!(matches!(
        password(&store, "evil").await,
        Err(StoreError::Corrupt { .. })
    ));
    assert_eq!(password(&store, "main").await.unwrap(), CANARY);
    engine
        .sql("UPDATE directories SET bind_password = client_key WHERE id = 'main'")
        .await;
    assert!(matches!(
        password(&store, "main").await,
        Err(StoreError::Corrupt { .. })
    ));
}

async fn an_update_without_secrets_keeps_them(engine: Engine) {
    let store = engine.store().await;
    with_secrets(&store).await;
    let main = directory_id("main");
    let settings = directory_settings();
    let none = NewSecrets::default();
    store
        .update_directory(
            &acme(),
            &main,
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets: none,
                endpoint_confirmed: true,
            },
            Recorded::by_nobody(at(1)),
        )
        .await
        .unwrap();
    assert_eq!(password(&store, "main").await.unwrap(), CANARY);
    assert!(store.client_key(&acme(), &main).await.unwrap().is_some());
    let mut settings = settings;
    settings.client_certificate = None;
    let none = NewSecrets::default();
    store
        .update_directory(
            &acme(),
            &main,
            DirectoryUpdate {
                expected_revision: Revision::new(2),
                settings: &settings,
                secrets: none,
                endpoint_confirmed: true,
            },
            Recorded::by_nobody(at(2)),
        )
        .await
        .unwrap();
    assert!(
        store.client_key(&acme(), &main).await.unwrap().is_none(),
        "a key outlived its certificate"
    );
}
