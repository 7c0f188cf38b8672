//! The database is restored from a backup, and the feed goes on from there: whoever read further must notice.

use rollcall_core::event::Event;
use rollcall_core::feed::Mark;
use rollcall_core::id::TenantId;
use rollcall_store::{NewUser, Recorded, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_reader_of_what_a_restore_took_back_is_told,
}

async fn create(store: &Store, tenant: &TenantId, numbers: std::ops::RangeInclusive<u128>) {
    for number in numbers {
        let user = NewUser {
            id: user_id(number),
            profile: profile(&format!("user{number}")),
            owner: false,
        };
        // All at the same second, as the writes of one busy moment are.
        let created = store.create_local_user(tenant, user, Recorded::by_nobody(at(1)));
        created.await.unwrap();
    }
}

fn mark(tenant: Option<&TenantId>, event: &Event) -> Mark {
    match tenant {
        Some(_) => event.tenant_mark(),
        None => event.mark(),
    }
}

async fn a_reader_of_what_a_restore_took_back_is_told(engine: Engine) {
    let store = engine.store().await;
    let other = tenant_id("other");
    for tenant in [acme(), other.clone()] {
        let settings = tenant_settings(&[]);
        let created = store.create_tenant(&tenant, &settings, Recorded::by_nobody(at(0)));
        created.await.unwrap();
    }
    create(&store, &acme(), 1..=3).await;
    create(&store, &other, 4..=4).await;
    store.close().await;
    let backup = engine.back_up();

    let store = engine.store().await;
    create(&store, &acme(), 11..=13).await;
    create(&store, &other, 14..=14).await;
    let feeds = [None, Some(acme()), Some(other.clone())];
    let mut read = Vec::new();
    for tenant in &feeds {
        read.push(events_behind(&store, tenant.as_ref(), 0).await);
    }
    store.close().await;
    engine.restore(&backup);

    let store = engine.store().await;
    let expired = async |tenant: Option<&TenantId>, event: &Event| {
        let found = store.list_events(tenant, mark(tenant, event), 10).await;
        matches!(found, Err(StoreError::CursorExpired))
    };
    for (tenant, events) in feeds.iter().zip(&read) {
        let tenant = tenant.as_ref();
        assert!(expired(tenant, events.last().unwrap()).await, "beyond the end");
    }
    create(&store, &acme(), 21..=24).await;
    create(&store, &other, 25..=26).await;
    for (tenant, before) in feeds.iter().zip(&read) {
        let tenant = tenant.as_ref();
        let now = events_behind(&store, tenant, 0).await;
        assert!(now.len() > before.len(), "others stand at all positions");
        for (index, event) in before.iter().enumerate() {
            let mark = mark(tenant, event);
            let is_still_there = now.contains(event);
            assert_eq!(
                expired(tenant, event).await,
                !is_still_there,
                "{tenant:?} {mark:?}"
            );
            if is_still_there {
                let rest = store.list_events(tenant, mark, 100).await.unwrap();
                assert_eq!(rest, now[index + 1..]);
            }
        }
        assert!(before.iter().any(|event| now.contains(event)));
        assert!(!before.iter().all(|event| now.contains(event)));
        assert_eq!(
            store.feed_end(tenant).await.unwrap(),
            mark(tenant, now.last().unwrap())
        );
    }
}
