//! How logins are committed on PostgreSQL while nobody else touches their counters: one query reads the counters, and
//! one statement writes if they are still so and nothing has changed that the verdicts rely on. That statement is the
//! last look at the users. A transaction that locks first takes twice as many round trips; it is left for the rest
//! ([`crate::login::group_commit`]).

use std::collections::{BTreeSet, HashMap};

use sea_orm::FromQueryResult;

use crate::audit;
use crate::db::dedicated_connection::DedicatedConnection;
use crate::db::engine::Engine;
use crate::db::pipeline::Durability;
use crate::error::{Result, StoreError};
use crate::login::group_commit::{Basis, Job, Outcome, durability};
use crate::login::soft_lock::{self, Counters, Key};
use crate::login::target;

/// Makes what is written depend on the comparison.
const IF_SAME: &str = "(SELECT ok FROM same)";

/// Commits jobs. `None` if nothing was written, since it takes a transaction.
pub(crate) async fn commit(
    connection: &mut DedicatedConnection,
    jobs: &[Job],
) -> Result<Option<Vec<Outcome>>> {
    if jobs.iter().any(|job| job.refusal().is_some()) {
        return Ok(None);
    }
    let Some(counters) = read(connection, jobs).await? else {
        return Ok(None);
    };
    let mut basis = Basis {
        counters,
        // So it is, or nothing is written.
        changed: HashMap::new(),
    };
    if !basis.is_complete(jobs) {
        return Ok(None);
    }
    let (outcomes, events) = basis.decide(jobs);
    let (counted, mut values) = basis.counters.comparison(1);
    let expected = jobs.iter().filter_map(Job::expected);
    let looked = match target::comparison(expected, values.len() + 1) {
        Some((sql, more)) => {
            values.extend(more);
            sql
        }
        None => "SELECT TRUE AS ok".to_owned(),
    };
    let mut sql = format!(
        "WITH counted AS ({counted}), looked AS ({looked}),
        same AS (SELECT counted.ok AND looked.ok AS ok FROM counted, looked)"
    );
    let first = values.len() + 1;
    if let Some((saving, more)) = basis.counters.saving(IF_SAME, Engine::Postgres, first) {
        sql += &format!(", saved AS ({saving})");
        values.extend(more);
    }
    let first = values.len() + 1;
    if let Some((insertion, more)) = audit::insertion(events.into_iter(), IF_SAME, Engine::Postgres, first)? {
        sql += &format!(", audited AS ({insertion})");
        values.extend(more);
    }
    sql += match durability(jobs) {
        Durability::MachineCrash => " SELECT ok FROM same",
        Durability::ProcessCrash => " SELECT ok, set_config('synchronous_commit', 'off', true) FROM same",
    };
    let written = connection.send(vec![(sql, values)]).await?;
    let same = written.iter().flatten().next();
    let same = same.ok_or(StoreError::corrupt("a comparison has no outcome"))?;
    let ok: bool = same.try_get("", "ok")?;
    Ok(ok.then_some(outcomes))
}

/// `None` if there is nothing to read: what only writes must not be the first that a connection carries, which may have
/// been lost.
async fn read(connection: &mut DedicatedConnection, jobs: &[Job]) -> Result<Option<Counters>> {
    let keys: BTreeSet<Key> = jobs.iter().flat_map(Job::keys).collect();
    let Some(query) = soft_lock::selection(&keys, Engine::Postgres, 1) else {
        return Ok(None);
    };
    let found = connection.send_first(vec![query]).await?;
    let rows = found.iter().flatten();
    let rows = rows.map(|row| soft_lock::Row::from_query_result(row, ""));
    Counters::of(rows.collect::<std::result::Result<_, _>>()?).map(Some)
}
