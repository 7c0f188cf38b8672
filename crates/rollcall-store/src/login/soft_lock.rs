//! The soft lock's counters. The rules are the domain's ([`rollcall_core::throttle`]); here they are applied
//! to locked rows, so that parallel attempts on any replica see each other.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::throttle::{Settlement, Slot, ThrottlePolicy, ThrottleState, ThrottleSubject};
use sea_orm::{FromQueryResult, Value};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{execute, rows, text};
use crate::db::timestamp::{from_micros, to_micros, to_stored};
use crate::error::Result;
use crate::login::group_commit::Job;
use crate::store::Store;

/// A slot that an attempt needs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Reservation {
    /// What is counted.
    pub subject: ThrottleSubject,
    /// How many are too many.
    pub policy: ThrottlePolicy,
    /// The slot of an earlier attempt with the same password, whose outcome nobody knows.
    pub shared: Option<Slot>,
    /// What is counted in its place, if the attempt comes from an address that is known to be the user's.
    pub own: Option<OwnCount>,
}

/// The count of a user at one address. An address that is not known to be the user's has none.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OwnCount {
    /// The user at the address. As many are too many as for the user.
    pub subject: ThrottleSubject,
    /// As [`Reservation::shared`].
    pub shared: Option<Slot>,
    /// How many of the user are too many then, from all addresses together; `None` if there are none.
    pub ceiling: Option<u32>,
}

/// A reserved slot, to be settled.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HeldSlot {
    /// What is counted.
    pub subject: ThrottleSubject,
    /// The slot.
    pub slot: Slot,
}

/// What came of a reservation.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Reserved {
    /// A slot for each subject, in the order of the reservations.
    Taken(Vec<HeldSlot>),
    /// No slot for any.
    Wait {
        /// How long the subjects that have none have to wait, the longest of them.
        time: TimeDelta,
        /// The first of them.
        subject: ThrottleSubject,
    },
}

impl Store {
    /// Takes a slot for each subject, or for none. Committed when it returns.
    pub async fn reserve(
        &self,
        tenant: &TenantId,
        reservations: &[Reservation],
        now: DateTime<Utc>,
    ) -> Result<Reserved> {
        let (tenant, reservations, now) = (tenant.clone(), reservations.to_vec(), to_stored(now));
        self.inner
            .login_writer
            .submit(|answer| Job::Reserve {
                tenant,
                reservations,
                now,
                answer,
            })
            .await
    }

    /// Forgets a user's failures and reserved slots, from all addresses; returns the count that was highest, if there was
    /// anything to forget. Which addresses are the user's is not forgotten.
    pub async fn unlock_user(&self, tenant: &TenantId, user: UserId) -> Result<Option<ThrottleState>> {
        let (tenant, subject) = key(tenant, &ThrottleSubject::User(user));
        let engine = self.inner.database.engine;
        // SQLite looks up what a GLOB begins with, PostgreSQL sees to what a LIKE means in any collation.
        let (like, at_addresses) = match engine {
            Engine::Sqlite => ("GLOB", format!("{subject}/at/*")),
            Engine::Postgres => ("LIKE", format!("{subject}/at/%")),
        };
        let of_user = vec![tenant.as_str().into(), text(&subject)];
        let at_addresses: Vec<Value> = vec![tenant.as_str().into(), text(&at_addresses)];
        let columns = "tenant, subject, window_start, last_time, failures, reserved, proven_time";
        let tx = self.inner.database.begin().await?;
        // Gone, so that what was under way settles nothing.
        let sql =
            format!("DELETE FROM login_throttles WHERE tenant = $1 AND subject = $2 RETURNING {columns}");
        let mut forgotten: Vec<Row> = rows(&tx, &sql, of_user).await?;
        let lock = engine.for_update_of("login_throttles");
        let sql = format!(
            "SELECT {columns} FROM login_throttles WHERE tenant = $1 AND subject {like} $2
            ORDER BY subject{lock}"
        );
        forgotten.extend(rows::<Row>(&tx, &sql, at_addresses.clone()).await?);
        let sql = format!(
            "UPDATE login_throttles SET window_start = 0, last_time = proven_time, failures = 0, reserved = 0
            WHERE tenant = $1 AND subject {like} $2"
        );
        execute(&tx, &sql, at_addresses).await?;
        tx.commit().await?;
        let forgotten: Vec<ThrottleState> = forgotten
            .into_iter()
            .map(Row::into_domain)
            .collect::<Result<_>>()?;
        let count = |state: &ThrottleState| state.failures.saturating_add(state.reserved);
        let counted = forgotten.into_iter().filter(|state| count(state) > 0);
        Ok(counted.max_by_key(count))
    }

