//! The audit of logins that were refused without a bind, for example by the soft lock.
//!
//! The first refusal of a subject and reason becomes an audit event at once. Further ones are counted in one row, and
//! become one event together. Event and count are committed before the caller is answered. So a flood does not fill the
//! log, and a crash loses none of it.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{Actor, AuditCaller, AuditKind, Flood};
use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::SoftLockSubject;
use sea_orm::FromQueryResult;

use crate::audit::{self, NewAuditEvent};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::pipeline::PipelinedTransaction;
use crate::db::query::{column, rows, text};
use crate::db::row::from_row;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::login::soft_lock::rows::{Key, key};
use crate::store::Store;
use crate::tables::json::JsonColumn;

/// The value in place of a tenant for attempts that name no known tenant.
const NO_TENANT: &str = "";
/// Number of groups of client addresses in which attempts without a known tenant are counted.
const ADDRESS_GROUPS: u32 = 16;
/// Most floods that become events in one transaction.
const MAX_FLOODS: u32 = 500;

impl Store {
    /// Makes audit events of the refusals whose count began before `before`. Returns how many floods there were. Several
    /// replicas may call it at once. Global by nature.
    pub async fn audit_refusals(&self, before: DateTime<Utc>) -> Result<u64> {
        let due = "SELECT subject FROM login_refusals WHERE since < $1 LIMIT 1";
        let values = vec![to_micros(before).into()];
        let any: Vec<String> = column(&self.inner.database.reader, due, values.clone()).await?;
        if any.is_empty() {
            return Ok(0);
        }
        let tx = self.inner.database.begin().await?;
        let lock = self.inner.database.engine.skip_locked();
        let sql = format!(
            "DELETE FROM login_refusals WHERE (tenant, subject) IN (
                SELECT tenant, subject FROM login_refusals WHERE since < $1
                ORDER BY since LIMIT {MAX_FLOODS}{lock})
            RETURNING tenant, attempts, first_time, last_time, caller, credential, details"
        );
        let ended: Vec<Row> = rows(&tx, &sql, values).await?;
        let count = ended.len() as u64;
        // The first refusal of each flood was audited already.
        let ended = ended.into_iter().filter(|row| row.attempts > 0);
        let events = ended.map(Row::into_event).collect::<Result<Vec<_>>>()?;
        audit::insert(&tx, events.iter()).await?;
        tx.commit().await?;
        Ok(count)
    }
}

/// A login that was refused.
pub(super) struct Refusal {
    key: Key,
    event: NewAuditEvent,
}

impl Refusal {
    pub(super) fn new(tenant: &TenantId, subject: &SoftLockSubject, event: NewAuditEvent) -> Self {
        Self::counted_by(key(tenant, subject), event)
    }

    /// A refused attempt without a known tenant. All client addresses fall into a fixed number of groups, so that there
    /// are few floods, and a single address that floods hides few others.
    pub(super) fn of_nobody(event: NewAuditEvent) -> Self {
        let address = match &event.kind {
            AuditKind::Login { client_address, .. } => client_address.as_deref(),
            AuditKind::Change { .. } => None,
        };
        let group = address.map(|address| fnv1a(address) % ADDRESS_GROUPS);
        let group = group.map_or("none".to_owned(), |group| group.to_string());
        let AuditCaller { name, credential } = &event.caller;
        let subject = format!("nobody/{group}/{} {name}/{credential}", name.len());
        Self::counted_by((NO_TENANT.to_owned(), subject.replace('\0', "\u{fffd}")), event)
    }

    fn counted_by((tenant, mut subject): Key, event: NewAuditEvent) -> Self {
        // Refusals for another reason are counted as a flood of their own.
        if let AuditKind::Login { reason, .. } = &event.kind {
            subject = format!("{subject} {}", reason.as_str());
        }
        Self {
            key: (tenant, subject),
            event,
        }
    }

