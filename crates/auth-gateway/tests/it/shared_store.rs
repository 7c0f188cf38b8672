//! Several gateways on PostgreSQL, and a store that fails.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_testkit::{Proxy, TestDatabase, wait_for};

use crate::at_once::all_have_begun;
use crate::world::{PASSWORD, World, dn, request};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";

#[tokio::test(flavor = "multi_thread")]
async fn gateways_share_the_soft_lock_through_postgresql() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    world.start_gateway(&[]).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let told = crate::guessing::all_at_once(&world, "bob", 100).await;
    let denied = told.iter().filter(|answer| *answer == DENIED).count();
    assert_eq!((denied, world.binds(&dn("bob"))), (3, 3));
    assert_eq!(
        world.login("bob", "password of bob").await,
        "DENIED TOO_MANY_ATTEMPTS"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_cannot_be_recorded_does_not_count() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.sql("ALTER TABLE audit_unsealed RENAME TO elsewhere");
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted LOGIN_NOT_RECORDED");
    world.sql("ALTER TABLE elsewhere RENAME TO audit_unsealed");
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_database_that_vanishes_without_a_word_is_found_again_under_its_address() {
    let database = TestDatabase::new().unwrap();
    let mut parts = database.url().split(['@', '/']);
    let server: SocketAddr = parts.find_map(|part| part.parse().ok()).unwrap();
    let mut world = World::on_postgres(database).await;
    let line = Proxy::start(server).await.unwrap();
    world.url = world
        .url
        .replace(&server.to_string(), &line.address().to_string());
    world.start_gateway(&[("login.timeout", "1s")]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    line.silence();
    let lost = world.login("ada", PASSWORD).await;
    assert_eq!(lost, "Unavailable STORE_UNAVAILABLE");
    wait_for("logins work again", Duration::from_secs(30), async || {
        world.login("ada", PASSWORD).await == "OK ada"
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_who_logs_in_at_two_gateways_at_once_waits_and_is_not_taken_for_a_guesser() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    let one = [("throttle.login_limit", "1")];
    let first = world.start_gateway(&one).await;
    let second = world.start_gateway(&one).await;
    for gateway in [first, second] {
        assert_eq!(world.attempt(gateway, request("ada", PASSWORD)).await, "OK ada");
    }
    world.server.pause().unwrap();
    let at_first = world.attempt(first, request("ada", PASSWORD));
    let both = async {
        all_have_begun(&world, first).await;
        let at_second = world.attempt(second, request("ada", PASSWORD));
        let resume = async {
            all_have_begun(&world, second).await;
            world.server.resume().unwrap();
        };
        tokio::join!(at_second, resume).0
    };
    assert_eq!(tokio::join!(at_first, both), ("OK ada".into(), "OK ada".into()));
    assert_eq!(world.attempt(second, request("ada", "wrong")).await, DENIED);
    let refused = world.attempt(first, request("ada", PASSWORD)).await;
    assert_eq!(refused, "DENIED TOO_MANY_ATTEMPTS");
}
