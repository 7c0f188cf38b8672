//! Gateways whose clocks are an hour apart.

use chrono::TimeDelta;
use rollcall_runtime::clock::{Clock, ManualClock};
use rollcall_testkit::{Slapd, TestDatabase};

use crate::world::{PASSWORD, World, dn, request};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
const TOO_MANY: &str = "DENIED TOO_MANY_ATTEMPTS";

/// Two gateways share the guesses: three reach the directory, whatever time it is where. A request that one carries out is
/// not carried out by the other.
async fn clocks_apart_neither_forget_nor_lock_for_longer(mut world: World) {
    let hour = TimeDelta::hours(1);
    let now = crate::world::now();
    let (behind, ahead) = (
        world
            .start_gateway_at(Clock::Manual(ManualClock::new(now - hour)))
            .await,
        world
            .start_gateway_at(Clock::Manual(ManualClock::new(now + hour)))
            .await,
    );
    let mut told = Vec::new();
    for number in 0..5 {
        let gateway = [behind, ahead][number % 2];
        told.push(
            world
                .attempt(gateway, request("ada", &format!("guess {number}")))
                .await,
        );
    }
    assert_eq!(told, [DENIED, DENIED, DENIED, TOO_MANY, TOO_MANY]);
    assert_eq!(world.binds(&dn("ada")), 3);
    for gateway in [behind, ahead] {
        let wait = world.wait(gateway, request("ada", "another")).await;
        assert!((2_000..=2_100).contains(&wait), "locked for {wait} s");
    }

    let with_id = || rollcall_proto::v1::AuthenticateRequest {
        request_id: "id-1".into(),
        ..request("bob", "password of bob")
    };
    assert_eq!(world.attempt(behind, with_id()).await, "OK bob");
    let again = world.attempt(ahead, with_id()).await;
    assert_eq!(again, "Aborted BIND_OUTCOME_UNKNOWN");
    assert_eq!(world.binds(&dn("bob")), 1);
    // Where a user is at home does not depend on it either.
    assert_eq!(world.login("eve", "password of eve").await, "OK eve");
    assert_eq!(world.attempt(behind, request("ada", PASSWORD)).await, TOO_MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn on_sqlite() {
    clocks_apart_neither_forget_nor_lock_for_longer(World::without_gateway(Slapd::builder()).await).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn on_postgresql() {
    let world = World::on_postgres(TestDatabase::new().unwrap()).await;
    clocks_apart_neither_forget_nor_lock_for_longer(world).await;
}
