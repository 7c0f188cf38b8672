//! Applying plans: compare-and-set, conflicts, swaps, and nothing twice.

use std::collections::BTreeSet;

use rollcall_core::event::EventType;
use rollcall_core::feed::Mark;
use rollcall_core::issue::IssueKind;
use rollcall_core::plan::{Change, ChangeKind, Fingerprint};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Profile, StateReason, User, UserState};
use rollcall_store::{NewUser, Recorded, RunHandle, SingleOutcome, StartedChunk, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_chunk_is_applied_once,
    all_users_of_a_sync_are_read_from_both_ends,
    two_users_swap_login_and_email_in_a_chunk,
    a_user_that_changed_since_is_left_out,
    taken_identifiers_become_issues,
    an_archived_user_releases_its_identifiers,
    a_disabled_person_with_a_new_login_waits_for_its_release,
    a_local_user_is_linked_but_never_the_owner,
    a_person_has_one_user,
    a_single_change_is_compared_too,
    runs_and_callers_that_want_one_login_do_not_both_get_it,
    hostile_texts_are_kept_as_they_are,
    a_thousand_changes_fit_a_chunk,
    a_chunk_of_creations_is_started_before_its_turn,
    what_was_started_comes_to_nothing_where_it_is_not_the_next,
}

async fn user(store: &Store, number: u128) -> User {
    store.user(&acme(), user_id(number)).await.unwrap()
}

fn kinds(issues: &[rollcall_core::issue::Issue]) -> Vec<IssueKind> {
    issues.iter().map(|issue| issue.kind).collect()
}

async fn a_chunk_is_applied_once(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (first, second) = ([creation(1, "ada")], [creation(2, "bob")]);
    let id = planned(&store, &token, 1, &[&first, &second]).await;
    let early = store
        .apply_chunk(&handle(&token, &staff(), id), 1, &second, at(3))
        .await;
    assert!(matches!(early, Err(StoreError::NotInState)));
    let outcome = store
        .apply_chunk(&handle(&token, &staff(), id), 0, &first, at(3))
        .await
        .unwrap();
    assert_eq!((outcome.applied, outcome.repeated), (1, false));
    let repeated = store
        .apply_chunk(&handle(&token, &staff(), id), 0, &first, at(4))
        .await
        .unwrap();
    assert_eq!((repeated.applied, repeated.repeated), (0, true));
    assert_eq!(store.plan_extent(&staff(), id).await.unwrap().applied_chunks, 1);
    store
        .apply_chunk(&handle(&token, &staff(), id), 1, &second, at(5))
        .await
        .unwrap();
    assert_eq!(store.feed_end(Some(&acme())).await.unwrap().position, 2);
    assert_eq!(store.run(&staff(), id).await.unwrap().counts.applied, 2);

    let ada = user(&store, 1).await;
    assert_eq!(
        (ada.revision, ada.create_time, ada.state),
        (Revision::FIRST, at(3), UserState::Active)
    );
    assert_eq!(
        (ada.origin.as_ref(), &ada.profile),
        (Some(&first[0].origin), &first[0].profile)
    );
    let known = store.known_users(&acme(), &sync_id("staff"), 10).await.unwrap();
    assert_eq!(known.len(), 2);
    let expected = Fingerprint::of(
        &first[0].profile,
        &first[0].origin.dn,
        UserState::Active,
        None,
        false,
    );
    assert_eq!((known[0].user, known[0].fingerprint), (user_id(1), expected));
    assert_eq!(known[0].external_id, external_id(1));
    let first_only = store.known_users(&acme(), &sync_id("staff"), 1).await.unwrap();
    assert_eq!(first_only, known[..1]);
}

