//! Bind passwords that wait until the directory refuses the present ones.

use std::time::Duration;

use rollcall_core::directory::DirectorySettings;
use rollcall_core::revision::Revision;
use rollcall_core::secret::Password;
use rollcall_store::{
    BindPassword, DirectoryUpdate, IdentifierUniqueness, NewSecrets, PendingOutcome, Recorded, Rotation,
    Store,
};

use crate::engine::{Engine, KEY, OTHER_KEY, on_both};
use crate::fixture::*;

const PRESENT: &str = "tulip-present-51a0";
const NEXT: &str = "tulip-pending-77c3";
const HOUR: Duration = Duration::from_secs(3_600);

on_both! {
    a_pending_password_is_given_away_once_and_takes_its_place_when_it_is_right,
    a_pending_password_that_is_refused_waits_for_the_window_to_end,
    one_that_never_left_is_given_away_again,
    of_many_replicas_at_once_one_tries_it,
    a_password_goes_to_no_other_endpoint_than_it_is_for,
    a_later_rotation_takes_the_place_of_the_pending_one,
    a_pending_password_is_sealed_and_sealed_anew_with_a_new_key,
}

fn password(text: &str) -> Password {
    Password::new(text.into()).ok().unwrap()
}

async fn set_up(store: &Store) {
    let record = Recorded::by_nobody(at(0));
    store
        .create_tenant(&acme(), &tenant_settings(&[]), record)
        .await
        .unwrap();
    let secrets = NewSecrets {
        bind_password: Some(&password(PRESENT)),
        client_key: None,
    };
    let record = Recorded::by_nobody(at(0));
    store
        .create_directory(
            &acme(),
            &directory_id("main"),
            &directory_settings(),
            secrets,
            record,
        )
        .await
        .unwrap();
}

async fn keep(store: &Store, text: &str) {
    let record = Recorded::by_nobody(at(5));
    let kept = store
        .keep_pending_bind_password(&acme(), &directory_id("main"), None, &password(text), record)
        .await
        .unwrap();
    assert_eq!(kept.pending_bind_password_time, Some(at(5)));
    assert_eq!(kept.pending_bind_password_refuse_time, None);
}

async fn claim_at(store: &Store, endpoint: &DirectorySettings, refused: &str, once_in: Duration) -> String {
    let claimed = store
        .claim_bind_password(
            &acme(),
            &directory_id("main"),
            endpoint,
            &password(refused),
            once_in,
        )
        .await
        .unwrap();
    match claimed {
        BindPassword::Present(password) => format!("present {}", password.expose()),
        BindPassword::Pending(password) => format!("pending {}", password.expose()),
        BindPassword::UnderWay => "under way".into(),
        BindPassword::Nothing => "nothing".into(),
    }
}

async fn claim(store: &Store, refused: &str) -> String {
    claim_at(store, &directory_settings(), refused, HOUR).await
}

async fn settle(store: &Store, text: &str, outcome: PendingOutcome) -> bool {
    store
        .settle_pending_bind_password(&acme(), &directory_id("main"), &password(text), outcome)
        .await
        .unwrap()
}

async fn accept(store: &Store, text: &str) -> bool {
    let record = Recorded::by_nobody(at(9));
    let accepted = store
        .accept_pending_bind_password(&acme(), &directory_id("main"), &password(text), record)
        .await
        .unwrap();
    accepted.is_some()
}

