//! Commits a batch of jobs on PostgreSQL in two round trips, if nobody else changes the same counters meanwhile.
//!
//! One query reads the counters. Then one statement writes, if the counters are still the same and nothing has changed
//! that the verdicts rely on. A transaction that locks first takes twice as many round trips
//! ([`super::locking_commit`]).

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};

use crate::audit;
use crate::db::dedicated_connection::DedicatedConnection;
use crate::db::engine::Engine;
use crate::db::pipeline::Durability;
use crate::db::row::FromRow;
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::login::job::{Job, JobOutcome, durability};
use crate::login::last_logins;
use crate::login::snapshot::{Decided, Snapshot};
use crate::login::soft_lock::counters::Counters;
use crate::login::soft_lock::rows::{self as counter_rows, CounterRow, Key};
use crate::login::target_rows::compare_revisions;

/// The condition that makes each write depend on the comparison.
const IF_SAME: &str = "(SELECT ok FROM same)";

/// Commits all jobs. `None` if nothing was written, because something changed or a job needs a transaction.
pub(super) async fn commit(
    connection: &mut DedicatedConnection,
    jobs: &[Job],
) -> Result<Option<Vec<JobOutcome>>> {
    if jobs.iter().any(|job| job.refusal().is_some()) {
        return Ok(None);
    }
    let Some((counters, now)) = read_counters(connection, jobs).await? else {
        return Ok(None);
    };
    let mut snapshot = Snapshot {
        now,
        counters,
        // If a target has changed, the statement writes nothing.
        changed: HashMap::new(),
    };
    if !snapshot.has_all_counters(jobs) {
        return Ok(None);
    }
    let Decided {
        outcomes,
        events,
        logins,
    } = snapshot.decide(jobs);
    let (same_counters, mut values) = counter_rows::compare_and_lock(snapshot.counters.before(), 1);
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
    sql += match durability(jobs) {
        Durability::MachineCrash => " SELECT ok FROM same",
        Durability::ProcessCrash => " SELECT ok, set_config('synchronous_commit', 'off', true) FROM same",
    };
    let written = connection.send(&[(sql, values)]).await?;
    let same = written.iter().flatten().next();
    let same = same.ok_or(StoreError::corrupt("a comparison has no outcome"))?;
    let ok: bool = same.get("ok")?;
    Ok(ok.then_some(outcomes))
}

/// Reads the counters, and the database's time. `None` if there are none: the connection may have been lost since it was
/// last used, and only a read can be sent again.
async fn read_counters(
    connection: &mut DedicatedConnection,
    jobs: &[Job],
) -> Result<Option<(Counters, DateTime<Utc>)>> {
    let keys: BTreeSet<Key> = jobs.iter().flat_map(Job::keys).collect();
    let Some(query) = counter_rows::select(&keys, Engine::Postgres, 1) else {
        return Ok(None);
    };
    let found = connection.send_first(&[query]).await?;
    let rows = found.iter().flatten();
    let rows: Vec<CounterRow> = rows.map(CounterRow::from_row).collect::<Result<_>>()?;
    let Some(now) = rows.iter().map(|row| row.now).max() else {
        return Ok(None);
    };
    Ok(Some((
        Counters::new(counter_rows::read(rows)?),
        from_micros(now)?,
    )))
}
