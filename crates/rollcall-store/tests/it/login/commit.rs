//! Whom a login means, how it ends, and the audit log.

use chrono::TimeDelta;
use rollcall_core::audit::{AuditCaller, AuditFilter, AuditKind, LoginOutcome, OwnReason};
use rollcall_core::directory::DirectoryObservations;
use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_core::soft_lock::{Settlement, SoftLockPolicy, SoftLockSubject};
use rollcall_store::{
    DirectoryUpdate, FinishLogin, FinishOutcome, HeldSlot, LoginTarget, NewAuditEvent, NewSecrets,
    PageRequest, Recorded, Reservation, Reserved, SealReach, Store, StoreError, StoreOptions,
};

use crate::db::held_line::HeldLine;
use crate::engine::{Engine, Gateway, KEY, keyring, on_both};
use crate::fixture::*;

on_both! {
    a_target_has_what_decides_a_login,
    the_configuration_is_never_older_than_the_target,
    a_finished_login_tells_what_changed,
    a_login_that_has_to_be_judged_again_keeps_its_slot,
    a_finished_login_settles_its_slots,
    one_that_fails_does_not_fail_others,
    many_logins_at_once_all_end,
    audit_is_listed_by_tenant_time_and_user,
}

async fn with_ada(store: &Gateway) -> LoginTarget {
    set_up(store).await;
    store
        .apply_single(&staff(), &creation(1, "ada"), at(3))
        .await
        .unwrap();
    target(store).await
}

async fn target(store: &Gateway) -> LoginTarget {
    store
        .logins
        .target(&acme(), "ADA@example.com")
        .await
        .unwrap()
        .unwrap()
}

