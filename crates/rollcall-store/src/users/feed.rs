//! The feed of what happened to users: gapless, and visible in the order of its positions.
//!
//! A counter alone would not do: on PostgreSQL a transaction that took position 7 may commit after the one
//! that took 8, and a reader that has seen 8 would never look for 7. So a writing transaction locks the heads
//! of its tenant's feed and of the deployment's as its last act, takes positions, and keeps the locks until
//! it has committed.

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::event::{Event, EventType};
use rollcall_core::id::{RunId, TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::user::{FieldChange, User};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{column, execute, rows, scalar};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::page::MAX_PAGE;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;

/// Most events of one transaction, which holds up all other writers while it inserts them.
pub(crate) const MAX_EVENTS: usize = 1000;

/// The deployment's feed, in `feed_heads`. No tenant has this id.
const ALL: &str = "";

/// Stands in `user_after` of the events of somebody who was erased.
pub(crate) const NOTHING_LEFT: &str = "";

/// An event without its positions.
pub(crate) struct NewEvent<'a> {
    pub(crate) event_type: EventType,
    pub(crate) user: UserId,
    pub(crate) user_sync: Option<&'a UserSyncId>,
    /// `None` for somebody who is erased.
    pub(crate) after: Option<&'a User>,
    pub(crate) changes: &'a Vec<FieldChange>,
}

#[derive(FromQueryResult)]
struct Row {
    position: i64,
    tenant: String,
    tenant_position: i64,
    event_type: String,
    user_id: Uuid,
    user_sync: Option<String>,
    user_after: String,
    changes: String,
    run: Option<Uuid>,
    asked_by: Option<String>,
    time: i64,
}

#[derive(FromQueryResult)]
struct Head {
    position: i64,
    expired: i64,
}

impl Store {
    /// Events after a position, at most `limit` and never more than [`MAX_PAGE`]. With a tenant, its events
    /// by [`Event::tenant_position`]; without, those of the deployment by [`Event::position`]. 0 is before
    /// the first.
    ///
    /// # Errors
    /// `CursorExpired` if events after that position are not kept any more, or if the position is beyond the
    /// feed, as after a restore of the database: list the users and start anew at [`Store::feed_position`].
    pub async fn list_events(&self, tenant: Option<&TenantId>, after: i64, limit: u32) -> Result<Vec<Event>> {
        let reader = &self.inner.database.reader;
        let limit = limit.clamp(1, MAX_PAGE);
        let found: Vec<Row> = match tenant {
            Some(tenant) => {
                let sql = format!(
                    "SELECT * FROM user_events WHERE tenant = $1 AND tenant_position > $2
                    ORDER BY tenant_position LIMIT {limit}"
                );
                rows(reader, &sql, vec![tenant.as_str().into(), after.into()]).await?
            }
            None => {
                let sql =
                    format!("SELECT * FROM user_events WHERE position > $1 ORDER BY position LIMIT {limit}");
                rows(reader, &sql, vec![after.into()]).await?
            }
        };
        // Read after the events: what was deleted between the two reads is noticed.
        let head = self.head(tenant).await?;
        if after < head.expired || after > head.position {
            return Err(StoreError::CursorExpired);
        }
        found.into_iter().map(Row::into_domain).collect()
    }

    /// The newest position of a tenant's feed, or of the deployment's.
    pub async fn feed_position(&self, tenant: Option<&TenantId>) -> Result<i64> {
        Ok(self.head(tenant).await?.position)
    }

    /// The position before the oldest event that is kept of a tenant's feed, or of the deployment's.
    pub async fn feed_start(&self, tenant: Option<&TenantId>) -> Result<i64> {
        Ok(self.head(tenant).await?.expired)
    }

    async fn head(&self, tenant: Option<&TenantId>) -> Result<Head> {
        let feed = tenant.map_or(ALL, TenantId::as_str);
        let sql = "SELECT position, expired FROM feed_heads WHERE feed = $1";
        let head = rows(&self.inner.database.reader, sql, vec![feed.into()])
            .await?
            .into_iter()
            .next();
        Ok(head.unwrap_or(Head {
            position: 0,
            expired: 0,
        }))
    }
}

/// Why users change: a run, or a call of somebody. Neither for a refresh at a login.
#[derive(Clone, Copy, Default)]
pub(crate) struct Cause<'a> {
    pub(crate) run: Option<RunId>,
    pub(crate) asked_by: Option<&'a AskedBy>,
}

impl<'a> Cause<'a> {
    pub(crate) fn run(id: RunId) -> Self {
        Self {
            run: Some(id),
            asked_by: None,
        }
    }

