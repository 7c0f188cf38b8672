//! Leases and their fencing.

use std::time::Duration;

use rollcall_core::issue::{Health, Issue, IssueKind};
use rollcall_core::run::{RunCounts, RunState};
use rollcall_core::user::UserDisposition;
use rollcall_store::{LeaseName, LeaseToken, Mailing, NewAuditEvent, Recorded, Store, StoreError};

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    one_holder_at_a_time,
    of_many_that_try_one_wins,
    a_lost_lease_writes_nothing,
    a_lease_is_for_its_own_user_sync,
    a_run_without_a_living_worker_is_found,
    a_clock_that_was_set_back_leaves_no_lease_behind,
}

async fn one_holder_at_a_time(engine: Engine) {
    let (store, other) = (engine.store().await, engine.store().await);
    let name = LeaseName::job("expire-runs");
    let first = store.acquire_lease(&name, "one", TTL).await.unwrap().unwrap();
    assert_eq!(other.acquire_lease(&name, "two", TTL).await.unwrap(), None);
    store.heartbeat_lease(&first, TTL).await.unwrap();
    // A heartbeat that ends the lease at once lets the next holder in, with a higher token.
    store.heartbeat_lease(&first, Duration::ZERO).await.unwrap();
    let second = other.acquire_lease(&name, "two", TTL).await.unwrap().unwrap();
    assert!(second.number() > first.number());
    assert!(matches!(
        store.heartbeat_lease(&first, TTL).await,
        Err(StoreError::LeaseLost)
    ));
    assert!(matches!(
        store.release_lease(&first).await,
        Err(StoreError::LeaseLost)
    ));
    other.release_lease(&second).await.unwrap();
    assert!(matches!(
        other.heartbeat_lease(&second, TTL).await,
        Err(StoreError::LeaseLost)
    ));
    let third = store.acquire_lease(&name, "", TTL).await.unwrap().unwrap();
    assert!(third.number() > second.number());
    store.heartbeat_lease(&third, TTL).await.unwrap();
}

async fn of_many_that_try_one_wins(engine: Engine) {
    let stores = [engine.store().await, engine.store().await, engine.store().await];
    let tasks: Vec<_> = (0..12)
        .map(|index| {
            let store = stores[index % stores.len()].clone();
            tokio::spawn(async move {
                store
                    .acquire_lease(&LeaseName::job("scheduler"), &index.to_string(), TTL)
                    .await
                    .unwrap()
            })
        })
        .collect();
    let mut winners = 0;
    for task in tasks {
        winners += usize::from(task.await.unwrap().is_some());
    }
    assert_eq!(winners, 1);
}

/// Every call that writes under a lease.
async fn all_writes(
    store: &Store,
    lease: &LeaseToken,
    run: u128,
) -> Vec<(&'static str, Result<(), StoreError>)> {
    let (key, id) = (staff(), run_id(run));
    let issue = [Issue::new(IssueKind::Overlap, "cn=x", "x")];
    let end = ended(RunState::Failed);
    let result = rollcall_core::run::PlanResult {
        outcome: rollcall_core::run::PlanOutcome::Apply,
        counts: RunCounts::default(),
        complete: true,
    };
    let change = [creation(77, "late")];
    vec![
        (
            "create",
            store
                .create_run(lease, &key, new_run(99), None, at(9))
                .await
                .map(drop),
        ),
        (
            "begin_pull",
            store.begin_pull(&handle(lease, &key, id), 9).await.map(drop),
        ),
        (
            "progress",
            store
                .save_progress(&handle(lease, &key, id), &RunCounts::default())
                .await,
        ),
        (
            "chunk",
            store.append_chunk(&handle(lease, &key, id), 0, &change).await,
        ),
        (
            "withdraw",
            store
                .withdraw_changes(&handle(lease, &key, id), |_| false)
                .await
                .map(drop),
        ),
        (
            "count",
            store
                .count_issues(&handle(lease, &key, id), &[(IssueKind::Overlap, 1)].into())
                .await,
        ),
        (
            "issues",
            store.append_issues(&handle(lease, &key, id), &issue).await,
        ),
        (
            "plan",
            store
                .finish_plan(&handle(lease, &key, id), result, &Mailing::default(), at(9))
                .await
                .map(drop),
        ),
        (
            "begin_apply",
            store
                .begin_apply(&handle(lease, &key, id), &NewAuditEvent::by_nobody(at(9)))
                .await
                .map(drop),
        ),
        (
            "apply",
            store
                .apply_chunk(&handle(lease, &key, id), 0, &change, at(9))
                .await
                .map(drop),
        ),
        ("health", store.set_health(lease, &key, &Health::default()).await),
        (
            "end",
            store
                .end_run(&handle(lease, &key, id), end, &Mailing::default(), at(9))
                .await
                .map(drop),
        ),
        (
            "delete",
            store
                .delete_user_sync(
                    lease,
                    &key,
                    None,
                    UserDisposition::Archive,
                    Recorded::by_nobody(at(9)),
                )
                .await,
        ),
    ]
}