fn audit(seconds: i64, tenant: &str, caller: &str, reason: OwnReason, user: Option<u128>) -> NewAuditEvent {
    NewAuditEvent {
        time: at(seconds),
        tenant: TenantId::parse(tenant),
        caller: AuditCaller {
            name: caller.into(),
            credential: "token:2027".into(),
        },
        actor: Default::default(),
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

pub(crate) fn finish(caller: &str, expect: Option<LoginTarget>) -> FinishLogin {
    FinishLogin {
        tenant: Some(acme()),
        audit: audit(9, "acme", caller, OwnReason::Authenticated, Some(1)),
        slots: vec![],
        settlement: Settlement::Success,
        proven_at: None,
        expect,
    }
}

/// Ends an attempt that holds these slots.
pub(crate) async fn settle(store: &Gateway, slots: Vec<HeldSlot>, settlement: Settlement) {
    let finish = FinishLogin {
        slots,
        settlement,
        ..finish("settling", None)
    };
    store.logins.finish(finish).await.unwrap();
}

/// Callers of the logins in the audit log, the newest first.
async fn audited(store: &Gateway) -> Vec<String> {
    let events = store
        .list_audit(None, &AuditFilter::default(), &all())
        .await
        .unwrap()
        .items;
    let callers = events.into_iter().map(|event| event.caller.name);
    // What the tests change themselves is recorded too, and nobody called for it.
    callers.filter(|caller| !caller.is_empty()).collect()
}

async fn a_target_has_what_decides_a_login(engine: Engine) {
    let store = engine.gateway().await;
    let found = with_ada(&store).await;
    assert_eq!(found.user, store.user(&acme(), user_id(1)).await.unwrap());
    assert!(found.tenant_enabled && found.tenant_revision == Revision::FIRST);
    let sync = found.sync.unwrap();
    assert_eq!(
        (sync.user_sync, sync.user_sync_revision),
        (sync_id("staff"), Revision::FIRST)
    );
    assert_eq!(
        (sync.directory, sync.directory_revision),
        (directory_id("main"), Revision::FIRST)
    );
    assert!(!sync.user_sync_disabled && !sync.directory_disabled && sync.endpoint_confirmed);
    assert_eq!(store.logins.target(&acme(), "nobody").await.unwrap(), None);

    let mut settings = directory_settings();
    settings.disabled = true;
    let none = NewSecrets::default();
    store
        .update_directory(
            &acme(),
            &directory_id("main"),
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &settings,
                secrets: none,
                endpoint_confirmed: false,
            },
            Recorded::by_nobody(at(4)),
        )
        .await
        .unwrap();
    let sync = target(&store).await.sync.unwrap();
    assert!(
        sync.directory_disabled && !sync.endpoint_confirmed && sync.directory_revision == Revision::new(2)
    );
}

async fn the_configuration_is_never_older_than_the_target(engine: Engine) {
    let (store, other) = (engine.gateway().await, engine.gateway().await);
    let sync = with_ada(&store).await.sync.unwrap();
    let config = store.logins.config(&acme(), &sync).await.unwrap();
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
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(5)),
        )
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
    let config = store.logins.config(&acme(), &sync).await.unwrap();
    assert_eq!(
        (config.user_sync.settings.role.as_str(), config.user_sync.revision),
        ("boss", Revision::new(2))
    );
    assert_eq!(config.directory.observed, observed);
    let again = store.logins.config(&acme(), &sync).await.unwrap();
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
    let store = engine.gateway().await;
    let basis = with_ada(&store).await;
    let end = |caller: &'static str, basis: &LoginTarget| {
        let (store, basis) = (store.clone(), basis.clone());
        async move { store.logins.finish(finish(caller, Some(basis))).await.unwrap() }
    };
    let changed = async |caller: &'static str, basis: &LoginTarget| match end(caller, basis).await {
        FinishOutcome::TargetChanged(now) => now.map(|now| *now),
        look => panic!("{caller}: {look:?}"),
    };
    assert_eq!(end("same", &basis).await, FinishOutcome::Unchanged);

    let mut tenant = tenant_settings(&[]);
    tenant.user_sync_enabled = false;
    store
        .update_tenant(&acme(), Revision::FIRST, &tenant, Recorded::by_nobody(at(4)))
        .await
        .unwrap();
    assert!(!changed("tenant", &basis).await.unwrap().tenant_enabled);
    let basis = target(&store).await;
    let mut settings = sync_settings("main");
    settings.disabled = true;
    store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &settings,
            None,
            Recorded::by_nobody(at(5)),
        )
        .await
        .unwrap();
    let now = changed("sync", &basis).await.unwrap();
    assert!(now.sync.unwrap().user_sync_disabled);
    let basis = target(&store).await;
    let (main, none) = (directory_id("main"), NewSecrets::default());
    store
        .update_directory(
            &acme(),
            &main,
            DirectoryUpdate {
                expected_revision: Revision::FIRST,
                settings: &directory_settings(),
                secrets: none,
                endpoint_confirmed: false,
            },
            Recorded::by_nobody(at(6)),
        )
        .await
        .unwrap();
    let now = changed("directory", &basis).await.unwrap();
    assert!(!now.sync.unwrap().endpoint_confirmed);

    // What decides nothing is told, and no denial.
    let basis = target(&store).await;
    let phone = update(&basis.user, |profile| {
        profile.set_text(rollcall_core::field::TextField::PhoneNumber, Some("1".into()))
    });
    store.apply_single(&staff(), &phone, at(7)).await.unwrap();
    let now = target(&store).await;
    assert_ne!(now.user, basis.user);
    let renewed = FinishOutcome::UserChanged(Box::new(now.user.clone()));
    assert_eq!(end("renewed", &basis).await, renewed);
    let role = update(&now.user, |profile| profile.role = "boss".into());
    store.apply_single(&staff(), &role, at(8)).await.unwrap();
    assert_eq!(changed("role", &now).await.unwrap().user.profile.role, "boss");
    let basis = target(&store).await;
    store
        .block_user(&acme(), user_id(1), None, "left", Recorded::by_nobody(at(9)))
        .await
        .unwrap();
    assert!(changed("blocked", &basis).await.unwrap().user.block.is_some());
    let mut gone = basis;
    gone.user.id = user_id(5);
    assert_eq!(changed("gone", &gone).await, None);
    let unknown = store.logins.finish(finish("unknown", None)).await.unwrap();
    assert_eq!(unknown, FinishOutcome::Unchanged);
    assert_eq!(audited(&store).await, ["unknown", "renewed", "same"]);
}