    pub(crate) fn asked_by(asked_by: &'a AskedBy) -> Self {
        Self {
            run: None,
            asked_by: Some(asked_by),
        }
    }
}

/// Writes events of one tenant. Must be the last that a transaction does before it commits.
pub(crate) async fn append(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    events: &[NewEvent<'_>],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    if events.is_empty() {
        return Ok(());
    }
    if events.len() > MAX_EVENTS {
        return Err(StoreError::corrupt("a transaction has too many events"));
    }
    let count = events.len() as i64;
    let tenant_first = take_positions(tx, tenant.as_str(), count).await?;
    let first = take_positions(tx, ALL, count).await?;
    let mut bulk = Bulk::new([
        Column::new("position", Type::BigInt),
        Column::new("tenant_position", Type::BigInt),
        Column::new("event_type", Type::Text),
        Column::new("user_id", Type::Uuid),
        Column::nullable("user_sync", Type::Text),
        Column::new("user_after", Type::Text),
        Column::new("changes", Type::Text),
    ]);
    for (offset, event) in (0..).zip(events) {
        let after = event.after.map_or(Ok(NOTHING_LEFT.to_owned()), User::to_json)?;
        bulk.push([
            (first + offset).into(),
            (tenant_first + offset).into(),
            event.event_type.label().into(),
            event.user.0.into(),
            event.user_sync.map(ToString::to_string).into(),
            after.into(),
            event.changes.to_json()?.into(),
        ]);
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(Engine::of(tx), 5);
    let sql = format!(
        "INSERT INTO user_events (tenant, run, time, asked_by, {names}) SELECT $1, $2, $3, $4, {names} FROM {source}"
    );
    let mut values = vec![
        tenant.as_str().into(),
        cause.run.map(|run| run.0).into(),
        to_micros(now).into(),
        cause.asked_by.map(AskedBy::to_json).transpose()?.into(),
    ];
    values.extend(cells);
    execute(tx, &sql, values).await?;
    Ok(())
}

/// Notes that the events up to this position of the deployment's feed are not kept any more. Called before they
/// are deleted.
pub(crate) async fn expire(tx: &impl ConnectionTrait, last: i64) -> Result<()> {
    let lock = Engine::of(tx).for_update();
    let tenants = "SELECT DISTINCT tenant FROM user_events WHERE position <= $1 ORDER BY tenant";
    let tenants: Vec<String> = column(tx, tenants, vec![last.into()]).await?;
    for feed in tenants.iter().map(String::as_str).chain([ALL]) {
        let sql = format!("SELECT position FROM feed_heads WHERE feed = $1{lock}");
        column::<i64>(tx, &sql, vec![feed.into()]).await?;
        let sql = match feed {
            ALL => "UPDATE feed_heads SET expired = $2 WHERE feed = $1 AND expired < $2",
            _ => {
                "UPDATE feed_heads SET expired = (
                    SELECT MAX(tenant_position) FROM user_events WHERE tenant = $1 AND position <= $2
                ) WHERE feed = $1"
            }
        };
        execute(tx, sql, vec![feed.into(), last.into()]).await?;
    }
    Ok(())
}

/// Locks a head until the transaction ends; returns the first of `count` new positions.
async fn take_positions(tx: &impl ConnectionTrait, feed: &str, count: i64) -> Result<i64> {
    let sql = "INSERT INTO feed_heads (feed, position, expired) VALUES ($1, $2, 0)
        ON CONFLICT (feed) DO UPDATE SET position = feed_heads.position + excluded.position
        RETURNING position";
    let last: Option<i64> = scalar(tx, sql, vec![feed.into(), count.into()]).await?;
    Ok(last.ok_or(StoreError::corrupt("a feed has no head"))? - count + 1)
}

impl Row {
    fn into_domain(self) -> Result<Event> {
        let bad_id = || StoreError::corrupt("a stored id is malformed");
        let user_sync = self.user_sync.as_deref();
        let user_sync = user_sync.map(|id| UserSyncId::parse(id).ok_or_else(bad_id));
        let after = (self.user_after != NOTHING_LEFT).then(|| User::from_json(&self.user_after));
        Ok(Event {
            position: self.position,
            tenant_position: self.tenant_position,
            tenant: TenantId::parse(&self.tenant).ok_or_else(bad_id)?,
            event_type: EventType::from_label(&self.event_type)?,
            user: UserId(self.user_id),
            after: after.transpose()?,
            changes: Vec::from_json(&self.changes)?,
            user_sync: user_sync.transpose()?,
            run: self.run.map(RunId),
            asked_by: self.asked_by.as_deref().map(AskedBy::from_json).transpose()?,
            time: from_micros(self.time)?,
        })
    }
}
