//! From the moment an event is appended until it is sealed, in whatever order transactions end.

use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::audit::{
    Actor, AuditCaller, AuditEvent, AuditFilter, AuditKind, AuditedFieldChange, Flood, LoginOutcome,
    OwnReason,
};
use rollcall_core::feed::Mark;
use rollcall_store::{NewAuditEvent, SealReach, Sealed, Store, StoreError};
use sea_orm::{ConnectionTrait, TransactionTrait};

use crate::engine::{Engine, on_both};
use crate::fixture::*;
use crate::records::{allow, refuse};

on_both! {
    what_is_sealed_is_what_was_recorded,
    two_sealers_take_turns,
    a_sealer_that_dies_between_steps_leaves_nothing_half_done,
    an_event_is_neither_changed_nor_removed_by_a_slip,
    a_feed_goes_on_where_its_reader_stands,
    a_row_that_lies_far_behind_is_sealed_too,
    what_was_recorded_before_there_were_seals_is_sealed,
}

/// Everything that an event can hold.
pub(crate) fn full() -> [NewAuditEvent; 3] {
    let actor = Actor {
        name: "ada@example.com".into(),
        address: "192.0.2.7".into(),
        reason: "ticket 12".into(),
    };
    let caller = AuditCaller {
        name: "portal".into(),
        credential: "token:2027".into(),
    };
    let login = AuditKind::Login {
        outcome: LoginOutcome::Denied,
        reason: OwnReason::TooManyAttempts.into(),
        user: Some(user_id(1)),
        user_sync: Some(sync_id("staff")),
        directory: Some(directory_id("main")),
        unknown_login: None,
        client_address: Some("198.51.100.1".into()),
        flood: Some(Flood {
            attempts: 7,
            since: at(1),
        }),
    };
    let change = AuditKind::Change {
        method: "UserService.BlockUser".into(),
        resource: format!("tenants/acme/users/{}", user_id(1)),
        changes: vec![AuditedFieldChange::asked("reason", "\0left")],
    };
    let stranger = AuditKind::Login {
        outcome: LoginOutcome::Denied,
        reason: OwnReason::UnknownLogin.into(),
        user: None,
        user_sync: None,
        directory: None,
        unknown_login: Some("hash/8".into()),
        client_address: None,
        flood: None,
    };
    let event = |seconds, tenant: Option<&str>, actor: Actor, kind| NewAuditEvent {
        time: at(seconds),
        tenant: tenant.map(tenant_id),
        caller: caller.clone(),
        actor,
        kind,
    };
    [
        event(2, Some("acme"), Actor::default(), login),
        event(3, Some("acme"), actor, change),
        event(4, None, Actor::default(), stranger),
    ]
}

pub(crate) fn logins(count: i64) -> Vec<NewAuditEvent> {
    let [login, ..] = full();
    (0..count)
        .map(|number| NewAuditEvent {
            time: at(number),
            ..login.clone()
        })
        .collect()
}

pub(crate) async fn listed(store: &Store) -> Vec<AuditEvent> {
    let found = store.list_audit(None, &AuditFilter::default(), &all()).await;
    found.unwrap().items
}

pub(crate) async fn seal(store: &Store) -> Option<Sealed> {
    let mut last = None;
    while let Some(sealed) = store.seal_audit(SealReach::Newest, 100).await.unwrap() {
        last = Some(sealed);
    }
    last
}

/// Everything that is sealed, by the feed.
async fn fed(store: &Store) -> Vec<AuditEvent> {
    let mut after = Mark::START;
    let mut events = Vec::new();
    loop {
        let part = store.audit_feed(None, after, 7).await.unwrap();
        let positions = part.events.iter().map(|(_, mark)| mark.position);
        assert!(positions.eq(after.position + 1..=after.position + part.events.len() as i64));
        events.extend(part.events.into_iter().map(|(event, _)| event));
        after = part.next;
        if !part.more {
            return events;
        }
    }
}

async fn what_is_sealed_is_what_was_recorded(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&full()).await.unwrap();
    let before = listed(&store).await;
    let kinds: Vec<_> = before.iter().rev().map(|event| event.kind.clone()).collect();
    assert_eq!(kinds, full().map(|event| event.kind));
    assert!(fed(&store).await.is_empty(), "nothing is sealed yet");
    assert!(store.audit_waits(SealReach::Newest).await.unwrap());
    let sealed = store.seal_audit(SealReach::Newest, 100).await.unwrap().unwrap();
    assert_eq!((sealed.count, sealed.head.position), (3, 3));
    assert!(!store.audit_waits(SealReach::All).await.unwrap());
    assert_eq!(store.seal_audit(SealReach::All, 100).await.unwrap(), None);
    assert_eq!(listed(&store).await, before);
    let mut fed = fed(&store).await;
    fed.reverse();
    assert_eq!(fed, before);
}

