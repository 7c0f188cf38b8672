//! Commits a batch of jobs in a transaction that locks the counters first. Works on both engines and for all jobs.

use std::collections::{HashMap, HashSet};

use rollcall_core::id::{TenantId, UserId};

use crate::audit;
use crate::db::dedicated_connection::DedicatedConnection;
use crate::db::engine::Engine;
use crate::db::pipeline::{PipelinedTransaction, Script};
use crate::db::row::from_row;
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::login::job::{Job, JobOutcome, durability};
use crate::login::last_logins;
use crate::login::refusals;
use crate::login::snapshot::{Decided, Snapshot};
use crate::login::soft_lock::counters::Counters;
use crate::login::soft_lock::rows as counter_rows;
use crate::login::target::LoginTarget;
use crate::login::target_rows::{Revisions, TargetRow, select_revisions, select_targets};

/// Commits all jobs or none.
pub(super) async fn commit(connection: &mut DedicatedConnection, jobs: &[Job]) -> Result<Vec<JobOutcome>> {
    if let Some(outcomes) = try_commit(connection, jobs, Missing::GiveUp).await? {
        return Ok(outcomes);
    }
    let outcomes = try_commit(connection, jobs, Missing::Insert).await?;
    outcomes.ok_or(StoreError::corrupt("a counter that was made is missing"))
}

struct Time {
    now: i64,
}

from_row!(Time { now });

/// What to do about counters that do not exist.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Missing {
    /// Roll back, since a row that does not exist cannot be locked.
    GiveUp,
    /// Insert them before anything is locked, so that all transactions lock in the same order.
    Insert,
}

/// `None` if a counter is missing that has to be inserted first.
async fn try_commit(
    connection: &mut DedicatedConnection,
    jobs: &[Job],
    missing: Missing,
) -> Result<Option<Vec<JobOutcome>>> {
    let engine = connection.engine();
    let mut reads = Script::of_reads(engine);
    let time = reads.push(|engine, _| Ok(Some((format!("SELECT {} AS now", engine.now()), Vec::new()))))?;
    if missing == Missing::Insert {
        let wanted = jobs.iter().flat_map(Job::reserved).collect();
        reads.push(|_, _| Ok(counter_rows::insert_missing(&wanted)))?;
    }
    let keys = jobs.iter().flat_map(Job::keys).collect();
    let counters = reads.push(|engine, first| Ok(counter_rows::select_for_update(&keys, engine, first)))?;
    let expected = jobs.iter().filter_map(Job::expected);
    let revisions = reads.push(|engine, first| Ok(select_revisions(expected, engine, first)))?;
    let (mut tx, found) = PipelinedTransaction::begin(connection, durability(jobs), reads).await?;
    let time: Option<Time> = found.rows(time)?.pop();
    let time = time.ok_or(StoreError::corrupt("the database does not tell the time"))?;
    let mut snapshot = Snapshot {
        now: from_micros(time.now)?,
        counters: Counters::new(counter_rows::read(found.rows(counters)?)?),
        changed: HashMap::new(),
    };
    if engine == Engine::Postgres && !snapshot.has_all_counters(jobs) {
        tx.roll_back().await?;
        return Ok(None);
    }
    snapshot.changed = changed_targets(&mut tx, engine, jobs, found.rows(revisions)?).await?;
    let Decided {
        outcomes,
        mut events,
        logins,
    } = snapshot.decide(jobs);
    events.extend(refusals::count(&mut tx, engine, jobs.iter().filter_map(Job::refusal)).await?);
    let mut writes = Script::of_writes(engine);
    writes.push(|engine, first| {
        Ok(counter_rows::upsert(
            snapshot.counters.after(),
            "true",
            engine,
            first,
        ))
    })?;
    writes.push(|engine, first| audit::insertion(events.into_iter(), "true", engine, first))?;
    writes.push(|engine, first| Ok(last_logins::note(&logins, "true", engine, first)))?;
    tx.commit(writes).await?;
    Ok(Some(outcomes))
}

/// Reads in full the few targets whose revisions are not what a job expects.
async fn changed_targets(
    tx: &mut PipelinedTransaction<'_>,
    engine: Engine,
    jobs: &[Job],
    now: Vec<Revisions>,
) -> Result<HashMap<(TenantId, UserId), Option<LoginTarget>>> {
    let now: HashSet<Revisions> = now.into_iter().collect();
    let expected = jobs.iter().filter_map(Job::expected);
    let stale: Vec<_> = expected
        .filter(|target| !now.contains(&Revisions::of(target)))
        .collect();
    let mut changed: HashMap<_, _> = stale.iter().map(|target| (target.user_key(), None)).collect();
    if let Some((sql, cells)) = select_targets(stale.into_iter(), engine) {
        for row in tx.rows::<TargetRow>(sql, cells).await? {
            let target = row.into_domain()?;
            changed.insert(target.user_key(), Some(target));
        }
    }
    Ok(changed)
}
