//! Runs: their states, plans, issues and ends.

use rollcall_core::issue::{Health, HealthLevel, Issue, IssueKind};
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunMode, RunState};
use rollcall_core::secret::Password;
use rollcall_core::tenant::TenantSettings;
use rollcall_store::{
    DirectoryUpdate, Kind, LeaseToken, Mailing, NewAuditEvent, NewMail, NewRun, NewSecrets, PageRequest,
    Recorded, RunEnd, Store, StoreError,
};

use crate::engine::{Engine, on_both};
use crate::fixture::*;
use crate::runs::plan::plan;

on_both! {
    a_run_goes_through_its_states,
    a_plan_of_an_older_configuration_does_not_take_place,
    a_new_bind_password_changes_nothing_of_what_a_run_reads,
    a_waiting_plan_is_applied_once,
    a_waiting_plan_expires_or_is_cancelled,
    nobody_is_asked_to_apply_what_waits_no_more,
    a_takeover_pulls_anew,
    a_newer_run_supersedes_a_waiting_one,
    a_preview_leaves_what_is_held_to_be_decided_on,
    a_working_run_is_asked_to_stop,
    a_run_that_is_to_stop_neither_begins_nor_ends_its_pull,
    a_run_that_changes_nothing_ends_at_once,
}

fn end(state: RunState) -> RunEnd {
    RunEnd {
        state,
        failure: Some("it\0 broke".into()),
        health: Health {
            level: HealthLevel::Error,
            problems: vec!["look".into()],
        },
        applied_scope_revision: Some(Revision::FIRST),
        complete_pull_time: Some(at(2)),
    }
}

async fn waiting(store: &Store, token: &LeaseToken, number: u128, outcome: PlanOutcome) {
    store
        .create_run(token, &staff(), new_run(number), None, at(1))
        .await
        .unwrap();
    store
        .begin_pull(&handle(token, &staff(), run_id(number)), 9)
        .await
        .unwrap();
    store
        .finish_plan(
            &handle(token, &staff(), run_id(number)),
            plan(outcome),
            &Mailing::default(),
            at(2),
        )
        .await
        .unwrap();
}

async fn a_plan_of_an_older_configuration_does_not_take_place(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (tenant, main, key) = (acme(), directory_id("main"), staff());
    for (number, what) in (1..).zip(["user sync", "directory", "tenant"]) {
        let id = run_id(number);
        store
            .create_run(&token, &key, new_run(number), None, at(1))
            .await
            .unwrap();
        store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
        assert!(store.is_plan_current(&key, id).await.unwrap());
        match what {
            "user sync" => {
                let settings = sync_settings("main");
                let staff = sync_id("staff");
                let changed = store
                    .update_user_sync(
                        &tenant,
                        &staff,
                        Revision::FIRST,
                        &settings,
                        None,
                        Recorded::by_nobody(at(2)),
                    )
                    .await;
                changed.map(|_| ())
            }
            "directory" => {
                let (settings, none) = (directory_settings(), NewSecrets::default());
                let changed = store
                    .update_directory(
                        &tenant,
                        &main,
                        DirectoryUpdate {
                            expected_revision: Revision::FIRST,
                            settings: &settings,
                            secrets: none,
                            endpoint_confirmed: true,
                        },
                        Recorded::by_nobody(at(2)),
                    )
                    .await;
                changed.map(|_| ())
            }
            _ => {
                let settings = TenantSettings {
                    user_sync_enabled: false,
                    ..store.tenant(&tenant).await.unwrap().settings
                };
                let changed = store
                    .update_tenant(&tenant, Revision::FIRST, &settings, Recorded::by_nobody(at(2)))
                    .await;
                changed.map(|_| ())
            }
        }
        .unwrap();
        assert!(!store.is_plan_current(&key, id).await.unwrap(), "{what}");
        let late = store
            .finish_plan(
                &handle(&token, &key, id),
                plan(PlanOutcome::Apply),
                &Mailing::default(),
                at(3),
            )
            .await;
        assert!(
            matches!(late, Err(StoreError::RevisionMismatch)),
            "{what}: {late:?}"
        );
        assert_eq!(store.run(&key, id).await.unwrap().state, RunState::Pulling);
        store
            .end_run(
                &handle(&token, &key, id),
                end(RunState::Superseded),
                &Mailing::default(),
                at(4),
            )
            .await
            .unwrap();
    }
}

