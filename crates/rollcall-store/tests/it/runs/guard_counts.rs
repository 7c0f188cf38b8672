//! What the guard counts over its window, what a held run applies before it waits, and on what changes depend.

use rollcall_core::guard::{HoldReason, HoldRule, Totals, Watched};
use rollcall_core::issue::IssueKind;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunState};
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_store::{LeaseToken, Mailing, NewAuditEvent, RunEnd, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    what_changes_by_itself_counts_for_a_week_and_outlives_its_events,
    what_a_person_releases_does_not_count,
    a_first_import_is_no_growth,
    a_held_plan_lets_its_leavers_go_once_and_waits_with_the_rest,
    a_hold_stays_until_a_plan_is_applied,
    a_removal_depends_on_the_person_and_the_state_alone,
}

async fn user(store: &Store, number: u128) -> User {
    store.user(&acme(), user_id(number)).await.unwrap()
}

async fn recent(store: &Store, since: i64) -> Totals {
    store
        .recent_changes(&acme(), &sync_id("staff"), at(since))
        .await
        .unwrap()
}

fn disabled(user: &User) -> Change {
    Change {
        kind: ChangeKind::Deactivate,
        state: UserState::Deactivated,
        state_reason: Some(StateReason::DisabledInDirectory),
        ..update(user, |_| {})
    }
}

fn reason() -> HoldReason {
    HoldReason {
        rule: Some(HoldRule::LostField),
        field: Some("custom.badge".into()),
        message: "many".into(),
    }
}

