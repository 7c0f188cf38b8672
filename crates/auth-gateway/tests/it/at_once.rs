//! The same password several times at once: one bind, which counts once, and everybody is answered.

use std::time::Duration;

use futures::future::join_all;
use rollcall_proto::v1::AuthenticateRequest;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_testkit::{Slapd, wait_for};

use crate::world::{PASSWORD, World, dn, request};
use rollcall_store::{NewAuditEvent, Recorded};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
const UNKNOWN: &str = "Aborted BIND_OUTCOME_UNKNOWN";

/// Freezes the directory, lets all of these begin, does something, and lets the directory go on.
async fn while_all_wait(world: &World, passwords: &[&str], act: impl AsyncFn()) -> Vec<String> {
    world.server.pause().unwrap();
    let logins = join_all(passwords.iter().map(|password| world.login("ada", password)));
    let acting = async {
        all_have_begun(world, 0).await;
        act().await;
        world.server.resume().unwrap();
    };
    tokio::join!(logins, acting).0
}

/// Whoever was sent before has come to the directory, or waits for somebody who has: a call that is sent later, and
/// takes longer until then, is answered.
pub(crate) async fn all_have_begun(world: &World, gateway: usize) {
    for _ in 0..3 {
        let stranger = AuthenticateRequest {
            tenant: "tenants/other".into(),
            ..request("ada", "x")
        };
        let told = world.attempt(gateway, stranger).await;
        assert_eq!(told, "NotFound TENANT_NOT_FOUND");
    }
}

async fn unlock(world: &World) {
    let ada = world.user("ada").await;
    world
        .store
        .unlock_user(
            &world.tenant,
            ada.id,
            &NewAuditEvent::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
}

/// What was counted is one wrong password of three.
async fn one_was_counted(world: &World, login: &str) {
    for guess in ["another", "a third"] {
        assert_eq!(world.login(login, guess).await, DENIED, "{login} {guess}");
    }
    let fourth = world.login(login, "a fourth").await;
    assert_eq!(fourth, "DENIED TOO_MANY_ATTEMPTS", "{login}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_wrong_password_is_one_bind_and_counts_once() {
    for times in [2, 3, 5, 50] {
        let world = World::new().await;
        let told = while_all_wait(&world, &vec!["old password"; times], async || {}).await;
        assert_eq!(told, vec![DENIED; times]);
        assert_eq!(world.binds(&dn("ada")), 1, "{times}");
        let audited = world.audit().await;
        let bound = audited.iter().filter(|row| *row == DENIED).count();
        assert_eq!(bound, 1, "{audited:?}");
        assert!(audited.contains(&"DENIED REPEATED_PASSWORD".to_owned()));
        one_was_counted(&world, "ada").await;
        // Nobody's login is the same.
        let told = join_all((0..times).map(|_| world.login("nobody", "old password"))).await;
        assert_eq!(told, vec![DENIED; times]);
        one_was_counted(&world, "nobody").await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn several_wrong_passwords_are_one_bind_each() {
    let world = World::new().await;
    let passwords = ["one", "two", "one", "two", "one", "two", "one", "two"];
    let told = while_all_wait(&world, &passwords, async || {}).await;
    assert_eq!(told, [DENIED; 8]);
    assert_eq!(world.binds(&dn("ada")), 2);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_is_one_bind_and_lets_everybody_in() {
    let world = World::with(Slapd::builder(), &[("throttle.login_limit", "1")]).await;
    let told = while_all_wait(&world, &[PASSWORD; 50], async || {}).await;
    assert_eq!(told, ["OK ada"; 50]);
    assert_eq!(world.binds(&dn("ada")), 1);
    assert_eq!(world.audit().await, ["AUTHENTICATED AUTHENTICATED"; 50]);
    // It is proven anew every time.
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(world.binds(&dn("ada")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_waits_is_blocked_too() {
    let world = World::new().await;
    let ada = world.user("ada").await;
    let block = async || {
        let block = world.store.block_user(
            &world.tenant,
            ada.id,
            None,
            "",
            Recorded::by_nobody(crate::world::now()),
        );
        block.await.unwrap();
    };
    let told = while_all_wait(&world, &[PASSWORD; 5], block).await;
    assert_eq!(told, [DENIED; 5]);
    assert_eq!(world.audit().await, ["DENIED CHANGED_MEANWHILE"; 5]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_first_caller_that_leaves_takes_nobody_with_it() {
    let world = World::new().await;
    world.server.pause().unwrap();
    let mut auth = AuthServiceClient::new(world.channel(0));
    let first = tokio::spawn(async move { auth.authenticate(request("ada", "old")).await });
    all_have_begun(&world, 0).await;
    let others = join_all((0..5).map(|_| world.login("ada", "old")));
    let acting = async {
        all_have_begun(&world, 0).await;
        first.abort();
        world.server.resume().unwrap();
    };
    let told = tokio::join!(others, acting).0;
    assert_eq!(told, [DENIED; 5]);
    assert_eq!(world.binds(&dn("ada")), 1);
    one_was_counted(&world, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_one_that_is_in_a_hurry() {
    let world = World::new().await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let mut auth = AuthServiceClient::new(world.channel(0));
    let mut hurried = tonic::Request::new(request("ada", "old"));
    hurried.set_timeout(Duration::from_millis(500));
    let first = tokio::spawn(async move { auth.authenticate(hurried).await });
    all_have_begun(&world, 0).await;
    let others = join_all((0..5).map(|_| world.login("ada", "old")));
    let acting = async {
        let status = first.await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Aborted, "{status:?}");
        world.server.resume().unwrap();
    };
    let told = tokio::join!(others, acting).0;
    assert_eq!(told, [DENIED; 5]);
    one_was_counted(&world, "ada").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_outcome_that_stays_unknown_is_so_for_all_and_takes_one_slot() {
    let settings = [("login.timeout", "1500ms"), ("throttle.login_limit", "2")];
    let world = World::with(Slapd::builder(), &settings).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let told = join_all((0..5).map(|_| world.login("ada", "old"))).await;
    // Whoever came when it was over found that the directory cannot be reached.
    let away = "Unavailable DIRECTORY_UNAVAILABLE";
    assert!(
        told.iter().all(|told| told == UNKNOWN || told == away),
        "{told:?}"
    );
    assert!(told.iter().any(|told| told == UNKNOWN), "{told:?}");
    world.server.resume().unwrap();
    wait_for(
        "the directory is used again",
        Duration::from_secs(60),
        async || world.login("bob", "password of bob").await == "OK bob",
    )
    .await
    .unwrap();
    // One slot of two is left.
    assert_eq!(world.login("ada", "another").await, DENIED);
    assert_eq!(world.login("ada", PASSWORD).await, "DENIED TOO_MANY_ATTEMPTS");
    // What is in the slot goes on, and settles it.
    assert_eq!(world.login("ada", "old").await, DENIED);
    unlock(&world).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}
