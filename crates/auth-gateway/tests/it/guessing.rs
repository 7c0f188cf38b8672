//! Guessing passwords: how often a guess reaches the directory, and what repeats do.

use std::process::Command;
use std::time::Duration;

use futures::future::join_all;
use rollcall_core::soft_lock::{SoftLock, SoftLockMode};
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{AuthenticateRequest, UnlockUserRequest};
use rollcall_testkit::Slapd;

use crate::binary::gateway;
use crate::world::{PASSWORD, World, dn, now, request, told};

const DENIED: &str = "DENIED INVALID_CREDENTIALS";
const TOO_MANY: &str = "DENIED TOO_MANY_ATTEMPTS";

fn words(told: &[String], word: &str) -> usize {
    told.iter().filter(|answer| answer.as_str() == word).count()
}

/// Sends all at once, half to each gateway.
pub(crate) async fn all_at_once<S>(world: &World<S>, login: &str, guesses: usize) -> Vec<String> {
    all_at_once_through(world, login, guesses, 2).await
}

async fn all_at_once_through<S>(
    world: &World<S>,
    login: &str,
    guesses: usize,
    gateways: usize,
) -> Vec<String> {
    let attempts = (0..guesses).map(|number| {
        let request = request(login, &format!("guess {number}"));
        world.attempt(number % gateways, request)
    });
    join_all(attempts).await
}

#[tokio::test(flavor = "multi_thread")]
async fn two_hundred_guesses_at_once_through_two_gateways_reach_the_directory_three_times() {
    let mut world = World::new().await;
    world.start_gateway(&[]).await;
    let told = all_at_once(&world, "ada", 200).await;
    assert_eq!((words(&told, DENIED), words(&told, TOO_MANY)), (3, 197));
    assert_eq!(world.binds(&dn("ada")), 3);
    assert_eq!(world.login("ADA@acme.example", PASSWORD).await, TOO_MANY);
    // Others are not concerned, and neither is anybody after UnlockUser.
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
    let ada = world.user("ada").await;
    let name = format!("tenants/acme/users/{}", ada.id);
    let unlocked = world
        .users()
        .unlock_user(UnlockUserRequest { name: name.clone() })
        .await
        .unwrap();
    assert!(unlocked.into_inner().was_locked);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let unlocked = world
        .users()
        .unlock_user(UnlockUserRequest { name })
        .await
        .unwrap();
    assert!(!unlocked.into_inner().was_locked);
}