/// What is not recorded holds its slots as before.
async fn a_login_that_has_to_be_judged_again_keeps_its_slot(engine: Engine) {
    let store = engine.gateway().await;
    let basis = with_ada(&store).await;
    let one = [Reservation {
        subject: SoftLockSubject::User(user_id(1)),
        policy: SoftLockPolicy {
            limit: 1,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    }];
    let reserve = async || store.logins.reserve(&acme(), &one).await.unwrap();
    let Reserved::Taken(slots) = reserve().await else {
        panic!("no slot");
    };
    store
        .block_user(&acme(), user_id(1), None, "left", Recorded::by_nobody(at(2)))
        .await
        .unwrap();
    let end = |expect| FinishLogin {
        slots: slots.clone(),
        ..finish("x", expect)
    };
    let look = store.logins.finish(end(Some(basis))).await.unwrap();
    assert!(matches!(look, FinishOutcome::TargetChanged(Some(_))));
    assert!(matches!(reserve().await, Reserved::Wait { .. }));
    store.logins.finish(end(None)).await.unwrap();
    assert!(matches!(reserve().await, Reserved::Taken(_)));
}

/// A block that is committed when all but the last statement was made, as long as that one has not reached the database.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_block_just_before_the_end_is_written_decides_on_postgresql() {
    let engine = Engine::postgres();
    let store = engine.gateway().await;
    let basis = with_ada(&store).await;
    let line = HeldLine::start(&engine.url(), "INSERT INTO audit_unsealed").await;
    let (keys, options) = (keyring(&format!("k1 {KEY}")), StoreOptions::default());
    let far = Gateway::of(Store::connect(&line.url(), keys, options).await.unwrap());
    let reservation = [Reservation {
        subject: SoftLockSubject::User(user_id(1)),
        policy: SoftLockPolicy {
            limit: 3,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    }];
    let Reserved::Taken(slots) = far.logins.reserve(&acme(), &reservation).await.unwrap() else {
        panic!("no slot");
    };
    let finish = FinishLogin {
        slots,
        ..finish("held", Some(basis))
    };
    let finishing = tokio::spawn({
        let far = far.clone();
        async move { far.logins.finish(finish).await.unwrap() }
    });
    line.held().await;
    store
        .block_user(&acme(), user_id(1), None, "left", Recorded::by_nobody(at(2)))
        .await
        .unwrap();
    line.release();
    match finishing.await.unwrap() {
        FinishOutcome::TargetChanged(Some(now)) => assert!(now.user.block.is_some()),
        look => panic!("the block was missed: {look:?}"),
    }
    assert!(audited(&store).await.is_empty());
}

async fn a_finished_login_settles_its_slots(engine: Engine) {
    let store = engine.gateway().await;
    with_ada(&store).await;
    let reservation = [Reservation {
        subject: SoftLockSubject::User(user_id(1)),
        policy: SoftLockPolicy {
            limit: 2,
            window: TimeDelta::minutes(15),
            lock: TimeDelta::minutes(15),
            fixed: false,
        },
        shared: None,
        own: None,
    }];
    for (settlement, free) in [
        (Settlement::Failure, true),
        (Settlement::Success, true),
        (Settlement::Failure, true),
        (Settlement::Failure, false),
    ] {
        let Reserved::Taken(slots) = store.logins.reserve(&acme(), &reservation).await.unwrap() else {
            panic!("no slot");
        };
        let finish = FinishLogin {
            slots,
            settlement,
            ..finish("x", None)
        };
        store.logins.finish(finish).await.unwrap();
        let left = store.logins.reserve(&acme(), &reservation).await.unwrap();
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
    let store = engine.gateway().await;
    with_ada(&store).await;
    // The database refuses one caller's rows.
    engine
        .sql(match engine {
            Engine::Sqlite(_) => {
                "CREATE TRIGGER poison BEFORE INSERT ON audit_unsealed WHEN NEW.caller = 'poison'
                BEGIN SELECT RAISE(ABORT, 'poison'); END"
            }
            Engine::Postgres(_) => "ALTER TABLE audit_unsealed ADD CHECK (caller <> 'poison')",
        })
        .await;
    let tasks: Vec<_> = (0..40)
        .map(|index| {
            let store = store.clone();
            let caller = if index % 10 == 3 { "poison" } else { "good" };
            tokio::spawn(async move { (caller, store.logins.finish(finish(caller, None)).await) })
        })
        .collect();
    for task in tasks {
        let (caller, result) = task.await.unwrap();
        match caller {
            "good" => assert_eq!(result.unwrap(), FinishOutcome::Unchanged),
            _ => assert!(matches!(result, Err(StoreError::Corrupt { .. }))),
        }
    }
    let audited = audited(&store).await;
    assert_eq!(audited.len(), 36, "each good attempt is audited exactly once");
}

async fn many_logins_at_once_all_end(engine: Engine) {
    let stores = [engine.gateway().await, engine.gateway().await];
    let basis = with_ada(&stores[0]).await;
    let tasks: Vec<_> = (0..200)
        .map(|index| {
            let (store, basis) = (stores[index % 2].clone(), basis.clone());
            tokio::spawn(async move {
                let reservation = [Reservation {
                    subject: SoftLockSubject::UnknownLogin(format!("hash{}", index % 7)),
                    policy: SoftLockPolicy {
                        limit: 1000,
                        window: TimeDelta::minutes(15),
                        lock: TimeDelta::minutes(15),
                        fixed: false,
                    },
                    shared: None,
                    own: None,
                }];
                let Reserved::Taken(slots) = store.logins.reserve(&acme(), &reservation).await.unwrap()
                else {
                    panic!("no slot");
                };
                let finish = FinishLogin {
                    slots,
                    ..finish(&index.to_string(), Some(basis))
                };
                assert_eq!(
                    store.logins.finish(finish).await.unwrap(),
                    FinishOutcome::Unchanged
                );
            })
        })
        .collect();
    for task in tasks {
        task.await.unwrap();
    }
    assert_eq!(audited(&stores[0]).await.len(), 200);
    stores[0].close().await;
    let late = stores[0].logins.finish(finish("late", None)).await;
    assert!(
        matches!(late, Err(StoreError::Unavailable(_))),
        "an attempt that is not audited was answered"
    );
}

async fn audit_is_listed_by_tenant_time_and_user(engine: Engine) {
    let store = engine.gateway().await;
    let change = NewAuditEvent {
        kind: AuditKind::Change {
            method: "UserService.BlockUser".into(),
            resource: "tenants/acme/users/1".into(),
            changes: vec![rollcall_core::audit::AuditedFieldChange::asked("reason", "\0")],
        },
        ..audit(3, "acme", "prod\0uct", OwnReason::UnknownLogin, None)
    };
    let events = [
        audit(1, "acme", "a", OwnReason::UnknownLogin, Some(1)),
        audit(2, "other", "b", OwnReason::UnknownLogin, Some(1)),
        change.clone(),
        audit(4, "acme", "c", OwnReason::UnknownLogin, Some(2)),
        audit(5, "-", "d", OwnReason::UnknownLogin, None),
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
    store.seal_audit(SealReach::Newest, 10).await.unwrap();
    assert_eq!(store.delete_old_audit(at(3), 10).await.unwrap(), 2);
    assert_eq!(times(None, AuditFilter::default()).await, [5, 4, 3]);
}
