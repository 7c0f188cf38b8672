//! Several gateways on PostgreSQL, and a store that fails.

use rollcall_testkit::TestDatabase;

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
    world.sql("ALTER TABLE audit_events RENAME TO elsewhere");
    assert_eq!(world.login("ada", PASSWORD).await, "Aborted LOGIN_NOT_RECORDED");
    world.sql("ALTER TABLE elsewhere RENAME TO audit_events");
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}
