//! Deleting a user sync, and what becomes of its users.

use std::time::Duration;

use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::id::UserSyncKey;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::RunState;
use rollcall_core::user::{StateReason, UserDisposition, UserState};
use rollcall_store::{Kind, LeaseName, LeaseToken, LoginStore, Mailing, Recorded, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;
use crate::records::{allow, refuse};

on_both! {
    a_deleted_sync_leaves_its_users_as_asked,
    a_deletion_that_broke_off_is_repeated_as_it_was_asked,
    a_deleted_sync_leaves_nothing_of_its_runs,
    a_deletion_that_died_at_any_step_is_taken_over_at_once,
    a_tenant_s_deletion_is_begun_once_for_a_revision,
}

async fn a_deleted_sync_leaves_its_users_as_asked(engine: Engine) {
    let store = engine.store().await;
    for (tenant, disposition, state, event, login_works) in [
        (
            "keep",
            UserDisposition::MakeLocal,
            UserState::Active,
            EventType::Unlinked,
            true,
        ),
        (
            "deactivate",
            UserDisposition::Deactivate,
            UserState::Deactivated,
            EventType::Deactivated,
            true,
        ),
        (
            "archive",
            UserDisposition::Archive,
            UserState::Archived,
            EventType::Archived,
            false,
        ),
    ] {
        set_up_tenant(&store, tenant).await;
        let key = key_of(tenant, "staff");
        let token = lease(&store, &key).await;
        let mut linked = creation(2, "linked");
        linked.origin.linked = true;
        for change in [creation(1, "ada"), linked] {
            store.apply_single(&key, &change, at(3)).await.unwrap();
        }
        let stale = store
            .delete_user_sync(
                &token,
                &key,
                Some(Revision::new(7)),
                disposition,
                Recorded::by_nobody(at(5)),
            )
            .await;
        assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
        store
            .delete_user_sync(
                &token,
                &key,
                Some(Revision::FIRST),
                disposition,
                Recorded::by_nobody(at(5)),
            )
            .await
            .unwrap();
        let gone = store.user_sync(&key.tenant, &key.user_sync).await;
        assert!(matches!(gone, Err(StoreError::NotFound(Kind::UserSync))));

        let ada = store.user(&key.tenant, user_id(1)).await.unwrap();
        assert_eq!((ada.state, ada.revision), (state, Revision::new(2)), "{tenant}");
        assert_eq!(ada.origin.is_none(), disposition == UserDisposition::MakeLocal);
        let reason = (disposition != UserDisposition::MakeLocal).then_some(StateReason::SyncDeleted);
        assert_eq!(ada.state_reason, reason);
        let found = LoginStore::open(&store).target(&key.tenant, "ada").await.unwrap();
        assert_eq!(found.is_some(), login_works);
        assert!(found.is_none_or(|target| target.sync.is_none()));
        let linked = store.user(&key.tenant, user_id(2)).await.unwrap();
        assert_eq!((linked.origin, linked.state), (None, UserState::Active));
        let events = events_behind(&store, Some(&key.tenant), 2).await;
        assert_eq!(events[0].event_type, event);
    }
}

async fn a_deletion_that_broke_off_is_repeated_as_it_was_asked(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let delete = async |revision| {
        store
            .delete_user_sync(
                &token,
                &staff(),
                revision,
                UserDisposition::Archive,
                Recorded::by_nobody(at(5)),
            )
            .await
    };
    // Its users cannot be seen to.
    engine.sql("ALTER TABLE user_events RENAME TO away").await;
    assert!(delete(Some(Revision::FIRST)).await.is_err());
    let left = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert!(left.settings.disabled, "it began");
    engine.sql("ALTER TABLE away RENAME TO user_events").await;
    assert!(matches!(
        delete(Some(Revision::new(7))).await,
        Err(StoreError::RevisionMismatch)
    ));
    delete(Some(Revision::FIRST)).await.unwrap();
    let ada = store.user(&acme(), user_id(1)).await.unwrap();
    assert_eq!(
        (ada.state, ada.state_reason),
        (UserState::Archived, Some(StateReason::SyncDeleted))
    );
}

async fn a_deleted_sync_leaves_nothing_of_its_runs(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let issues = vec![Issue::new(IssueKind::Overlap, "cn=x", "x"); 1_001];
    store
        .append_issues(&handle(&token, &key, id), &issues)
        .await
        .unwrap();
    for index in 0..11 {
        let chunk = [creation(1, "ada")];
        store
            .append_chunk(&handle(&token, &key, id), index, &chunk)
            .await
            .unwrap();
    }
    let (end, time) = (ended(RunState::Failed), at(2));
    store
        .end_run(&handle(&token, &key, id), end, &Mailing::default(), time)
        .await
        .unwrap();
    store
        .delete_user_sync(
            &token,
            &key,
            None,
            UserDisposition::Archive,
            Recorded::by_nobody(at(5)),
        )
        .await
        .unwrap();
    assert_eq!(store.list_issues(&key, id, None, &all()).await.unwrap().items, []);
    assert_eq!(
        store.list_changes(&key, id, None, &all()).await.unwrap().items,
        []
    );
    assert_eq!(store.find_run(&acme(), id).await.unwrap(), None);
}

const MINUTE: Duration = Duration::from_secs(60);

async fn lease_for_deletion(store: &Store, key: &UserSyncKey) -> Option<LeaseToken> {
    store.acquire_lease_for_deletion(key, MINUTE).await.unwrap()
}

/// The lease of a process that died is never released.
async fn a_deletion_that_died_at_any_step_is_taken_over_at_once(engine: Engine) {
    let store = engine.store().await;
    let steps = [
        ("UPDATE", "user_syncs"),
        ("UPDATE", "users"),
        ("DELETE", "sync_plan_chunks"),
        ("DELETE", "sync_run_issues"),
        ("DELETE", "sync_runs"),
        ("DELETE", "user_syncs"),
    ];
    for (number, (operation, table)) in (1..).zip(steps) {
        let tenant = format!("tenant-{number}");
        set_up_tenant(&store, &tenant).await;
        let (key, run) = (key_of(&tenant, "staff"), run_id(number));
        let running = lease(&store, &key).await;
        store
            .apply_single(&key, &creation(number, "ada"), at(3))
            .await
            .unwrap();
        store
            .create_run(&running, &key, new_run(number), None, at(1))
            .await
            .unwrap();
        let held = handle(&running, &key, run);
        store.begin_pull(&held, 9).await.unwrap();
        let issues = [Issue::new(IssueKind::Overlap, "cn=x", "x")];
        store.append_issues(&held, &issues).await.unwrap();
        store
            .append_chunk(&held, 0, &[creation(number, "ada")])
            .await
            .unwrap();
        store
            .end_run(&held, ended(RunState::Failed), &Mailing::default(), at(2))
            .await
            .unwrap();
        assert_eq!(lease_for_deletion(&store, &key).await, None, "a run has it");
        store.release_lease(&running).await.unwrap();

        let delete = async |lease: &LeaseToken| {
            let record = Recorded::by_nobody(at(5));
            store
                .delete_user_sync(
                    lease,
                    &key,
                    Some(Revision::FIRST),
                    UserDisposition::Archive,
                    record,
                )
                .await
        };
        let died = lease_for_deletion(&store, &key).await.unwrap();
        refuse(&engine, operation, table).await;
        assert!(delete(&died).await.is_err(), "{operation} {table}");
        allow(&engine, operation, table).await;
        let name = LeaseName::run_of(&key);
        assert_eq!(store.acquire_lease(&name, "a run", MINUTE).await.unwrap(), None);
        let repeat = lease_for_deletion(&store, &key).await.unwrap();
        assert!(matches!(delete(&died).await, Err(StoreError::LeaseLost)));
        delete(&repeat).await.unwrap();
        let ada = store.user(&key.tenant, user_id(number)).await.unwrap();
        assert_eq!(ada.state, UserState::Archived, "{operation} {table}");
        assert_eq!(store.find_run(&key.tenant, run).await.unwrap(), None);
        let archived = store
            .list_events(Some(&key.tenant), Mark::START, 10)
            .await
            .unwrap();
        assert_eq!(archived.len(), 2, "created, and archived once");
    }
}

async fn a_tenant_s_deletion_is_begun_once_for_a_revision(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let begin = async |revision| {
        store
            .begin_tenant_deletion(&acme(), revision, Recorded::by_nobody(at(5)))
            .await
    };
    assert!(matches!(
        begin(Some(Revision::new(7))).await,
        Err(StoreError::RevisionMismatch)
    ));
    assert_eq!(begin(Some(Revision::FIRST)).await.unwrap(), Revision::new(2));
    assert!(!store.tenant(&acme()).await.unwrap().settings.user_sync_enabled);
    assert_eq!(
        begin(Some(Revision::FIRST)).await.unwrap(),
        Revision::new(2),
        "a repeat changes nothing"
    );
    // Somebody who changes it meanwhile takes the deletion back.
    let settings = tenant_settings(&[]);
    store
        .update_tenant(&acme(), Revision::new(2), &settings, Recorded::by_nobody(at(6)))
        .await
        .unwrap();
    assert!(matches!(
        begin(Some(Revision::FIRST)).await,
        Err(StoreError::RevisionMismatch)
    ));
    assert_eq!(begin(None).await.unwrap(), Revision::new(4));
}
