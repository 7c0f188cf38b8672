//! Whom a login means, how it ends, and the audit log.

use chrono::TimeDelta;
use rollcall_core::audit::{AuditKind, LoginOutcome};
use rollcall_core::directory::DirectoryObservations;
use rollcall_core::id::TenantId;
use rollcall_core::throttle::{Settlement, ThrottlePolicy, ThrottleSubject};
use rollcall_store::{
    AuditFilter, FinishLogin, HeldSlot, LoginChange, LoginExpectation, LoginTarget, NewAuditEvent,
    NewSecrets, PageRequest, Reservation, Reserved, Store, StoreError,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_target_has_what_decides_a_login,
    the_configuration_is_never_older_than_the_target,
    a_finished_login_tells_what_changed,
    a_finished_login_settles_its_slots,
    one_that_fails_does_not_fail_others,
    many_logins_at_once_all_end,
    audit_is_listed_by_tenant_time_and_user,
}

async fn with_ada(store: &Store) -> LoginTarget {
    set_up(store).await;
    store
        .apply_single(&staff(), &creation(1, "ada"), at(3))
        .await
        .unwrap();
    target(store).await
}

async fn target(store: &Store) -> LoginTarget {
    store
        .login_target(&acme(), "ADA@example.com")
        .await
        .unwrap()
        .unwrap()
}

fn audit(
    seconds: i64,
    tenant: &str,
    caller: &str,
    reason: &'static str,
    user: Option<u128>,
) -> NewAuditEvent {
    NewAuditEvent {
        time: at(seconds),
        tenant: TenantId::parse(tenant),
        caller: caller.into(),
        kind: AuditKind::Login {
            outcome: LoginOutcome::Denied,
            reason: reason.into(),
            user: user.map(user_id),
            user_sync: Some(sync_id("staff")),
            directory: Some(directory_id("main")),
            unknown_login: None,
            client_address: Some("192.0.2.1".into()),
            flood: None,
        },
    }
}

fn finish(caller: &str, expect: Option<LoginExpectation>) -> FinishLogin {
    FinishLogin {
        tenant: Some(acme()),
        audit: audit(9, "acme", caller, "RIGHT", Some(1)),
        audit_if_changed: Some(audit(9, "acme", caller, "CHANGED", Some(1))),
        slots: vec![],
        settlement: Settlement::Success,
        expect,
    }
}

/// Ends an attempt that holds these slots.
pub(crate) async fn settle(store: &Store, slots: Vec<HeldSlot>, settlement: Settlement) {
    let finish = FinishLogin {
        slots,
        settlement,
        ..finish("settling", None)
    };
    store.finish_login(finish).await.unwrap();
}