async fn two_sealers_take_turns(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    let tasks: Vec<_> = stores
        .clone()
        .into_iter()
        .flat_map(|store| {
            let writer = store.clone();
            let writing = tokio::spawn(async move {
                for event in logins(60) {
                    writer.record_audit(&[event]).await.unwrap();
                }
            });
            let sealing = tokio::spawn(async move {
                let mut count = 0;
                let deadline = tokio::time::Instant::now() + Duration::from_secs(60);
                while tokio::time::Instant::now() < deadline {
                    match store.seal_audit(SealReach::Newest, 7).await {
                        Ok(Some(sealed)) => count += sealed.count,
                        Ok(None) | Err(StoreError::Contended) => {}
                        Err(error) => panic!("{error}"),
                    }
                    if store.audit_end().await.unwrap().position == 120 {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                assert!(count <= 120);
            });
            [writing, sealing]
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    let mut ids: Vec<_> = fed(&stores[0]).await.iter().map(|event| event.id).collect();
    ids.sort_unstable();
    ids.dedup();
    assert_eq!(ids.len(), 120, "each is sealed once");
    let found = stores[0].verify_audit(None, |fault| panic!("{fault:?}")).await;
    assert_eq!(found.unwrap().rows, 120);
}

async fn a_sealer_that_dies_between_steps_leaves_nothing_half_done(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&full()).await.unwrap();
    let before = listed(&store).await;
    for (operation, table) in [
        ("INSERT", "audit_events"),
        ("INSERT", "audit_payloads"),
        ("UPDATE", "audit_ends"),
        ("DELETE", "audit_unsealed"),
    ] {
        refuse(&engine, operation, table).await;
        assert!(store.seal_audit(SealReach::Newest, 2).await.is_err(), "{table}");
        allow(&engine, operation, table).await;
        assert_eq!(listed(&store).await, before, "{table}");
        assert!(fed(&store).await.is_empty(), "{table}");
    }
    assert_eq!(seal(&store).await.unwrap().head.position, 3);
    assert_eq!(listed(&store).await, before);
    store
        .verify_audit(None, |fault| panic!("{fault:?}"))
        .await
        .unwrap();
}

async fn an_event_is_neither_changed_nor_removed_by_a_slip(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&full()).await.unwrap();
    let unsealed = [
        "UPDATE audit_unsealed SET caller = 'x'",
        "UPDATE audit_unsealed SET details = '{}'",
        "UPDATE audit_unsealed SET caller = 'x', erased = TRUE",
        "DELETE FROM audit_unsealed",
    ];
    for sql in unsealed {
        assert!(engine.try_sql(sql).await.is_err(), "{sql}");
    }
    seal(&store).await;
    let sealed = ["UPDATE audit_events SET caller = 'x'", "DELETE FROM audit_events"];
    for sql in sealed {
        assert!(engine.try_sql(sql).await.is_err(), "{sql}");
    }
    if let Engine::Postgres(_) = &engine {
        for table in ["audit_events", "audit_unsealed"] {
            let sql = format!("TRUNCATE {table}");
            assert!(engine.try_sql(&sql).await.is_err(), "{sql}");
        }
    }
    assert_eq!(listed(&store).await.len(), 3);
}

async fn a_feed_goes_on_where_its_reader_stands(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    seal(&store).await;
    let quiet = store.audit_end().await.unwrap();
    // Of the tenant that the setting up created; older ones would be another customer's.
    let events: Vec<_> = logins(5).into_iter().skip(1).collect();
    store.record_audit(&events).await.unwrap();
    seal(&store).await;
    let part = store.audit_feed(Some(&acme()), quiet, 3).await.unwrap();
    assert_eq!((part.events.len(), part.more), (3, true));
    let (_, third) = part.events[2];
    assert_eq!(part.next, third);
    let rest = store.audit_feed(Some(&acme()), third, 3).await.unwrap();
    assert_eq!((rest.events.len(), rest.more), (1, false));
    // A tenant to which nothing happens has seen it all, too.
    let other = store
        .audit_feed(Some(&tenant_id("other")), quiet, 3)
        .await
        .unwrap();
    assert_eq!(
        (other.events.len(), other.next),
        (0, store.audit_end().await.unwrap())
    );

    // A reader who stopped too long ago, one of another record, and one from the time before a restore.
    let expired = async |mark| {
        let found = store.audit_feed(None, mark, 3).await;
        matches!(found, Err(StoreError::CursorExpired))
    };
    let head = store.audit_end().await.unwrap();
    let foreign = Mark {
        digest: third.digest ^ 1,
        ..third
    };
    let beyond = Mark {
        position: head.position + 1,
        ..head
    };
    assert!(expired(foreign).await && expired(beyond).await);
    assert!(!expired(quiet).await && !expired(Mark::START).await);
    assert!(store.delete_old_audit(at(3), 100).await.unwrap() > 0);
    assert!(expired(quiet).await && expired(Mark::START).await);
    let start = store.audit_start().await.unwrap();
    assert!(!expired(start).await && !expired(head).await);
    let kept = store.audit_feed(None, start, 10).await.unwrap();
    assert_eq!(kept.events.len() as i64, head.position - start.position);
}

async fn a_row_that_lies_far_behind_is_sealed_too(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&full()).await.unwrap();
    engine
        .sql("UPDATE audit_ends SET last_id = last_id + 100000")
        .await;
    assert!(!store.audit_waits(SealReach::Newest).await.unwrap());
    assert!(
        listed(&store).await.is_empty(),
        "it is not looked for so far back"
    );
    assert!(store.audit_waits(SealReach::All).await.unwrap());
    let sealed = store.seal_audit(SealReach::All, 10).await.unwrap();
    assert_eq!(sealed.unwrap().count, 3);
    assert_eq!(listed(&store).await.len(), 3);
}

/// One transaction has written its event and stands still, others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_transaction_that_stands_still_holds_up_nobody_on_postgresql() {
    let engine = Engine::postgres();
    let store = engine.store().await;
    store.record_audit(&logins(1)).await.unwrap();
    let beside = sea_orm::Database::connect(engine.url()).await.unwrap();
    let frozen = beside.begin().await.unwrap();
    frozen
        .execute_unprepared(
            "INSERT INTO audit_unsealed (time, tenant, caller, credential, actor, user_id, details)
            SELECT time + 1, tenant, 'frozen', credential, actor, user_id, details FROM audit_unsealed",
        )
        .await
        .unwrap();
    store.record_audit(&logins(2)).await.unwrap();
    assert_eq!(seal(&store).await.unwrap().head.position, 3);
    let seen = store.audit_end().await.unwrap();
    frozen.commit().await.unwrap();
    assert_eq!(seal(&store).await.unwrap().head.position, 4);
    let part = store.audit_feed(None, seen, 10).await.unwrap();
    let callers: Vec<_> = part
        .events
        .iter()
        .map(|(event, _)| event.caller.name.as_str())
        .collect();
    assert_eq!(callers, ["frozen"], "who has read the others gets it too");
    beside.close().await.unwrap();
}

