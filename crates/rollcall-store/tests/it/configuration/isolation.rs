//! One tenant never sees or touches another's things, though their ids are the same.

use rollcall_core::audit::AuditFilter;
use rollcall_core::feed::Mark;
use rollcall_core::revision::Revision;
use rollcall_core::secret::Password;
use rollcall_store::{
    CheckSubject, DirectoryUpdate, Kind, LeaseName, LoginStore, NewAuditEvent, NewSecrets, NewUser, Recorded,
    Store, StoreError, UserFilter,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    another_tenants_things_do_not_exist,
    things_with_equal_ids_are_different_things,
}

/// Acme with one of everything.
async fn with_everything(store: &Store) {
    set_up(store).await;
    let password = Password::new("tulip".into()).ok().unwrap();
    store
        .rotate_bind_password(
            &acme(),
            &directory_id("main"),
            None,
            &password,
            Recorded::by_nobody(at(1)),
        )
        .await
        .unwrap();
    let token = lease(store, &staff()).await;
    apply(store, &token, 1, &[creation(1, "ada")]).await;
    let local = NewUser {
        id: user_id(2),
        profile: profile("local"),
        owner: false,
    };
    store
        .create_local_user(&acme(), local, Recorded::by_nobody(at(4)))
        .await
        .unwrap();
    let subject = CheckSubject::Directory(directory_id("main"));
    store
        .save_check(&acme(), &subject, &Default::default(), at(5))
        .await
        .unwrap();
    store
        .record_security_review(&acme(), "ada", "well", &NewAuditEvent::by_nobody(at(5)))
        .await
        .unwrap();
    store.release_lease(&token).await.unwrap();
}

