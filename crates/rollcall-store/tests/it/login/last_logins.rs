//! When users last logged in.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::last_login::PRECISION;
use rollcall_store::{FinishOutcome, PageRequest, Store, UserFilter};

use super::commit::finish;
use crate::engine::{Engine, Gateway, on_both};
use crate::fixture::*;

on_both! {
    the_first_login_of_an_hour_is_noted_and_changes_nothing_else,
    of_two_who_log_in_at_once_one_is_noted_and_neither_is_refused,
    lists_find_who_did_not_log_in,
    who_is_deleted_leaves_no_login,
    idle_users_are_found_by_role,
}

async fn with_people(engine: &Engine) -> Gateway {
    let store = engine.gateway().await;
    set_up(&store).await;
    for (number, login) in (1..).zip(["ada", "bob", "eve"]) {
        store
            .apply_single(&staff(), &creation(number, login), at(3))
            .await
            .unwrap();
    }
    store
}

async fn log_in(store: &Gateway, login: &str) {
    let target = store.logins.target(&acme(), login).await.unwrap().unwrap();
    let ended = store.logins.finish(finish(login, Some(target))).await.unwrap();
    assert_eq!(ended, FinishOutcome::Unchanged);
}

/// Makes what is noted older.
async fn let_pass(engine: &Engine, time: TimeDelta) {
    let past = time.num_microseconds().unwrap();
    engine
        .sql(&format!("UPDATE last_logins SET time = time - {past}"))
        .await;
}

async fn noted(store: &Gateway, number: u128) -> Option<chrono::DateTime<chrono::Utc>> {
    let user = user_id(number);
    let found = store.last_logins(&acme(), &[user]).await.unwrap();
    found.get(&user).copied()
}

async fn the_first_login_of_an_hour_is_noted_and_changes_nothing_else(engine: Engine) {
    let store = with_people(&engine).await;
    let before = store.user(&acme(), user_id(1)).await.unwrap();
    assert_eq!(noted(&store, 1).await, None);
    log_in(&store, "ada").await;
    let first = noted(&store, 1).await.unwrap();
    log_in(&store, "ada").await;
    assert_eq!(noted(&store, 1).await, Some(first));
    let_pass(&engine, PRECISION - TimeDelta::seconds(60)).await;
    let old = noted(&store, 1).await.unwrap();
    log_in(&store, "ada").await;
    assert_eq!(noted(&store, 1).await, Some(old));
    let_pass(&engine, TimeDelta::seconds(61)).await;
    log_in(&store, "ada").await;
    assert!(noted(&store, 1).await.unwrap() >= first);
    assert_eq!(noted(&store, 2).await, None);
    assert_eq!(store.user(&acme(), user_id(1)).await.unwrap(), before);
    let target = store.logins.target(&acme(), "ada").await.unwrap().unwrap();
    assert_eq!(target.last_login_time, noted(&store, 1).await);
}

async fn of_two_who_log_in_at_once_one_is_noted_and_neither_is_refused(engine: Engine) {
    let store = with_people(&engine).await;
    let target = store.logins.target(&acme(), "ada").await.unwrap().unwrap();
    // Both have read that nothing is noted, as on two replicas.
    let ends = [
        store
            .logins
            .finish(finish("x", Some(target.clone())))
            .await
            .unwrap(),
        store
            .logins
            .finish(finish("y", Some(target.clone())))
            .await
            .unwrap(),
    ];
    assert_eq!(ends, [FinishOutcome::Unchanged, FinishOutcome::Unchanged]);
    let first = noted(&store, 1).await.unwrap();
    // A login that was long under way takes nothing back either.
    let ended = store.logins.finish(finish("z", Some(target))).await.unwrap();
    assert_eq!(
        (ended, noted(&store, 1).await),
        (FinishOutcome::Unchanged, Some(first))
    );
}

async fn lists_find_who_did_not_log_in(engine: Engine) {
    let store = with_people(&engine).await;
    log_in(&store, "bob").await;
    let_pass(&engine, TimeDelta::days(100)).await;
    log_in(&store, "eve").await;
    let now = time(&store).await;
    let ids = async |filter| {
        let found = store.list_users(&acme(), &filter, &PageRequest::first(9)).await;
        let found = found.unwrap().items;
        found.into_iter().map(|user| user.id).collect::<Vec<_>>()
    };
    let since = |days| UserFilter {
        no_login_since: Some(now - TimeDelta::days(days)),
        ..UserFilter::default()
    };
    assert_eq!(ids(since(90)).await, [user_id(1), user_id(2)]);
    assert_eq!(ids(since(110)).await, [user_id(1)]);
    let never = UserFilter {
        never_logged_in: true,
        ..UserFilter::default()
    };
    assert_eq!(ids(never).await, [user_id(1)]);
}

async fn who_is_deleted_leaves_no_login(engine: Engine) {
    let store = with_people(&engine).await;
    log_in(&store, "ada").await;
    let erase = rollcall_store::EraseUser {
        tenant: &acme(),
        user: user_id(1),
        expected_revision: None,
        left_before: None,
        exclude: false,
    };
    let record = rollcall_store::NewAuditEvent::by_nobody(at(9));
    store.erase_user(erase, &record).await.unwrap();
    assert_eq!(noted(&store, 1).await, None);
}

async fn idle_users_are_found_by_role(engine: Engine) {
    let store = with_people(&engine).await;
    let role = store.user(&acme(), user_id(1)).await.unwrap().profile.role;
    log_in(&store, "bob").await;
    let now = time(&store).await;
    let idle = async |role: &str, since, limit| {
        let roles = [role.to_owned(), "other".to_owned()];
        store.idle_users(&acme(), &roles, since, limit).await.unwrap()
    };
    let hour_ago = now - TimeDelta::hours(1);
    let named = |logins: &[&str]| -> Vec<(String, String)> {
        logins
            .iter()
            .map(|login| ((*login).to_owned(), role.clone()))
            .collect()
    };
    assert_eq!(idle(&role, hour_ago, 9).await, (named(&["ada", "eve"]), 2));
    assert_eq!(idle(&role, hour_ago, 1).await, (named(&["ada"]), 2));
    assert_eq!(idle("admin-of-nothing", hour_ago, 9).await, (vec![], 0));
    // Whoever is a user since then only had no time to log in.
    assert_eq!(idle(&role, at(1), 9).await, (vec![], 0));
}

/// The time as the store sees it: SQLite has the machine's.
#[expect(
    clippy::disallowed_methods,
    reason = "what is compared with was written by this time"
)]
async fn time(store: &Store) -> DateTime<Utc> {
    store.time().await.unwrap().unwrap_or_else(Utc::now)
}
