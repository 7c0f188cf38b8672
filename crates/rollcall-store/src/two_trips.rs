//! How logins are committed on PostgreSQL while nobody else touches their counters: one query reads, and one statement
//! writes if what was read is still so. A transaction that locks first takes twice as many round trips; it is left
//! for the rest ([`crate::login_writer`]).

use std::collections::BTreeSet;

use sea_orm::FromQueryResult;
use uuid::Uuid;

use crate::audit;
use crate::database::Engine;
use crate::error::{Result, StoreError};
use crate::few_trips::{Durability, Parts};
use crate::login_target::{Revisions, revisions};
use crate::login_writer::{Basis, Job, Outcome, durability};
use crate::own_connection::OwnConnection;
use crate::throttles::{self, Key};

/// Makes what is written depend on the comparison.
const IF_SAME: &str = "(SELECT ok FROM same)";

/// Commits jobs. `None` if nothing was written, since it takes a transaction.
pub(crate) async fn commit(connection: &mut OwnConnection, jobs: &[Job]) -> Result<Option<Vec<Outcome>>> {
    if jobs.iter().any(|job| job.refusal().is_some()) {
        return Ok(None);
    }
    let Some(query) = query(jobs) else {
        return Ok(None);
    };
    let mut basis = read(connection, query).await?;
    if !basis.is_complete(jobs) {
        return Ok(None);
    }
    let (outcomes, events) = basis.decide(jobs);
    let (comparison, mut values) = basis.counters.comparison(1);
    let mut sql = format!("WITH same AS ({comparison})");
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
    if values.is_empty() {
        return Ok(Some(outcomes));
    }
    sql += match durability(jobs) {
        Durability::OfMachine => " SELECT ok FROM same",
        Durability::OfProcess => " SELECT ok, set_config('synchronous_commit', 'off', true) FROM same",
    };
    let written = connection.go_on(vec![(sql, values)]).await?;
    let same = written.iter().flatten().next();
    let same = same.ok_or(StoreError::corrupt("a comparison has no outcome"))?;
    let ok: bool = same.try_get("", "ok")?;
    Ok(ok.then_some(outcomes))
}

/// A counter, or the revisions that a user's login is decided by, in columns of the same types.
#[derive(FromQueryResult)]
struct Row {
    is_counter: bool,
    tenant: String,
    subject: String,
    one: i64,
    two: i64,
    three: Option<i64>,
    four: Option<i64>,
}

async fn read(connection: &mut OwnConnection, query: Parts) -> Result<Basis> {
    let (mut counters, mut users) = (Vec::new(), Vec::new());
    for row in connection.start(vec![query]).await?.iter().flatten() {
        let row = Row::from_query_result(row, "")?;
        match row.is_counter {
            true => counters.push(row.into_counter()),
            false => users.push(row.into_revisions()?),
        }
    }
    Basis::new(counters, users)
}

/// `None` if there is nothing to read.
fn query(jobs: &[Job]) -> Option<Parts> {
    let keys: BTreeSet<Key> = jobs.iter().flat_map(Job::keys).collect();
    let counters = throttles::selection(&keys, Engine::Postgres, 1);
    let first = counters.as_ref().map_or(0, |(_, values)| values.len()) + 1;
    let users = revisions(jobs.iter().filter_map(Job::expected), Engine::Postgres, first);
    let (mut queries, mut values) = (Vec::new(), Vec::new());
    if let Some((sql, more)) = counters {
        queries.push(format!(
            "SELECT TRUE AS is_counter, tenant, subject, window_start AS one, last_time AS two, failures AS three,
                reserved AS four FROM ({sql}) AS counters"
        ));
        values.extend(more);
    }
    if let Some((sql, more)) = users {
        queries.push(format!(
            "SELECT FALSE AS is_counter, tenant, CAST(id AS text) AS subject, revision AS one,
                tenant_revision AS two, user_sync_revision AS three, directory_revision AS four
            FROM ({sql}) AS users"
        ));
        values.extend(more);
    }
    (!queries.is_empty()).then(|| (queries.join(" UNION ALL "), values))
}

impl Row {
    fn into_counter(self) -> throttles::Row {
        throttles::Row {
            tenant: self.tenant,
            subject: self.subject,
            window_start: self.one,
            last_time: self.two,
            failures: self.three.unwrap_or_default(),
            reserved: self.four.unwrap_or_default(),
        }
    }

    fn into_revisions(self) -> Result<Revisions> {
        let id = Uuid::parse_str(&self.subject);
        Ok(Revisions {
            tenant: self.tenant,
            id: id.map_err(|error| StoreError::corrupt_by("a stored id is malformed", error))?,
            revision: self.one,
            tenant_revision: self.two,
            user_sync_revision: self.three,
            directory_revision: self.four,
        })
    }
}
