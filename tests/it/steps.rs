//! A worker that is killed within each write of a run, on both stores: the next one carries the run to the end
//! that it would have had.
//!
//! A trigger in the database makes exactly that write take long, so that the kill comes within its transaction.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1::{self, SyncRunMode, SyncRunState};
use rollcall_testkit::{Ldif, wait_for};
use system_tests::{Backend, Service};
use tokio::task::JoinHandle;

use crate::company::person;
use crate::crowd::Crowd;

/// Two chunks of a plan.
const PEOPLE: usize = 1_100;
/// Enough to be held when they leave.
const LEAVING: usize = 700;
const LIMIT: Duration = Duration::from_secs(60);

/// A write, as a trigger knows it: the table, what happens to it, and which rows are meant.
struct Step {
    name: &'static str,
    write: &'static str,
    when: &'static str,
}

impl Step {
    fn is_of_apply(&self) -> bool {
        ["first chunk applied", "last chunk applied", "events", "end"].contains(&self.name)
    }
}

const fn step(name: &'static str, write: &'static str, when: &'static str) -> Step {
    Step { name, write, when }
}

/// Every write of a run that applies at once, in order.
const APPLIED: [Step; 11] = [
    step("creation", "INSERT ON sync_runs", "NEW.state = 'PENDING'"),
    step(
        "begin of the pull",
        "UPDATE ON sync_runs",
        "OLD.state = 'PENDING' AND NEW.state = 'PULLING'",
    ),
    step(
        "progress",
        "UPDATE ON sync_runs",
        "OLD.state = 'PULLING' AND NEW.state = 'PULLING'",
    ),
    step(
        "first chunk of the plan",
        "INSERT ON sync_plan_chunks",
        "NEW.chunk = 0",
    ),
    step(
        "last chunk of the plan",
        "INSERT ON sync_plan_chunks",
        "NEW.chunk = 1",
    ),
    step("issues", "INSERT ON sync_run_issues", "true"),
    step(
        "end of the plan",
        "UPDATE ON sync_runs",
        "OLD.state = 'PULLING' AND NEW.state = 'APPLYING'",
    ),
    step(
        "first chunk applied",
        "UPDATE ON sync_runs",
        "OLD.applied_chunks = 0 AND NEW.applied_chunks = 1",
    ),
    step(
        "last chunk applied",
        "UPDATE ON sync_runs",
        "OLD.applied_chunks = 1 AND NEW.applied_chunks = 2",
    ),
    step("events", "INSERT ON user_events", "NEW.position % 1000 = 0"),
    step(
        "end",
        "UPDATE ON sync_runs",
        "OLD.state = 'APPLYING' AND NEW.end_time IS NOT NULL",
    ),
];

/// The writes that have to do with a plan that waits for a person.
const PREVIEW: Step = step(
    "preview ready",
    "UPDATE ON sync_runs",
    "OLD.state = 'PULLING' AND NEW.state = 'PLANNED'",
);
const HELD: Step = step(
    "held",
    "UPDATE ON sync_runs",
    "OLD.state = 'PULLING' AND NEW.state = 'HELD'",
);
const RELEASE: Step = step(
    "release",
    "UPDATE ON sync_runs",
    "OLD.state IN ('PLANNED', 'HELD') AND NEW.state = 'APPLYING'",
);

/// Matrix case 64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_within_each_write_changes_nothing_on_sqlite() -> Result<()> {
    every_step(Backend::Sqlite).await
}

/// Matrix case 64.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kill_within_each_write_changes_nothing_on_postgresql() -> Result<()> {
    every_step(Backend::Postgres).await
}