#[tokio::test(flavor = "multi_thread")]
async fn many_devices_of_one_user_at_once_are_no_guesses() {
    let world = World::new().await;
    let told = join_all((0..40).map(|_| world.login("ada", PASSWORD))).await;
    assert_eq!(words(&told, "OK ada"), 40);
    assert_eq!(world.login("ada", "one").await, DENIED);
    assert_eq!(world.login("ada", "two").await, DENIED);
    // One slot is left for all of them.
    let told = join_all((0..10).map(|_| world.login("ada", PASSWORD))).await;
    assert_eq!(words(&told, "OK ada"), 10);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_login_locks_like_a_known_one() {
    let mut world = World::new().await;
    world.start_gateway(&[]).await;
    let told = all_at_once(&world, "nobody", 20).await;
    assert_eq!((words(&told, DENIED), words(&told, TOO_MANY)), (3, 17));
    assert_eq!(world.login(" NOBODY ", "x").await, TOO_MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn the_limit_lies_below_the_directory_s_own_threshold() {
    let world = World::without_gateway(Slapd::builder()).await;
    world.observe(Some(2)).await;
    let mut world = world;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", "guess 1").await, DENIED);
    assert_eq!(world.login("ada", "guess 2").await, TOO_MANY);
    assert_eq!(world.login("nobody", "guess 1").await, DENIED);
    assert_eq!(world.login("nobody", "guess 2").await, TOO_MANY);
    assert_eq!(world.binds(&dn("ada")), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_s_own_soft_lock_counts_for_its_users_and_for_nobody_s_login() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    world.observe(Some(5)).await;
    world
        .update_directory(|settings| {
            settings.soft_lock = SoftLock {
                limit: Some(2),
                window: Some(Duration::from_secs(60)),
                duration: Some(Duration::from_secs(120)),
                mode: None,
            };
        })
        .await;
    world.start_gateway(&[]).await;
    for login in ["ada", "nobody"] {
        for number in 0..2 {
            assert_eq!(world.login(login, &format!("guess {number}")).await, DENIED);
        }
        let mut auth = AuthServiceClient::new(world.channel(0));
        let answer = auth.authenticate(request(login, "x")).await.unwrap().into_inner();
        let Some(Outcome::Denial(denial)) = answer.outcome else {
            panic!("{login} was let in");
        };
        let wait = denial.retry_after.unwrap().seconds;
        assert!((60..=120).contains(&wait), "{login} waits {wait} s");
    }
    assert_eq!(world.binds(&dn("ada")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn no_soft_lock_of_a_directory_lets_guesses_lock_an_account_there() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    world.observe(Some(3)).await;
    world
        .update_directory(|settings| settings.soft_lock.limit = Some(1_000))
        .await;
    world.start_gateway(&[]).await;
    let told = all_at_once_through(&world, "ada", 20, 1).await;
    assert_eq!((words(&told, DENIED), words(&told, TOO_MANY)), (2, 18));
    assert_eq!(world.binds(&dn("ada")), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_in_log_mode_lets_its_users_go_on_but_not_a_client_that_guesses() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    world
        .update_directory(|settings| settings.soft_lock.mode = Some(SoftLockMode::Log))
        .await;
    world.start_gateway(&[("throttle.client_limit", "8")]).await;
    let from = |password: &str| AuthenticateRequest {
        client_address: "192.0.2.7".into(),
        ..request("ada", password)
    };
    for number in 0..8 {
        assert_eq!(world.attempt(0, from(&format!("guess {number}"))).await, DENIED);
    }
    assert_eq!(world.attempt(0, from(PASSWORD)).await, TOO_MANY);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_flood_is_audited_with_its_size_and_outlives_the_gateway() {
    let mut world = World::without_gateway(Slapd::builder()).await;
    world.start_gateway(&[]).await;
    let told = all_at_once_through(&world, "ada", 60, 1).await;
    assert_eq!(words(&told, TOO_MANY), 57);
    let audited = world.audit().await;
    assert_eq!(words(&audited, "DENIED INVALID_CREDENTIALS"), 3);
    assert_eq!(words(&audited, "DENIED TOO_MANY_ATTEMPTS"), 1);
    world.stop_gateway(0).await;
    // What a gateway does once a minute has passed.
    assert_eq!(world.store.audit_refusals(now()).await.unwrap(), 1);
    let floods = world.floods().await;
    assert_eq!(floods.len(), 1);
    assert_eq!(floods[0].attempts, 56);
    assert!(floods[0].since <= now());
}

#[tokio::test(flavor = "multi_thread")]
async fn the_same_wrong_password_again_is_refused_without_a_bind_and_counts_once() {
    let world = World::new().await;
    for _ in 0..10 {
        assert_eq!(world.login("ada", "old password").await, DENIED);
        assert_eq!(world.login("nobody", "old password").await, DENIED);
    }
    assert_eq!(world.binds(&dn("ada")), 1);
    assert_eq!(world.login("ada", "another").await, DENIED);
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_right_password_forgets_the_user_s_failures_but_not_the_client_s() {
    let world = World::with(Slapd::builder(), &[("throttle.client_limit", "4")]).await;
    let from = |login: &str, password: &str| AuthenticateRequest {
        client_address: "192.0.2.7".into(),
        ..request(login, password)
    };
    for number in 0..2 {
        assert_eq!(world.attempt(0, from("ada", &format!("a{number}"))).await, DENIED);
        assert_eq!(world.attempt(0, from("bob", "password of bob")).await, "OK bob");
        assert_eq!(
            world.attempt(0, from("nobody", &format!("b{number}"))).await,
            DENIED
        );
    }
    assert_eq!(world.attempt(0, from("bob", "password of bob")).await, TOO_MANY);
    assert_eq!(world.login("bob", "password of bob").await, "OK bob");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stranger_s_guesses_do_not_shut_a_user_out_at_an_address_of_theirs() {
    let mut world = World::new().await;
    world.start_gateway(&[]).await;
    let from = |address: &str, password: &str| AuthenticateRequest {
        client_address: address.into(),
        ..request("ada", password)
    };
    let (home, stranger) = ("2001:db8:1:2::7", "198.51.100.1");
    assert_eq!(world.attempt(0, from(home, PASSWORD)).await, "OK ada");
    for number in 0..3 {
        let guess = from(stranger, &format!("guess {number}"));
        assert_eq!(world.attempt(0, guess).await, DENIED);
    }
    for address in [stranger, "192.0.2.7", ""] {
        assert_eq!(
            world.attempt(0, from(address, PASSWORD)).await,
            TOO_MANY,
            "{address}"
        );
    }
    // Her own mistake, and a neighbour in her network, which is one address; through any gateway.
    assert_eq!(world.attempt(1, from(home, "mistyped")).await, DENIED);
    assert_eq!(
        world.attempt(1, from("2001:db8:1:2::8", PASSWORD)).await,
        "OK ada"
    );
    // Nobody may guess there for ever either.
    for number in 0..3 {
        let guess = from(home, &format!("more {number}"));
        assert_eq!(world.attempt(0, guess).await, DENIED);
    }
    assert_eq!(world.attempt(1, from(home, PASSWORD)).await, TOO_MANY);
}

#[tokio::test(flavor = "multi_thread")]
async fn in_log_mode_nothing_is_refused_and_the_log_says_who_would_be() {
    let world = World::without_gateway(Slapd::builder()).await;
    let ada = world.user("ada").await.id.to_string();
    let mut gateway = gateway(&world, &["throttle.mode=log"]).await;
    let mut auth = AuthServiceClient::new(gateway.channel.clone());
    for number in 0..6 {
        let guess = request("ada", &format!("guess {number}"));
        assert_eq!(told(auth.authenticate(guess).await), DENIED);
    }
    let right = auth.authenticate(request("ada", PASSWORD)).await;
    assert_eq!(told(right), "OK ada");
    let pid = gateway.child.id().to_string();
    assert!(Command::new("kill").arg(pid).status().unwrap().success());
    assert!(gateway.child.wait().unwrap().success());
    let log = gateway.log.join().unwrap();
    let warnings = log
        .lines()
        .filter(|line| line.contains("would refuse this login"));
    // The default limit is 3, and the right password came too late for it.
    assert_eq!(warnings.filter(|line| line.contains(&ada)).count(), 4, "{log}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_repeat_with_the_same_request_id_joins_the_first_attempt() {
    let world = World::new().await;
    let with_id = |login: &str, password: &str| AuthenticateRequest {
        request_id: "id-1".into(),
        ..request(login, password)
    };
    let told = tokio::join!(
        world.attempt(0, with_id("ada", PASSWORD)),
        world.attempt(0, with_id("ada", PASSWORD))
    );
    assert_eq!(told, ("OK ada".to_owned(), "OK ada".to_owned()));
    assert_eq!(world.attempt(0, with_id("ada", PASSWORD)).await, "OK ada");
    assert_eq!(
        world.attempt(0, with_id("ada", "other")).await,
        "InvalidArgument REQUEST_ID_REUSED"
    );
    assert_eq!(world.binds(&dn("ada")), 1);
    assert_eq!(world.audit().await.len(), 1);
    assert_eq!(world.early_audit().await, ["ERROR REQUEST_ID_REUSED"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_does_it_bind_again_through_another_gateway_or_one_that_was_restarted() {
    let mut world = World::new().await;
    let second = world.start_gateway(&[]).await;
    let with_id = |password: &str| AuthenticateRequest {
        request_id: "id-1".into(),
        ..request("ada", password)
    };
    let told = tokio::join!(
        world.attempt(0, with_id("guess")),
        world.attempt(second, with_id("guess"))
    );
    let unknown = "Aborted BIND_OUTCOME_UNKNOWN".to_owned();
    assert!(
        [
            (DENIED.to_owned(), unknown.clone()),
            (unknown.clone(), DENIED.to_owned())
        ]
        .contains(&told),
        "{told:?}"
    );
    world.stop_gateway(0).await;
    let third = world.start_gateway(&[]).await;
    assert_eq!(world.attempt(third, with_id("guess")).await, unknown);
    assert_eq!(world.binds(&dn("ada")), 1);
    assert_eq!(world.early_audit().await, ["ERROR REPEATED_REQUEST"; 2]);
    // As long as nothing was sent, any of them may try again.
    let again = AuthenticateRequest {
        request_id: "id-2".into(),
        ..request("ada", PASSWORD)
    };
    world.server.stop();
    for gateway in [second, third] {
        let told = world.attempt(gateway, again.clone()).await;
        assert_eq!(told, "Unavailable DIRECTORY_UNAVAILABLE");
    }
}
