//! Commits a batch of jobs on PostgreSQL in one round trip or two, if nobody else changes the same counters meanwhile.
//!
//! One query reads the counters, unless they are [`recent`](super::recent). One statement then writes, if the counters are still
//! the same and nothing has changed that the verdicts rely on. A transaction that locks first takes four round trips
//! ([`super::locking_commit`]).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rollcall_core::throttle::ThrottleState;
use tokio::time::Instant;

use crate::audit;
use crate::db::dedicated_connection::DedicatedConnection;
use crate::db::engine::Engine;
use crate::db::pipeline::Durability;
use crate::db::row::FromRow;
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::login::job::{Job, JobOutcome, durability};
use crate::login::last_logins;
use crate::login::recent::Recent;
use crate::login::snapshot::{Decided, Snapshot};
use crate::login::soft_lock::Reserved;
use crate::login::soft_lock::counters::Counters;
use crate::login::soft_lock::rows::{self as counter_rows, CounterRow, Key};
use crate::login::target_rows::compare_revisions;

/// The condition that makes each write depend on the comparison.
const IF_SAME: &str = "(SELECT ok FROM same)";

/// Commits all jobs. `None` if nothing was written, because something changed or a job needs a transaction.
pub(super) async fn commit(
    connection: &mut DedicatedConnection,
    recent: &mut Recent,
    jobs: &[Job],
) -> Result<Option<Vec<JobOutcome>>> {
    let done = try_both(connection, recent, jobs).await;
    if done.is_err() {
        recent.forget_all();
    }
    done
}

async fn try_both(
    connection: &mut DedicatedConnection,
    recent: &mut Recent,
    jobs: &[Job],
) -> Result<Option<Vec<JobOutcome>>> {
    if jobs.iter().any(|job| job.refusal().is_some()) {
        return Ok(None);
    }
    let keys: BTreeSet<Key> = jobs.iter().flat_map(Job::keys).collect();
    if let Some((counters, now)) = recent.find(&keys, Instant::now()) {
        let basis = Basis {
            compared: Some(counters.clone()),
            counters,
            now,
        };
        match write(connection, recent, jobs, basis).await? {
            Written::All(outcomes) => return Ok(Some(outcomes)),
            Written::NotForTargets => return Ok(None),
            Written::NotForCounters => {}
        }
    }
    let Some((counters, now)) = read_counters(connection, &keys).await? else {
        return Ok(None);
    };
    let basis = Basis {
        counters,
        now,
        compared: None,
    };
    match write(connection, recent, jobs, basis).await? {
        Written::All(outcomes) => Ok(Some(outcomes)),
        Written::NotForTargets | Written::NotForCounters => Ok(None),
    }
}

/// What came of a batch.
enum Written {
    All(Vec<JobOutcome>),
    /// Nothing, since something has changed that a verdict relies on.
    NotForTargets,
    /// Nothing, since the counters are not what they were taken for, or do not suffice.
    NotForCounters,
}

/// What a batch is decided by.
struct Basis {
    counters: HashMap<Key, ThrottleState>,
    /// The database's time.
    now: DateTime<Utc>,
    /// The counters to compare with; `None` if they were read just now, so that those that change are enough.
    compared: Option<HashMap<Key, ThrottleState>>,
}