async fn a_pending_password_is_given_away_once_and_takes_its_place_when_it_is_right(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    assert_eq!(claim(&store, PRESENT).await, "nothing");
    keep(&store, NEXT).await;
    let stored = store.bind_password(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(stored.unwrap().expose(), PRESENT, "it stays until it is refused");
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
    assert_eq!(claim(&store, PRESENT).await, "under way");
    assert!(
        !accept(&store, "another").await,
        "only what is pending is accepted"
    );
    assert!(accept(&store, NEXT).await);
    assert!(!accept(&store, NEXT).await, "once");
    assert_eq!(
        claim(&store, PRESENT).await,
        format!("present {NEXT}"),
        "whoever comes later is told"
    );
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(directory.bind_password_update_time, Some(at(9)));
    assert_eq!(directory.pending_bind_password_time, None);
    assert_eq!(directory.revision, Revision::new(3));
    let stored = store.bind_password(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(stored.unwrap().expose(), NEXT);
}

async fn a_pending_password_that_is_refused_waits_for_the_window_to_end(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    keep(&store, NEXT).await;
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
    assert!(settle(&store, NEXT, PendingOutcome::Refused).await);
    assert_eq!(claim(&store, PRESENT).await, "nothing");
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    assert!(directory.pending_bind_password_refuse_time.is_some());
    let over = claim_at(&store, &directory_settings(), PRESENT, Duration::ZERO).await;
    assert_eq!(over, format!("pending {NEXT}"));
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    assert_eq!(directory.pending_bind_password_refuse_time, None);
}

async fn one_that_never_left_is_given_away_again(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    keep(&store, NEXT).await;
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
    assert!(settle(&store, NEXT, PendingOutcome::Unsent).await);
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
    assert!(!settle(&store, "another", PendingOutcome::Unsent).await);
    assert_eq!(claim(&store, PRESENT).await, "under way");
}

async fn of_many_replicas_at_once_one_tries_it(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    keep(&store, NEXT).await;
    let asking = (0..16).map(|_| {
        let store = store.clone();
        tokio::spawn(async move { claim(&store, PRESENT).await })
    });
    let mut told = Vec::new();
    for asked in asking.collect::<Vec<_>>() {
        told.push(asked.await.unwrap());
    }
    let tries = told.iter().filter(|told| told.starts_with("pending")).count();
    assert_eq!(tries, 1, "{told:?}");
    assert!(
        told.iter()
            .all(|told| told.starts_with("pending") || told == "under way"),
        "{told:?}"
    );
}

async fn a_password_goes_to_no_other_endpoint_than_it_is_for(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    keep(&store, NEXT).await;
    let moved = DirectorySettings {
        tls_server_name: Some("evil.example.com".into()),
        ..directory_settings()
    };
    assert_eq!(claim_at(&store, &moved, PRESENT, HOUR).await, "nothing");
    assert_eq!(claim_at(&store, &moved, "older", HOUR).await, "nothing");
    assert_eq!(claim(&store, "older").await, format!("present {PRESENT}"));
}

async fn a_later_rotation_takes_the_place_of_the_pending_one(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    keep(&store, NEXT).await;
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
    keep(&store, "tulip-other").await;
    assert!(!accept(&store, NEXT).await, "it is not the pending one any more");
    assert_eq!(claim(&store, PRESENT).await, "pending tulip-other");
    let directory = store.directory(&acme(), &directory_id("main")).await.unwrap();
    let secrets = NewSecrets {
        bind_password: Some(&password("tulip-set")),
        client_key: None,
    };
    let update = DirectoryUpdate {
        expected_revision: directory.revision,
        settings: &directory_settings(),
        secrets,
        endpoint_confirmed: true,
    };
    let record = Recorded::by_nobody(at(20));
    let updated = store
        .update_directory(&acme(), &directory_id("main"), update, record)
        .await
        .unwrap();
    assert_eq!(updated.pending_bind_password_time, None);
    assert_eq!(claim(&store, "tulip-set").await, "nothing");
}

async fn a_pending_password_is_sealed_and_sealed_anew_with_a_new_key(engine: Engine) {
    let old = engine.store().await;
    set_up(&old).await;
    keep(&old, NEXT).await;
    let at_rest = engine.bytes_at_rest("directories");
    let holds = |needle: &[u8]| at_rest.windows(needle.len()).any(|window| window == needle);
    assert!(holds(b"cn=rollcall,dc=example") && !holds(NEXT.as_bytes()));
    let keys = format!("k2 {OTHER_KEY}\nk1 {KEY}");
    let store = engine.store_with(&keys, IdentifierUniqueness::Tenant).await;
    let mut rotation = Rotation::default();
    while store.rotate_keys(&mut rotation).await.unwrap() {}
    assert_eq!(store.key_uses().await.unwrap().keys().collect::<Vec<_>>(), ["k2"]);
    assert_eq!(claim(&store, PRESENT).await, format!("pending {NEXT}"));
}