/// Callers and reasons of the audit log, the newest first.
async fn audited(store: &Store) -> Vec<(String, String)> {
    let events = store
        .list_audit(None, &AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    let reason = |kind| match kind {
        AuditKind::Login { reason, .. } => reason.into_owned(),
        AuditKind::Change { method, .. } => method.into_owned(),
    };
    events
        .into_iter()
        .map(|event| (event.caller, reason(event.kind)))
        .collect()
}

async fn a_target_has_what_decides_a_login(engine: Engine) {
    let store = engine.store().await;
    let found = with_ada(&store).await;
    assert_eq!(found.user, store.user(&acme(), user_id(1)).await.unwrap());
    assert!(found.tenant_enabled && found.tenant_revision == 1);
    let sync = found.sync.unwrap();
    assert_eq!((sync.user_sync, sync.user_sync_revision), (sync_id("staff"), 1));
    assert_eq!(
        (sync.directory, sync.directory_revision),
        (directory_id("main"), 1)
    );
    assert!(!sync.user_sync_disabled && !sync.directory_disabled && sync.endpoint_confirmed);
    assert_eq!(store.login_target(&acme(), "nobody").await.unwrap(), None);

    let mut settings = directory_settings();
    settings.disabled = true;
    let none = NewSecrets::default();
    store
        .update_directory(&acme(), &directory_id("main"), 1, &settings, none, false, at(4))
        .await
        .unwrap();
    let sync = target(&store).await.sync.unwrap();
    assert!(sync.directory_disabled && !sync.endpoint_confirmed && sync.directory_revision == 2);
}

async fn the_configuration_is_never_older_than_the_target(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    let sync = with_ada(&store).await.sync.unwrap();
    let config = store.login_config(&acme(), &sync).await.unwrap();
    assert_eq!(
        *config.user_sync,
        store.user_sync(&acme(), &sync_id("staff")).await.unwrap()
    );
    assert_eq!(
        *config.directory,
        store.directory(&acme(), &directory_id("main")).await.unwrap()
    );

    let mut settings = sync_settings("main");
    settings.role = "boss".into();
    other
        .update_user_sync(&acme(), &sync_id("staff"), 1, &settings, None, at(5))
        .await
        .unwrap();
    let observed = DirectoryObservations {
        lockout_threshold: Some(3),
        observe_time: Some(at(6)),
        ..DirectoryObservations::default()
    };
    other
        .save_observations(&acme(), &directory_id("main"), &observed)
        .await
        .unwrap();
    let sync = target(&store).await.sync.unwrap();
    let config = store.login_config(&acme(), &sync).await.unwrap();
    assert_eq!(
        (config.user_sync.settings.role.as_str(), config.user_sync.revision),
        ("boss", 2)
    );
    assert_eq!(config.directory.observed, observed);
    let again = store.login_config(&acme(), &sync).await.unwrap();
    assert!(
        std::sync::Arc::ptr_eq(&config.user_sync, &again.user_sync),
        "it was read again"
    );
    assert!(
        std::sync::Arc::ptr_eq(&config.directory, &again.directory),
        "it was read again"
    );
}

async fn a_finished_login_tells_what_changed(engine: Engine) {
    let store = engine.store().await;
    let basis = LoginExpectation::of(&with_ada(&store).await);
    let end = |caller: &'static str, basis: &LoginExpectation| {
        let (store, basis) = (store.clone(), basis.clone());
        async move { store.finish_login(finish(caller, Some(basis))).await.unwrap() }
    };
    let change = end("same", &basis).await;
    assert!(!change.any());

    let mut tenant = tenant_settings(&[]);
    tenant.user_sync_enabled = false;
    store.update_tenant(&acme(), 1, &tenant, at(4)).await.unwrap();
    assert!(matches!(
        end("tenant", &basis).await,
        LoginChange {
            tenant_changed: true,
            user_changed: false,
            ..
        }
    ));
    store
        .update_user_sync(&acme(), &sync_id("staff"), 1, &sync_settings("main"), None, at(5))
        .await
        .unwrap();
    assert!(matches!(
        end("sync", &basis).await,
        LoginChange {
            user_sync_changed: true,
            directory_changed: false,
            ..
        }
    ));
    let (main, none) = (directory_id("main"), NewSecrets::default());
    store
        .update_directory(&acme(), &main, 1, &directory_settings(), none, true, at(6))
        .await
        .unwrap();
    assert!(matches!(
        end("directory", &basis).await,
        LoginChange {
            directory_changed: true,
            user_changed: false,
            ..
        }
    ));
    let basis = LoginExpectation::of(&target(&store).await);
    store
        .block_user(&acme(), user_id(1), None, "left", at(7))
        .await
        .unwrap();
    let change = end("blocked", &basis).await;
    assert!(change.user_changed && !change.tenant_changed);
    let gone = LoginExpectation {
        user: user_id(5),
        ..basis
    };
    let change = end("gone", &gone).await;
    assert!(change.user_changed);
    let unknown = store.finish_login(finish("unknown", None)).await.unwrap();
    assert_eq!(unknown, LoginChange::default());
    let expected = [
        ("unknown", "RIGHT"),
        ("gone", "CHANGED"),
        ("blocked", "CHANGED"),
        ("directory", "CHANGED"),
        ("sync", "CHANGED"),
        ("tenant", "CHANGED"),
        ("same", "RIGHT"),
    ];
    assert_eq!(
        audited(&store).await,
        expected.map(|(caller, reason)| (caller.to_owned(), reason.to_owned()))
    );
}

