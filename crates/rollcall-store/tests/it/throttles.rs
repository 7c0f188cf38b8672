//! The soft lock under parallel attempts.

use chrono::TimeDelta;
use rollcall_core::throttle::{Settlement, ThrottlePolicy, ThrottleSubject};
use rollcall_store::{HeldSlot, Reservation, Reserved, Store};

use crate::engine::{Engine, on_both};
use crate::fixture::*;
use crate::logins::settle;

on_both! {
    parallel_attempts_cannot_overshoot,
    all_subjects_or_none,
    a_right_password_gives_a_client_its_slot_back_and_forgets_nothing,
    a_right_password_forgets,
    an_unlocked_user_may_try_again,
    old_counters_go,
}

fn user() -> ThrottleSubject {
    ThrottleSubject::User(user_id(1))
}

fn client() -> ThrottleSubject {
    ThrottleSubject::Client("192.0.2.1".into())
}

fn limited(subject: ThrottleSubject, limit: u32) -> Reservation {
    Reservation {
        subject,
        policy: ThrottlePolicy {
            limit,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
    }
}

async fn taken(store: &Store, reservations: &[Reservation], seconds: i64) -> Option<Vec<HeldSlot>> {
    match store.reserve(&acme(), reservations, at(seconds)).await.unwrap() {
        Reserved::Taken(slots) => Some(slots),
        Reserved::Wait { time: wait, .. } => {
            assert!(wait > TimeDelta::zero());
            None
        }
    }
}

async fn parallel_attempts_cannot_overshoot(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    let tasks: Vec<_> = (0..30)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move { taken(&store, &[limited(client(), 20), limited(user(), 5)], 0).await })
        })
        .collect();
    let mut reserved = 0;
    for task in tasks {
        reserved += usize::from(task.await.unwrap().is_some());
    }
    assert_eq!(reserved, 5);
}

async fn all_subjects_or_none(engine: Engine) {
    let store = engine.store().await;
    let both = [limited(client(), 3), limited(user(), 1)];
    let slots = taken(&store, &both, 0).await.unwrap();
    assert_eq!(
        slots.iter().map(|held| &held.subject).collect::<Vec<_>>(),
        [&client(), &user()]
    );
    let waits = store.reserve(&acme(), &both, at(60)).await.unwrap();
    let full = Reserved::Wait {
        time: TimeDelta::minutes(14),
        subject: user(),
    };
    assert_eq!(waits, full);
    // The refused attempt took no slot of the client: two of three are left.
    for expected in [true, true, false] {
        assert_eq!(
            taken(&store, &[limited(client(), 3)], 61).await.is_some(),
            expected
        );
    }
    let other_tenant = store.reserve(&tenant_id("other"), &both, at(62)).await.unwrap();
    assert!(
        matches!(other_tenant, Reserved::Taken(_)),
        "tenants share a counter"
    );
    assert!(
        taken(&store, &both, 61 + 15 * 60).await.is_some(),
        "the lock never ends"
    );
}

async fn a_right_password_forgets(engine: Engine) {
    let store = engine.store().await;
    let one = [limited(user(), 2)];
    let slots = taken(&store, &one, 0).await.unwrap();
    settle(&store, slots, Settlement::Failure).await;
    let slots = taken(&store, &one, 1).await.unwrap();
    assert!(taken(&store, &one, 1).await.is_none());
    settle(&store, slots, Settlement::NotSent).await;
    let slots = taken(&store, &one, 2).await.unwrap();
    settle(&store, slots, Settlement::Success).await;
    let slots = taken(&store, &one, 3).await.unwrap();
    settle(&store, slots, Settlement::Unknown).await;
    assert!(taken(&store, &one, 4).await.is_some());
    assert!(
        taken(&store, &one, 4).await.is_none(),
        "an unknown outcome gave its slot back"
    );
}

async fn a_right_password_gives_a_client_its_slot_back_and_forgets_nothing(engine: Engine) {
    let store = engine.store().await;
    let both = [limited(user(), 9), limited(client(), 2)];
    let slots = taken(&store, &both, 0).await.unwrap();
    settle(&store, slots, Settlement::Failure).await;
    let slots = taken(&store, &both, 1).await.unwrap();
    assert!(taken(&store, &both, 1).await.is_none());
    settle(&store, slots, Settlement::Success).await;
    let slots = taken(&store, &both, 2).await.unwrap();
    assert!(
        taken(&store, &both, 2).await.is_none(),
        "the client's failure was forgotten"
    );
    settle(&store, slots, Settlement::NotSent).await;
}

async fn an_unlocked_user_may_try_again(engine: Engine) {
    let store = engine.store().await;
    let one = [limited(user(), 1)];
    let slots = taken(&store, &one, 0).await.unwrap();
    assert!(taken(&store, &one, 0).await.is_none());
    assert!(store.unlock_user(&acme(), user_id(1)).await.unwrap().is_some());
    assert_eq!(store.unlock_user(&acme(), user_id(1)).await.unwrap(), None);
    settle(&store, slots, Settlement::Failure).await;
    assert!(taken(&store, &one, 0).await.is_some());
}

async fn old_counters_go(engine: Engine) {
    let store = engine.store().await;
    taken(&store, &[limited(user(), 1)], 0).await.unwrap();
    taken(&store, &[limited(client(), 1)], 100).await.unwrap();
    assert_eq!(store.delete_old_throttles(at(100), 10).await.unwrap(), 1);
    assert!(taken(&store, &[limited(client(), 1)], 100).await.is_none());
    assert!(taken(&store, &[limited(user(), 1)], 100).await.is_some());
}
