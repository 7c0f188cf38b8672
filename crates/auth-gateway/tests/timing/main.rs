//! Refusals take the same time, whatever the reason. What measures time is a program of its own, one test after the
//! other: beside other tests it would measure those.
#![allow(clippy::unwrap_used, clippy::panic)]

#[path = "../it/world/mod.rs"]
#[allow(dead_code, unused_imports, reason = "the other tests use the rest")]
mod world;

use std::ops::Range;
use std::time::{Duration, Instant};

use rollcall_core::directory::HostUrl;
use rollcall_core::user::StateReason;
use rollcall_core::user_sync::{RoleCondition, RoleRule};
use rollcall_testkit::{Proxy, Slapd};
use tokio::sync::Mutex;

use crate::world::{PASSWORD, World, dn, person};
use rollcall_store::Recorded;

/// Who measures now.
static MEASURING: Mutex<()> = Mutex::const_new(());
const ONE_WAY: Duration = Duration::from_millis(15);
const SAMPLES: usize = 80;
/// A machine that has other work adds noise that comes and goes; a difference that anybody could use stays.
const ROUNDS: usize = 3;
/// Shares for which nobody can bet on the next answer. By chance alone they lie outside once in 50,000 times.
const ALIKE: Range<f64> = 0.3..0.7;

/// A directory some way off: whatever passes takes its time in both directions.
async fn far_away(world: &mut World) -> Proxy {
    let line = Proxy::start(world.server.tls_address()).await.unwrap();
    line.delay(ONE_WAY);
    let host = HostUrl::parse(&format!("ldaps://{}", line.address())).unwrap();
    world
        .update_directory(|settings| settings.hosts = vec![host])
        .await;
    line
}

/// How likely a sample of one is larger than a sample of the other: a half if they cannot be told apart.
fn tells_apart(one: &[Duration], other: &[Duration]) -> f64 {
    let pairs = one.iter().flat_map(|a| other.iter().map(move |b| (a, b)));
    let larger: f64 = pairs
        .map(|(a, b)| {
            if a > b {
                1.0
            } else if a == b {
                0.5
            } else {
                0.0
            }
        })
        .sum();
    larger / (one.len() * other.len()) as f64
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_can_tell_a_wrong_password_from_an_unknown_blocked_or_missing_user_by_the_time() {
    nobody_can_tell(0).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_where_roles_take_longer_than_the_bind() {
    nobody_can_tell(2).await;
}

async fn nobody_can_tell(role_rules: u32) {
    let _alone = MEASURING.lock().await;
    let mut world = World::without_gateway(Slapd::builder()).await;
    let _line = far_away(&mut world).await;
    let rule = |number| RoleRule {
        condition: RoleCondition::Filter(format!("(title={number})")),
        role: format!("role {number}"),
    };
    world
        .update_sync(|settings| settings.role_rules = (0..role_rules).map(rule).collect())
        .await;
    let limits = [
        ("throttle.login_limit", "1000"),
        ("throttle.max_login_limit", "1000"),
    ];
    world.start_gateway(&limits).await;
    let bob = world.user("bob").await;
    world
        .store
        .block_user(
            &world.tenant,
            bob.id,
            None,
            "",
            Recorded::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
    world.server.delete(&dn("eve")).unwrap();
    world
        .server
        .add(&person("dan", &dn("dan"), "password of dan"))
        .unwrap();
    world.import().await;
    world.deactivate("dan", StateReason::DisabledInDirectory).await;
    let least = ONE_WAY * 2 * role_rules.max(1);
    let mut guess = 0;
    // The first answers are when the gateway itself learns how far the directory is.
    measure(&world, &mut guess, 10).await;
    let mut told_apart = Vec::new();
    for _ in 0..ROUNDS {
        let [ada, nobody, bob, eve, dan] = measure(&world, &mut guess, SAMPLES).await;
        // The measure would show it if an answer lacked one round trip.
        let without: Vec<_> = ada.iter().map(|time| time.saturating_sub(ONE_WAY * 2)).collect();
        assert!(!ALIKE.contains(&tells_apart(&ada, &without)), "{ada:?}");
        assert!(nobody.iter().all(|time| *time >= least), "{nobody:?}");
        let shares = [nobody, bob, eve, dan].map(|other| tells_apart(&ada, &other));
        // Eve is looked for, and then answered when anybody would be: the later of two such times, a third by nature.
        if [0, 1, 3].iter().all(|kind| ALIKE.contains(&shares[*kind])) && (0.15..0.7).contains(&shares[2]) {
            return;
        }
        told_apart.push(shares);
    }
    panic!("they can be told apart: {told_apart:?}");
}

/// How long refusals take: of a wrong password, of nobody's, of somebody who is blocked, of
/// somebody who is gone and of somebody whom the directory disabled.
async fn measure(world: &World, guess: &mut usize, samples: usize) -> [Vec<Duration>; 5] {
    let mut taken = [const { Vec::new() }; 5];
    for _ in 0..samples {
        *guess += 1;
        for (kind, login) in ["ada", "nobody", "bob", "eve", "dan"].into_iter().enumerate() {
            let start = Instant::now();
            let told = world.login(login, &format!("guess {guess}")).await;
            assert_eq!(told, "DENIED INVALID_CREDENTIALS");
            taken[kind].push(start.elapsed());
        }
    }
    taken
}

#[tokio::test(flavor = "multi_thread")]
async fn nor_while_the_directory_is_away() {
    let _alone = MEASURING.lock().await;
    let mut world = World::without_gateway(Slapd::builder()).await;
    let line = far_away(&mut world).await;
    world.start_gateway(&[]).await;
    assert_eq!(world.login("ada", PASSWORD).await, "OK ada");
    let bob = world.user("bob").await;
    world
        .store
        .block_user(
            &world.tenant,
            bob.id,
            None,
            "",
            Recorded::by_nobody(crate::world::now()),
        )
        .await
        .unwrap();
    drop(line);
    world.server.stop();
    // The first one notices.
    world.login("ada", PASSWORD).await;
    let mut told_apart = Vec::new();
    for round in 0..ROUNDS {
        let mut taken = [const { Vec::new() }; 3];
        for number in 0..SAMPLES {
            for (kind, login) in ["ada", "nobody", "bob"].into_iter().enumerate() {
                let start = Instant::now();
                let told = world.login(login, &format!("guess {round} {number}")).await;
                assert_eq!(told, "Unavailable DIRECTORY_UNAVAILABLE", "{login}");
                taken[kind].push(start.elapsed());
            }
        }
        let [ada, nobody, bob] = taken;
        let shares = [nobody, bob].map(|other| tells_apart(&ada, &other));
        if shares.iter().all(|share| ALIKE.contains(share)) {
            return;
        }
        told_apart.push(shares);
    }
    panic!("they can be told apart: {told_apart:?}");
}
