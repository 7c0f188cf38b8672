//! On PostgreSQL, what a login and a chunk cost does not depend on how many users the tenant has. Without statistics
//! of its tables, as after a first import, the planner would rather read all of them.

use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::audit::{AuditKind, LoginOutcome, OwnReason};
use rollcall_core::plan::Change;
use rollcall_core::soft_lock::{Settlement, SoftLockPolicy, SoftLockSubject};
use rollcall_store::{FinishLogin, FinishOutcome, NewAuditEvent, Reservation, Reserved};
use rollcall_testkit::wait_for;

use crate::engine::{Engine, Gateway};
use crate::fixture::*;

const USERS: u128 = 3_000;
/// A few for each user. A chunk that reads all users for each of its own reads a million.
const MANY_ROWS: u64 = 100_000;
/// Far less than all users once, and several times what is needed.
const FEW_ROWS: u64 = 1_000;

fn database(engine: &Engine) -> &rollcall_testkit::TestDatabase {
    match engine {
        Engine::Postgres(database) => database,
        Engine::Sqlite(_) => panic!("this is about PostgreSQL"),
    }
}

fn sessions(engine: &Engine) -> String {
    let sql = "SELECT count(*) FROM pg_stat_activity
        WHERE datname = current_database() AND application_name = 'rollcall'";
    database(engine).sql(sql).unwrap()
}

/// Rows that were read from all tables by sessions that have ended, when they report it. Others are `left`.
async fn rows_read(engine: &Engine, left: &str) -> u64 {
    wait_for(
        "the store's sessions to end",
        Duration::from_secs(30),
        async || sessions(engine) == left,
    )
    .await
    .unwrap();
    let rows = "SELECT sum(seq_tup_read + coalesce(idx_tup_fetch, 0)) FROM pg_stat_user_tables";
    database(engine).sql(rows).unwrap().trim().parse().unwrap()
}

async fn log_in(store: &Gateway, login: &str) {
    let target = store.logins.target(&acme(), login).await.unwrap().unwrap();
    let subjects = [
        SoftLockSubject::User(target.user.id),
        SoftLockSubject::Client("192.0.2.1".into()),
    ];
    let reservations = subjects.map(|subject| Reservation {
        subject,
        policy: SoftLockPolicy {
            limit: 9,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    });
    let Reserved::Taken(slots) = store.logins.reserve(&acme(), &reservations).await.unwrap() else {
        panic!("no slot");
    };
    let audit = NewAuditEvent {
        time: at(21),
        tenant: Some(acme()),
        caller: "tester".into(),
        actor: Default::default(),
        kind: AuditKind::Login {
            outcome: LoginOutcome::Authenticated,
            reason: OwnReason::Authenticated.into(),
            user: Some(target.user.id),
            user_sync: Some(sync_id("staff")),
            directory: Some(directory_id("main")),
            unknown_login: None,
            client_address: None,
            flood: None,
        },
    };
    let finish = FinishLogin {
        tenant: Some(acme()),
        audit,
        slots,
        settlement: Settlement::Success,
        proven_at: None,
        expect: Some(target),
    };
    assert_eq!(
        store.logins.finish(finish).await.unwrap(),
        FinishOutcome::Unchanged
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logins_and_chunks_read_no_more_than_they_look_up() {
    let engine = Engine::postgres();
    let none = sessions(&engine);
    // A gateway whose statements were planned while there was nobody.
    let early = engine.gateway().await;
    assert_eq!(early.logins.target(&acme(), "u1").await.unwrap(), None);
    let of_early = sessions(&engine);
    let (store, token) = ready(&engine).await;
    let people: Vec<Change> = (1..=USERS)
        .map(|number| creation(number, &format!("u{number}")))
        .collect();
    for (run, chunk) in (1..).zip(people.chunks(1_000)) {
        assert_eq!(apply(&store, &token, run, chunk).await.applied, 1_000);
    }
    store.close().await;
    let after_import = rows_read(&engine, &of_early).await;
    assert!(after_import < MANY_ROWS, "{after_import}");

    for number in [1, 1_500, 3_000] {
        log_in(&early, &format!("u{number}")).await;
    }
    early.close().await;
    let after_logins = rows_read(&engine, &none).await;
    assert!(
        after_logins - after_import < FEW_ROWS,
        "{}",
        after_logins - after_import
    );

    let store = engine.store().await;
    let mut changes = Vec::new();
    for number in 1..=10 {
        let user = store.user(&acme(), user_id(number)).await.unwrap();
        changes.push(update(&user, |profile| {
            profile.login = format!("new{number}");
        }));
    }
    assert_eq!(apply(&store, &token, 9, &changes).await.applied, 10);
    store.close().await;
    let after_chunk = rows_read(&engine, &none).await;
    assert!(
        after_chunk - after_logins < FEW_ROWS,
        "{}",
        after_chunk - after_logins
    );
}