async fn a_new_bind_password_changes_nothing_of_what_a_run_reads(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let password = Password::new("correct horse battery staple".into()).ok().unwrap();
    store
        .rotate_bind_password(
            &acme(),
            &directory_id("main"),
            None,
            &password,
            Recorded::by_nobody(at(2)),
        )
        .await
        .unwrap();
    let run = store
        .finish_plan(
            &handle(&token, &key, id),
            plan(PlanOutcome::Apply),
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
    assert_eq!(run.state, RunState::Applying);
}

async fn a_run_goes_through_its_states(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    let run = store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    assert_eq!(
        (run.state, run.user_sync_revision, run.directory_revision),
        (RunState::Pending, Revision::FIRST, Revision::FIRST)
    );
    assert_eq!(store.run(&key, id).await.unwrap(), run);
    assert_eq!(
        store
            .user_sync(&acme(), &sync_id("staff"))
            .await
            .unwrap()
            .last_run,
        Some(id)
    );
    let again = store.create_run(&token, &key, new_run(1), None, at(1)).await;
    assert!(matches!(again, Err(StoreError::AlreadyExists)));
    let early = store
        .finish_plan(
            &handle(&token, &key, id),
            plan(PlanOutcome::Apply),
            &Mailing::default(),
            at(2),
        )
        .await;
    assert!(matches!(early, Err(StoreError::NotInState)));

    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let counts = RunCounts {
        entries: 5,
        ..RunCounts::default()
    };
    store
        .save_progress(&handle(&token, &key, id), &counts)
        .await
        .unwrap();
    assert_eq!(store.run(&key, id).await.unwrap().counts, counts);
    let run = store
        .finish_plan(
            &handle(&token, &key, id),
            plan(PlanOutcome::Apply),
            &Mailing::default(),
            at(2),
        )
        .await
        .unwrap();
    assert_eq!(
        (run.state, run.plan_time, run.expire_time),
        (RunState::Applying, Some(at(2)), None)
    );
    assert!(run.complete && run.counts.entries == 10);
    let back = store.begin_pull(&handle(&token, &key, id), 9).await;
    assert!(matches!(back, Err(StoreError::NotInState)));
    let not_final = store
        .end_run(
            &handle(&token, &key, id),
            end(RunState::Planned),
            &Mailing::default(),
            at(3),
        )
        .await;
    assert!(matches!(not_final, Err(StoreError::NotInState)));
    let run = store
        .end_run(
            &handle(&token, &key, id),
            end(RunState::Failed),
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
    assert_eq!((run.state, run.end_time), (RunState::Failed, Some(at(3))));
    let twice = store
        .end_run(
            &handle(&token, &key, id),
            end(RunState::Succeeded),
            &Mailing::default(),
            at(4),
        )
        .await;
    assert!(matches!(twice, Err(StoreError::NotInState)));
    let sync = store.user_sync(&acme(), &sync_id("staff")).await.unwrap();
    assert_eq!(
        (sync.health, sync.applied_scope_revision),
        (end(RunState::Failed).health, Revision::FIRST)
    );
    assert_eq!(
        (sync.last_complete_pull_time, sync.revision),
        (Some(at(2)), Revision::FIRST)
    );
    assert!(matches!(
        store.run(&key, run_id(9)).await,
        Err(StoreError::NotFound(Kind::Run))
    ));
}

async fn a_waiting_plan_is_applied_once(engine: Engine) {
    let (store, token) = ready(&engine).await;
    waiting(&store, &token, 1, PlanOutcome::Held(vec!["too many".into()])).await;
    let run = store.run(&staff(), run_id(1)).await.unwrap();
    assert_eq!(
        (run.state, run.hold_reasons),
        (RunState::Held, vec!["too many".into()])
    );
    let run = store
        .begin_apply(
            &handle(&token, &staff(), run_id(1)),
            &NewAuditEvent::by_nobody(at(3)),
        )
        .await
        .unwrap();
    assert_eq!((run.state, run.expire_time), (RunState::Applying, None));
    let twice = store
        .begin_apply(
            &handle(&token, &staff(), run_id(1)),
            &NewAuditEvent::by_nobody(at(3)),
        )
        .await;
    assert!(matches!(twice, Err(StoreError::NotInState)));
}

async fn a_waiting_plan_expires_or_is_cancelled(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let over = at(2 + 72 * 3600);
    waiting(&store, &token, 1, PlanOutcome::Planned).await;
    let soon = over - chrono::TimeDelta::seconds(1);
    assert_eq!(store.overdue_runs(soon, 10).await.unwrap(), []);
    let early = store
        .expire_run(&staff(), run_id(1), None, &Mailing::default(), soon)
        .await;
    assert!(!early.unwrap());
    let late = store
        .begin_apply(
            &handle(&token, &staff(), run_id(1)),
            &NewAuditEvent::by_nobody(over),
        )
        .await;
    assert!(matches!(late, Err(StoreError::NotInState)));
    let overdue = store.overdue_runs(over, 10).await.unwrap();
    assert_eq!(overdue.iter().map(|run| run.id).collect::<Vec<_>>(), [run_id(1)]);
    for ended in [true, false] {
        let expired = store
            .expire_run(&staff(), run_id(1), Some(&held()), &mailing(mail()), over)
            .await;
        assert_eq!(expired.unwrap(), ended, "once, whoever else does it");
    }
    let run = store.run(&staff(), run_id(1)).await.unwrap();
    assert_eq!((run.state, run.end_time), (RunState::Expired, Some(over)));
    assert_eq!(health(&store).await, held());
    let mails = store
        .claim_mail(10, std::time::Duration::from_secs(60), over)
        .await;
    assert_eq!(mails.unwrap().len(), 1);
    waiting(&store, &token, 2, PlanOutcome::Planned).await;
    let run = store
        .cancel_waiting_run(&staff(), run_id(2), &NewAuditEvent::by_nobody(at(5)))
        .await
        .unwrap();
    assert_eq!((run.state, run.end_time), (RunState::Cancelled, Some(at(5))));
    let twice = store
        .cancel_waiting_run(&staff(), run_id(2), &NewAuditEvent::by_nobody(at(5)))
        .await;
    assert!(matches!(twice, Err(StoreError::NotInState)));
}

/// The health of a sync whose run is held.
fn held() -> Health {
    Health {
        level: HealthLevel::Warning,
        problems: vec!["The last run is held: apply or cancel it".into()],
    }
}

async fn health(store: &Store) -> Health {
    store.user_sync(&acme(), &sync_id("staff")).await.unwrap().health
}

fn mail() -> NewMail {
    NewMail {
        id: "expired".into(),
        to: vec!["admin@example.com".into()],
        subject: "Expired".into(),
        text: "Expired".into(),
        html: "<p>Expired</p>".into(),
    }
}

async fn nobody_is_asked_to_apply_what_waits_no_more(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let hold = || PlanOutcome::Held(vec!["too many".into()]);
    let set_held = async || store.set_health(&token, &staff(), &held()).await.unwrap();
    waiting(&store, &token, 1, hold()).await;
    set_held().await;
    store
        .cancel_waiting_run(&staff(), run_id(1), &NewAuditEvent::by_nobody(at(5)))
        .await
        .unwrap();
    assert_eq!(health(&store).await, Health::default(), "cancelled");

    waiting(&store, &token, 2, hold()).await;
    set_held().await;
    let updated = store
        .update_user_sync(
            &acme(),
            &sync_id("staff"),
            Revision::FIRST,
            &sync_settings("main"),
            None,
            Recorded::by_nobody(at(6)),
        )
        .await
        .unwrap();
    assert_eq!(updated.health, Health::default(), "the configuration changed");
    assert_eq!(health(&store).await, Health::default());

    waiting(&store, &token, 3, hold()).await;
    set_held().await;
    waiting(&store, &token, 4, PlanOutcome::Planned).await;
    assert_eq!(health(&store).await, Health::default(), "a newer run started");

    // What a plan that was only shown leaves behind says nothing about the sync.
    set_held().await;
    store
        .cancel_waiting_run(&staff(), run_id(4), &NewAuditEvent::by_nobody(at(7)))
        .await
        .unwrap();
    assert_eq!(health(&store).await, held());
}

async fn a_takeover_pulls_anew(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    store
        .append_chunk(&handle(&token, &key, id), 0, &[creation(1, "ada")])
        .await
        .unwrap();
    store
        .append_issues(
            &handle(&token, &key, id),
            &[Issue::new(IssueKind::Overlap, "cn=x", "x")],
        )
        .await
        .unwrap();
    let gap = store.append_chunk(&handle(&token, &key, id), 2, &[]).await;
    assert!(matches!(gap, Err(StoreError::NotInState)));
    store
        .heartbeat_lease(&token, std::time::Duration::ZERO)
        .await
        .unwrap();
    let token = lease(&store, &key).await;
    let begun = store.begin_pull(&handle(&token, &key, id), 9).await.unwrap();
    let run = begun.unwrap().run;
    assert!(run.issue_counts.is_empty());
    assert_eq!(store.plan_extent(&key, id).await.unwrap().chunks, 0);
    assert_eq!(store.list_issues(&key, id, None, &all()).await.unwrap().items, []);
    store
        .append_chunk(&handle(&token, &key, id), 0, &[creation(2, "bob")])
        .await
        .unwrap();
    assert_eq!(store.read_chunk(&key, id, 0).await.unwrap(), [creation(2, "bob")]);
    assert!(matches!(
        store.read_chunk(&key, id, 1).await,
        Err(StoreError::NotFound(_))
    ));
}

async fn a_newer_run_supersedes_a_waiting_one(engine: Engine) {
    let (store, token) = ready(&engine).await;
    waiting(&store, &token, 1, PlanOutcome::Planned).await;
    store
        .create_run(&token, &staff(), new_run(2), None, at(9))
        .await
        .unwrap();
    let runs = store.list_runs(&staff(), &PageRequest::first(1)).await.unwrap();
    assert_eq!(runs.items[0].id, run_id(2), "the newest comes first");
    let page = PageRequest {
        limit: 1,
        after: runs.next,
    };
    let runs = store.list_runs(&staff(), &page).await.unwrap();
    assert_eq!(
        (runs.items[0].id, runs.items[0].state),
        (run_id(1), RunState::Superseded)
    );
    assert_eq!(runs.next, None);
}

async fn a_preview_leaves_what_is_held_to_be_decided_on(engine: Engine) {
    let (store, token) = ready(&engine).await;
    waiting(&store, &token, 1, PlanOutcome::Held(vec!["many are gone".into()])).await;
    let preview = NewRun {
        mode: RunMode::Preview,
        ..new_run(2)
    };
    store
        .create_run(&token, &staff(), preview, None, at(9))
        .await
        .unwrap();
    let state = async |number| store.run(&staff(), run_id(number)).await.unwrap().state;
    assert_eq!(state(1).await, RunState::Held);
    let plan = PlanResult {
        outcome: PlanOutcome::Planned,
        counts: RunCounts::default(),
        complete: true,
    };
    store
        .begin_pull(&handle(&token, &staff(), run_id(2)), 9)
        .await
        .unwrap();
    store
        .finish_plan(
            &handle(&token, &staff(), run_id(2)),
            plan,
            &Mailing::default(),
            at(10),
        )
        .await
        .unwrap();
    // Whoever applies one of them has decided on the other.
    store
        .begin_apply(
            &handle(&token, &staff(), run_id(2)),
            &NewAuditEvent::by_nobody(at(11)),
        )
        .await
        .unwrap();
    assert_eq!(
        (state(1).await, state(2).await),
        (RunState::Superseded, RunState::Applying)
    );
}

async fn a_working_run_is_asked_to_stop(engine: Engine) {
    let (store, token) = ready(&engine).await;
    store
        .create_run(&token, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    assert!(!store.cancel_requested(&staff(), run_id(1)).await.unwrap());
    store
        .request_cancel(&staff(), run_id(1), &NewAuditEvent::by_nobody(at(0)))
        .await
        .unwrap();
    assert!(store.cancel_requested(&staff(), run_id(1)).await.unwrap());
    store
        .end_run(
            &handle(&token, &staff(), run_id(1)),
            end(RunState::Cancelled),
            &Mailing::default(),
            at(3),
        )
        .await
        .unwrap();
    let late = store
        .request_cancel(&staff(), run_id(1), &NewAuditEvent::by_nobody(at(0)))
        .await;
    assert!(matches!(late, Err(StoreError::NotInState)));
}

async fn a_run_that_is_to_stop_neither_begins_nor_ends_its_pull(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let (key, id) = (staff(), run_id(1));
    let job = handle(&token, &key, id);
    store
        .create_run(&token, &key, new_run(1), None, at(1))
        .await
        .unwrap();
    store.begin_pull(&job, 9).await.unwrap();
    store
        .request_cancel(&key, id, &NewAuditEvent::by_nobody(at(2)))
        .await
        .unwrap();
    let (end, mailing) = (end(RunState::Succeeded), Mailing::default());
    let results = [
        store.begin_pull(&job, 9).await.map(drop),
        store
            .finish_plan(&job, plan(PlanOutcome::Apply), &mailing, at(3))
            .await
            .map(drop),
        store
            .end_unchanged_run(&job, plan(PlanOutcome::Apply), end, &mailing, at(3))
            .await
            .map(drop),
    ];
    for result in results {
        assert!(matches!(result, Err(StoreError::CancelRequested)), "{result:?}");
    }
    assert_eq!(store.run(&key, id).await.unwrap().state, RunState::Pulling);
}

async fn a_run_that_changes_nothing_ends_at_once(engine: Engine) {
    let (store, token) = ready(&engine).await;
    let key = staff();
    let begun = async |token: &LeaseToken, number| {
        let job = handle(token, &key, run_id(number));
        store
            .create_run(token, &key, new_run(number), None, at(1))
            .await
            .unwrap();
        store.begin_pull(&job, 9).await.unwrap().unwrap();
        job
    };
    let ends = async |job, outcome| {
        let end = RunEnd {
            failure: None,
            ..end(RunState::Succeeded)
        };
        store
            .end_unchanged_run(job, plan(outcome), end, &Mailing::default(), at(5))
            .await
    };
    let job = begun(&token, 1).await;
    // What waits for a person, or has something to apply, does not.
    for outcome in [PlanOutcome::Planned, PlanOutcome::Held(Vec::new())] {
        assert!(matches!(ends(&job, outcome).await, Err(StoreError::NotInState)));
    }
    let run = ends(&job, PlanOutcome::Apply).await.unwrap();
    assert_eq!(
        (run.state, run.plan_time, run.end_time, run.complete),
        (RunState::Succeeded, Some(at(5)), Some(at(5)), true)
    );
    assert_eq!(store.run(&key, run.id).await.unwrap(), run);
    let sync = store.user_sync(&key.tenant, &key.user_sync).await.unwrap();
    assert_eq!(sync.health.problems, ["look"]);
    assert_eq!(
        (sync.last_complete_pull_time, sync.in_force_revision),
        (Some(at(2)), Some(Revision::FIRST))
    );
    assert!(matches!(
        ends(&job, PlanOutcome::Apply).await,
        Err(StoreError::LeaseLost)
    ));

    let token = lease(&store, &key).await;
    let job = begun(&token, 2).await;
    store.append_chunk(&job, 0, &[creation(1, "ada")]).await.unwrap();
    assert!(matches!(
        ends(&job, PlanOutcome::Apply).await,
        Err(StoreError::NotInState)
    ));
    let settings = sync_settings("main");
    let changed = store.update_user_sync(
        &key.tenant,
        &key.user_sync,
        Revision::FIRST,
        &settings,
        None,
        Recorded::by_nobody(at(2)),
    );
    changed.await.unwrap();
    assert!(matches!(
        ends(&job, PlanOutcome::Apply).await,
        Err(StoreError::RevisionMismatch)
    ));
}
