//! Whoever gets around the triggers is found out.

use rollcall_core::audit::AuditKind;
use rollcall_store::{AuditHead, EraseUser, Fault, NewAuditEvent, NewUser, Recorded, Store};

use super::sealing::{full, listed, logins, seal};
use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    what_was_changed_removed_moved_or_cut_off_is_found,
    what_retention_left_is_whole,
    what_is_erased_leaves_the_chain_whole,
}

async fn faults(store: &Store, kept: Option<&AuditHead>) -> Vec<Fault> {
    let mut faults = Vec::new();
    store
        .verify_audit(kept, |fault| faults.push(fault))
        .await
        .unwrap();
    faults
}

async fn without_triggers(engine: &Engine) {
    match engine {
        Engine::Sqlite(_) => {
            for trigger in ["audit_events_stay", "audit_events_stay_as_they_are"] {
                engine.sql(&format!("DROP TRIGGER {trigger}")).await;
            }
        }
        Engine::Postgres(_) => engine.sql("ALTER TABLE audit_events DISABLE TRIGGER USER").await,
    }
}

const TABLES: [&str; 3] = ["audit_events", "audit_payloads", "audit_ends"];

async fn what_was_changed_removed_moved_or_cut_off_is_found(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&logins(6)).await.unwrap();
    let kept = seal(&store).await.unwrap().head;
    store.record_audit(&logins(4)).await.unwrap();
    let head = seal(&store).await.unwrap().head;
    assert_eq!((kept.position, head.position), (6, 10));
    assert_eq!(faults(&store, None).await, []);
    assert_eq!(faults(&store, Some(&kept)).await, []);
    assert_eq!(faults(&store, Some(&head)).await, []);
    without_triggers(&engine).await;
    for table in TABLES {
        engine
            .sql(&format!("CREATE TABLE whole_{table} AS SELECT * FROM {table}"))
            .await;
    }
    let missing = |first, last| Fault::Missing { first, last };
    let changed = |position| Fault::Changed { position };
    let payload = |position| Fault::PayloadChanged { position };
    let cases: Vec<(&str, Vec<Fault>)> = vec![
        (
            "UPDATE audit_events SET caller = 'x' WHERE position = 4",
            vec![changed(4)],
        ),
        (
            "UPDATE audit_events SET tenant = NULL WHERE position = 4",
            vec![changed(4)],
        ),
        (
            "UPDATE audit_payloads SET payload = replace(payload, '198.51.100.1', '198.51.100.2') WHERE position = 4",
            vec![payload(4)],
        ),
        // Neither is it enough to make it look erased.
        ("DELETE FROM audit_payloads WHERE position = 4", vec![payload(4)]),
        (
            "UPDATE audit_payloads SET payload = '{}', client_address = NULL, salt = '' WHERE position = 4",
            vec![payload(4)],
        ),
        (
            "UPDATE audit_payloads SET payload = '{}', client_address = NULL, salt = '', erasure = salt
                WHERE position = 4",
            vec![payload(4)],
        ),
        (
            "UPDATE audit_payloads SET client_address = '198.51.100.2' WHERE position = 4",
            vec![payload(4)],
        ),
        (
            "UPDATE audit_payloads SET time = time + 1 WHERE position = 4",
            vec![payload(4)],
        ),
        ("DELETE FROM audit_events WHERE position = 4", vec![missing(4, 4)]),
        (
            "DELETE FROM audit_events WHERE position <= 3",
            vec![missing(1, 3)],
        ),
        (
            "DELETE FROM audit_events WHERE position > 7",
            vec![missing(8, 10)],
        ),
        // In its place the one behind it, with all numbers as they have to be.
        (
            "DELETE FROM audit_events WHERE position = 4;
            DELETE FROM audit_payloads WHERE position = 4;
            UPDATE audit_events SET position = 4 WHERE position = 5;
            UPDATE audit_payloads SET position = 4 WHERE position = 5;
            UPDATE audit_events SET position = 5 WHERE position = 6;
            UPDATE audit_payloads SET position = 5 WHERE position = 6",
            vec![changed(4), changed(5), missing(6, 6)],
        ),
        // The start set forward, as if retention had been there.
        (
            "UPDATE audit_ends SET position = 3, hash = (SELECT hash FROM audit_events WHERE position = 3)
                WHERE name = 'start';
            DELETE FROM audit_events WHERE position <= 3",
            vec![Fault::Start { position: 3 }],
        ),
    ];
    for (sql, expected) in cases {
        engine.sql(sql).await;
        assert_eq!(faults(&store, None).await, expected, "{sql}");
        put_back(&engine).await;
    }
    // Cut off, with the head set back: only who kept a head elsewhere can tell.
    engine
        .sql(
            "DELETE FROM audit_events WHERE position > 7;
            UPDATE audit_ends SET position = 7, hash = (SELECT hash FROM audit_events WHERE position = 7)
                WHERE name = 'head'",
        )
        .await;
    assert_eq!(faults(&store, None).await, []);
    assert_eq!(faults(&store, Some(&kept)).await, []);
    assert_eq!(
        faults(&store, Some(&head)).await,
        [Fault::KeptHead { position: 10 }]
    );
    // The head alone set back.
    put_back(&engine).await;
    engine
        .sql(
            "UPDATE audit_ends SET position = 7, hash = (SELECT hash FROM audit_events WHERE position = 7)
                WHERE name = 'head'",
        )
        .await;
    assert_eq!(faults(&store, None).await, [Fault::Head { position: 7 }]);
    put_back(&engine).await;
    assert_eq!(faults(&store, Some(&head)).await, []);
}