/// Ends a run that saw everything.
async fn complete(store: &Store, token: &LeaseToken, number: u128) {
    let end = RunEnd {
        complete_pull_time: Some(at(2)),
        ..ended(RunState::Succeeded)
    };
    store
        .end_run(
            &handle(token, &staff(), run_id(number)),
            end,
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
}

async fn what_changes_by_itself_counts_for_a_week_and_outlives_its_events(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada"), creation(2, "bob")]).await;
    complete(&store, &token, 1).await;
    let (ada, bob) = (user(&store, 1).await, user(&store, 2).await);
    let renamed = update(&ada, |profile| {
        profile.login = "ada.l".into();
        profile.role = "owner".into();
        profile.set_text(rollcall_core::field::TextField::DisplayName, None);
    });
    apply(&store, &token, 2, &[renamed, creation(3, "cem")]).await;
    // At a login, an hour later.
    let hour = 3600;
    store
        .apply_single(&staff(), &disabled(&bob), at(hour))
        .await
        .unwrap();
    // Whatever was refused does not count.
    store
        .apply_single(&staff(), &disabled(&bob), at(hour))
        .await
        .unwrap();
    let lost = Watched::Lost("display_name".into());
    let all: Totals = [
        (Watched::Login, 1),
        (Watched::Role, 1),
        (lost, 1),
        (Watched::Growth, 1),
        (Watched::Removal, 1),
    ]
    .into_iter()
    .collect();
    assert_eq!(recent(&store, 0).await, all);
    let later: Totals = [(Watched::Removal, 1)].into_iter().collect();
    assert_eq!(recent(&store, 61).await, later, "the minute of the run is over");
    assert_eq!(recent(&store, hour + 60).await, Totals::default());
    store.delete_old_events(at(10 * hour), 100).await.unwrap();
    assert_eq!(recent(&store, 0).await, all);
}

async fn what_a_person_releases_does_not_count(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    complete(&store, &token, 1).await;
    let ada = user(&store, 1).await;
    let held = PlanOutcome::Held(vec![reason()]);
    plan(&store, &token, 2, &[disabled(&ada)], |_| false, held).await;
    store
        .begin_apply(
            &handle(&token, &staff(), run_id(2)),
            &NewAuditEvent::by_nobody(at(3)),
        )
        .await
        .unwrap();
    apply_next(&store, &token, 2, 0).await;
    assert_eq!(user(&store, 1).await.state, UserState::Deactivated);
    assert_eq!(recent(&store, 0).await, Totals::default());
}

async fn a_first_import_is_no_growth(engine: Engine) {
    let (store, token) = ready(&engine).await;
    apply(&store, &token, 1, &[creation(1, "ada")]).await;
    assert_eq!(recent(&store, 0).await, Totals::default());
    complete(&store, &token, 1).await;
    apply(&store, &token, 2, &[creation(2, "bob")]).await;
    assert_eq!(recent(&store, 0).await.of(&Watched::Growth), 1);
}

/// A run of mode APPLY with a plan of one chunk, whose leavers are put first.
async fn plan(
    store: &Store,
    token: &LeaseToken,
    number: u128,
    changes: &[Change],
    is_leaver: impl Fn(&Change) -> bool,
    outcome: PlanOutcome,
) {
    let (key, id) = (staff(), run_id(number));
    store
        .create_run(token, &key, new_run(number), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(token, &key, id), 9).await.unwrap();
    store
        .append_chunk(&handle(token, &key, id), 0, changes)
        .await
        .unwrap();
    store
        .put_leavers_first(&handle(token, &key, id), is_leaver)
        .await
        .unwrap();
    let result = PlanResult {
        outcome,
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .finish_plan(&handle(token, &key, id), result, &Mailing::default(), at(2))
        .await
        .unwrap();
}

async fn apply_next(store: &Store, token: &LeaseToken, number: u128, index: u32) -> Vec<IssueKind> {
    let (key, id) = (staff(), run_id(number));
    let changes = store.read_chunk(&key, id, index).await.unwrap();
    let outcome = store
        .apply_chunk(&handle(token, &key, id), index, &changes, at(3))
        .await
        .unwrap();
    outcome.issues.iter().map(|issue| issue.kind).collect()
}

async fn a_held_plan_lets_its_leavers_go_once_and_waits_with_the_rest(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let people = [creation(1, "ada"), creation(2, "bob"), creation(3, "cem")];
    apply(&store, &token, 1, &people).await;
    complete(&store, &token, 1).await;
    let (ada, bob, cem) = (
        user(&store, 1).await,
        user(&store, 2).await,
        user(&store, 3).await,
    );
    let left = Change {
        kind: ChangeKind::Deactivate,
        state: UserState::Deactivated,
        state_reason: Some(StateReason::DisabledInDirectory),
        ..update(&ada, |profile| profile.login = "zz-ada".into())
    };
    let granted = update(&bob, |profile| profile.role = "owner".into());
    let absent = Change {
        state_reason: Some(StateReason::OutOfScope),
        ..disabled(&cem)
    };
    let changes = [granted, left, absent];
    let held = PlanOutcome::HeldAfter(vec![reason()], 1);
    plan(&store, &token, 2, &changes, Change::is_stated_removal, held).await;
    let (key, id) = (staff(), run_id(2));
    let extent = store.plan_extent(&key, id).await.unwrap();
    assert_eq!(
        (extent.chunks, extent.applied_chunks, extent.hold_at),
        (2, 0, Some(1))
    );
    let early = store
        .hold_run(&handle(&token, &key, id), &Mailing::default(), at(3))
        .await;
    assert!(matches!(early, Err(StoreError::NotInState)), "{early:?}");

    assert_eq!(apply_next(&store, &token, 2, 0).await, []);
    let gone = user(&store, 1).await;
    assert_eq!(
        (gone.state, gone.profile.login.as_str()),
        (UserState::Deactivated, "ada")
    );
    assert_eq!(gone.revision, ada.revision.next());
    assert_eq!(recent(&store, 0).await.of(&Watched::Removal), 1);
    let run = store
        .hold_run(&handle(&token, &key, id), &Mailing::default(), at(4))
        .await
        .unwrap();
    assert_eq!((run.state, run.hold_reasons), (RunState::Held, vec![reason()]));
    assert!(run.expire_time.is_some());
    for untouched in [&bob, &cem] {
        assert_eq!(store.user(&acme(), untouched.id).await.unwrap(), *untouched);
    }

    store
        .begin_apply(&handle(&token, &key, id), &NewAuditEvent::by_nobody(at(5)))
        .await
        .unwrap();
    let extent = store.plan_extent(&key, id).await.unwrap();
    assert_eq!((extent.applied_chunks, extent.hold_at), (1, None));
    assert_eq!(apply_next(&store, &token, 2, 1).await, []);
    assert_eq!(user(&store, 1).await.profile.login, "zz-ada");
    assert_eq!(user(&store, 2).await.profile.role, "owner");
    assert_eq!(user(&store, 3).await.state_reason, Some(StateReason::OutOfScope));
    assert_eq!(
        recent(&store, 0).await.of(&Watched::Removal),
        1,
        "the rest was released"
    );
}

async fn a_hold_stays_until_a_plan_is_applied(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let hold = async || store.user_sync(&acme(), &sync_id("staff")).await.unwrap().hold;
    assert_eq!(hold().await, []);
    let held = || PlanOutcome::Held(vec![reason()]);
    plan(&store, &token, 1, &[], |_| false, held()).await;
    assert_eq!(hold().await, [reason()]);
    // What failed, or was cancelled or shown, has handed nothing out.
    store
        .create_run(&token, &staff(), new_run(2), None, at(3))
        .await
        .unwrap();
    let failed = ended(RunState::Failed);
    store
        .end_run(
            &handle(&token, &staff(), run_id(2)),
            failed,
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
    plan(&store, &token, 3, &[], |_| false, PlanOutcome::Planned).await;
    assert_eq!(hold().await, [reason()]);
    plan(&store, &token, 4, &[], |_| false, PlanOutcome::Apply).await;
    assert_eq!(hold().await, []);
    complete(&store, &token, 4).await;
    plan(&store, &token, 5, &[], |_| false, held()).await;
    store
        .begin_apply(
            &handle(&token, &staff(), run_id(5)),
            &NewAuditEvent::by_nobody(at(3)),
        )
        .await
        .unwrap();
    assert_eq!(hold().await, [], "a person released it");
}

async fn a_removal_depends_on_the_person_and_the_state_alone(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let people = [creation(1, "ada"), creation(2, "bob"), creation(3, "cem")];
    apply(&store, &token, 1, &people).await;
    let (ada, bob, cem) = (
        user(&store, 1).await,
        user(&store, 2).await,
        user(&store, 3).await,
    );
    // Planned for all three; then a login refreshes two of them and sees that the third is disabled.
    let planned = [
        disabled(&ada),
        update(&bob, |profile| profile.role = "owner".into()),
        disabled(&cem),
    ];
    for user in [&ada, &bob] {
        let refreshed = update(user, |profile| {
            profile.set_text(rollcall_core::field::TextField::PhoneNumber, Some("1".into()))
        });
        store.apply_single(&staff(), &refreshed, at(2)).await.unwrap();
    }
    store
        .apply_single(&staff(), &disabled(&cem), at(2))
        .await
        .unwrap();
    let outcome = apply(&store, &token, 2, &planned).await;
    let issues: Vec<_> = outcome.issues.iter().map(|issue| issue.kind).collect();
    assert_eq!(issues, [IssueKind::ChangedMeanwhile; 2]);
    let gone = user(&store, 1).await;
    assert_eq!(
        (
            gone.state,
            gone.profile.text(rollcall_core::field::TextField::PhoneNumber)
        ),
        (UserState::Deactivated, Some("1")),
        "the newer number stays"
    );
    assert_eq!(gone.revision, ada.revision.next().next());
    assert_ne!(user(&store, 2).await.profile.role, "owner");

    // Another person, or another sync's, is another matter.
    let away = disabled(&user(&store, 2).await);
    for edit in [
        |change: &mut Change| change.origin.external_id = external_id(9),
        |change: &mut Change| change.origin.user_sync = sync_id("other"),
    ] {
        let mut other = away.clone();
        edit(&mut other);
        let number = 3 + u128::from(other.origin.user_sync != sync_id("staff"));
        let outcome = apply(&store, &token, number, &[other]).await;
        assert_eq!(outcome.issues[0].kind, IssueKind::ChangedMeanwhile);
    }
    assert_eq!(user(&store, 2).await.state, UserState::Active);
}
