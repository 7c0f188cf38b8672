//! The soft lock: counters of failed and unsettled attempts, shared by all replicas. The rules are in
//! [`rollcall_core::soft_lock`]; `counters.rs` applies them to the counters of a batch, and `rows.rs` has the SQL.

pub(super) mod counters;
pub(super) mod rows;

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::soft_lock::{Slot, SoftLockCounter, SoftLockPolicy, SoftLockSubject};
use sea_orm::{FromQueryResult, Value};

use crate::audit::{self, NewAuditEvent};
use crate::db::engine::Engine;
use crate::db::query::{execute, rows, text};
use crate::db::timestamp::{from_micros, in_micros};
use crate::error::Result;
use crate::store::Store;

use self::rows::{CounterRow, key, keys_source};

/// A slot that an attempt needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// What is counted.
    pub subject: SoftLockSubject,
    /// How many are too many.
    pub policy: SoftLockPolicy,
    /// The slot of an earlier attempt with the same password whose outcome is unknown.
    pub shared: Option<Slot>,
    /// What is counted instead, if the attempt comes from an address that is known to be the user's.
    pub own: Option<OwnCount>,
}

/// The count of a user at one address. An address that is not known to be the user's has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnCount {
    /// The user at the address, with the same limit as the user.
    pub subject: SoftLockSubject,
    /// As [`Reservation::shared`].
    pub shared: Option<Slot>,
    /// The limit that then applies to the user from all addresses together; `None` for no limit.
    pub ceiling: Option<u32>,
}

/// A reserved slot, to be settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldSlot {
    /// What is counted.
    pub subject: SoftLockSubject,
    /// The slot.
    pub slot: Slot,
}

/// What came of the reservations of an attempt.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// A slot for each subject, in the order of the reservations.
    Taken(Vec<HeldSlot>),
    /// No slot for any.
    Wait {
        /// The longest time that a subject without a slot has to wait.
        time: TimeDelta,
        /// The first subject without a slot.
        subject: SoftLockSubject,
        /// Each subject without a slot may get one soon, since attempts that go on hold some, here or in another process.
        may_come_free: bool,
    },
}

impl Store {
    /// Forgets a user's failures and reserved slots, at all addresses. Does not forget which addresses are known to be the
    /// user's. Returns the highest count, if there was anything to forget, and the database's time.
    pub async fn unlock_user(
        &self,
        tenant: &TenantId,
        user: UserId,
        record: &NewAuditEvent,
    ) -> Result<Option<(SoftLockCounter, DateTime<Utc>)>> {
        let (tenant, subject) = key(tenant, &SoftLockSubject::User(user));
        let engine = self.inner.database.engine;
        // SQLite uses the index for a GLOB, PostgreSQL for a LIKE.
        let (like, at_addresses) = match engine {
            Engine::Sqlite => ("GLOB", format!("{subject}/at/*")),
            Engine::Postgres => ("LIKE", format!("{subject}/at/%")),
        };
        let of_user = vec![tenant.as_str().into(), text(&subject)];
        let at_addresses: Vec<Value> = vec![tenant.as_str().into(), text(&at_addresses)];
        let columns = format!(
            "tenant, subject, window_start, last_time, failures, reserved, proven_time, {} AS now",
            engine.now()
        );
        let tx = self.inner.database.begin().await?;
        // The counter's row is deleted, so that attempts under way settle nothing.
        let sql =
            format!("DELETE FROM login_throttles WHERE tenant = $1 AND subject = $2 RETURNING {columns}");
        let mut forgotten: Vec<CounterRow> = rows(&tx, &sql, of_user).await?;
        let lock = engine.for_update_of("login_throttles");
        let sql = format!(
            "SELECT {columns} FROM login_throttles WHERE tenant = $1 AND subject {like} $2
            ORDER BY subject{lock}"
        );
        forgotten.extend(rows::<CounterRow>(&tx, &sql, at_addresses.clone()).await?);
        let sql = format!(
            "UPDATE login_throttles SET window_start = 0, last_time = proven_time, failures = 0, reserved = 0
            WHERE tenant = $1 AND subject {like} $2"
        );
        execute(&tx, &sql, at_addresses).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        let forgotten: Vec<_> = forgotten
            .into_iter()
            .map(|row| Ok((from_micros(row.now)?, row.into_domain()?)))
            .collect::<Result<_>>()?;
        let count = |state: &SoftLockCounter| state.failures.saturating_add(state.reserved);
        let counted = forgotten.into_iter().filter(|(_, state)| count(state) > 0);
        let most = counted.max_by_key(|(_, state)| count(state));
        Ok(most.map(|(now, state)| (state, now)))
    }

    /// Deletes counters whose last attempt is older than `age`, at most `limit`; returns how many. Global by nature.
    /// `age` must be longer than the longest window and the longest lock.
    pub async fn delete_old_throttles(&self, age: Duration, limit: u32) -> Result<u64> {
        let database = &self.inner.database;
        let (old, now) = (in_micros(age), database.engine.now());
        // Counters change at every login, so they have no index by age. This scan locks nothing.
        let sql =
            format!("SELECT tenant, subject FROM login_throttles WHERE last_time < {now} - $1 LIMIT {limit}");
        let found: Vec<OldKey> = rows(&database.reader, &sql, vec![old.into()]).await?;
        let keys = found.into_iter().map(|key| (key.tenant, key.subject)).collect();
        let Some((source, cells)) = keys_source(&keys, database.engine, 2) else {
            return Ok(0);
        };
        let tx = database.begin().await?;
        let sql = format!(
            "DELETE FROM login_throttles
            WHERE last_time < {now} - $1 AND (tenant, subject) IN (SELECT tenant, subject FROM {source})"
        );
        let values = std::iter::once(old.into()).chain(cells).collect();
        let deleted = execute(&tx, &sql, values).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}

#[derive(FromQueryResult)]
struct OldKey {
    tenant: String,
    subject: String,
}
