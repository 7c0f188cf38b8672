//! Deleting a user sync, and what becomes of its users.

use rollcall_core::event::EventType;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::run::RunState;
use rollcall_core::user::{StateReason, UserDisposition, UserState};
use rollcall_store::{Kind, LoginStore, Recorded, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_deleted_sync_leaves_its_users_as_asked,
    a_deletion_that_broke_off_is_repeated_as_it_was_asked,
    a_deleted_sync_leaves_nothing_of_its_runs,
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
            .delete_user_sync(&token, &key, Some(7), disposition, Recorded::by_nobody(at(5)))
            .await;
        assert!(matches!(stale, Err(StoreError::RevisionMismatch)));
        store
            .delete_user_sync(&token, &key, Some(1), disposition, Recorded::by_nobody(at(5)))
            .await
            .unwrap();
        let gone = store.user_sync(&key.tenant, &key.user_sync).await;
        assert!(matches!(gone, Err(StoreError::NotFound(Kind::UserSync))));

        let ada = store.user(&key.tenant, user_id(1)).await.unwrap();
        assert_eq!((ada.state, ada.revision), (state, 2), "{tenant}");
        assert_eq!(ada.origin.is_none(), disposition == UserDisposition::MakeLocal);
        let reason = (disposition != UserDisposition::MakeLocal).then_some(StateReason::SyncDeleted);
        assert_eq!(ada.state_reason, reason);
        let found = LoginStore::open(&store).target(&key.tenant, "ada").await.unwrap();
        assert_eq!(found.is_some(), login_works);
        assert!(found.is_none_or(|target| target.sync.is_none()));
        let linked = store.user(&key.tenant, user_id(2)).await.unwrap();
        assert_eq!((linked.origin, linked.state), (None, UserState::Active));
        let events = store.list_events(Some(&key.tenant), 2, 10).await.unwrap();
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
    assert!(delete(Some(1)).await.is_err());
    let left = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert!(left.settings.disabled, "it began");
    engine.sql("ALTER TABLE away RENAME TO user_events").await;
    assert!(matches!(delete(Some(7)).await, Err(StoreError::RevisionMismatch)));
    delete(Some(1)).await.unwrap();
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
    store.begin_pull(&handle(&token, &key, id)).await.unwrap();
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
        .end_run(&handle(&token, &key, id), end, &[], time)
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