async fn all_users_of_a_sync_are_read_from_both_ends(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let mut expected = BTreeSet::new();
    for number in 0..12 {
        let mut read = BTreeSet::new();
        let mut times = 0;
        store
            .read_known_users(&acme(), &sync_id("staff"), 2, |user| {
                read.insert(user.user);
                times += 1;
            })
            .await
            .unwrap();
        assert_eq!(read, expected);
        assert!(times <= expected.len() + 2, "{times} for {number}");
        let change = creation(number + 1, &format!("user{number}"));
        expected.insert(change.user);
        apply(&store, &token, number + 1, &[change]).await;
    }
    let nobody = |_| panic!("another sync's user");
    let other = store
        .read_known_users(&acme(), &sync_id("other"), 2, nobody)
        .await;
    other.unwrap();
}

async fn two_users_swap_login_and_email_in_a_chunk(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada"), creation(2, "bob")]).await;
    let (ada, bob) = (user(&store, 1).await, user(&store, 2).await);
    let swap = [
        update(&ada, |profile| {
            (profile.login, profile.email) = ("bob".into(), bob.profile.email.clone())
        }),
        update(&bob, |profile| {
            (profile.login, profile.email) = ("ada".into(), ada.profile.email.clone())
        }),
    ];
    let outcome = apply(&store, &token, 2, &swap).await;
    assert_eq!((outcome.applied, outcome.issues), (2, vec![]));
    for (login, number) in [
        ("ada", 2),
        ("bob", 1),
        ("ada@example.com", 2),
        ("bob@example.com", 1),
    ] {
        let found = store.lookup_user(&acme(), login).await.unwrap().unwrap();
        assert_eq!(found.id, user_id(number), "{login}");
    }
    // No event shows two users with one login, or one without.
    let events = events_behind(&store, Some(&acme()), 2).await;
    let logins: Vec<&str> = events
        .iter()
        .map(|event| event.after.as_ref().unwrap().profile.login.as_str())
        .collect();
    assert_eq!(logins, ["bob", "ada"]);
}

async fn a_user_that_changed_since_is_left_out(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada"), creation(2, "bob")]).await;
    let (ada, bob) = (user(&store, 1).await, user(&store, 2).await);
    let changes = [
        update(&ada, |profile| profile.login = "bob".into()),
        update(&bob, |profile| profile.login = "robert".into()),
        creation(2, "again"),
    ];
    let id = planned(&store, &token, 2, &[&changes]).await;
    let blocked = store
        .block_user(&acme(), bob.id, None, "left", Recorded::by_nobody(at(4)))
        .await
        .unwrap();
    let outcome = store
        .apply_chunk(&handle(&token, &staff(), id), 0, &changes, at(5))
        .await
        .unwrap();
    // Bob keeps his login, so Ada cannot have it; and Bob exists already.
    let changed = IssueKind::ChangedMeanwhile;
    assert_eq!(kinds(&outcome.issues), [changed, changed, IssueKind::LoginTaken]);
    assert_eq!(outcome.applied, 0);
    assert_eq!(user(&store, 2).await, blocked);
    assert_eq!(user(&store, 1).await, ada);
    let run = store.run(&staff(), id).await.unwrap();
    assert_eq!(run.issue_counts[&changed], 2);
    assert_eq!(
        (
            run.counts.updated,
            run.counts.created,
            run.counts.issues,
            run.counts.applied
        ),
        (0, 0, 3, 0)
    );
    let stored = store.list_issues(&staff(), id, None, &all()).await.unwrap();
    assert_eq!(stored.items, outcome.issues);
}

async fn taken_identifiers_become_issues(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let local = NewUser {
        id: user_id(9),
        profile: Profile {
            email: Some("local@example.com".into()),
            ..profile("local")
        },
        owner: false,
    };
    store
        .create_local_user(&acme(), local, Recorded::by_nobody(at(1)))
        .await
        .unwrap();
    let mut by_email = creation(2, "bob");
    by_email.profile.email = Some("LOCAL@example.com".into());
    let outcome = apply(
        &store,
        &token,
        1,
        &[creation(1, "Local"), by_email, creation(3, "cora")],
    )
    .await;
    assert_eq!(
        kinds(&outcome.issues),
        [IssueKind::LoginTaken, IssueKind::EmailTaken]
    );
    assert_eq!(outcome.issues[0].value.as_deref(), Some("Local"));
    assert!(
        !format!("{:?}", outcome.issues).contains(&user_id(9).to_string()),
        "an issue says whose it is"
    );
    assert_eq!(
        outcome.applied, 2,
        "somebody without an e-mail address is a user all the same"
    );
    assert_eq!(user(&store, 3).await.profile.login, "cora");
    assert!(matches!(
        store.user(&acme(), user_id(1)).await,
        Err(StoreError::NotFound(_))
    ));
}

