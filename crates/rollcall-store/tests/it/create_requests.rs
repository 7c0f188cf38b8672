//! A repeat of a call that creates something creates nothing more.

use chrono::TimeDelta;
use rollcall_core::secret::SecretBytes;
use rollcall_core::user::User;
use rollcall_store::{
    CreateRequest, Created, Kind, NewSecrets, NewUser, REPEATABLE_FOR, Recorded, Store, StoreError,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_repeat_tells_what_the_first_call_created,
    of_many_repeats_at_once_one_creates,
    whoever_else_uses_the_same_request_id_is_not_concerned,
    a_call_that_failed_leaves_its_request_id_free,
    what_was_deleted_is_not_created_again,
    request_ids_are_kept_for_a_day,
    every_kind_of_resource_is_created_once,
}

/// Creates the user `number` as the product does at a call with this request id.
async fn create(
    store: &Store,
    (tenant, caller, id): (&str, &str, &str),
    content: &str,
    number: u128,
) -> Result<Created<User>, StoreError> {
    let user = NewUser {
        id: user_id(number),
        profile: profile(content),
        owner: false,
    };
    let (tenant, content) = (tenant_id(tenant), SecretBytes::new(content.into()));
    let request = CreateRequest {
        tenant: Some(&tenant),
        caller,
        id,
        content: &content,
    };
    store
        .create_local_user_once(&request, &tenant, user, Recorded::by_nobody(at(1)))
        .await
}

const ONE: (&str, &str, &str) = ("acme", "portal", "one");

fn before(number: u128) -> Created<User> {
    Created::Before(user_id(number).to_string())
}

async fn a_repeat_tells_what_the_first_call_created(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let first = create(&store, ONE, "ada", 1).await.unwrap();
    assert!(matches!(first, Created::Now(user) if user.id == user_id(1)));
    assert_eq!(create(&store, ONE, "ada", 2).await.unwrap(), before(1));
    let other = create(&store, ONE, "eve", 3).await;
    assert!(matches!(other, Err(StoreError::RequestIdReused { request_id }) if request_id == "one"));
    for number in [2, 3] {
        assert!(store.user(&acme(), user_id(number)).await.is_err());
    }
    let content = SecretBytes::new("ada".into());
    let (tenant, id) = (acme(), "one");
    let asked = CreateRequest {
        tenant: Some(&tenant),
        caller: "portal",
        id,
        content: &content,
    };
    assert_eq!(
        store.created_before(&asked, at(2)).await.unwrap(),
        Some(user_id(1).to_string())
    );
    let unknown = CreateRequest { id: "two", ..asked };
    assert_eq!(store.created_before(&unknown, at(2)).await.unwrap(), None);
}

async fn of_many_repeats_at_once_one_creates(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    set_up(&stores[0]).await;
    let tasks: Vec<_> = (1..=8_usize)
        .map(|number| {
            let store = stores[number % 2].clone();
            tokio::spawn(async move { create(&store, ONE, "ada", number as u128).await })
        })
        .collect();
    let (mut now, mut earlier) = (Vec::new(), Vec::new());
    for task in tasks {
        match task.await.unwrap().unwrap() {
            Created::Now(user) => now.push(user.id.to_string()),
            Created::Before(id) => earlier.push(id),
        }
    }
    assert_eq!((now.len(), earlier.len()), (1, 7));
    assert!(earlier.iter().all(|id| *id == now[0]));
}

async fn whoever_else_uses_the_same_request_id_is_not_concerned(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    store
        .create_tenant(
            &tenant_id("other"),
            &tenant_settings(&[]),
            Recorded::by_nobody(at(0)),
        )
        .await
        .unwrap();
    create(&store, ONE, "ada", 1).await.unwrap();
    let of_caller = create(&store, ("acme", "console", "one"), "eve", 2)
        .await
        .unwrap();
    assert!(matches!(of_caller, Created::Now(_)));
    let of_tenant = create(&store, ("other", "portal", "one"), "bob", 3)
        .await
        .unwrap();
    assert!(matches!(of_tenant, Created::Now(_)));
}

