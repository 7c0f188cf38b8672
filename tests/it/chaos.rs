//! Many runs of several tenants while directories, database and worker are cut off, frozen and killed at
//! random moments. After every round the users are exactly those that `ldapsearch` shows, the feed tells how
//! they came to be, and nobody lost access who is in the directory.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result, anyhow, ensure};
use rollcall_proto::v1::SyncRunState;
use rollcall_testkit::{Postgres, Proxy, TestCa};
use system_tests::{Backend, System, number};
use tokio::sync::{Mutex, RwLock};
use tokio::task::JoinSet;

use self::lane::{Lane, begin_directory};
use self::sabotage::Saboteur;

mod lane;
mod sabotage;

const LANES: usize = 6;
const PEOPLE: usize = 40;
/// How many runs; 80 if it is not set.
const RUNS: &str = "ROLLCALL_CHAOS_RUNS";
/// A seed whose decisions are to be taken again, instead of a new one.
const SEED: &str = "ROLLCALL_CHAOS_SEED";

/// What the lanes share with whoever disturbs them.
struct World {
    /// Locked for writing while the worker is replaced.
    system: RwLock<System>,
    cluster: Mutex<Postgres>,
    /// The line of both services to the database.
    database: Proxy,
    /// Runs that came to rest.
    runs: AtomicUsize,
    wanted: usize,
}

impl World {
    fn goes_on(&self) -> bool {
        self.runs.load(Ordering::Relaxed) < self.wanted
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn disturbed_runs_leave_exactly_the_users_that_the_directory_shows() -> Result<()> {
    let new_seed = || {
        SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .map(|time| time.subsec_nanos().into())
    };
    let seed = number(SEED)?.map_or_else(new_seed, Ok)?;
    let wanted = usize::try_from(number(RUNS)?.unwrap_or(80))?;
    let outcome = chaos(seed, wanted).await;
    outcome.with_context(|| format!("{SEED}={seed} {RUNS}={wanted} takes the same decisions again"))
}

async fn chaos(seed: u64, wanted: usize) -> Result<()> {
    let ca = TestCa::new()?;
    let mut directories = Vec::new();
    for _ in 0..LANES {
        directories.push(begin_directory(&ca, PEOPLE).await?);
    }
    let cluster = tokio::task::spawn_blocking(Postgres::start).await??;
    let database = Proxy::start(cluster.address()).await?;
    let url = cluster
        .url("postgres")
        .replace(&cluster.address().to_string(), &database.address().to_string());
    let ports: Vec<u16> = directories
        .iter()
        .map(|(_, line)| line.address().port())
        .collect();
    let world = Arc::new(World {
        system: RwLock::new(System::start(Backend::Given(url), &ports).await?),
        cluster: Mutex::new(cluster),
        database,
        runs: AtomicUsize::new(0),
        wanted,
    });
    let mut lanes = Vec::new();
    for (number, (slapd, line)) in directories.into_iter().enumerate() {
        let lane = Lane::begin(world.clone(), number, slapd, line, &ca, PEOPLE).await?;
        lanes.push(Arc::new(lane));
    }

    let mut tasks = JoinSet::new();
    for lane in &lanes {
        let (lane, dice) = (lane.clone(), Dice(seed + 1 + lane.number as u64));
        tasks.spawn(async move {
            let lived = lane.live(dice).await;
            lived.with_context(|| format!("lane {}", lane.number))
        });
    }
    let saboteur = Saboteur::new(world.clone(), lanes.clone(), Dice(seed));
    tasks.spawn(async move {
        saboteur
            .work()
            .await
            .map(|()| BTreeMap::new())
            .context("the saboteur")
    });
    let mut states = BTreeMap::<SyncRunState, usize>::new();
    while let Some(ended) = tasks.join_next().await {
        for (state, count) in ended.map_err(|panic| anyhow!("{panic}"))?? {
            *states.entry(state).or_default() += count;
        }
    }

    for lane in &lanes {
        let counts = lane
            .undisturbed()
            .await
            .with_context(|| format!("lane {}", lane.number))?;
        ensure!(counts.applied == 0, "a run found something to do: {counts:?}");
    }
    let told = told_once(&world).await?;
    ensure!(told == "t|t|t|0", "the feed has gaps or doubles: {told}");
    ensure!(
        states.len() > 1 && states.values().sum::<usize>() >= wanted,
        "nothing was disturbed: {states:?}"
    );
    eprintln!("chaos with {SEED}={seed}: {states:?}");
    Ok(())
}

/// Whether each revision of each user has its event, neither feed has a gap, and how many revisions were told
/// twice.
async fn told_once(world: &World) -> Result<String> {
    let cluster = world.cluster.lock().await;
    let answer = cluster.sql(
        "postgres",
        "select (select sum(revision) from users) = (select count(*) from user_events),
                (select max(position) from user_events) = (select count(*) from user_events),
                (select bool_and(last = count) from (select max(tenant_position) as last, count(*) as count
                    from user_events group by tenant) feeds),
                (select count(*) from (select 1 from user_events
                    group by tenant, user_id, user_after::json ->> 'revision' having count(*) > 1) doubles)",
    )?;
    Ok(answer.trim().to_owned())
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