fn removal(user: &User, kind: ChangeKind) -> Change {
    let state = if kind == ChangeKind::Archive {
        UserState::Archived
    } else {
        UserState::Deactivated
    };
    Change {
        kind,
        state,
        state_reason: Some(StateReason::Gone),
        ..update(user, |_| {})
    }
}

async fn an_archived_user_releases_its_identifiers(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada"), creation(2, "bob")]).await;
    let (ada, bob) = (user(&store, 1).await, user(&store, 2).await);
    let removals = [
        removal(&ada, ChangeKind::Archive),
        removal(&bob, ChangeKind::Deactivate),
    ];
    let outcome = apply(&store, &token, 2, &removals).await;
    assert_eq!(outcome.applied, 2);
    assert_eq!(store.lookup_user(&acme(), "ada").await.unwrap(), None);
    assert_eq!(
        store.lookup_user(&acme(), "bob").await.unwrap().unwrap().state,
        UserState::Deactivated
    );
    assert_eq!(store.count_users(&acme(), &sync_id("staff")).await.unwrap(), 1);
    let outcome = apply(&store, &token, 3, &[creation(3, "ada")]).await;
    assert_eq!(outcome.applied, 1);
    // Back again, but somebody else has the login now.
    let ada = user(&store, 1).await;
    let back = Change {
        kind: ChangeKind::Reactivate,
        state: UserState::Active,
        state_reason: None,
        ..update(&ada, |_| {})
    };
    assert_eq!(
        kinds(&apply(&store, &token, 4, &[back]).await.issues),
        [IssueKind::LoginTaken]
    );
}

/// Chunks that only remove go first; this one does not only remove.
async fn a_disabled_person_with_a_new_login_waits_for_its_release(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada"), creation(2, "bob")]).await;
    let (ada, bob) = (user(&store, 1).await, user(&store, 2).await);
    let release = [update(&ada, |profile| profile.login = "ada.l".into())];
    let claim = [Change {
        kind: ChangeKind::Deactivate,
        state: UserState::Deactivated,
        state_reason: Some(StateReason::DisabledInDirectory),
        ..update(&bob, |profile| profile.login = "ada".into())
    }];
    let id = planned(&store, &token, 2, &[&release, &claim]).await;
    for index in [0, 1] {
        let changes = store.read_chunk(&staff(), id, index).await.unwrap();
        let outcome = store
            .apply_chunk(&handle(&token, &staff(), id), index, &changes, at(3))
            .await
            .unwrap();
        assert_eq!((outcome.applied, outcome.issues), (1, vec![]));
    }
    let bob = user(&store, 2).await;
    assert_eq!(
        (bob.profile.login.as_str(), bob.state),
        ("ada", UserState::Deactivated)
    );
}

async fn a_local_user_is_linked_but_never_the_owner(engine: Engine) {
    let (store, token) = ready(&engine).await;
    for (number, login, owner) in [(1, "ada", false), (2, "boss", true)] {
        let user = NewUser {
            id: user_id(number),
            profile: profile(login),
            owner,
        };
        store
            .create_local_user(&acme(), user, Recorded::by_nobody(at(1)))
            .await
            .unwrap();
    }
    let link = |number: u128, login: &str| Change {
        kind: ChangeKind::Link,
        expected_revision: Revision::FIRST,
        ..creation(number, login)
    };
    let outcome = apply(&store, &token, 1, &[link(1, "ada"), link(2, "boss")]).await;
    assert_eq!(kinds(&outcome.issues), [IssueKind::OwnerProtected]);
    let ada = user(&store, 1).await;
    assert_eq!(
        (ada.origin.unwrap().external_id, ada.revision),
        (external_id(1), Revision::new(2))
    );
    let boss = user(&store, 2).await;
    assert!(boss.owner && boss.origin.is_none());
    let events = events_behind(&store, Some(&acme()), 2).await;
    assert_eq!(events[0].event_type, EventType::Linked);
}

