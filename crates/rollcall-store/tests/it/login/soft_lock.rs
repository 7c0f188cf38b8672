//! The soft lock under parallel attempts.

use chrono::TimeDelta;
use rollcall_core::throttle::{Settlement, ThrottlePolicy, ThrottleSubject};
use rollcall_store::{FinishLogin, HeldSlot, NewAuditEvent, OwnCount, Reservation, Reserved};

use crate::engine::{Engine, Gateway, on_both};
use crate::fixture::*;
use crate::login::commit::{finish, settle};

on_both! {
    parallel_attempts_cannot_overshoot,
    all_subjects_or_none,
    a_right_password_gives_a_client_its_slot_back_and_forgets_nothing,
    a_right_password_forgets,
    an_unlocked_user_may_try_again,
    an_attempt_with_the_same_password_shares_a_slot_of_unknown_outcome,
    an_address_that_is_the_user_s_has_a_count_of_its_own,
    all_addresses_together_stay_below_a_threshold_that_is_known,
    a_clock_ahead_makes_nobody_forget_and_locks_nobody_for_ever,
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
        shared: None,
        own: None,
    }
}

async fn taken(store: &Gateway, reservations: &[Reservation], seconds: i64) -> Option<Vec<HeldSlot>> {
    match store
        .logins
        .reserve(&acme(), reservations, at(seconds))
        .await
        .unwrap()
    {
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
    let store = engine.gateway().await;
    let both = [limited(client(), 3), limited(user(), 1)];
    let slots = taken(&store, &both, 0).await.unwrap();
    assert_eq!(
        slots.iter().map(|held| &held.subject).collect::<Vec<_>>(),
        [&client(), &user()]
    );
    let waits = store.logins.reserve(&acme(), &both, at(60)).await.unwrap();
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
    let other_tenant = store
        .logins
        .reserve(&tenant_id("other"), &both, at(62))
        .await
        .unwrap();
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
    let store = engine.gateway().await;
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
    let store = engine.gateway().await;
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
    let store = engine.gateway().await;
    let one = [limited(user(), 1)];
    let slots = taken(&store, &one, 0).await.unwrap();
    assert!(taken(&store, &one, 0).await.is_none());
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
    assert!(taken(&store, &one, 0).await.is_some());
}

async fn an_attempt_with_the_same_password_shares_a_slot_of_unknown_outcome(engine: Engine) {
    let store = engine.gateway().await;
    let one = limited(user(), 1);
    let slots = taken(&store, std::slice::from_ref(&one), 0).await.unwrap();
    let shared = Some(slots[0].slot);
    settle(&store, slots, Settlement::Unknown).await;
    assert!(taken(&store, std::slice::from_ref(&one), 1).await.is_none());
    let again = Reservation {
        shared,
        ..one.clone()
    };
    for _ in 0..3 {
        let slots = taken(&store, std::slice::from_ref(&again), 2).await.unwrap();
        settle(&store, slots, Settlement::Unknown).await;
    }
    let slots = taken(&store, std::slice::from_ref(&again), 3).await.unwrap();
    settle(&store, slots, Settlement::Success).await;
    assert!(taken(&store, &[one], 4).await.is_some());
}

fn at_home() -> ThrottleSubject {
    ThrottleSubject::UserAt(user_id(1), "home".into())
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

async fn fail(store: &Gateway, reservations: &[Reservation], seconds: i64) -> bool {
    let Some(slots) = taken(store, reservations, seconds).await else {
        return false;
    };
    settle(store, slots, Settlement::Failure).await;
    true
}

async fn an_address_that_is_the_user_s_has_a_count_of_its_own(engine: Engine) {
    let store = engine.gateway().await;
    let (home, elsewhere) = (from_home(2, None), [limited(user(), 2)]);
    // Not yet theirs: counted with everybody.
    assert!(fail(&store, &elsewhere, 0).await && fail(&store, &home, 0).await);
    assert!(taken(&store, &home, 0).await.is_none());
    store
        .unlock_user(&acme(), user_id(1), &NewAuditEvent::by_nobody(at(0)))
        .await
        .unwrap();
    let slots = taken(&store, &home, 10).await.unwrap();
    prove(&store, slots).await;

    assert!(fail(&store, &elsewhere, 20).await && fail(&store, &elsewhere, 21).await);
    assert!(taken(&store, &elsewhere, 22).await.is_none());
    assert!(fail(&store, &home, 23).await);
    let slots = taken(&store, &home, 24).await.unwrap();
    prove(&store, slots).await;
    // Whoever is at home may guess no more than anybody.
    assert!(fail(&store, &home, 30).await && fail(&store, &home, 31).await);
    let waits = store.logins.reserve(&acme(), &home, at(32)).await.unwrap();
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
    assert!(fail(&store, &elsewhere, 40).await && fail(&store, &elsewhere, 41).await);
    assert!(fail(&store, &home, 42).await);
}

async fn all_addresses_together_stay_below_a_threshold_that_is_known(engine: Engine) {
    let store = engine.gateway().await;
    let (home, elsewhere) = (from_home(3, Some(4)), [limited(user(), 3)]);
    let slots = taken(&store, &home, 0).await.unwrap();
    prove(&store, slots).await;
    for second in 1..=3 {
        assert!(fail(&store, &elsewhere, second).await);
    }
    assert!(taken(&store, &elsewhere, 4).await.is_none());
    assert!(fail(&store, &home, 5).await);
    assert!(
        taken(&store, &home, 6).await.is_none(),
        "the directory would lock"
    );
}

/// A gateway whose clock is an hour ahead, or was before it was set back.
async fn a_clock_ahead_makes_nobody_forget_and_locks_nobody_for_ever(engine: Engine) {
    let store = engine.gateway().await;
    let guess = [limited(user(), 3)];
    let (hour, lock) = (3_600, 15 * 60);
    assert!(fail(&store, &guess, hour).await);
    assert!(fail(&store, &guess, hour).await);
    assert!(fail(&store, &guess, 0).await, "the third of three");
    assert!(!fail(&store, &guess, 1).await, "two failures were forgotten");
    for seconds in [60, lock - 1] {
        assert!(!fail(&store, &guess, seconds).await);
    }
    assert!(
        fail(&store, &guess, lock + 1).await,
        "locked for as long as the clock was ahead"
    );
    let again = [limited(client(), 1)];
    assert!(fail(&store, &again, hour).await);
    assert!(!fail(&store, &again, 0).await);
    assert!(
        fail(&store, &again, lock + 1).await,
        "a refusal lengthens the lock"
    );
}

async fn old_counters_go(engine: Engine) {
    let store = engine.gateway().await;
    taken(&store, &[limited(user(), 1)], 0).await.unwrap();
    taken(&store, &[limited(client(), 1)], 100).await.unwrap();
    assert_eq!(store.delete_old_throttles(at(100), 10).await.unwrap(), 1);
    assert!(taken(&store, &[limited(client(), 1)], 100).await.is_none());
    assert!(taken(&store, &[limited(user(), 1)], 100).await.is_some());
}
