//! Counters in the table `login_throttles`.

use std::collections::{BTreeSet, HashMap};

use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::{SoftLockCounter, SoftLockSubject};
use sea_orm::FromQueryResult;

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::Statement;
use crate::db::row::from_row;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::Result;

/// A counter's primary key: tenant and subject.
pub(in crate::login) type Key = (String, String);

/// The key of a subject's counter.
pub(in crate::login) fn key(tenant: &TenantId, subject: &SoftLockSubject) -> Key {
    let subject = match subject {
        SoftLockSubject::User(user) => format!("user/{user}"),
        SoftLockSubject::UserAt(user, address) => format!("user/{user}/at/{address}"),
        SoftLockSubject::UnknownLogin(hash) => format!("login/{hash}"),
        SoftLockSubject::Client(address) => format!("client/{address}"),
    };
    (tenant.to_string(), subject.replace('\0', "\u{fffd}"))
}

/// A counter as it is stored.
#[derive(FromQueryResult)]
pub(in crate::login) struct CounterRow {
    tenant: String,
    subject: String,
    window_start: i64,
    last_time: i64,
    failures: i64,
    reserved: i64,
    /// Zero if never.
    proven_time: i64,
    /// The database's time when it was read.
    pub(in crate::login) now: i64,
}

from_row!(CounterRow {
    tenant,
    subject,
    window_start,
    last_time,
    failures,
    reserved,
    proven_time,
    now,
});

impl CounterRow {
    pub(super) fn into_domain(self) -> Result<SoftLockCounter> {
        Ok(SoftLockCounter {
            window_start: from_micros(self.window_start)?,
            last_time: from_micros(self.last_time)?,
            failures: u32::try_from(self.failures).unwrap_or(u32::MAX),
            reserved: u32::try_from(self.reserved).unwrap_or(u32::MAX),
            proven_time: match self.proven_time {
                0 => None,
                time => Some(from_micros(time)?),
            },
        })
    }
}

/// The counters of the rows that a select found.
pub(in crate::login) fn read(rows: Vec<CounterRow>) -> Result<HashMap<Key, SoftLockCounter>> {
    let mut states = HashMap::with_capacity(rows.len());
    for mut row in rows {
        let key = (std::mem::take(&mut row.tenant), std::mem::take(&mut row.subject));
        states.insert(key, row.into_domain()?);
    }
    Ok(states)
}

/// Inserts counters for subjects that have none, on PostgreSQL, where a row that does not exist cannot be locked. Their
/// window began in 1970 and so is over. In the order of the keys, as everywhere.
pub(in crate::login) fn insert_missing(keys: &BTreeSet<Key>) -> Option<Statement> {
    let (source, cells) = keys_source(keys, Engine::Postgres, 1)?;
    let sql = format!(
        "INSERT INTO login_throttles (tenant, subject, window_start, last_time, failures, reserved)
        SELECT tenant, subject, 0, 0, 0, 0 FROM {source}
        ON CONFLICT (tenant, subject) DO NOTHING"
    );
    Some((sql, cells))
}

/// Selects the counters of these subjects: [`CounterRow`].
pub(in crate::login) fn select(keys: &BTreeSet<Key>, engine: Engine, first: usize) -> Option<Statement> {
    let (source, cells) = keys_source(keys, engine, first)?;
    let condition = "c.tenant = input.tenant AND c.subject = input.subject";
    let look_up = engine.look_up("login_throttles", "c", condition);
    let sql = format!(
        "SELECT c.tenant, c.subject, c.window_start, c.last_time, c.failures, c.reserved, c.proven_time, {now} AS now
        FROM {source} {look_up}",
        now = engine.now()
    );
    Some((sql, cells))
}

/// Selects these counters and locks them, in the order of the keys.
pub(in crate::login) fn select_for_update(
    keys: &BTreeSet<Key>,
    engine: Engine,
    first: usize,
) -> Option<Statement> {
    let (sql, cells) = select(keys, engine, first)?;
    Some((sql + &engine.for_update_of("c"), cells))
}

/// The keys as the rows `input`.
pub(super) fn keys_source(keys: &BTreeSet<Key>, engine: Engine, first: usize) -> Option<Statement> {
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("subject", Type::Text),
    ]);
    for (tenant, subject) in keys {
        bulk.push([tenant.as_str().into(), subject.as_str().into()]);
    }
    (!bulk.is_empty()).then(|| bulk.source(engine, first))
}

/// Locks these counters and selects, as `ok`, whether they are still as they were read. For PostgreSQL.
pub(in crate::login) fn compare_and_lock<'s>(
    before: impl Iterator<Item = (&'s Key, &'s SoftLockCounter)>,
    first: usize,
) -> Statement {
    let bulk = bulk(before);
    // A counter that did not exist cannot be compared. Two replicas that insert the same one at once write the same.
    let count = bulk.len();
    if count == 0 {
        return ("SELECT TRUE AS ok".to_owned(), Vec::new());
    }
    let (source, cells) = bulk.source(Engine::Postgres, first);
    let look_up = Engine::Postgres.look_up(
        "login_throttles",
        "c",
        "c.tenant = input.tenant AND c.subject = input.subject AND c.window_start = input.window_start
            AND c.last_time = input.last_time AND c.failures = input.failures
            AND c.reserved = input.reserved AND c.proven_time = input.proven_time",
    );
    let sql = format!(
        "SELECT count(*) = {count} AS ok FROM (SELECT 1 FROM {source} {look_up} FOR UPDATE OF c) AS same"
    );
    (sql, cells)
}

/// Writes these counters, if `condition` holds.
pub(in crate::login) fn upsert<'s>(
    after: impl Iterator<Item = (&'s Key, &'s SoftLockCounter)>,
    condition: &str,
    engine: Engine,
    first: usize,
) -> Option<Statement> {
    let bulk = bulk(after);
    if bulk.is_empty() {
        return None;
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(engine, first);
    let sql = format!(
        "INSERT INTO login_throttles ({names}) SELECT {names} FROM {source} WHERE {condition}
        ON CONFLICT (tenant, subject) DO UPDATE SET window_start = excluded.window_start,
            last_time = excluded.last_time, failures = excluded.failures, reserved = excluded.reserved,
            proven_time = excluded.proven_time"
    );
    Some((sql, cells))
}

fn bulk<'s>(states: impl Iterator<Item = (&'s Key, &'s SoftLockCounter)>) -> Bulk<7> {
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("subject", Type::Text),
        Column::new("window_start", Type::BigInt),
        Column::new("last_time", Type::BigInt),
        Column::new("failures", Type::BigInt),
        Column::new("reserved", Type::BigInt),
        Column::new("proven_time", Type::BigInt),
    ]);
    for ((tenant, subject), state) in states {
        bulk.push([
            tenant.as_str().into(),
            subject.as_str().into(),
            to_micros(state.window_start).into(),
            to_micros(state.last_time).into(),
            i64::from(state.failures).into(),
            i64::from(state.reserved).into(),
            state.proven_time.map_or(0, to_micros).into(),
        ]);
    }
    bulk
}
