//! The soft lock under parallel attempts.

use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::soft_lock::{Settlement, SoftLockPolicy, SoftLockSubject};
use rollcall_store::{FinishLogin, HeldSlot, NewAuditEvent, OwnCount, Reservation, Reserved};

use crate::engine::{Engine, Gateway, on_both};
use crate::fixture::*;
use crate::login::commit::{finish, settle};

on_both! {
    parallel_attempts_cannot_overshoot,
    what_another_replica_counted_counts,
    all_subjects_or_none,
    a_right_password_gives_a_client_its_slot_back_and_forgets_nothing,
    a_right_password_forgets,
    an_unlocked_user_may_try_again,
    an_attempt_with_the_same_password_shares_a_slot_of_unknown_outcome,
    an_address_that_is_the_user_s_has_a_count_of_its_own,
    all_addresses_together_stay_below_a_threshold_that_is_known,
    a_clock_set_back_makes_nobody_forget_and_locks_nobody_for_ever,
    old_counters_go,
}

fn user() -> SoftLockSubject {
    SoftLockSubject::User(user_id(1))
}

fn client() -> SoftLockSubject {
    SoftLockSubject::Client("192.0.2.1".into())
}

fn limited(subject: SoftLockSubject, limit: u32) -> Reservation {
    Reservation {
        subject,
        policy: SoftLockPolicy {
            limit,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    }
}

/// Lets time pass, which the database counts.
async fn later(engine: &Engine, seconds: i64) {
    let micros = seconds * 1_000_000;
    let sql = format!(
        "UPDATE login_throttles SET window_start = window_start - {micros}, last_time = last_time - {micros},
            proven_time = CASE proven_time WHEN 0 THEN 0 ELSE proven_time - {micros} END"
    );
    engine.sql(&sql).await;
}

async fn taken(store: &Gateway, reservations: &[Reservation]) -> Option<Vec<HeldSlot>> {
    match store.logins.reserve(&acme(), reservations).await.unwrap() {
        Reserved::Taken(slots) => Some(slots),
        Reserved::Wait { time: wait, .. } => {
            assert!(wait > TimeDelta::zero());
            None
        }
    }
}

async fn parallel_attempts_cannot_overshoot(engine: Engine) {
    let stores = [engine.gateway().await, engine.gateway().await];
    let tasks: Vec<_> = (0..30)
        .map(|index| {
            let store = stores[index % 2].clone();
            tokio::spawn(async move { taken(&store, &[limited(client(), 20), limited(user(), 5)]).await })
        })
        .collect();
    let mut reserved = 0;
    for task in tasks {
        reserved += usize::from(task.await.unwrap().is_some());
    }
    assert_eq!(reserved, 5);
}

/// Whatever a replica may know of a counter itself.
async fn what_another_replica_counted_counts(engine: Engine) {
    let (one, other) = (engine.gateway().await, engine.gateway().await);
    let limit = [limited(user(), 4)];
    for store in [&one, &other, &one, &other] {
        let slots = taken(store, &limit).await.unwrap();
        settle(store, slots, Settlement::Failure).await;
    }
    assert!(taken(&one, &limit).await.is_none());
    assert!(taken(&other, &limit).await.is_none());
    engine.sql("DELETE FROM login_throttles").await;
    assert!(
        taken(&one, &limit).await.is_some(),
        "somebody is refused for what is not counted any more"
    );
}

async fn all_subjects_or_none(engine: Engine) {
    let store = engine.gateway().await;
    let both = [limited(client(), 3), limited(user(), 1)];
    let slots = taken(&store, &both).await.unwrap();
    assert_eq!(
        slots.iter().map(|held| &held.subject).collect::<Vec<_>>(),
        [&client(), &user()]
    );
    later(&engine, 60).await;
    let waits = store.logins.reserve(&acme(), &both).await.unwrap();
    let Reserved::Wait { time, subject, .. } = waits else {
        panic!("there was a slot");
    };
    assert_eq!(subject, user());
    let left = TimeDelta::minutes(14);
    assert!(
        time <= left && time > left - TimeDelta::minutes(1),
        "{time} left of {left}"
    );
    // The refused attempt took no slot of the client: two of three are left.
    for expected in [true, true, false] {
        assert_eq!(taken(&store, &[limited(client(), 3)]).await.is_some(), expected);
    }
    let other_tenant = store.logins.reserve(&tenant_id("other"), &both).await.unwrap();
    assert!(
        matches!(other_tenant, Reserved::Taken(_)),
        "tenants share a counter"
    );
    later(&engine, 15 * 60).await;
    assert!(taken(&store, &both).await.is_some(), "the lock never ends");
}

async fn a_right_password_forgets(engine: Engine) {
    let store = engine.gateway().await;
    let one = [limited(user(), 2)];
    let slots = taken(&store, &one).await.unwrap();
    settle(&store, slots, Settlement::Failure).await;
    let slots = taken(&store, &one).await.unwrap();
    assert!(taken(&store, &one).await.is_none());
    settle(&store, slots, Settlement::NotSent).await;
    let slots = taken(&store, &one).await.unwrap();
    settle(&store, slots, Settlement::Success).await;
    let slots = taken(&store, &one).await.unwrap();
    settle(&store, slots, Settlement::Unknown).await;
    assert!(taken(&store, &one).await.is_some());
    assert!(
        taken(&store, &one).await.is_none(),
        "an unknown outcome gave its slot back"
    );
}

async fn a_right_password_gives_a_client_its_slot_back_and_forgets_nothing(engine: Engine) {
    let store = engine.gateway().await;
    let both = [limited(user(), 9), limited(client(), 2)];
    let slots = taken(&store, &both).await.unwrap();
    settle(&store, slots, Settlement::Failure).await;
    let slots = taken(&store, &both).await.unwrap();
    assert!(taken(&store, &both).await.is_none());
    settle(&store, slots, Settlement::Success).await;
    let slots = taken(&store, &both).await.unwrap();
    assert!(
        taken(&store, &both).await.is_none(),
        "the client's failure was forgotten"
    );
    settle(&store, slots, Settlement::NotSent).await;
}

async fn an_unlocked_user_may_try_again(engine: Engine) {
    let store = engine.gateway().await;
    let one = [limited(user(), 1)];
    let slots = taken(&store, &one).await.unwrap();
    assert!(taken(&store, &one).await.is_none());
    assert!(
        store
            .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        store
            .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
            .await
            .unwrap(),
        None
    );
    settle(&store, slots, Settlement::Failure).await;
    assert!(taken(&store, &one).await.is_some());
}

async fn an_attempt_with_the_same_password_shares_a_slot_of_unknown_outcome(engine: Engine) {
    let store = engine.gateway().await;
    let one = limited(user(), 1);
    let slots = taken(&store, std::slice::from_ref(&one)).await.unwrap();
    let shared = Some(slots[0].slot);
    settle(&store, slots, Settlement::Unknown).await;
    assert!(taken(&store, std::slice::from_ref(&one)).await.is_none());
    let again = Reservation {
        shared,
        ..one.clone()
    };
    for _ in 0..3 {
        let slots = taken(&store, std::slice::from_ref(&again)).await.unwrap();
        settle(&store, slots, Settlement::Unknown).await;
    }
    let slots = taken(&store, std::slice::from_ref(&again)).await.unwrap();
    settle(&store, slots, Settlement::Success).await;
    assert!(taken(&store, &[one]).await.is_some());
}

fn at_home() -> SoftLockSubject {
    SoftLockSubject::UserAt(user_id(1), "home".into())
}

/// An attempt from home.
fn from_home(limit: u32, ceiling: Option<u32>) -> [Reservation; 1] {
    let own = OwnCount {
        subject: at_home(),
        shared: None,
        ceiling,
    };
    [Reservation {
        own: Some(own),
        ..limited(user(), limit)
    }]
}

async fn prove(store: &Gateway, slots: Vec<HeldSlot>) {
    let finish = FinishLogin {
        slots,
        proven_at: Some(at_home()),
        ..finish("proving", None)
    };
    store.logins.finish(finish).await.unwrap();
}

async fn fail(store: &Gateway, reservations: &[Reservation]) -> bool {
    let Some(slots) = taken(store, reservations).await else {
        return false;
    };
    settle(store, slots, Settlement::Failure).await;
    true
}

async fn an_address_that_is_the_user_s_has_a_count_of_its_own(engine: Engine) {
    let store = engine.gateway().await;
    let (home, elsewhere) = (from_home(2, None), [limited(user(), 2)]);
    // Not yet theirs: counted with everybody.
    assert!(fail(&store, &elsewhere).await && fail(&store, &home).await);
    assert!(taken(&store, &home).await.is_none());
    store
        .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
        .await
        .unwrap();
    let slots = taken(&store, &home).await.unwrap();
    prove(&store, slots).await;

    assert!(fail(&store, &elsewhere).await && fail(&store, &elsewhere).await);
    assert!(taken(&store, &elsewhere).await.is_none());
    assert!(fail(&store, &home).await);
    let slots = taken(&store, &home).await.unwrap();
    prove(&store, slots).await;
    // Whoever is at home may guess no more than anybody.
    assert!(fail(&store, &home).await && fail(&store, &home).await);
    let waits = store.logins.reserve(&acme(), &home).await.unwrap();
    assert!(matches!(waits, Reserved::Wait { subject, .. } if subject == at_home()));
    assert!(
        store
            .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
            .await
            .unwrap()
            .is_some()
    );
    assert_eq!(
        store
            .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
            .await
            .unwrap(),
        None
    );
    // It is still theirs.
    assert!(fail(&store, &elsewhere).await && fail(&store, &elsewhere).await);
    assert!(fail(&store, &home).await);
}

async fn all_addresses_together_stay_below_a_threshold_that_is_known(engine: Engine) {
    let store = engine.gateway().await;
    let (home, elsewhere) = (from_home(3, Some(4)), [limited(user(), 3)]);
    let slots = taken(&store, &home).await.unwrap();
    prove(&store, slots).await;
    for _ in 1..=3 {
        assert!(fail(&store, &elsewhere).await);
    }
    assert!(taken(&store, &elsewhere).await.is_none());
    assert!(fail(&store, &home).await);
    assert!(taken(&store, &home).await.is_none(), "the directory would lock");
}

/// A database whose clock was an hour ahead before it was set right, or before another one took its place.
async fn a_clock_set_back_makes_nobody_forget_and_locks_nobody_for_ever(engine: Engine) {
    let store = engine.gateway().await;
    let guess = [limited(user(), 3)];
    let (hour, lock) = (3_600, 15 * 60);
    assert!(fail(&store, &guess).await);
    assert!(fail(&store, &guess).await);
    later(&engine, -hour).await;
    assert!(fail(&store, &guess).await, "the third of three");
    assert!(!fail(&store, &guess).await, "two failures were forgotten");
    later(&engine, lock - 60).await;
    assert!(!fail(&store, &guess).await);
    later(&engine, 61).await;
    assert!(
        fail(&store, &guess).await,
        "locked for as long as the clock was ahead"
    );
    let again = [limited(client(), 1)];
    assert!(fail(&store, &again).await);
    later(&engine, -hour).await;
    assert!(!fail(&store, &again).await);
    later(&engine, lock + 1).await;
    assert!(fail(&store, &again).await, "a refusal lengthens the lock");
}

async fn old_counters_go(engine: Engine) {
    let store = engine.gateway().await;
    taken(&store, &[limited(user(), 1)]).await.unwrap();
    later(&engine, 100).await;
    taken(&store, &[limited(client(), 1)]).await.unwrap();
    let age = Duration::from_secs(100);
    assert_eq!(store.delete_old_throttles(age, 10).await.unwrap(), 1);
    assert!(taken(&store, &[limited(client(), 1)]).await.is_none());
    assert!(taken(&store, &[limited(user(), 1)]).await.is_some());
}