async fn a_finished_login_settles_its_slots(engine: Engine) {
    let store = engine.store().await;
    with_ada(&store).await;
    let reservation = [Reservation {
        subject: ThrottleSubject::User(user_id(1)),
        policy: ThrottlePolicy {
            limit: 2,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
    }];
    for (settlement, free) in [
        (Settlement::Failure, true),
        (Settlement::Success, true),
        (Settlement::Failure, true),
        (Settlement::Failure, false),
    ] {
        let Reserved::Taken(slots) = store.reserve(&acme(), &reservation, at(1)).await.unwrap() else {
            panic!("no slot");
        };
        let finish = FinishLogin {
            slots,
            settlement,
            ..finish("x", None)
        };
        store.finish_login(finish).await.unwrap();
        let left = store.reserve(&acme(), &reservation, at(1)).await.unwrap();
        match left {
            Reserved::Taken(slots) => {
                assert!(free, "a failure too many");
                settle(&store, slots, Settlement::NotSent).await;
            }
            Reserved::Wait { .. } => assert!(!free),
        }
    }
}

async fn one_that_fails_does_not_fail_others(engine: Engine) {
    let store = engine.store().await;
    with_ada(&store).await;
    // The database refuses one caller's rows.
    engine
        .sql(match engine {
            Engine::Sqlite(_) => {
                "CREATE TRIGGER poison BEFORE INSERT ON audit_events WHEN NEW.caller = 'poison'
                BEGIN SELECT RAISE(ABORT, 'poison'); END"
            }
            Engine::Postgres(_) => "ALTER TABLE audit_events ADD CHECK (caller <> 'poison')",
        })
        .await;
    let tasks: Vec<_> = (0..40)
        .map(|index| {
            let store = store.clone();
            let caller = if index % 10 == 3 { "poison" } else { "good" };
            tokio::spawn(async move { (caller, store.finish_login(finish(caller, None)).await) })
        })
        .collect();
    for task in tasks {
        let (caller, result) = task.await.unwrap();
        match caller {
            "good" => assert_eq!(result.unwrap(), LoginChange::default()),
            _ => assert!(matches!(result, Err(StoreError::Corrupt { .. }))),
        }
    }
    let audited = audited(&store).await;
    assert_eq!(audited.len(), 36, "each good attempt is audited exactly once");
}

async fn many_logins_at_once_all_end(engine: Engine) {
    let stores = [engine.store().await, engine.store().await];
    let basis = LoginExpectation::of(&with_ada(&stores[0]).await);
    let tasks: Vec<_> = (0..200)
        .map(|index| {
            let (store, basis) = (stores[index % 2].clone(), basis.clone());
            tokio::spawn(async move {
                let reservation = [Reservation {
                    subject: ThrottleSubject::UnknownLogin(format!("hash{}", index % 7)),
                    policy: ThrottlePolicy {
                        limit: 1000,
                        window: TimeDelta::minutes(15),
                        lock: TimeDelta::minutes(15),
                        fixed: false,
                    },
                }];
                let Reserved::Taken(slots) = store.reserve(&acme(), &reservation, at(1)).await.unwrap()
                else {
                    panic!("no slot");
                };
                let finish = FinishLogin {
                    slots,
                    ..finish(&index.to_string(), Some(basis))
                };
                assert!(!store.finish_login(finish).await.unwrap().any());
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(audited(&stores[0]).await.len(), 200);
    stores[0].close().await;
    let late = stores[0].finish_login(finish("late", None)).await;
    assert!(
        matches!(late, Err(StoreError::Unavailable(_))),
        "an attempt that is not audited was answered"
    );
}

async fn audit_is_listed_by_tenant_time_and_user(engine: Engine) {
    let store = engine.store().await;
    let change = NewAuditEvent {
        kind: AuditKind::Change {
            method: "UserService.BlockUser".into(),
            resource: "tenants/acme/users/1".into(),
            details: [("reason".to_owned(), "\0".to_owned())].into(),
        },
        ..audit(3, "acme", "prod\0uct", "", None)
    };
    let events = [
        audit(1, "acme", "a", "A", Some(1)),
        audit(2, "other", "b", "B", Some(1)),
        change.clone(),
        audit(4, "acme", "c", "C", Some(2)),
        audit(5, "-", "d", "D", None),
    ];
    store.record_audit(&events).await.unwrap();
    let times = |tenant: Option<TenantId>, filter: AuditFilter| {
        let store = store.clone();
        async move {
            let mut page = PageRequest::first(1);
            let mut times = Vec::new();
            loop {
                let found = store.list_audit(tenant.as_ref(), &filter, &page).await.unwrap();
                times.extend(found.items.iter().map(|event| (event.time - at(0)).num_seconds()));
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => return times,
                }
            }
        }
    };
    assert_eq!(times(None, AuditFilter::default()).await, [5, 4, 3, 2, 1]);
    assert_eq!(times(Some(acme()), AuditFilter::default()).await, [4, 3, 1]);
    let user = AuditFilter {
        user: Some(user_id(1)),
        ..AuditFilter::default()
    };
    assert_eq!(times(Some(acme()), user).await, [1]);
    let span = AuditFilter {
        from: Some(at(2)),
        to: Some(at(4)),
        ..AuditFilter::default()
    };
    assert_eq!(times(None, span).await, [3, 2]);
    let found = store
        .list_audit(Some(&acme()), &AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    assert_eq!(found[1].kind, change.kind);
    assert_eq!(store.delete_old_audit(at(3), 10).await.unwrap(), 2);
    assert_eq!(times(None, AuditFilter::default()).await, [5, 4, 3]);
}
