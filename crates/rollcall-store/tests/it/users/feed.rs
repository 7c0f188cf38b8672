//! The feed: gapless, and visible in order, whoever writes.

use std::collections::HashMap;

use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::id::{TenantId, Uuid};
use rollcall_core::user::{FieldChange, User};
use rollcall_store::{NewUser, Recorded, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    events_tell_what_happened,
    ten_writers_leave_no_gap_and_no_reader_misses_one,
    expired_cursors_are_told,
    retention_does_not_uncover_what_a_deleted_tenant_left,
}

const WRITERS: u128 = 10;
const EACH: u128 = 20;

fn local(number: u128, login: &str) -> NewUser {
    NewUser {
        id: user_id(number),
        profile: profile(login),
        owner: false,
    }
}

async fn events_tell_what_happened(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let ada = store.user(&acme(), user_id(1)).await.unwrap();
    apply(
        &store,
        &token,
        2,
        &[update(&ada, |profile| {
            profile.set_text(rollcall_core::field::TextField::GivenName, Some("Ada".into()))
        })],
    )
    .await;
    store
        .block_user(&acme(), ada.id, None, "leaver", Recorded::by_nobody(at(9)))
        .await
        .unwrap();

    let events = store.list_events(Some(&acme()), Mark::START, 10).await.unwrap();
    let types: Vec<EventType> = events.iter().map(|event| event.event_type).collect();
    assert_eq!(
        types,
        [EventType::Created, EventType::Updated, EventType::Blocked]
    );
    let positions: Vec<_> = events
        .iter()
        .map(|event| (event.position, event.tenant_position))
        .collect();
    assert_eq!(positions, [(1, 1), (2, 2), (3, 3)]);
    assert_eq!(events[0].after.as_ref(), Some(&ada));
    assert_eq!(events[1].run, Some(run_id(2)));
    let given_name = FieldChange {
        field: "given_name".into(),
        old: None,
        new: Some("Ada".into()),
    };
    assert_eq!(events[1].changes, [given_name]);
    let now: User = store.user(&acme(), ada.id).await.unwrap();
    assert_eq!(
        (events[2].after.as_ref(), events[2].time, events[2].run),
        (Some(&now), at(9), None)
    );
    let second = store.list_events(None, events[0].mark(), 1).await.unwrap();
    assert_eq!(second, events[1..2]);
    assert_eq!(store.feed_end(None).await.unwrap().position, 3);
}

/// Reads a feed to its end while it grows; fails at the first event out of line.
async fn follow(store: Store, tenant: Option<TenantId>, total: i64) {
    let mut after = Mark::START;
    while after.position < total {
        for event in store.list_events(tenant.as_ref(), after, 7).await.unwrap() {
            let mark = match tenant {
                Some(_) => event.tenant_mark(),
                None => event.mark(),
            };
            let next = after.position + 1;
            assert_eq!(mark.position, next, "a gap, or an event out of order");
            after = mark;
        }
        tokio::task::yield_now().await;
    }
}

async fn ten_writers_leave_no_gap_and_no_reader_misses_one(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    for tenant in ["acme", "other"] {
        stores[0]
            .create_tenant(
                &tenant_id(tenant),
                &tenant_settings(&[]),
                Recorded::by_nobody(at(0)),
            )
            .await
            .unwrap();
    }
    let each = i64::try_from(WRITERS * EACH / 2).unwrap();
    let mut tasks = vec![
        tokio::spawn(follow(stores[0].clone(), None, each * 2)),
        tokio::spawn(follow(stores[1].clone(), Some(acme()), each)),
        tokio::spawn(follow(stores[0].clone(), Some(tenant_id("other")), each)),
    ];
    for writer in 0..WRITERS {
        let store = stores[usize::try_from(writer).unwrap() % 2].clone();
        let tenant = tenant_id(if writer < WRITERS / 2 { "acme" } else { "other" });
        tasks.push(tokio::spawn(async move {
            for number in 0..EACH {
                let number = writer * EACH + number;
                let user = local(number + 1, &format!("user{number}"));
                store
                    .create_local_user(&tenant, user, Recorded::by_nobody(at(1)))
                    .await
                    .unwrap();
            }
        }));
    }
    for task in tasks {
        task.await.unwrap();
    }
    let mut seen: HashMap<Uuid, usize> = HashMap::new();
    for event in stores[0].list_events(None, Mark::START, 1000).await.unwrap() {
        *seen.entry(event.user.0).or_default() += 1;
    }
    assert_eq!(seen.len() as u128, WRITERS * EACH);
}

