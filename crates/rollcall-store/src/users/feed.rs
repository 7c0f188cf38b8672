//! The feed of what happened to users: gapless, and visible in the order of its positions.
//!
//! A counter alone would not do: on PostgreSQL a transaction that took position 7 may commit after the one
//! that took 8, and a reader that has seen 8 would never look for 7. So a writing transaction locks the heads
//! of its tenant's feed and of the deployment's as its last act, takes positions, and keeps the locks until
//! it has committed.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::event::{Event, EventType};
use rollcall_core::feed::Mark;
use rollcall_core::id::{RunId, TenantId, UserId, UserSyncId};
use rollcall_core::user::{FieldChange, User};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{Statement, column, execute, row, rows, scalar};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::page::MAX_PAGE;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;

mod kept_columns;

use kept_columns::{COLUMNS, KeptColumns};

/// Most events of one transaction, which blocks all other writers while it inserts them.
pub(crate) const MAX_EVENTS: usize = 1000;

/// The deployment's feed, in `feed_heads`. No tenant has this id.
const ALL: &str = "";

/// The value of `user_after` in events of a person who was erased.
pub(crate) const NOTHING_LEFT: &str = "";

/// An event without its positions.
pub(crate) struct NewEvent<'a> {
    pub(crate) event_type: EventType,
    pub(crate) user: UserId,
    pub(crate) user_sync: Option<&'a UserSyncId>,
    /// `None` for a user who is erased.
    pub(crate) after: Option<&'a User>,
    pub(crate) changes: &'a Vec<FieldChange>,
}

/// The columns of a [`Row`] beside those of its [`KeptColumns`].
const CONTENT: &str = "e.user_sync, e.user_after, e.changes, e.asked_by";

#[derive(FromQueryResult)]
struct Row {
    #[sea_orm(nested)]
    kept: KeptColumns,
    user_sync: Option<String>,
    user_after: String,
    changes: String,
    asked_by: Option<String>,
}

#[derive(FromQueryResult, Default)]
struct Head {
    expired: i64,
    expired_digest: i64,
}

impl Store {
    /// Events after a place, at most `limit` and never more than [`MAX_PAGE`]. With a tenant, those of its feed; without,
    /// those of the deployment's.
    ///
    /// # Errors
    /// `CursorExpired` if events after that place are not kept any more, or if it is a place of another feed, as after a
    /// restore of the database: list the users and start anew at [`Store::feed_end`].
    pub async fn list_events(
        &self,
        tenant: Option<&TenantId>,
        after: Mark,
        limit: u32,
    ) -> Result<Vec<Event>> {
        // One row more: the row that the reader stands behind.
        let limit = limit.clamp(1, MAX_PAGE) + 1;
        let (sql, values) = part(tenant, after.position, limit);
        let mut found: Vec<Row> = match tenant {
            Some(_) => {
                let reading = self.inner.database.in_index_order().await?;
                let found = rows(&reading, &sql, values).await?;
                reading.commit().await?;
                found
            }
            None => rows(&self.inner.database.reader, &sql, values).await?,
        };
        // Read after the events, so that a deletion between the two reads is noticed.
        let head = self.head(tenant).await?;
        let first = found.first().map(|row| row.kept.mark(tenant.is_some()));
        let stood = first.filter(|first| first.position == after.position);
        let start = head.start();
        let kept = after.position >= start.position;
        if !kept || stood.unwrap_or(start) != after {
            return Err(StoreError::CursorExpired);
        }
        if stood.is_some() {
            found.remove(0);
        }
        found.truncate(limit as usize - 1);
        found.into_iter().map(Row::into_domain).collect()
    }

    /// The place behind the newest event of a tenant's feed, or of the deployment's.
    pub async fn feed_end(&self, tenant: Option<&TenantId>) -> Result<Mark> {
        let on = match tenant {
            Some(_) => "e.tenant = h.feed AND e.tenant_position = h.position",
            None => "e.position = h.position",
        };
        // One statement, so that nothing comes or goes in between.
        let sql = format!("SELECT {COLUMNS} FROM feed_heads h JOIN user_events e ON {on} WHERE h.feed = $1");
        let feed = tenant.map_or(ALL, TenantId::as_str);
        let newest: Option<KeptColumns> = row(&self.inner.database.reader, &sql, vec![feed.into()]).await?;
        match newest {
            Some(newest) => Ok(newest.mark(tenant.is_some())),
            // All events were deleted, or there never was one.
            None => self.feed_start(tenant).await,
        }
    }