async fn put_back(engine: &Engine) {
    for table in TABLES {
        let sql = format!("DELETE FROM {table}; INSERT INTO {table} SELECT * FROM whole_{table}");
        engine.sql(&sql).await;
    }
}

async fn what_retention_left_is_whole(engine: Engine) {
    let store = engine.store().await;
    store.record_audit(&logins(3)).await.unwrap();
    let kept = seal(&store).await.unwrap().head;
    store.record_audit(&logins(9)).await.unwrap();
    let head = seal(&store).await.unwrap().head;
    // The clock went back: what is sealed later may be older. It goes once what is before it has gone.
    assert_eq!(store.delete_old_audit(at(2), 100).await.unwrap(), 2);
    assert_eq!(store.delete_old_audit(at(3), 2).await.unwrap(), 2);
    assert_eq!(store.delete_old_audit(at(3), 100).await.unwrap(), 2);
    assert_eq!(store.delete_old_audit(at(3), 100).await.unwrap(), 0);
    assert_eq!(listed(&store).await.len(), 6);
    let found = store
        .verify_audit(Some(&head), |fault| panic!("{fault:?}"))
        .await
        .unwrap();
    assert_eq!((found.rows, found.head), (6, head));
    let too_old = Fault::KeptHeadTooOld { position: 3 };
    assert_eq!(faults(&store, Some(&kept)).await, [too_old]);
    store.record_audit(&logins(1)).await.unwrap();
    assert_eq!(seal(&store).await.unwrap().head.position, 13);
    assert_eq!(faults(&store, None).await, []);
}

async fn what_is_erased_leaves_the_chain_whole(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let user = NewUser {
        id: user_id(1),
        profile: profile("zoe"),
        owner: false,
    };
    store
        .create_local_user(&acme(), user, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let [login, change, stranger] = full();
    let elsewhere = NewAuditEvent {
        tenant: Some(tenant_id("other")),
        ..login.clone()
    };
    store.record_audit(&[login, stranger, elsewhere]).await.unwrap();
    seal(&store).await;
    // Not sealed yet; and one that names the person as its actor.
    let mut by_them = NewAuditEvent {
        time: at(5),
        ..change.clone()
    };
    by_them.actor.name = "zoe".into();
    if let AuditKind::Change { resource, .. } = &mut by_them.kind {
        *resource = "tenants/acme".into();
    }
    store.record_audit(&[change.clone(), by_them]).await.unwrap();
    let mut record = NewAuditEvent {
        time: at(6),
        ..change
    };
    if let AuditKind::Change { method, .. } = &mut record.kind {
        *method = "UserService.EraseUser".into();
    }
    let erase = EraseUser {
        tenant: &acme(),
        user: user_id(1),
        expected_revision: None,
        exclude: false,
        left_before: None,
    };
    store.erase_user(erase, &record).await.unwrap();
    store
        .sweep_erased(&acme(), Some(user_id(1)), at(6))
        .await
        .unwrap();
    let erased = listed(&store).await;
    seal(&store).await;
    assert_eq!(listed(&store).await, erased, "sealed, it says the same");
    let left: Vec<_> = erased
        .iter()
        .filter(|event| !event.caller.name.is_empty())
        .map(|event| ((event.time - at(0)).num_seconds(), event.erased))
        .collect();
    // What erases tells who did it; another tenant's events are its own.
    assert_eq!(
        left,
        [
            (6, false),
            (5, true),
            (4, false),
            (3, true),
            (2, false),
            (2, true)
        ]
    );
    let of_them = erased.iter().filter(|event| event.erased && event.time != at(5));
    let text = format!("{:?}", of_them.collect::<Vec<_>>());
    for canary in ["zoe", "ada@", "192.0.2.7", "ticket 12", "198.51.100.1", "left"] {
        assert!(!text.contains(canary), "{canary}");
    }
    // Of what they did themselves, their name goes.
    let user = format!("tenants/acme/users/{}", user_id(1));
    assert_eq!((&erased[1].actor.name, erased[1].time), (&user, at(5)));
    let found = store
        .verify_audit(None, |fault| panic!("{fault:?}"))
        .await
        .unwrap();
    assert_eq!(found.erased, 3);
    // What is left is vouched for too.
    engine
        .sql("UPDATE audit_payloads SET payload = replace(payload, 'ticket 12', 'ticket 13') WHERE length(salt) = 0")
        .await;
    let found = faults(&store, None).await;
    assert!(matches!(found[..], [Fault::PayloadChanged { .. }]), "{found:?}");
}