async fn a_call_that_failed_leaves_its_request_id_free(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, ONE, "ada", 1).await.unwrap();
    let two = ("acme", "portal", "two");
    let taken = create(&store, two, "ada", 2).await;
    assert!(matches!(taken, Err(StoreError::IdentifierTaken { .. })));
    let mended = create(&store, two, "eve", 2).await.unwrap();
    assert!(matches!(mended, Created::Now(_)));
}

async fn what_was_deleted_is_not_created_again(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, ONE, "ada", 1).await.unwrap();
    store
        .delete_local_user(&acme(), user_id(1), None, Recorded::by_nobody(at(2)))
        .await
        .unwrap();
    assert_eq!(create(&store, ONE, "ada", 2).await.unwrap(), before(1));
    let missing = store.user(&acme(), user_id(1)).await;
    assert!(matches!(missing, Err(StoreError::NotFound(Kind::User))));

    // With a tenant its request ids go: another customer may get the same name.
    let other = tenant_id("other");
    for number in [2, 3] {
        store
            .create_tenant(&other, &tenant_settings(&[]), Recorded::by_nobody(at(0)))
            .await
            .unwrap();
        let created = create(&store, ("other", "portal", "one"), "ada", number).await;
        assert!(matches!(created.unwrap(), Created::Now(_)));
        store
            .delete_tenant(&other, None, true, Recorded::by_nobody(at(3)))
            .await
            .unwrap();
    }
}

async fn request_ids_are_kept_for_a_day(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    create(&store, ONE, "ada", 1).await.unwrap();
    let (content, tenant) = (SecretBytes::new("ada".into()), acme());
    let request = CreateRequest {
        tenant: Some(&tenant),
        caller: "portal",
        id: "one",
        content: &content,
    };
    let end = at(1) + REPEATABLE_FOR;
    let last = end - TimeDelta::microseconds(1);
    assert!(store.created_before(&request, last).await.unwrap().is_some());
    assert!(store.created_before(&request, end).await.unwrap().is_none());
    let user = NewUser {
        id: user_id(2),
        profile: profile("eve"),
        owner: false,
    };
    // Expired and not yet deleted: as if it had never been.
    let anew = store
        .create_local_user_once(&request, &acme(), user, Recorded::by_nobody(end))
        .await;
    assert!(matches!(anew.unwrap(), Created::Now(_)));
    assert_eq!(store.delete_old_create_requests(end, 10).await.unwrap(), 0);
    let end = end + REPEATABLE_FOR;
    assert_eq!(store.delete_old_create_requests(end, 10).await.unwrap(), 1);
}

async fn every_kind_of_resource_is_created_once(engine: Engine) {
    let store = engine.store().await;
    let (content, tenant) = (SecretBytes::new("same".into()), acme());
    let request = |tenant, id| CreateRequest {
        tenant,
        caller: "portal",
        id,
        content: &content,
    };
    for first in [true, false] {
        let made = store
            .create_tenant_once(
                &request(None, "t"),
                &tenant,
                &tenant_settings(&[]),
                Recorded::by_nobody(at(1)),
            )
            .await
            .unwrap();
        assert_eq!(matches!(made, Created::Now(_)), first);
        let (id, settings) = (directory_id("main"), directory_settings());
        let made = store
            .create_directory_once(
                &request(Some(&tenant), "d"),
                &tenant,
                &id,
                &settings,
                NewSecrets::default(),
                Recorded::by_nobody(at(1)),
            )
            .await
            .unwrap();
        assert_eq!(matches!(made, Created::Now(_)), first);
        let (id, settings) = (sync_id("staff"), sync_settings("main"));
        let made = store
            .create_user_sync_once(
                &request(Some(&tenant), "s"),
                &tenant,
                &id,
                &settings,
                None,
                Recorded::by_nobody(at(1)),
            )
            .await
            .unwrap();
        assert_eq!(matches!(made, Created::Now(_)), first);
    }
}