async fn write(
    connection: &mut DedicatedConnection,
    recent: &mut Recent,
    jobs: &[Job],
    basis: Basis,
) -> Result<Written> {
    let Basis {
        counters,
        now,
        compared,
    } = basis;
    let mut snapshot = Snapshot {
        now,
        counters: Counters::new(counters),
        // If one has changed, the statement writes nothing.
        changed: HashMap::new(),
    };
    if !snapshot.has_all_counters(jobs) {
        return Ok(Written::NotForCounters);
    }
    let Decided {
        outcomes,
        events,
        logins,
    } = snapshot.decide(jobs);
    // Nobody is refused for what may be old.
    if compared.is_some() && outcomes.iter().any(is_refusal) {
        return Ok(Written::NotForCounters);
    }
    let (same_counters, mut values) = match &compared {
        Some(compared) => counter_rows::compare_and_lock(in_order(compared).into_iter(), 1),
        None => counter_rows::compare_and_lock(snapshot.counters.before(), 1),
    };
    let expected = jobs.iter().filter_map(Job::expected);
    let same_targets = match compare_revisions(expected, values.len() + 1) {
        Some((sql, more)) => {
            values.extend(more);
            sql
        }
        None => "SELECT TRUE AS ok".to_owned(),
    };
    let mut sql = format!(
        "WITH same_counters AS ({same_counters}), same_targets AS ({same_targets}),
        same AS (SELECT same_counters.ok AND same_targets.ok AS ok FROM same_counters, same_targets)"
    );
    let first = values.len() + 1;
    if let Some((upsert, more)) =
        counter_rows::upsert(snapshot.counters.after(), IF_SAME, Engine::Postgres, first)
    {
        sql += &format!(", counters_written AS ({upsert})");
        values.extend(more);
    }
    let first = values.len() + 1;
    if let Some((insertion, more)) = audit::insertion(events.into_iter(), IF_SAME, Engine::Postgres, first)? {
        sql += &format!(", audit_written AS ({insertion})");
        values.extend(more);
    }
    if let Some((noting, more)) = last_logins::note(&logins, IF_SAME, Engine::Postgres, values.len() + 1) {
        sql += &format!(", logins_noted AS ({noting})");
        values.extend(more);
    }
    let durability = match durability(jobs) {
        Durability::MachineCrash => "",
        Durability::ProcessCrash => ", set_config('synchronous_commit', 'off', true)",
    };
    let now = Engine::Postgres.now();
    sql += &format!(
        " SELECT same.ok, same_counters.ok AS same_counters, {now} AS now{durability} FROM same, same_counters"
    );
    let written = connection.send(&[(sql, values)]).await?;
    let here = Instant::now();
    let same = written.iter().flatten().next();
    let same = same.ok_or(StoreError::corrupt("a comparison has no outcome"))?;
    recent.set_clock(from_micros(same.get("now")?)?, here);
    if same.get("ok")? {
        let ended = jobs.iter().filter(|job| job.reserved().is_empty());
        let ended = ended.flat_map(Job::keys).collect();
        recent.keep(snapshot.counters.after(), &ended, here);
        return Ok(Written::All(outcomes));
    }
    if same.get("same_counters")? {
        return Ok(Written::NotForTargets);
    }
    if compared.is_some() {
        recent.distrust(here);
    }
    Ok(Written::NotForCounters)
}

fn is_refusal(outcome: &JobOutcome) -> bool {
    matches!(outcome, JobOutcome::Reserved(Reserved::Wait { .. }))
}

/// In the order in which rows are locked everywhere.
fn in_order(counters: &HashMap<Key, ThrottleState>) -> Vec<(&Key, &ThrottleState)> {
    let mut counters: Vec<_> = counters.iter().collect();
    counters.sort_unstable_by_key(|(key, _)| *key);
    counters
}

/// Reads the counters, and the database's time. `None` if there are none: the connection may have been lost since it was
/// last used, and only a read can be sent again.
async fn read_counters(
    connection: &mut DedicatedConnection,
    keys: &BTreeSet<Key>,
) -> Result<Option<(HashMap<Key, ThrottleState>, DateTime<Utc>)>> {
    let Some(query) = counter_rows::select(keys, Engine::Postgres, 1) else {
        return Ok(None);
    };
    let found = connection.send_first(&[query]).await?;
    let rows = found.iter().flatten();
    let rows: Vec<CounterRow> = rows.map(CounterRow::from_row).collect::<Result<_>>()?;
    let Some(now) = rows.iter().map(|row| row.now).max() else {
        return Ok(None);
    };
    Ok(Some((counter_rows::read(rows)?, from_micros(now)?)))
}
