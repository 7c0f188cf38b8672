//! The directory and the database are cut at random moments, run after run; in the end the users are what
//! the directory shows, and every change was told once.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};
use rollcall_proto::v1::SyncRunState;
use rollcall_testkit::Ldif;
use system_tests::Backend;

use crate::company::{people_dn, person};
use crate::crowd::{Crowd, uid};

const PEOPLE: usize = 300;
const TIME: Duration = Duration::from_secs(75);
/// A seed to repeat, instead of a new one: ROLLCALL_CHAOS_SEED.
const SEED: &str = "ROLLCALL_CHAOS_SEED";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cut_directories_and_databases_leave_the_users_that_the_directory_has() -> Result<()> {
    let seed = match std::env::var(SEED) {
        Ok(seed) => seed.parse()?,
        Err(_) => SystemTime::now()
            .duration_since(UNIX_EPOCH)?
            .subsec_nanos()
            .into(),
    };
    let mut dice = Dice(seed);
    let mut crowd = Crowd::start(Backend::Postgres, PEOPLE).await?;
    let begin = Instant::now();
    let (mut runs, mut states) = (0, std::collections::BTreeMap::<&str, u32>::new());
    let mut next = PEOPLE;
    while begin.elapsed() < TIME {
        change(&crowd, &mut dice, &mut next).with_context(|| told(seed, runs))?;
        let started = crowd.start_run().await;
        disturb(&mut crowd, &mut dice)
            .await
            .with_context(|| told(seed, runs))?;
        let Ok(run) = started else { continue };
        let ended = crowd.rest(&run).await.with_context(|| told(seed, runs))?;
        assert_ne!(
            ended.state(),
            SyncRunState::Held,
            "{}: {ended:?}",
            told(seed, runs)
        );
        *states.entry(ended.state().as_str_name()).or_default() += 1;
        runs += 1;
    }
    let run = crowd.start_run().await?;
    let ended = crowd.rest(&run).await?;
    assert_eq!(
        ended.state(),
        SyncRunState::Succeeded,
        "{}: {ended:?}",
        told(seed, runs)
    );
    crowd
        .equals_the_directory()
        .await
        .with_context(|| told(seed, runs))?;
    let again = crowd.start_run().await?;
    let again = crowd.rest(&again).await?;
    assert_eq!(again.counts.unwrap().applied, 0, "{}", told(seed, runs));
    assert!(
        runs > 10 && states.len() > 1,
        "nothing happened: {states:?} with seed {seed}"
    );
    one_event_a_change(&crowd).with_context(|| told(seed, runs))
}

fn told(seed: u64, runs: u32) -> String {
    format!("{SEED}={seed}, after {runs} runs")
}

/// A random set of changes, small enough that no guard holds it.
fn change(crowd: &Crowd, dice: &mut Dice, next: &mut usize) -> Result<()> {
    let people: Vec<String> = crowd.in_directory()?.into_keys().collect();
    let mut changes = String::new();
    let first = dice.below(people.len());
    let count = dice.below(40);
    for uid in people.iter().cycle().skip(first).take(count) {
        let name = dice.below(1_000_000);
        let dn = format!("uid={uid},{}", people_dn());
        changes +=
            &format!("dn: {dn}\nchangetype: modify\nreplace: displayName\ndisplayName: {uid} {name}\n\n");
    }
    if dice.below(3) == 0 {
        changes += &format!(
            "dn: uid={},{}\nchangetype: delete\n\n",
            people[first],
            people_dn()
        );
    }
    if !changes.is_empty() {
        crowd.slapd.modify(&changes)?;
    }
    let mut new = Ldif::new();
    for _ in 0..dice.below(4) {
        let uid = uid(*next);
        *next += 1;
        person(&mut new, &uid, &format!("{uid}@company.test"), "secret");
    }
    if !new.as_str().is_empty() {
        crowd.slapd.add(new.as_str())?;
    }
    Ok(())
}

/// After a random while, cuts one of the two off for a random while.
async fn disturb(crowd: &mut Crowd, dice: &mut Dice) -> Result<()> {
    tokio::time::sleep(Duration::from_millis(dice.below(150) as u64)).await;
    let outage = Duration::from_millis(dice.below(400) as u64);
    match dice.below(4) {
        0 => {
            crowd.slapd.stop();
            tokio::time::sleep(outage).await;
            crowd.slapd.start()?;
        }
        1 => {
            crowd.slapd.pause()?;
            tokio::time::sleep(outage).await;
            crowd.slapd.resume()?;
        }
        2 => {
            let end = Instant::now() + outage;
            while Instant::now() < end {
                cut_connections(crowd)?;
            }
        }
        _ => cut_connections(crowd)?,
    }
    Ok(())
}

/// Ends every connection to the database, whatever it is doing.
fn cut_connections(crowd: &Crowd) -> Result<()> {
    let database = crowd.system.database.as_ref().context("no database")?;
    database.sql(
        "select pg_terminate_backend(pid) from pg_stat_activity
         where datname = current_database() and pid <> pg_backend_pid()",
    )?;
    Ok(())
}

/// The feed has no gap, and each revision of each user is in it once.
fn one_event_a_change(crowd: &Crowd) -> Result<()> {
    let database = crowd.system.database.as_ref().context("no database")?;
    let counts = database.sql(
        "select (select sum(revision) from users) = (select count(*) from user_events),
                (select max(position) from user_events) = (select count(*) from user_events)",
    )?;
    assert_eq!(counts.trim(), "t|t");
    Ok(())
}

/// A generator that a seed repeats (SplitMix64).
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        usize::try_from((bits ^ (bits >> 31)) % bound as u64).unwrap_or(0)
    }
}