/// Matrix case 64: the worker lives, but its connection to the database ends within each write of an apply.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_goes_away_in_mid_apply_costs_nothing_but_time() -> Result<()> {
    let crowd = begin_crowd(Backend::Postgres).await?;
    for step in APPLIED.iter().filter(|step| step.is_of_apply()) {
        crowd.rename_all(step.name).await?;
        let events = crowd.events().await?;
        let begin = begin(&crowd, SyncRunMode::Apply).await?;
        let call = within(&crowd, step, begin).await?;
        let_go(&crowd, step)?;
        call.await??;
        let run = crowd.list_runs().await?.swap_remove(0).name;
        let ended = crowd.rest(&run).await?;
        let well = ends_well(&crowd, &ended, PEOPLE, events).await;
        well.with_context(|| format!("cut at: {}", step.name))?;
    }
    Ok(())
}

async fn every_step(backend: Backend) -> Result<()> {
    let mut crowd = begin_crowd(backend).await?;
    for step in &APPLIED {
        crowd.rename_all(step.name).await?;
        let applied = applied(&mut crowd, step).await;
        applied.with_context(|| format!("killed at: {}", step.name))?;
    }
    crowd.rename_all(PREVIEW.name).await?;
    waited(&mut crowd, &PREVIEW, SyncRunState::Planned, PEOPLE).await?;
    crowd.delete(0..LEAVING).await?;
    waited(&mut crowd, &HELD, SyncRunState::Held, LEAVING).await
}

/// A crowd after its first run, and one whose login is too short: an issue of every run.
async fn begin_crowd(backend: Backend) -> Result<Crowd> {
    let crowd = Crowd::start(backend, PEOPLE).await?;
    let mut odd = Ldif::new();
    person(&mut odd, "x", "x@company.test", "secret");
    crowd.slapd.add(odd.as_str())?;
    let first = crowd.system.run(&crowd.sync(), SyncRunMode::Apply).await?;
    ensure!(first.state() == SyncRunState::SucceededWithIssues, "{first:?}");
    Ok(crowd)
}

/// The run applies everything, once.
async fn applied(crowd: &mut Crowd, step: &Step) -> Result<()> {
    let events = crowd.events().await?;
    let runs = crowd.list_runs().await?.len();
    let begin = begin(crowd, SyncRunMode::Apply).await?;
    kill_within(crowd, step, begin).await?;
    if crowd.list_runs().await?.len() == runs {
        // It never began, though its lease is held until it ends.
        let started = async || crowd.start_run().await.is_ok();
        wait_for("a run to begin", LIMIT, started).await?;
    }
    let found = crowd.list_runs().await?;
    ensure!(found.len() == runs + 1, "{} runs more", found.len() - runs);
    let ended = crowd.rest(&found[0].name).await?;
    ends_well(crowd, &ended, PEOPLE, events).await
}

/// The plan waits as if nobody had died, and is released once.
async fn waited(crowd: &mut Crowd, step: &Step, state: SyncRunState, changes: usize) -> Result<()> {
    let events = crowd.events().await?;
    let mode = match state {
        SyncRunState::Planned => SyncRunMode::Preview,
        _ => SyncRunMode::Apply,
    };
    let begin = begin(crowd, mode).await?;
    kill_within(crowd, step, begin).await?;
    let run = crowd.list_runs().await?.swap_remove(0).name;
    let rests = crowd.rest(&run).await?;
    ensure!(
        rests.state() == state && crowd.events().await? == events,
        "{rests:?}"
    );

    let release = release(crowd, &run).await?;
    kill_within(crowd, &RELEASE, release).await?;
    ensure!(
        crowd.state(&run).await? == state,
        "released though the write was cut"
    );
    let released = async || match self::release(crowd, &run).await {
        Ok(release) => release.await.is_ok(),
        Err(_) => false,
    };
    wait_for("the release", LIMIT, released).await?;
    let ended = crowd.rest(&run).await?;
    ends_well(crowd, &ended, changes, events).await
}

