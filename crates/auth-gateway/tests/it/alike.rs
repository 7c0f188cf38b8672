//! Whatever is tried, in whatever order: what is answered does not tell whether a login is anybody's, nor in which state
//! they are.

use futures::future::join_all;
use proptest::collection::vec;
use proptest::prelude::{Strategy, any};
use proptest::strategy::ValueTree;
use proptest::test_runner::TestRunner;
use rollcall_core::plan::ChangeKind;
use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::AuthenticateRequest;
use rollcall_store::Recorded;
use rollcall_testkit::{Slapd, TestDatabase};

use crate::account_states::{policy, under};
use crate::world::{BASE, World, change, dn, now, people, request};

/// Sequences that are tried. Each takes some 60 attempts.
const SEQUENCES: usize = 20;
/// Whose logins are tried: everybody of whom the contract says that they get one answer. LOCAL users get another.
const EVERYBODY: [&str; 9] = [
    "nobody",
    "ada",
    "blocked",
    "deactivated",
    "gone",
    "outside",
    "locked",
    "ended",
    "ambiguous",
];

/// Attempts with these passwords, at once; each tells a client address or not.
type Step = Vec<(u8, bool)>;

async fn world() -> World {
    let ldif = [
        people(),
        format!("\n\ndn: ou=Policies,{BASE}\nobjectClass: organizationalUnit\nou: Policies\n\n"),
        policy("default", ""),
        under("blocked", "default", ""),
        under("deactivated", "default", ""),
        under("gone", "default", ""),
        under("outside", "default", ""),
        under("locked", "default", "pwdAccountLockedTime: 000001010000Z"),
        under("ended", "default", "pwdEndTime: 20200101000000Z"),
        under("ambiguous", "default", ""),
    ];
    let builder = Slapd::builder().ppolicy().ldif(&ldif.concat());
    let mut world = World::in_slapd(Some(TestDatabase::new().unwrap()), builder).await;
    let blocked = world.user("blocked").await.id;
    let record = Recorded::by_nobody(now());
    let block = world.store.block_user(&world.tenant, blocked, None, "", record);
    block.await.unwrap();
    let (left, gone) = (UserState::Deactivated, Some(StateReason::Gone));
    let removal = change(
        &world.user("deactivated").await,
        ChangeKind::Deactivate,
        left,
        gone,
    );
    let mut claimed = change(
        &world.user("ambiguous").await,
        ChangeKind::Update,
        UserState::Active,
        None,
    );
    claimed.login_ambiguous = true;
    world.run(vec![removal, claimed], now()).await;
    world.server.delete(&dn("gone")).unwrap();
    let guest = "changetype: modify\nreplace: employeeType\nemployeeType: guest\n";
    let outside = format!("dn: {}\n{guest}", dn("outside"));
    world.server.modify(&outside).unwrap();
    // What counts as the same password again must not depend on how fast the machine is.
    world.start_gateway(&[("throttle.replay", "1h")]).await;
    world
}

/// What is answered to the steps of a sequence. Those at once come in no order.
async fn answers(world: &World, login: &str, sequence: usize, steps: &[Step]) -> Vec<Vec<String>> {
    let mut told = Vec::new();
    for step in steps {
        let attempts = step.iter().map(|(password, is_addressed)| {
            let client_address = match is_addressed {
                true => "192.0.2.7".to_owned(),
                false => String::new(),
            };
            world.attempt(
                0,
                AuthenticateRequest {
                    client_address,
                    ..request(login, &format!("guess {password} of {sequence}"))
                },
            )
        });
        let mut answers = join_all(attempts).await;
        answers.sort();
        told.push(answers);
    }
    told
}

#[tokio::test(flavor = "multi_thread")]
async fn no_sequence_of_attempts_tells_whose_a_login_is() {
    let world = world().await;
    // The same password again and again, and at once; more than the limit allows, and some that were tried before.
    let same: Vec<Step> = vec![vec![(0, false)]; 6];
    let again: Vec<Step> = [0, 1, 2, 3, 0, 1, 2, 4]
        .map(|password| vec![(password, true)])
        .into();
    let at_once: Vec<Step> = vec![
        vec![(0, false); 5],
        (0..6).map(|password| (password, false)).collect(),
    ];
    // Of several passwords at once chance decides which gets the last slot, and so what a repeat is told later. So those at
    // once have one password, but for the end of the sequence above.
    let step = (0_u8..5, vec(any::<bool>(), 1..4)).prop_map(|(password, addressed)| {
        let attempts = addressed.into_iter().map(|is_addressed| (password, is_addressed));
        attempts.collect::<Step>()
    });
    let strategy = vec(step, 3..9);
    let mut runner = TestRunner::deterministic();
    let drawn = (0..SEQUENCES).map(|_| strategy.new_tree(&mut runner).unwrap().current());
    let mut outcomes = std::collections::BTreeSet::new();
    for (number, steps) in [same, again, at_once].into_iter().chain(drawn).enumerate() {
        world.sql("DELETE FROM login_throttles");
        let expected = answers(&world, EVERYBODY[0], number, &steps).await;
        for login in &EVERYBODY[1..] {
            let told = answers(&world, login, number, &steps).await;
            assert_eq!(told, expected, "{login} is told apart by {steps:?}");
        }
        outcomes.extend(expected.into_iter().flatten());
    }
    let both = ["DENIED INVALID_CREDENTIALS", "DENIED TOO_MANY_ATTEMPTS"].map(str::to_owned);
    assert_eq!(outcomes, both.into(), "every sequence ended alike");
}
