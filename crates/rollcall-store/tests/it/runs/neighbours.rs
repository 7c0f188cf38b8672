//! A run changes a user of another user sync only as far as that sync allows it when the plan is applied.

use rollcall_core::guard::{Totals, Watched};
use rollcall_core::issue::IssueKind;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::user::{OtherEntry, User};
use rollcall_core::user_sync::LoginChanges;
use rollcall_store::{LeaseToken, Recorded, Store};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    logins_are_exchanged_with_a_sync_that_lets_them_change,
    a_sync_that_is_off_or_keeps_logins_gives_none_away,
    who_asks_for_an_ambiguous_login_is_kept,
}

/// Ada of the staff and ben of the guests.
async fn two_syncs(engine: &Engine) -> (Store, LeaseToken) {
    let (store, token) = ready(engine).await;
    let guests = sync_settings("main");
    store
        .create_user_sync(
            &acme(),
            &sync_id("guests"),
            &guests,
            None,
            Recorded::by_nobody(at(1)),
        )
        .await
        .unwrap();
    store
        .apply_single(&staff(), &creation(1, "ada"), at(1))
        .await
        .unwrap();
    let mut ben = creation(2, "ben");
    ben.origin.user_sync = sync_id("guests");
    store
        .apply_single(&key_of("acme", "guests"), &ben, at(1))
        .await
        .unwrap();
    (store, token)
}

async fn user(store: &Store, number: u128) -> User {
    store.user(&acme(), user_id(number)).await.unwrap()
}

async fn exchange(store: &Store) -> [Change; 2] {
    let named =
        |login: &'static str| move |profile: &mut rollcall_core::user::Profile| profile.login = login.into();
    [
        update(&user(store, 1).await, named("ben")),
        update(&user(store, 2).await, named("ada")),
    ]
}

async fn login_changes(store: &Store, sync: &str) -> u64 {
    let recent: Totals = store
        .recent_changes(&acme(), &sync_id(sync), at(0))
        .await
        .unwrap();
    recent.of(&Watched::Login)
}

async fn logins(store: &Store) -> [String; 2] {
    [
        user(store, 1).await.profile.login,
        user(store, 2).await.profile.login,
    ]
}

async fn logins_are_exchanged_with_a_sync_that_lets_them_change(engine: Engine) {
    let (store, token) = two_syncs(&engine).await;
    let before = store.feed_end(Some(&acme())).await.unwrap();
    let outcome = apply(&store, &token, 1, &exchange(&store).await).await;
    assert_eq!((outcome.applied, outcome.issues), (2, vec![]));
    assert_eq!(logins(&store).await, ["ben", "ada"]);
    let events = store.list_events(Some(&acme()), before, 10).await.unwrap();
    assert_eq!(events.len(), 2);
    let owner = user(&store, 2).await.origin.unwrap().user_sync;
    assert_eq!(owner, sync_id("guests"));
    assert_eq!(
        (
            login_changes(&store, "staff").await,
            login_changes(&store, "guests").await
        ),
        (1, 1)
    );
}

async fn a_sync_that_is_off_or_keeps_logins_gives_none_away(engine: Engine) {
    let (store, token) = two_syncs(&engine).await;
    let off = |settings: &mut rollcall_core::user_sync::UserSyncSettings| settings.disabled = true;
    let keeping = |settings: &mut rollcall_core::user_sync::UserSyncSettings| {
        settings.login_changes = LoginChanges::Reject;
    };
    let edits: [fn(&mut rollcall_core::user_sync::UserSyncSettings); 2] = [off, keeping];
    for (number, edit) in (1..).zip(edits) {
        let mut settings = sync_settings("main");
        edit(&mut settings);
        let revision = store
            .user_sync(&acme(), &sync_id("guests"))
            .await
            .unwrap()
            .revision;
        store
            .update_user_sync(
                &acme(),
                &sync_id("guests"),
                revision,
                &settings,
                None,
                Recorded::by_nobody(at(5)),
            )
            .await
            .unwrap();
        let outcome = apply(&store, &token, number, &exchange(&store).await).await;
        let kinds: Vec<IssueKind> = outcome.issues.iter().map(|issue| issue.kind).collect();
        // Whoever counted on the login keeps the old one.
        assert_eq!(kinds, [IssueKind::ChangedMeanwhile, IssueKind::LoginTaken]);
        assert_eq!(logins(&store).await, ["ada", "ben"]);
        assert_eq!(login_changes(&store, "guests").await, 0);
    }
    // That a login is ambiguous can be said of a sync that keeps logins.
    let mut mark = update(&user(&store, 2).await, |_| {});
    mark.login_ambiguous = true;
    let mark = mark.compared(Some(&user(&store, 2).await));
    assert_eq!(apply(&store, &token, 9, &[mark]).await.applied, 1);
    assert!(user(&store, 2).await.login_ambiguous);
}

async fn who_asks_for_an_ambiguous_login_is_kept(engine: Engine) {
    let (store, token) = two_syncs(&engine).await;
    let asker = OtherEntry {
        user_sync: sync_id("staff"),
        external_id: external_id(7),
    };
    let mut mark = update(&user(&store, 2).await, |_| {});
    (mark.login_ambiguous, mark.login_asked_by) = (true, Some(asker.clone()));
    let mark = mark.compared(Some(&user(&store, 2).await));
    assert_eq!(mark.kind, ChangeKind::Update);
    let id = planned(&store, &token, 1, &[&[mark]]).await;
    // As the plan was stored.
    let plan = store.read_chunk(&staff(), id, 0).await.unwrap();
    store
        .apply_chunk(&handle(&token, &staff(), id), 0, &plan, at(3))
        .await
        .unwrap();
    assert_eq!(user(&store, 2).await.login_asked_by, Some(asker));
}
