//! A session that holds the rows of logins on PostgreSQL, as a replica that froze does.

use std::time::Duration;

use rollcall_testkit::{IdleSession, TestDatabase, wait_for};

use crate::world::{PASSWORD, World};

async fn world() -> World {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world
}

fn hold(world: &World) -> IdleSession {
    world.hold("SELECT 1 FROM login_throttles FOR UPDATE")
}

async fn works_again(world: &World) {
    wait_for("logins work again", Duration::from_secs(30), async || {
        world.login("ada", PASSWORD).await == "OK ada"
    })
    .await
    .unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_whose_slot_is_held_up_is_unavailable_and_nothing_was_sent() {
    let world = world().await;
    let binds = world.binds(&crate::world::dn("ada"));
    let held = hold(&world);
    for password in [PASSWORD, "wrong"] {
        assert_eq!(
            world.login("ada", password).await,
            "Unavailable STORE_UNAVAILABLE"
        );
    }
    assert_eq!(world.binds(&crate::world::dn("ada")), binds);
    drop(held);
    works_again(&world).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_is_held_up_after_its_bind_is_aborted() {
    let world = world().await;
    world.server.pause().unwrap();
    let reserved = "SELECT count(*) FROM login_throttles WHERE reserved > 0";
    let held = async {
        wait_for("the slot is reserved", Duration::from_secs(30), async || {
            world.query(reserved) == "1"
        })
        .await
        .unwrap();
        let held = hold(&world);
        world.server.resume().unwrap();
        held
    };
    let (told, held) = tokio::join!(world.login("ada", PASSWORD), held);
    assert_eq!(told, "Aborted LOGIN_NOT_RECORDED");
    drop(held);
    works_again(&world).await;
}
