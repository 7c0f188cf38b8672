//! Several gateways on PostgreSQL, and a store that fails.

use std::net::SocketAddr;
use std::time::Duration;

use rollcall_testkit::{Proxy, TestDatabase, wait_for};

use crate::world::{PASSWORD, World, dn};

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