async fn expired_cursors_are_told(engine: Engine) {
    let store = engine.store().await;
    for tenant in ["acme", "other"] {
        store
            .create_tenant(
                &tenant_id(tenant),
                &tenant_settings(&[]),
                Recorded::by_nobody(at(0)),
            )
            .await
            .unwrap();
    }
    for (number, tenant) in [(1, "acme"), (2, "other"), (3, "acme"), (4, "acme")] {
        let time = at(i64::try_from(number).unwrap());
        store
            .create_local_user(
                &tenant_id(tenant),
                local(number, &format!("user{number}")),
                Recorded::by_nobody(time),
            )
            .await
            .unwrap();
    }
    let all = events_behind(&store, None, 0).await;
    let other = tenant_id("other");
    assert_eq!(store.delete_old_events(at(4), 2).await.unwrap(), 2);
    assert_eq!(store.delete_old_events(at(4), 100).await.unwrap(), 1);
    assert_eq!(store.delete_old_events(at(4), 100).await.unwrap(), 0);
    // Whoever has read all that is gone goes on; the head tells what stood there.
    let places = [
        (None, all[2].mark(), vec![4]),
        (Some(acme()), all[2].tenant_mark(), vec![4]),
        (Some(other.clone()), all[1].tenant_mark(), vec![]),
    ];
    for (tenant, after, expected) in places {
        let events = store.list_events(tenant.as_ref(), after, 10).await.unwrap();
        let positions: Vec<i64> = events.iter().map(|event| event.position).collect();
        assert_eq!(positions, expected, "{tenant:?}");
        let digest = after.digest + 1;
        let another = store.list_events(tenant.as_ref(), Mark { digest, ..after }, 10);
        let another = another.await;
        assert!(matches!(another, Err(StoreError::CursorExpired)), "{another:?}");
    }
    let places = [
        (None, all[1].mark()),
        (Some(acme()), all[0].tenant_mark()),
        (Some(other.clone()), Mark::START),
    ];
    for (tenant, expired) in places {
        let result = store.list_events(tenant.as_ref(), expired, 10).await;
        assert!(
            matches!(result, Err(StoreError::CursorExpired)),
            "{tenant:?} {result:?}"
        );
    }
    // All events of one tenant are gone, and of the other the newest is there.
    assert_eq!(store.feed_end(Some(&other)).await.unwrap(), all[1].tenant_mark());
    assert_eq!(store.feed_end(Some(&acme())).await.unwrap(), all[3].tenant_mark());
    assert_eq!(store.feed_end(None).await.unwrap(), all[3].mark());
}

/// The new customer of a name sees nothing of the old one's feed, however far retention has come.
async fn retention_does_not_uncover_what_a_deleted_tenant_left(engine: Engine) {
    let store = engine.store().await;
    let settings = tenant_settings(&[]);
    let create = async |seconds| {
        let record = Recorded::by_nobody(at(seconds));
        store.create_tenant(&acme(), &settings, record).await.unwrap();
    };
    create(0).await;
    for number in 1..=3 {
        let time = at(i64::try_from(number).unwrap());
        let user = local(number, &format!("user{number}"));
        let record = Recorded::by_nobody(time);
        store.create_local_user(&acme(), user, record).await.unwrap();
    }
    let record = Recorded::by_nobody(at(4));
    store.delete_tenant(&acme(), None, true, record).await.unwrap();
    create(5).await;
    let start = store.feed_start(Some(&acme())).await.unwrap();
    assert_eq!(start.position, 6);
    for deleted in 1..=6 {
        assert_eq!(store.delete_old_events(at(99), 1).await.unwrap(), 1);
        assert_eq!(
            store.feed_start(Some(&acme())).await.unwrap(),
            start,
            "after {deleted}"
        );
        assert_eq!(store.list_events(Some(&acme()), start, 10).await.unwrap(), []);
    }
}