async fn ends_well(crowd: &Crowd, ended: &v1::SyncRun, changes: usize, events: usize) -> Result<()> {
    ensure!(ended.state() == SyncRunState::SucceededWithIssues, "{ended:?}");
    ensure!(
        ended
            .counts
            .is_some_and(|counts| counts.applied == changes as i64),
        "{ended:?}"
    );
    ensure!(
        ended.issue_counts.iter().map(|issues| issues.count).sum::<i64>() == 1,
        "{ended:?}"
    );
    let new = crowd.events().await? - events;
    ensure!(new == changes, "{new} events for {changes} changes");
    crowd.equals_the_directory().await
}

/// A call that starts a run.
async fn begin(crowd: &Crowd, mode: SyncRunMode) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
    let mut client = crowd.system.user_syncs().await?;
    let request = v1::RunUserSyncRequest {
        name: crowd.sync(),
        mode: mode.into(),
        ..v1::RunUserSyncRequest::default()
    };
    Ok(async move { Ok(client.run_user_sync(request).await.map(drop)?) })
}

/// A call that releases a plan.
async fn release(crowd: &Crowd, run: &str) -> Result<impl Future<Output = Result<()>> + Send + use<>> {
    let mut client = crowd.system.runs().await?;
    let request = v1::ApplySyncRunRequest { name: run.to_owned() };
    Ok(async move { Ok(client.apply_sync_run(request).await.map(drop)?) })
}

/// Makes the call, kills the worker as soon as it is within the step, and starts another one.
async fn kill_within(
    crowd: &mut Crowd,
    step: &Step,
    call: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<()> {
    let call = within(crowd, step, call).await?;
    crowd.system.worker.kill()?;
    // Its connection broke, or it was answered before.
    let _ = call.await?;
    let_go(crowd, step)?;
    crowd.system.worker = Service::start("sync-worker", &crowd.system.config("worker"))?;
    Ok(())
}

/// Makes the call, and waits until the worker is within the step.
async fn within(
    crowd: &Crowd,
    step: &Step,
    call: impl Future<Output = Result<()>> + Send + 'static,
) -> Result<JoinHandle<Result<()>>> {
    let Step { write, when, .. } = step;
    let slow = match &crowd.system.database {
        Some(database) => {
            database.sql(
                "create or replace function take_long() returns trigger language plpgsql
                 as $$ begin perform pg_sleep(120); return new; end $$",
            )?;
            format!(
                "CREATE TRIGGER slow BEFORE {write} FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION take_long()"
            )
        }
        // A trigger may not wait on SQLite, but count.
        None => format!(
            "CREATE TRIGGER slow BEFORE {write} WHEN {when} BEGIN
                SELECT count(*) FROM users a, users b, users c, users d
                WHERE a.revision < b.revision - c.revision - d.revision;
             END"
        ),
    };
    crowd.sql(&slow)?;
    let call = tokio::spawn(call);
    let within = async || is_within(crowd).unwrap_or_default();
    wait_for("the write", LIMIT, within).await?;
    Ok(call)
}

/// Ends the connection that is within the step, whoever had it, and lets writes be as fast as before.
fn let_go(crowd: &Crowd, step: &Step) -> Result<()> {
    let (_, table) = step.write.split_once(" ON ").context("no table")?;
    let Some(database) = &crowd.system.database else {
        return crowd.sql("DROP TRIGGER slow");
    };
    let end = format!("select pg_terminate_backend(pid) from pg_stat_activity where {SLEEPS}");
    // Whoever is served next may come to the same step before the trigger is gone.
    database.sql(&format!("begin; {end}; drop trigger slow on {table}; commit"))?;
    Ok(())
}

const SLEEPS: &str = "datname = current_database() and wait_event = 'PgSleep'";

/// True while the trigger makes a write last.
fn is_within(crowd: &Crowd) -> Result<bool> {
    match &crowd.system.database {
        Some(database) => {
            let sleeping = database.sql(&format!("select count(*) from pg_stat_activity where {SLEEPS}"))?;
            Ok(sleeping.trim() != "0")
        }
        // No other write keeps the lock for that long.
        None => Ok(crowd.sql("BEGIN IMMEDIATE").is_err()),
    }
}