    /// The place before the oldest event that is kept of a tenant's feed, or of the deployment's.
    pub async fn feed_start(&self, tenant: Option<&TenantId>) -> Result<Mark> {
        Ok(self.head(tenant).await?.start())
    }

    async fn head(&self, tenant: Option<&TenantId>) -> Result<Head> {
        let feed = tenant.map_or(ALL, TenantId::as_str);
        let sql = "SELECT expired, expired_digest FROM feed_heads WHERE feed = $1";
        let head = row(&self.inner.database.reader, sql, vec![feed.into()]).await?;
        Ok(head.unwrap_or_default())
    }
}

/// The query for events from a position on.
pub(crate) fn part(tenant: Option<&TenantId>, from: i64, limit: u32) -> Statement {
    match tenant {
        Some(tenant) => {
            let sql = format!(
                "SELECT {COLUMNS}, {CONTENT} FROM user_events e WHERE tenant = $1 AND tenant_position >= $2
                ORDER BY tenant_position LIMIT {limit}"
            );
            (sql, vec![tenant.as_str().into(), from.into()])
        }
        None => {
            let sql = format!(
                "SELECT {COLUMNS}, {CONTENT} FROM user_events e WHERE position >= $1 ORDER BY position LIMIT {limit}"
            );
            (sql, vec![from.into()])
        }
    }
}

/// Why users change: because of a run, or of a call. Both are empty for a refresh at a login.
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

/// Writes events of one tenant. Must be the last statement of a transaction before it commits.
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
    let sql = format!("SELECT {COLUMNS} FROM user_events e WHERE position <= $1 ORDER BY position");
    let going: Vec<KeptColumns> = rows(tx, &sql, vec![last.into()]).await?;
    let of_deployment = going.last().map(|row| (ALL, row.position, row.digest()));
    let of_tenants: BTreeMap<&str, (i64, i64)> = going
        .iter()
        .map(|row| (row.tenant.as_str(), (row.tenant_position, row.digest())))
        .collect();
    let of_tenants = of_tenants
        .into_iter()
        .map(|(feed, (position, digest))| (feed, position, digest));
    for (feed, position, digest) in of_tenants.chain(of_deployment) {
        let sql = format!("SELECT position FROM feed_heads WHERE feed = $1{lock}");
        column::<i64>(tx, &sql, vec![feed.into()]).await?;
        // The head of a deleted tenant stands beyond the events that are deleted here.
        let sql = "UPDATE feed_heads SET expired = $2, expired_digest = $3 WHERE feed = $1 AND expired < $2";
        execute(tx, sql, vec![feed.into(), position.into(), digest.into()]).await?;
    }
    Ok(())
}

/// Lets a tenant's feed begin behind what is in it already.
pub(crate) async fn hide(tx: &impl ConnectionTrait, tenant: &TenantId) -> Result<()> {
    let sql = format!(
        "SELECT {COLUMNS} FROM user_events e WHERE tenant = $1 ORDER BY tenant_position DESC LIMIT 1"
    );
    let newest: Option<KeptColumns> = row(tx, &sql, vec![tenant.as_str().into()]).await?;
    let Some(newest) = newest else { return Ok(()) };
    let sql = "UPDATE feed_heads SET expired = position, expired_digest = $2 WHERE feed = $1";
    execute(tx, sql, vec![tenant.as_str().into(), newest.digest().into()]).await?;
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

impl Head {
    fn start(&self) -> Mark {
        Mark {
            position: self.expired,
            digest: self.expired_digest,
        }
    }
}

impl Row {
    fn into_domain(self) -> Result<Event> {
        let digest = self.kept.digest();
        let KeptColumns {
            position,
            tenant,
            tenant_position,
            event_type,
            user_id,
            run,
            time,
        } = self.kept;
        let bad_id = || StoreError::corrupt("a stored id is malformed");
        let user_sync = self.user_sync.as_deref();
        let user_sync = user_sync.map(|id| UserSyncId::parse(id).ok_or_else(bad_id));
        let after = (self.user_after != NOTHING_LEFT).then(|| User::from_json(&self.user_after));
        Ok(Event {
            position,
            tenant_position,
            tenant: TenantId::parse(&tenant).ok_or_else(bad_id)?,
            event_type: EventType::from_label(&event_type)?,
            user: UserId(user_id),
            after: after.transpose()?,
            changes: Vec::from_json(&self.changes)?,
            user_sync: user_sync.transpose()?,
            run: run.map(RunId),
            asked_by: self.asked_by.as_deref().map(AskedBy::from_json).transpose()?,
            time: from_micros(time)?,
            digest,
        })
    }
}