async fn a_person_has_one_user(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let mut second = creation(2, "other");
    second.origin.external_id = external_id(1);
    let outcome = apply(&store, &token, 2, &[second]).await;
    assert_eq!(kinds(&outcome.issues), [IssueKind::ChangedMeanwhile]);
    let twice = [creation(3, "cora"), creation(3, "dora")];
    let outcome = apply(&store, &token, 3, &twice).await;
    assert_eq!(
        (outcome.applied, kinds(&outcome.issues)),
        (1, vec![IssueKind::ChangedMeanwhile])
    );
    let persons = store
        .users_by_external_ids(
            &acme(),
            &directory_id("main"),
            &[external_id(1), external_id(3), external_id(8)],
        )
        .await
        .unwrap();
    assert_eq!(persons.len(), 2);
    let elsewhere = store
        .users_by_external_ids(&acme(), &directory_id("other"), &[external_id(1)])
        .await
        .unwrap();
    assert_eq!(elsewhere, []);
}

async fn a_single_change_is_compared_too(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    let change = update(&user(&store, 1).await, |profile| profile.role = "admin".into());
    let SingleOutcome::Applied(ada, _) = store.apply_single(&staff(), &change, at(5)).await.unwrap() else {
        panic!("refused");
    };
    assert_eq!(*ada, user(&store, 1).await);
    assert_eq!(
        (ada.profile.role.as_str(), ada.revision),
        ("admin", Revision::new(2))
    );
    let again = store.apply_single(&staff(), &change, at(6)).await.unwrap();
    assert!(matches!(again, SingleOutcome::Refused(issue) if issue.kind == IssueKind::ChangedMeanwhile));
    let gone = store.apply_single(&key_of("acme", "nope"), &change, at(6)).await;
    assert!(matches!(gone, Err(StoreError::NotFound(_))));
}

async fn runs_and_callers_that_want_one_login_do_not_both_get_it(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let other = engine.store().await;
    for round in 0..10_u128 {
        let login = format!("user{round}");
        let changes = [creation(1000 + round, &login)];
        let id = planned(&store, &token, round + 1, &[&changes]).await;
        let local = NewUser {
            id: user_id(2000 + round),
            profile: Profile {
                email: None,
                ..profile(&login)
            },
            owner: false,
        };
        let (run, tenant) = (handle(&token, &staff(), id), acme());
        let (applied, created) = tokio::join!(
            store.apply_chunk(&run, 0, &changes, at(3)),
            other.create_local_user(&tenant, local, Recorded::by_nobody(at(3))),
        );
        let applied = applied.unwrap();
        match created {
            Ok(_) => assert_eq!(kinds(&applied.issues), [IssueKind::LoginTaken]),
            Err(StoreError::IdentifierTaken { email: false }) => assert_eq!(applied.applied, 1),
            Err(other) => panic!("{other:?}"),
        }
    }
}

async fn hostile_texts_are_kept_as_they_are(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let mut hostile = creation(1, "ada");
    hostile.origin.dn = "cn=\0'; DROP TABLE users; --\\,\"$1\u{202e}".into();
    hostile.profile.set_text(
        rollcall_core::field::TextField::DisplayName,
        Some("\0\u{fffd}{}[]".into()),
    );
    hostile.profile.custom.insert("x\"]".into(), "\u{1}".into());
    apply(&store, &token, 1, std::slice::from_ref(&hostile)).await;
    let ada = user(&store, 1).await;
    assert_eq!(
        (ada.profile, ada.origin),
        (hostile.profile.clone(), Some(hostile.origin.clone()))
    );
    let events = store.list_events(None, Mark::START, 10).await.unwrap();
    assert_eq!(events[0].after.as_ref().unwrap().profile, hostile.profile);
    let changed = store
        .list_changes(&staff(), run_id(1), None, &all())
        .await
        .unwrap();
    assert_eq!(changed.items, [hostile]);
}

