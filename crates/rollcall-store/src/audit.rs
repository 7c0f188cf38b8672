//! The audit record. Code that changes something takes the record of the change, and commits both in one transaction
//! ([`Recorded`]).
//!
//! Read next: `seal.rs` (how an appended row becomes part of the chain), `chain.rs` (what the chain is), `payload.rs`
//! (what of an event can be erased).

mod chain;
mod erase;
mod expire;
mod feed;
mod listing;
mod payload;
mod seal;
mod unsealed;
mod verify;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{Actor, AskedBy, AuditCaller, AuditKind, Decision};
use rollcall_core::id::TenantId;
use sea_orm::{ConnectionTrait, Value};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{execute, text};
use crate::db::timestamp::{to_micros, to_stored};
use crate::error::Result;
use crate::store::Store;
use crate::tables::json::JsonColumn;

pub(crate) use erase::{forget, forget_all};
pub(crate) use expire::delete_old;
pub use feed::AuditFeed;
pub use seal::{AuditHead, SealReach, Sealed};
pub use verify::{Fault, Verification};

/// An audit event that is not stored yet.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAuditEvent {
    /// When.
    pub time: DateTime<Utc>,
    /// The tenant; `None` if an attempt names no known one.
    pub tenant: Option<TenantId>,
    /// The calling service.
    pub caller: AuditCaller,
    /// For whom the calling service says that it acts.
    pub actor: Actor,
    /// What.
    pub kind: AuditKind,
}

impl NewAuditEvent {
    /// The decision that the event records.
    pub(crate) fn decision(&self) -> Decision {
        Decision {
            by: AskedBy {
                caller: self.caller.name.clone(),
                actor: self.actor.clone(),
            },
            time: to_stored(self.time),
        }
    }

    /// A change that nobody asked for, as tests make them.
    pub fn by_nobody(time: DateTime<Utc>) -> Self {
        Self {
            time,
            tenant: None,
            caller: AuditCaller::default(),
            actor: Actor::default(),
            kind: AuditKind::Change {
                method: "TestService.ChangeSomething".into(),
                resource: String::new(),
                changes: Vec::new(),
            },
        }
    }
}

/// What a change did to a resource.
#[derive(Clone, Copy, Debug)]
pub struct Deed<'a, T> {
    /// The resource before; `None` if it did not exist.
    pub before: Option<&'a T>,
    /// The resource after; `None` if it does not exist any more.
    pub after: Option<&'a T>,
}

/// Makes the record of a change.
type Make<'a, T> = dyn Fn(Deed<'_, T>) -> NewAuditEvent + Send + Sync + 'a;

/// A change at some time, and how its record is made from what the change did. Both are committed together.
pub struct Recorded<'a, T> {
    pub(crate) time: DateTime<Utc>,
    pub(crate) asked_by: AskedBy,
    make: Box<Make<'a, T>>,
}

impl<'a, T> Recorded<'a, T> {
    /// A change that is recorded as `make` says.
    pub fn new(
        time: DateTime<Utc>,
        asked_by: AskedBy,
        make: impl Fn(Deed<'_, T>) -> NewAuditEvent + Send + Sync + 'a,
    ) -> Self {
        Self {
            time,
            asked_by,
            make: Box::new(make),
        }
    }

    /// A change that nobody asked for, as tests make them.
    pub fn by_nobody(time: DateTime<Utc>) -> Self {
        Self::new(time, AskedBy::default(), move |_| NewAuditEvent::by_nobody(time))
    }

    /// Writes the record into the transaction of the change.
    pub(crate) async fn write(
        &self,
        tx: &impl ConnectionTrait,
        before: Option<&T>,
        after: Option<&T>,
    ) -> Result<()> {
        let event = (self.make)(Deed { before, after });
        insert(tx, std::iter::once(&event)).await
    }
}

impl Store {
    /// Adds events, perhaps of several tenants.
    pub async fn record_audit(&self, events: &[NewAuditEvent]) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        insert(&tx, events.iter()).await?;
        tx.commit().await?;
        Ok(())
    }
}

/// An actor as it is stored; `None` for nobody.
pub(crate) fn actor_column(actor: &Actor) -> Result<Option<String>> {
    (!actor.is_nobody()).then(|| actor.to_json()).transpose()
}

/// Inserts events in one statement.
pub(crate) async fn insert<'e>(
    tx: &impl ConnectionTrait,
    events: impl Iterator<Item = &'e NewAuditEvent>,
) -> Result<()> {
    if let Some((sql, cells)) = insertion(events, "true", Engine::of(tx), 1)? {
        execute(tx, &sql, cells).await?;
    }
    Ok(())
}

/// The statement that inserts events, if `condition` holds; `None` if there are none.
pub(crate) fn insertion<'e>(
    events: impl Iterator<Item = &'e NewAuditEvent>,
    condition: &str,
    engine: Engine,
    first: usize,
) -> Result<Option<(String, Vec<Value>)>> {
    let mut bulk = Bulk::new([
        Column::new("time", Type::BigInt),
        Column::nullable("tenant", Type::Text),
        Column::new("caller", Type::Text),
        Column::new("credential", Type::Text),
        Column::nullable("actor", Type::Text),
        Column::nullable("user_id", Type::Uuid),
        Column::new("details", Type::Text),
    ]);
    for event in events {
        let actor = actor_column(&event.actor)?;
        bulk.push([
            to_micros(event.time).into(),
            event.tenant.as_ref().map(ToString::to_string).into(),
            text(&event.caller.name),
            text(&event.caller.credential),
            actor.into(),
            event.kind.subject().user.map(|user| user.0).into(),
            event.kind.to_json()?.into(),
        ]);
    }
    if bulk.is_empty() {
        return Ok(None);
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(engine, first);
    let sql = format!("INSERT INTO audit_unsealed ({names}) SELECT {names} FROM {source} WHERE {condition}");
    Ok(Some((sql, cells)))
}