async fn what_was_recorded_before_there_were_seals_is_sealed(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&full()).await.unwrap();
    let before = listed(&store).await;
    store.close().await;
    // As the release before had it.
    let own: &[&str] = match engine {
        Engine::Sqlite(_) => &[
            "DROP TRIGGER audit_unsealed_stay",
            "DROP TRIGGER audit_unsealed_stay_as_they_are",
        ],
        Engine::Postgres(_) => &[
            "DROP FUNCTION audit_events_guard CASCADE",
            "DROP FUNCTION audit_unsealed_guard CASCADE",
            "DROP FUNCTION audit_expire",
            "DROP FUNCTION audit_payload_of_tenant CASCADE",
            "ALTER TABLE audit_unsealed RENAME CONSTRAINT audit_unsealed_pkey TO audit_events_pkey",
        ],
    };
    let shared = [
        "ALTER TABLE audit_unsealed DROP COLUMN erased",
        "ALTER TABLE audit_unsealed RENAME COLUMN id TO position",
        "ALTER TABLE audit_unsealed RENAME TO audit_events",
        "CREATE INDEX audit_events_by_tenant ON audit_events (tenant, position)",
        "CREATE INDEX audit_events_by_user ON audit_events (tenant, user_id, position)",
        "DELETE FROM seaql_migrations WHERE version IN ('m0019_sealed_audit', 'm0036_audit_by_person')",
    ];
    for table in ["audit_events", "audit_payloads", "audit_ends"] {
        engine.sql(&format!("DROP TABLE {table}")).await;
    }
    for sql in own.iter().chain(&shared) {
        engine.sql(sql).await;
    }
    let store = engine.store().await;
    assert_eq!(listed(&store).await, before);
    seal(&store).await;
    assert_eq!(listed(&store).await, before);
    store.record_audit(&logins(1)).await.unwrap();
    let newest = listed(&store).await.into_iter().max_by_key(|event| event.id);
    assert!(newest.unwrap().id > before[0].id, "numbers go on");
    assert!(before[0].time - before[2].time > TimeDelta::zero());
}