async fn a_thousand_changes_fit_a_chunk(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let creations: Vec<Change> = (1..=1000)
        .map(|number| creation(number, &format!("user{number}")))
        .collect();
    assert_eq!(apply(&store, &token, 1, &creations).await.applied, 1000);
    assert_eq!(store.feed_end(Some(&acme())).await.unwrap().position, 1000);
    assert_eq!(
        store
            .known_users(&acme(), &sync_id("staff"), 5000)
            .await
            .unwrap()
            .len(),
        1000
    );
}

/// Starts the chunk of these changes while that of others is applied. On SQLite nothing is started.
async fn start(
    store: &Store,
    run: &RunHandle,
    before: &[Change],
    changes: &[Change],
) -> Option<StartedChunk> {
    store.start_chunk(run, before, changes, at(3)).await
}

async fn a_chunk_of_creations_is_started_before_its_turn(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let chunks = [[creation(1, "ada")], [creation(2, "bob")], [creation(3, "eve")]];
    let id = planned(&store, &token, 1, &[&chunks[0], &chunks[1], &chunks[2]]).await;
    let run = handle(&token, &staff(), id);
    let started = start(&store, &run, &chunks[0], &chunks[1]).await;
    assert_eq!(started.is_some(), matches!(engine, Engine::Postgres(_)));
    // Nobody sees it before its turn.
    assert_eq!(store.lookup_user(&acme(), "bob").await.unwrap(), None);
    store.apply_chunk(&run, 0, &chunks[0], at(3)).await.unwrap();
    let applied = store
        .apply_started(&run, 1, &chunks[1], started, at(3))
        .await
        .unwrap();
    assert_eq!((applied.applied, applied.repeated), (1, false));
    store.apply_chunk(&run, 2, &chunks[2], at(3)).await.unwrap();
    let events = events_behind(&store, Some(&acme()), 0).await;
    let users: Vec<_> = events.iter().map(|event| event.user).collect();
    assert_eq!(users, [user_id(1), user_id(2), user_id(3)]);
    assert_eq!(store.run(&staff(), id).await.unwrap().counts.applied, 3);
    assert_eq!(
        store.lookup_user(&acme(), "bob").await.unwrap().unwrap().id,
        user_id(2)
    );

    let removal = [Change {
        kind: ChangeKind::Deactivate,
        ..creation(4, "dan")
    }];
    let after_it = [creation(5, "fay")];
    assert!(
        start(&store, &run, &removal, &after_it).await.is_none(),
        "it may claim what is released"
    );
    assert!(start(&store, &run, &after_it, &removal).await.is_none());
}

async fn what_was_started_comes_to_nothing_where_it_is_not_the_next(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (first, second) = ([creation(1, "ada")], [creation(2, "bob")]);
    let id = planned(&store, &token, 1, &[&first, &second]).await;
    let run = handle(&token, &staff(), id);
    let started = start(&store, &run, &first, &second).await;
    let early = store.apply_started(&run, 1, &second, started, at(3)).await;
    assert!(matches!(early, Err(StoreError::NotInState)));
    drop(start(&store, &run, &first, &second).await);
    assert_eq!(events_behind(&store, Some(&acme()), 0).await, []);
    store.apply_chunk(&run, 0, &first, at(3)).await.unwrap();
    let applied = store.apply_chunk(&run, 1, &second, at(3)).await.unwrap();
    assert_eq!(
        (applied.applied, applied.issues.len()),
        (1, 0),
        "nothing of it is left"
    );
}