async fn a_lost_lease_writes_nothing(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let lost = lease(&store, &staff()).await;
    let change = creation(1, "ada");
    let id = planned(&store, &lost, 1, &[&[change]]).await;
    store.heartbeat_lease(&lost, Duration::ZERO).await.unwrap();
    let held = lease(&store, &staff()).await;
    let before = (
        store.run(&staff(), id).await.unwrap(),
        store.user_sync(&acme(), &sync_id("staff")).await.unwrap(),
    );
    for (call, result) in all_writes(&store, &lost, 1).await {
        assert!(matches!(result, Err(StoreError::LeaseLost)), "{call}: {result:?}");
    }
    let after = (
        store.run(&staff(), id).await.unwrap(),
        store.user_sync(&acme(), &sync_id("staff")).await.unwrap(),
    );
    assert_eq!(before, after);
    assert_eq!(store.list_runs(&staff(), &all()).await.unwrap().items.len(), 1);
    assert_eq!(store.feed_end(Some(&acme())).await.unwrap().position, 0);
    store.release_lease(&held).await.unwrap();
    for (call, result) in all_writes(&store, &held, 1).await {
        assert!(
            matches!(result, Err(StoreError::LeaseLost)),
            "given up, {call}: {result:?}"
        );
    }
}

async fn a_lease_is_for_its_own_user_sync(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let other = lease(&store, &key_of("acme", "other")).await;
    let foreign = lease(&store, &key_of("evil", "staff")).await;
    for token in [other, foreign] {
        for (call, result) in all_writes(&store, &token, 1).await {
            assert!(matches!(result, Err(StoreError::LeaseLost)), "{call}: {result:?}");
        }
    }
}

async fn a_run_without_a_living_worker_is_found(engine: Engine) {
    let store = engine.store().await;
    set_up(&store).await;
    let token = lease(&store, &staff()).await;
    store
        .create_run(&token, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    let begun = store
        .begin_pull(&handle(&token, &staff(), run_id(1)), 9)
        .await
        .unwrap();
    assert_eq!(store.abandoned_runs(10).await.unwrap(), []);
    store.heartbeat_lease(&token, Duration::ZERO).await.unwrap();
    assert_eq!(store.abandoned_runs(10).await.unwrap(), [begun.unwrap().run]);
}

/// Matrix case 64: whoever held it died when the clock was a year ahead.
async fn a_clock_that_was_set_back_leaves_no_lease_behind(engine: Engine) {
    let (store, token) = ready(&engine).await;
    store
        .create_run(&token, &staff(), new_run(1), None, at(1))
        .await
        .unwrap();
    let name = LeaseName::run_of(&staff());
    assert_eq!(store.acquire_lease(&name, "next", TTL).await.unwrap(), None);
    assert_eq!(store.abandoned_runs(9).await.unwrap(), []);
    let year = 365_i64 * 86_400 * 1_000_000;
    engine
        .sql(&format!("UPDATE leases SET expire_time = expire_time + {year}"))
        .await;
    assert_eq!(store.abandoned_runs(9).await.unwrap().len(), 1);
    let next = store.acquire_lease(&name, "next", TTL).await.unwrap().unwrap();
    assert!(next.number() > token.number());
    assert_eq!(store.acquire_lease(&name, "third", TTL).await.unwrap(), None);
    store.heartbeat_lease(&next, TTL).await.unwrap();
}
