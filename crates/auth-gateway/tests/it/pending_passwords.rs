//! A bind password that is changed in the directory while people log in.

use futures::future::join_all;
use rollcall_core::secret::Password;
use rollcall_store::Recorded;
use rollcall_testkit::TestDatabase;

use crate::world::{PASSWORD, World, now, request};

const NEXT: &str = "the next password, long enough";

async fn keep(world: &World, text: &str) {
    let password = Password::new(text.into()).ok().unwrap();
    world
        .store
        .keep_pending_bind_password(
            &world.tenant,
            &world.directory,
            None,
            &password,
            Recorded::by_nobody(now()),
        )
        .await
        .unwrap();
}

fn change_in_directory(world: &World) {
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: userPassword\nuserPassword: {NEXT}\n",
        world.server.service_dn()
    );
    world.server.modify(&change).unwrap();
}

/// The service account's binds that were refused.
fn refused(world: &World) -> usize {
    let binds = world.server.binds().unwrap();
    let service = world.server.service_dn();
    binds
        .iter()
        .filter(|bind| bind.dn == service && bind.result == Some(49))
        .count()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_goes_on_with_the_pending_password() {
    let world = World::new().await;
    keep(&world, NEXT).await;
    change_in_directory(&world);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    assert_eq!(refused(&world), 1);
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    assert_eq!(refused(&world), 1, "the new one is the present one");
    let directory = world
        .store
        .directory(&world.tenant, &world.directory)
        .await
        .unwrap();
    assert_eq!(directory.pending_bind_password_time, None);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_pending_password_a_refused_one_is_a_directory_that_is_misconfigured() {
    let world = World::new().await;
    change_in_directory(&world);
    for _ in 0..2 {
        assert_eq!(
            world.login("ada", PASSWORD).await,
            "FailedPrecondition DIRECTORY_MISCONFIGURED"
        );
    }
}

/// Many people at once, at a gateway that has no connection to the directory yet.
async fn all_at_once(world: &World, gateway: usize) -> Vec<String> {
    let people = [
        ("ada", PASSWORD),
        ("bob", "password of bob"),
        ("eve", "password of eve"),
    ];
    let logins = people.map(|(login, password)| world.attempt(gateway, request(login, password)));
    join_all(logins).await
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_at_once_send_the_refused_password_once_and_the_pending_one_once() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    let gateway = world.start_gateway(&[]).await;
    keep(&world, NEXT).await;
    change_in_directory(&world);
    let answers = all_at_once(&world, gateway).await;
    assert!(
        answers.iter().all(|answer| answer.starts_with("OK ")),
        "{answers:?}"
    );
    assert_eq!(refused(&world), 1);
}

/// Each refusal counts towards the bind account's lockout, and nobody's own password is wrong.
#[tokio::test(flavor = "multi_thread")]
async fn logins_at_once_send_a_wrong_bind_password_once() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    let gateway = world.start_gateway(&[]).await;
    change_in_directory(&world);
    for _ in 0..2 {
        let answers = all_at_once(&world, gateway).await;
        assert_eq!(answers, ["FailedPrecondition DIRECTORY_MISCONFIGURED"; 3]);
        assert_eq!(refused(&world), 1);
    }
    // With the right one people get in at once.
    let next = Password::new(NEXT.into()).ok().unwrap();
    let revision = None;
    world
        .store
        .rotate_bind_password(
            &world.tenant,
            &world.directory,
            revision,
            &next,
            Recorded::by_nobody(now()),
        )
        .await
        .unwrap();
    let answers = all_at_once(&world, gateway).await;
    assert!(
        answers.iter().all(|answer| answer.starts_with("OK ")),
        "{answers:?}"
    );
    assert_eq!(refused(&world), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn logins_at_several_gateways_at_once_all_go_on() {
    let mut world = World::on_postgres(TestDatabase::new().unwrap()).await;
    for _ in 0..3 {
        world.start_gateway(&[]).await;
    }
    keep(&world, NEXT).await;
    change_in_directory(&world);
    let logins = (0..9).map(|number| {
        let people = [
            ("ada", PASSWORD),
            ("bob", "password of bob"),
            ("eve", "password of eve"),
        ];
        let (login, password) = people[number % 3];
        world.attempt(number / 3, request(login, password))
    });
    let answers = join_all(logins).await;
    assert!(
        answers.iter().all(|answer| answer.starts_with("OK ")),
        "{answers:?}"
    );
    let directory = world
        .store
        .directory(&world.tenant, &world.directory)
        .await
        .unwrap();
    assert_eq!(directory.pending_bind_password_time, None);
}