async fn another_tenants_things_do_not_exist(engine: Engine) {
    let store = engine.store().await;
    with_everything(&store).await;
    let evil = tenant_id("evil");
    store
        .create_tenant(&evil, &tenant_settings(&[]), Recorded::by_nobody(at(0)))
        .await
        .unwrap();
    let (main, sync, key) = (directory_id("main"), sync_id("staff"), key_of("evil", "staff"));
    let password = Password::new("rose".into()).ok().unwrap();
    let (settings, profile) = (directory_settings(), profile("evil"));
    let token = lease(&store, &key).await;
    let (ada, local, run) = (user_id(1), user_id(2), run_id(1));

    let directory: Vec<Result<(), StoreError>> = vec![
        store.directory(&evil, &main).await.map(drop),
        store
            .update_directory(
                &evil,
                &main,
                DirectoryUpdate {
                    expected_revision: Revision::new(2),
                    settings: &settings,
                    secrets: NewSecrets::default(),
                    endpoint_confirmed: true,
                },
                Recorded::by_nobody(at(9)),
            )
            .await
            .map(drop),
        store
            .delete_directory(&evil, &main, None, Recorded::by_nobody(at(0)))
            .await,
        store
            .rotate_bind_password(&evil, &main, None, &password, Recorded::by_nobody(at(9)))
            .await
            .map(drop),
        store
            .confirm_endpoint(&evil, &main, Revision::new(2), Recorded::by_nobody(at(9)))
            .await
            .map(drop),
        store.save_observations(&evil, &main, &Default::default()).await,
        store.bind_password(&evil, &main).await.map(drop),
        store.client_key(&evil, &main).await.map(drop),
        store
            .create_user_sync(
                &evil,
                &sync_id("new"),
                &sync_settings("main"),
                None,
                Recorded::by_nobody(at(9)),
            )
            .await
            .map(drop),
        store
            .update_user_sync(
                &evil,
                &sync,
                Revision::FIRST,
                &sync_settings("main"),
                None,
                Recorded::by_nobody(at(9)),
            )
            .await
            .map(drop),
    ];
    let user_sync = vec![
        store.user_sync(&evil, &sync).await.map(drop),
        store
            .create_run(&token, &key, new_run(5), None, at(9))
            .await
            .map(drop),
        store.begin_pull(&handle(&token, &key, run), 9).await.map(drop),
        store.set_health(&token, &key, &Default::default()).await,
        store
            .delete_user_sync(
                &token,
                &key,
                None,
                rollcall_core::user::UserDisposition::Archive,
                Recorded::by_nobody(at(9)),
            )
            .await,
        store.apply_single(&key, &creation(7, "x"), at(9)).await.map(drop),
    ];
    let runs = vec![
        store.run(&key, run).await.map(drop),
        store
            .cancel_waiting_run(&key, run, &NewAuditEvent::by_nobody(at(9)))
            .await
            .map(drop),
        store
            .request_cancel(&key, run, &NewAuditEvent::by_nobody(at(0)))
            .await,
        store.cancel_requested(&key, run).await.map(drop),
        store.plan_extent(&key, run).await.map(drop),
        store.read_chunk(&key, run, 0).await.map(drop),
        store.append_chunk(&handle(&token, &key, run), 1, &[]).await,
        store.append_issues(&handle(&token, &key, run), &[]).await,
        store
            .save_progress(&handle(&token, &key, run), &Default::default())
            .await,
        store
            .begin_apply(&handle(&token, &key, run), &NewAuditEvent::by_nobody(at(9)))
            .await
            .map(drop),
        store
            .apply_chunk(&handle(&token, &key, run), 1, &[], at(9))
            .await
            .map(drop),
    ];
    let users = vec![
        store.user(&evil, ada).await.map(drop),
        store
            .update_local_user(&evil, local, None, &profile, false, Recorded::by_nobody(at(9)))
            .await
            .map(drop),
        store
            .delete_local_user(&evil, local, None, Recorded::by_nobody(at(9)))
            .await,
        store
            .block_user(&evil, ada, None, "", Recorded::by_nobody(at(9)))
            .await
            .map(drop),
        store
            .unblock_user(&evil, ada, None, Recorded::by_nobody(at(9)))
            .await
            .map(drop),
    ];
    for (kind, results) in [
        (Kind::Directory, directory),
        (Kind::UserSync, user_sync),
        (Kind::Run, runs),
        (Kind::User, users),
    ] {
        for (index, result) in results.into_iter().enumerate() {
            assert!(
                matches!(&result, Err(StoreError::NotFound(found)) if *found == kind),
                "{kind:?} {index}: {result:?}"
            );
        }
    }
    let subject = CheckSubject::Directory(main.clone());
    assert!(
        store
            .list_directories(&evil, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        store
            .list_user_syncs(&evil, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        store
            .user_syncs_of_directory(&evil, &main)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        !store
            .set_next_run_time(&evil, &sync, Some(at(100)), None)
            .await
            .unwrap()
    );
    assert!(store.list_runs(&key, &all()).await.unwrap().items.is_empty());
    assert!(
        store
            .list_changes(&key, run, None, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        store
            .list_issues(&key, run, None, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(
        store
            .list_users(&evil, &UserFilter::default(), &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(store.batch_users(&evil, &[ada, local]).await.unwrap().is_empty());
    assert!(store.lookup_user(&evil, "ada").await.unwrap().is_none());
    assert!(
        LoginStore::open(&store)
            .target(&evil, "ada")
            .await
            .unwrap()
            .is_none()
    );
    assert!(
        store
            .identifier_holders(&evil, &["ada".to_owned()])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(store.known_users(&evil, &sync, 10).await.unwrap().is_empty());
    assert_eq!(store.count_users(&evil, &sync).await.unwrap(), 0);
    let recent = store.recent_changes(&evil, &sync, at(0)).await.unwrap();
    assert_eq!(recent, rollcall_core::guard::Totals::default());
    assert!(
        store
            .users_by_external_ids(&evil, &main, &[external_id(1)])
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .list_events(Some(&evil), Mark::START, 10)
            .await
            .unwrap()
            .is_empty()
    );
    assert!(
        store
            .list_audit(Some(&evil), &AuditFilter::default(), &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    assert!(store.last_check(&evil, &subject).await.unwrap().is_none());
    assert!(
        store
            .list_security_reviews(&evil, &all())
            .await
            .unwrap()
            .items
            .is_empty()
    );
    store
        .unlock_user(&evil, ada, &NewAuditEvent::by_nobody(at(0)))
        .await
        .unwrap();
    store
        .delete_tenant(&evil, None, false, Recorded::by_nobody(at(9)))
        .await
        .unwrap();
    assert_eq!(store.user(&acme(), ada).await.unwrap().revision, Revision::FIRST);
    assert_eq!(store.list_runs(&staff(), &all()).await.unwrap().items.len(), 1);
}

async fn things_with_equal_ids_are_different_things(engine: Engine) {
    let store = engine.store().await;
    with_everything(&store).await;
    set_up_tenant(&store, "twin").await;
    let twin = key_of("twin", "staff");
    let token = store
        .acquire_lease(&LeaseName::run_of(&twin), "w", TTL)
        .await
        .unwrap()
        .unwrap();
    store
        .create_run(&token, &twin, new_run(1), None, at(1))
        .await
        .unwrap();
    store
        .apply_single(&twin, &creation(1, "ada"), at(2))
        .await
        .unwrap();
    let mut change = creation(1, "ada");
    change.expected_revision = Revision::FIRST;
    change.kind = rollcall_core::plan::ChangeKind::Update;
    change.profile.role = "admin".into();
    store.apply_single(&twin, &change, at(3)).await.unwrap();
    assert_eq!(
        store.user(&acme(), user_id(1)).await.unwrap().profile.role,
        "member"
    );
    assert_eq!(
        store.user(&twin.tenant, user_id(1)).await.unwrap().profile.role,
        "admin"
    );
    assert_eq!(store.feed_end(Some(&twin.tenant)).await.unwrap().position, 2);
    store
        .delete_user_sync(
            &token,
            &twin,
            None,
            rollcall_core::user::UserDisposition::Archive,
            Recorded::by_nobody(at(4)),
        )
        .await
        .unwrap();
    assert!(
        store.lookup_user(&acme(), "ada").await.unwrap().is_some(),
        "another tenant's login was released"
    );
    assert_eq!(store.list_runs(&staff(), &all()).await.unwrap().items.len(), 1);
}