    /// The tenant; empty if there is none.
    pub(super) fn tenant(&self) -> &str {
        &self.key.0
    }
}

/// Spreads addresses over the groups; the same on all replicas.
fn fnv1a(address: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(16_777_619);
    address.bytes().fold(2_166_136_261, step)
}

#[derive(FromQueryResult)]
struct Row {
    tenant: String,
    attempts: i64,
    first_time: i64,
    last_time: i64,
    caller: String,
    credential: String,
    details: String,
}

struct Counted {
    tenant: String,
    subject: String,
    attempts: i64,
}

from_row!(Counted {
    tenant,
    subject,
    attempts
});

/// Counts refusals. Returns the events of those that are the first of their subject and reason.
pub(super) async fn count<'r>(
    tx: &mut PipelinedTransaction<'_>,
    engine: Engine,
    refusals: impl Iterator<Item = &'r Refusal>,
) -> Result<Vec<&'r NewAuditEvent>> {
    let mut floods: BTreeMap<&Key, Vec<&NewAuditEvent>> = BTreeMap::new();
    for refusal in refusals {
        floods.entry(&refusal.key).or_default().push(&refusal.event);
    }
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("subject", Type::Text),
        Column::new("attempts", Type::BigInt),
        Column::new("since", Type::BigInt),
        Column::new("first_time", Type::BigInt),
        Column::new("last_time", Type::BigInt),
        Column::new("caller", Type::Text),
        Column::new("credential", Type::Text),
        Column::new("details", Type::Text),
    ]);
    // Counted in the same order by all replicas, so that they do not deadlock.
    for ((tenant, subject), events) in &floods {
        let [first, following @ ..] = events.as_slice() else {
            continue;
        };
        let last = following.last().unwrap_or(first);
        bulk.push([
            tenant.clone().into(),
            subject.clone().into(),
            (following.len() as i64).into(),
            to_micros(first.time).into(),
            to_micros(following.first().unwrap_or(first).time).into(),
            to_micros(last.time).into(),
            text(&last.caller.name),
            text(&last.caller.credential),
            last.kind.to_json()?.into(),
        ]);
    }
    if bulk.is_empty() {
        return Ok(Vec::new());
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(engine, 1);
    // A row that existed before counts the first of these as well.
    let sql = format!(
        "INSERT INTO login_refusals ({names}) SELECT {names} FROM {source} WHERE true ORDER BY tenant, subject
        ON CONFLICT (tenant, subject) DO UPDATE SET
            attempts = login_refusals.attempts + excluded.attempts + 1,
            first_time = CASE login_refusals.attempts WHEN 0 THEN excluded.since
                ELSE login_refusals.first_time END,
            last_time = excluded.last_time, caller = excluded.caller,
            credential = excluded.credential, details = excluded.details
        RETURNING tenant, subject, attempts"
    );
    let counted: Vec<Counted> = tx.rows(sql, cells).await?;
    let new = counted.into_iter().filter_map(|row| {
        let events = floods.get(&(row.tenant, row.subject))?;
        let is_new = row.attempts == events.len() as i64 - 1;
        events.first().copied().filter(|_| is_new)
    });
    Ok(new.collect())
}

impl Row {
    fn into_event(self) -> Result<NewAuditEvent> {
        let mut kind = AuditKind::from_json(&self.details)?;
        if let AuditKind::Login { flood, .. } = &mut kind {
            *flood = Some(Flood {
                attempts: u64::try_from(self.attempts).unwrap_or_default(),
                since: from_micros(self.first_time)?,
            });
        }
        let tenant = match self.tenant.as_str() {
            NO_TENANT => None,
            id => Some(TenantId::parse(id).ok_or(StoreError::corrupt("a stored id is malformed"))?),
        };
        Ok(NewAuditEvent {
            time: from_micros(self.last_time)?,
            tenant,
            caller: AuditCaller {
                name: self.caller,
                credential: self.credential,
            },
            actor: Actor::default(),
            kind,
        })
    }
}