    /// Deletes counters whose last attempt was before `before`, at most `limit`; returns how many. Global by
    /// nature. `before` must lie further back than the longest window and the longest lock.
    pub async fn delete_old_throttles(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let database = &self.inner.database;
        let old = to_micros(before);
        // Counters change at every login, so no index tells which are old. Looking for them locks nothing.
        let sql = format!("SELECT tenant, subject FROM login_throttles WHERE last_time < $1 LIMIT {limit}");
        let found: Vec<OldKey> = rows(&database.reader, &sql, vec![old.into()]).await?;
        let keys = found.into_iter().map(|key| (key.tenant, key.subject)).collect();
        let Some((source, cells)) = source(&keys, database.engine, 2) else {
            return Ok(0);
        };
        let tx = database.begin().await?;
        let sql = format!(
            "DELETE FROM login_throttles
            WHERE last_time < $1 AND (tenant, subject) IN (SELECT tenant, subject FROM {source})"
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

/// Tenant and subject as they are stored.
pub(crate) type Key = (String, String);

pub(crate) fn key(tenant: &TenantId, subject: &ThrottleSubject) -> Key {
    let subject = match subject {
        ThrottleSubject::User(user) => format!("user/{user}"),
        ThrottleSubject::UserAt(user, address) => format!("user/{user}/at/{address}"),
        ThrottleSubject::UnknownLogin(hash) => format!("login/{hash}"),
        ThrottleSubject::Client(address) => format!("client/{address}"),
    };
    (tenant.to_string(), subject.replace('\0', "\u{fffd}"))
}

/// Counters, and what becomes of them.
pub(crate) struct Counters {
    states: HashMap<Key, ThrottleState>,
    /// Those that are to be written, as they were.
    changed: BTreeMap<Key, Option<ThrottleState>>,
}

#[derive(FromQueryResult)]
pub(crate) struct Row {
    pub(crate) tenant: String,
    pub(crate) subject: String,
    pub(crate) window_start: i64,
    pub(crate) last_time: i64,
    pub(crate) failures: i64,
    pub(crate) reserved: i64,
    /// Zero if never.
    pub(crate) proven_time: i64,
}

impl Row {
    fn into_domain(self) -> Result<ThrottleState> {
        Ok(ThrottleState {
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

/// Makes counters for subjects that have none, on PostgreSQL: what is not there cannot be locked, and a window
/// that began in 1970 is over. In the order of the keys, as everywhere.
pub(crate) fn creation(keys: &BTreeSet<Key>) -> Option<(String, Vec<Value>)> {
    let (source, cells) = source(keys, Engine::Postgres, 1)?;
    let sql = format!(
        "INSERT INTO login_throttles (tenant, subject, window_start, last_time, failures, reserved)
        SELECT tenant, subject, 0, 0, 0, 0 FROM {source}
        ON CONFLICT (tenant, subject) DO NOTHING"
    );
    Some((sql, cells))
}

/// Reads the counters of these subjects.
pub(crate) fn selection(keys: &BTreeSet<Key>, engine: Engine, first: usize) -> Option<(String, Vec<Value>)> {
    let (source, cells) = source(keys, engine, first)?;
    let condition = "c.tenant = input.tenant AND c.subject = input.subject";
    let look_up = engine.look_up("login_throttles", "c", condition);
    let sql = format!(
        "SELECT c.tenant, c.subject, c.window_start, c.last_time, c.failures, c.reserved, c.proven_time
        FROM {source} {look_up}"
    );
    Some((sql, cells))
}

/// Reads them and locks them, in the order of the keys.
pub(crate) fn locking_selection(
    keys: &BTreeSet<Key>,
    engine: Engine,
    first: usize,
) -> Option<(String, Vec<Value>)> {
    let (sql, cells) = selection(keys, engine, first)?;
    Some((sql + &engine.for_update_of("c"), cells))
}

fn source(keys: &BTreeSet<Key>, engine: Engine, first: usize) -> Option<(String, Vec<Value>)> {
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("subject", Type::Text),
    ]);
    for (tenant, subject) in keys {
        bulk.push([tenant.as_str().into(), subject.as_str().into()]);
    }
    (!bulk.is_empty()).then(|| bulk.source(engine, first))
}

impl Counters {
    /// What [`selection`] found.
    pub(crate) fn of(found: Vec<Row>) -> Result<Self> {
        let mut states = HashMap::new();
        for mut row in found {
            let key = (std::mem::take(&mut row.tenant), std::mem::take(&mut row.subject));
            states.insert(key, row.into_domain()?);
        }
        Ok(Self {
            states,
            changed: BTreeMap::new(),
        })
    }

    pub(crate) fn has(&self, key: &Key) -> bool {
        self.states.contains_key(key)
    }

    pub(crate) fn reserve(
        &mut self,
        tenant: &TenantId,
        reservations: &[Reservation],
        now: DateTime<Utc>,
    ) -> Reserved {
        let mut taken: HashMap<Key, ThrottleState> = HashMap::new();
        let mut slots = Vec::with_capacity(reservations.len());
        let mut refused: Option<(TimeDelta, ThrottleSubject)> = None;
        let wanted = reservations
            .iter()
            .flat_map(|reservation| self.wanted(tenant, reservation, now));
        for (subject, policy, shared) in wanted {
            let key = key(tenant, subject);
            let state = taken.get(&key).or_else(|| self.states.get(&key)).copied();
            match policy.reserve(state, shared, now) {
                Ok((state, slot)) => {
                    taken.insert(key, state);
                    slots.push(HeldSlot {
                        subject: subject.clone(),
                        slot,
                    });
                }
                Err(wait) => {
                    let (longest, _) = refused.get_or_insert_with(|| (wait, subject.clone()));
                    *longest = wait.max(*longest);
                }
            }
        }
        if let Some((time, subject)) = refused {
            return Reserved::Wait { time, subject };
        }
        for (key, state) in taken {
            let was = self.states.insert(key.clone(), state);
            self.changed.entry(key).or_insert(was);
        }
        Reserved::Taken(slots)
    }

    /// The slots that a reservation stands for. From an address that is the user's it takes one of its own count, and one
    /// of the user's only so that the directory's threshold is not reached.
    fn wanted<'r>(
        &self,
        tenant: &TenantId,
        reservation: &'r Reservation,
        now: DateTime<Utc>,
    ) -> Vec<(&'r ThrottleSubject, ThrottlePolicy, Option<Slot>)> {
        let Reservation {
            subject,
            policy,
            shared,
            own,
        } = reservation;
        let is_known = |own: &&OwnCount| {
            let state = self.states.get(&key(tenant, &own.subject));
            state.is_some_and(|state| state.is_known(now))
        };
        match own.as_ref().filter(is_known) {
            None => vec![(subject, *policy, *shared)],
            Some(own) => {
                let together = ThrottlePolicy {
                    limit: own.ceiling.unwrap_or(u32::MAX),
                    ..*policy
                };
                vec![(&own.subject, *policy, own.shared), (subject, together, *shared)]
            }
        }
    }

    /// Notes that a user's password was right at an address.
    pub(crate) fn prove(&mut self, tenant: &TenantId, user_at: &ThrottleSubject, now: DateTime<Utc>) {
        let key = key(tenant, user_at);
        let was = self.states.get(&key).copied();
        self.changed.entry(key.clone()).or_insert(was);
        let state = self.states.entry(key).or_insert(ThrottleState::new(now));
        state.proven_time = Some(now);
    }

    pub(crate) fn settle(&mut self, tenant: &TenantId, slots: &[HeldSlot], settlement: Settlement) {
        for held in slots {
            let key = key(tenant, &held.subject);
            // A counter that is gone was forgotten on purpose, or is older than every window.
            if let Some(state) = self.states.get_mut(&key) {
                self.changed.entry(key).or_insert(Some(*state));
                *state = state.settle(held.slot, settlement.of(&held.subject));
            }
        }
    }

    /// Whether those that changed still are as they were, on PostgreSQL: locks them, and selects `ok`.
    pub(crate) fn comparison(&self, first: usize) -> (String, Vec<Value>) {
        let was = self
            .changed
            .iter()
            .filter_map(|(key, was)| Some((key, was.as_ref()?)));
        let bulk = bulk(was);
        // What was not there cannot be compared. Two that make the same counter at once say the same.
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

    /// Writes what changed, if `condition` holds.
    pub(crate) fn saving(
        &self,
        condition: &str,
        engine: Engine,
        first: usize,
    ) -> Option<(String, Vec<Value>)> {
        let now = self
            .changed
            .keys()
            .filter_map(|key| Some((key, self.states.get(key)?)));
        let bulk = bulk(now);
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
}

fn bulk<'s>(states: impl Iterator<Item = (&'s Key, &'s ThrottleState)>) -> Bulk {
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
