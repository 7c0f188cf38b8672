//! The audit log. Rows are only ever inserted, until `retention.rs` deletes them.
//!
//! Whatever changes something takes the record of it, and commits both in one transaction ([`Recorded`]).

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rollcall_core::audit::{Actor, AskedBy, AuditCaller, AuditEvent, AuditKind, Decision};
use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::{TenantId, UserId, Uuid};
use sea_orm::{ConnectionTrait, FromQueryResult, Value};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::database::Database;
use crate::db::engine::Engine;
use crate::db::query::{execute, rows, text};
use crate::db::timestamp::{from_micros, to_micros, to_stored};
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::store::Store;
use crate::tables::json::JsonColumn;

/// An audit event without its position.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewAuditEvent {
    /// When.
    pub time: DateTime<Utc>,
    /// The tenant; `None` if an attempt names no known one.
    pub tenant: Option<TenantId>,
    /// The calling service.
    pub caller: AuditCaller,
    /// For whom it says that it acts.
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
                method: "".into(),
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

/// A change at some time that somebody asks for, and how its record is made from what it did. Both are committed together.
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

    /// Writes the record into the transaction of the deed.
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

/// Which audit events to list. What is `None` does not matter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct AuditFilter {
    /// At this time or later.
    pub from: Option<DateTime<Utc>>,
    /// Before this time.
    pub to: Option<DateTime<Utc>>,
    /// Logins of this user.
    pub user: Option<UserId>,
}

#[derive(FromQueryResult)]
struct Row {
    position: i64,
    time: i64,
    tenant: Option<String>,
    caller: String,
    credential: String,
    actor: Option<String>,
    details: String,
}

impl Store {
    /// Adds events, perhaps of several tenants.
    pub async fn record_audit(&self, events: &[NewAuditEvent]) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        insert(&tx, events.iter()).await?;
        tx.commit().await?;
        Ok(())
    }

    /// A tenant's audit events, the newest first. Without a tenant those of the whole deployment.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_audit(
        &self,
        tenant: Option<&TenantId>,
        filter: &AuditFilter,
        page: &PageRequest,
    ) -> Result<Page<AuditEvent>> {
        let before: i64 = page.key()?.unwrap_or(i64::MAX);
        let mut values: Vec<Value> = vec![before.into()];
        let mut conditions = String::new();
        if let Some(tenant) = tenant {
            values.push(tenant.as_str().into());
            // Not those of a customer that had the same id before.
            conditions += " AND tenant = $2
              AND time >= (SELECT COALESCE(MAX(create_time), 0) FROM tenants WHERE id = $2)";
        }
        let mut require = |condition: &str, value: Value| {
            values.push(value);
            conditions += &format!(" AND {condition} ${}", values.len());
        };
        if let Some(from) = filter.from {
            require("time >=", to_micros(from).into());
        }
        if let Some(to) = filter.to {
            require("time <", to_micros(to).into());
        }
        if let Some(user) = filter.user {
            require("user_id =", user.0.into());
        }
        let limit = page.limit_sql();
        let sql = format!(
            "SELECT position, time, tenant, caller, credential, actor, details FROM audit_events
            WHERE position < $1{conditions} ORDER BY position DESC{limit}"
        );
        let found: Vec<Row> = rows(&self.inner.database.reader, &sql, values).await?;
        Page::cut(found, page, |row| row.position, Row::into_domain)
    }
}

#[derive(FromQueryResult)]
struct ErasableRow {
    position: i64,
    user_id: Option<Uuid>,
    actor: Option<String>,
    details: String,
}

/// Takes people who are erased out of a tenant's record: what is personal in events about them, and their names where they acted
/// or somebody wrote about them. That somebody was erased, when, and by whom, stays.
pub(crate) async fn forget(
    database: &Database,
    tenant: &TenantId,
    people: &[Person],
    eraser: &Eraser,
) -> Result<()> {
    let names: HashSet<String> = people
        .iter()
        .map(|person| format!("tenants/{tenant}/users/{}", person.user))
        .collect();
    let page =
        "SELECT position, user_id, actor, details FROM audit_events WHERE tenant = $1 AND position > $2
        AND (user_id IS NOT NULL OR details LIKE '{\"type\":\"change\"%') ORDER BY position LIMIT 500";
    let mut last = 0_i64;
    loop {
        let values = vec![tenant.as_str().into(), last.into()];
        let found: Vec<ErasableRow> = rows(&database.reader, page, values).await?;
        let Some(end) = found.last() else {
            return Ok(());
        };
        last = end.position;
        for row in found {
            let is_theirs = |user: Uuid| people.iter().any(|person| person.user.0 == user);
            let mut actor = row
                .actor
                .as_deref()
                .map(Actor::from_json)
                .transpose()?
                .unwrap_or_default();
            let mut kind = AuditKind::from_json(&row.details)?;
            let mut changed = eraser.actor(&actor).is_some_and(|left| {
                actor = left;
                true
            });
            match &mut kind {
                AuditKind::Login {
                    client_address,
                    unknown_login,
                    ..
                } if row.user_id.is_some_and(is_theirs) => {
                    changed |= client_address.take().is_some() | unknown_login.take().is_some();
                }
                AuditKind::Change {
                    method,
                    resource,
                    changes,
                } if names.contains(resource) && method != "UserService.EraseUser" => {
                    changed |= !changes.is_empty() || !actor.is_nobody();
                    changes.clear();
                    actor = Actor::default();
                }
                AuditKind::Login { .. } | AuditKind::Change { .. } => {}
            }
            if changed {
                let sql = "UPDATE audit_events SET actor = $2, details = $3 WHERE position = $1";
                let values = vec![
                    row.position.into(),
                    actor_column(&actor)?.into(),
                    kind.to_json()?.into(),
                ];
                database.write(sql, values).await?;
            }
        }
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
        let user = match &event.kind {
            AuditKind::Login { user, .. } => user.map(|user| user.0),
            AuditKind::Change { .. } => None,
        };
        let actor = actor_column(&event.actor)?;
        bulk.push([
            to_micros(event.time).into(),
            event.tenant.as_ref().map(ToString::to_string).into(),
            text(&event.caller.name),
            text(&event.caller.credential),
            actor.into(),
            user.into(),
            event.kind.to_json()?.into(),
        ]);
    }
    if bulk.is_empty() {
        return Ok(None);
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(engine, first);
    let sql = format!("INSERT INTO audit_events ({names}) SELECT {names} FROM {source} WHERE {condition}");
    Ok(Some((sql, cells)))
}

impl Row {
    fn into_domain(self) -> Result<AuditEvent> {
        let tenant = self
            .tenant
            .map(|tenant| TenantId::parse(&tenant).ok_or(StoreError::corrupt("a stored id is malformed")))
            .transpose()?;
        Ok(AuditEvent {
            position: self.position,
            time: from_micros(self.time)?,
            tenant,
            caller: AuditCaller {
                name: self.caller,
                credential: self.credential,
            },
            actor: self
                .actor
                .as_deref()
                .map(Actor::from_json)
                .transpose()?
                .unwrap_or_default(),
            kind: AuditKind::from_json(&self.details)?,
        })
    }
}
