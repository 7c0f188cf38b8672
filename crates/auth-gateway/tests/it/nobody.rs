//! A login that names nobody is answered as somebody's would be, whatever state the directories are in.

use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::DirectoryObservations;
use rollcall_core::id::DirectoryId;
use rollcall_core::secret::Password;
use rollcall_testkit::{ScriptedLdap, Slapd, wait_for};

use crate::world::{PASSWORD, World, now};
use rollcall_store::Recorded;

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
const UNAVAILABLE: &str = "Unavailable DIRECTORY_UNAVAILABLE";
const DISABLED: &str = "FailedPrecondition SYNC_DISABLED";

async fn block(world: &World, login: &str) {
    let user = world.user(login).await;
    let blocked = world
        .store
        .block_user(&world.tenant, user.id, None, "", Recorded::by_nobody(now()));
    blocked.await.unwrap();
}

/// What a known, an unknown and a blocked user are told.
async fn told(world: &World, gateway: usize) -> [String; 3] {
    let mut told = Vec::new();
    for login in ["ada", "nobody", "bob"] {
        told.push(
            world
                .attempt(gateway, crate::world::request(login, PASSWORD))
                .await,
        );
    }
    told.try_into().unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_gateway_that_has_seen_no_directory_yet_notices_an_outage_for_everybody() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    block(&world, "bob").await;
    world.server.stop();
    world.start_gateway(&[]).await;
    for login in ["nobody", "bob", "ada"] {
        assert_eq!(world.login(login, PASSWORD).await, UNAVAILABLE, "{login}");
    }
    assert_eq!(world.audit().await, ["ERROR DIRECTORY_UNAVAILABLE"; 3]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_freezes_is_the_same_for_everybody() {
    let settings = [("login.timeout", "1s"), ("throttle.login_limit", "1")];
    let world = World::with(Slapd::builder(), &settings).await;
    block(&world, "bob").await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    world.server.pause().unwrap();
    let mut number = 0;
    wait_for("nobody notices", Duration::from_secs(20), async || {
        number += 1;
        world.login(&format!("nobody{number}"), PASSWORD).await != DENIED
    })
    .await
    .unwrap();
    // Somebody's bind would have been sent, and its slot would stay taken.
    assert_eq!(world.audit().await.last().unwrap(), "ERROR BIND_OUTCOME_UNKNOWN");
    let told = world.login(&format!("nobody{number}"), "another").await;
    assert_eq!(told, "DENIED TOO_MANY_ATTEMPTS");
    // That connection is lost, and no other can be opened.
    for login in ["ada", "bob", "nobody"] {
        assert_eq!(world.login(login, PASSWORD).await, UNAVAILABLE, "{login}");
    }
    world.server.resume().unwrap();
    wait_for("the directory is used", Duration::from_secs(60), async || {
        world.login("eve", "password of eve").await == "OK eve"
    })
    .await
    .unwrap();
    assert_eq!(world.login("nobody", PASSWORD).await, DENIED);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_switched_off_is_told_to_everybody_while_nothing_else_is_on() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    block(&world, "bob").await;
    world.update_sync(|settings| settings.disabled = true).await;
    world.start_gateway(&[]).await;
    assert_eq!(told(&world, 0).await, [DISABLED; 3]);
    assert_eq!(world.audit().await, ["ERROR SYNC_DISABLED"; 3]);

    let script = ScriptedLdap::plain(async |mut peer| {
        while let Some(request) = peer.receive().await? {
            peer.send(&rollcall_testkit::ber::bind_response(request.id, 0, "", ""))
                .await?;
        }
        Ok(())
    });
    let (tenant, script) = (world.tenant.clone(), script.await.unwrap());
    world.add_script(&tenant, "other", &script).await;
    let second = world.start_gateway(&[]).await;
    let unchecked = told(&world, second).await;
    assert_eq!(unchecked[0], DISABLED);
    // What nobody has checked is asked what it is, and nothing more.
    assert_eq!(unchecked[1..], ["Unavailable DIRECTORY_UNAVAILABLE"; 2]);

    let checked = DirectoryObservations {
        dialect: Some(Dialect::Generic),
        observe_time: Some(now()),
        ..DirectoryObservations::default()
    };
    let other = DirectoryId::parse("other").unwrap();
    let seen = world.store.save_observations(&tenant, &other, &checked);
    seen.await.unwrap();
    let third = world.start_gateway(&[]).await;
    let told = told(&world, third).await;
    assert_eq!(told[0], DISABLED);
    // They may well be somebody's of the other sync: it is asked whether it answers, and it answers nonsense.
    assert_eq!(told[1..], ["Aborted BIND_OUTCOME_UNKNOWN"; 2]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_account_that_is_refused_is_the_same_for_everybody() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    block(&world, "bob").await;
    let password = Password::new("not the service's".into()).ok().unwrap();
    world
        .store
        .rotate_bind_password(
            &world.tenant,
            &world.directory,
            None,
            &password,
            Recorded::by_nobody(now()),
        )
        .await
        .unwrap();
    world.start_gateway(&[]).await;
    for _ in 0..2 {
        let told = told(&world, 0).await;
        assert_eq!(told, ["FailedPrecondition DIRECTORY_MISCONFIGURED"; 3]);
    }
}
