//! The one way in which users change: identifiers, rows and events in one transaction.

use std::collections::BTreeSet;

use chrono::{DateTime, Utc};
use rollcall_core::event::EventType;
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::user::{FieldChange, User, changes};
use sea_orm::ConnectionTrait;

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{execute, rows};
use crate::error::{Kind, Result, StoreError};
use crate::tables::user::{Entity, Model};
use crate::tables::{self, columns};
use crate::users::feed::{self, Cause, NewEvent};
use crate::users::identifiers::{claim, release};

/// One user's change, worked out and waiting to be written.
pub(crate) struct UserWrite {
    /// The user as it is; `None` if it is new.
    pub(crate) before: Option<User>,
    /// The user afterwards, with its next revision; a deleted user as it last was.
    pub(crate) after: User,
    pub(crate) deleted: bool,
    pub(crate) event: EventType,
    pub(crate) changes: Vec<FieldChange>,
    pub(crate) fingerprint: Option<Vec<u8>>,
}

impl UserWrite {
    /// The change from `before` to `after`, with the event that says so.
    pub(crate) fn new(before: Option<User>, after: User, fingerprint: Option<Vec<u8>>) -> Self {
        Self {
            event: EventType::of(before.as_ref(), &after),
            changes: changes(before.as_ref(), after.changeable()),
            before,
            after,
            deleted: false,
            fingerprint,
        }
    }

    /// The deletion of a user.
    pub(crate) fn deletion(user: User) -> Self {
        Self::end(user, EventType::Deleted)
    }

    /// The erasure of a user: nothing of the user is left.
    pub(crate) fn erasure(user: User) -> Self {
        Self::end(user, EventType::Erased)
    }

    fn end(user: User, event: EventType) -> Self {
        Self {
            after: user.clone(),
            before: Some(user),
            deleted: true,
            event,
            changes: Vec::new(),
            fingerprint: None,
        }
    }
}

const COLUMNS: [(&str, Type, bool); 15] = [
    ("id", Type::Uuid, false),
    ("user_sync", Type::Text, true),
    ("directory", Type::Text, true),
    ("id_kind", Type::Text, true),
    ("external_id", Type::Bytes, true),
    ("linked", Type::Bool, false),
    ("details", Type::Text, false),
    ("state", Type::Text, false),
    ("state_reason", Type::Text, true),
    ("owner", Type::Bool, false),
    ("block_time", Type::BigInt, true),
    ("fingerprint", Type::Bytes, true),
    ("revision", Type::BigInt, false),
    ("create_time", Type::BigInt, false),
    ("update_time", Type::BigInt, false),
];

/// Locks users by id, in the same order everywhere, so that two transactions do not wait for each other in a circle.
pub(crate) async fn lock_users(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    ids: impl IntoIterator<Item = UserId>,
) -> Result<Vec<Model>> {
    let mut bulk = Bulk::new([Column::new("id", Type::Uuid)]);
    let ids: BTreeSet<UserId> = ids.into_iter().collect();
    ids.into_iter().for_each(|id| bulk.push([id.0.into()]));
    if bulk.is_empty() {
        return Ok(Vec::new());
    }
    let engine = Engine::of(tx);
    let (source, cells) = bulk.source(engine, 2);
    let sql = format!(
        "SELECT {columns} FROM {source} {look_up}{lock}",
        columns = columns::<Entity>("u"),
        look_up = engine.look_up("users", "u", "u.tenant = $1 AND u.id = input.id"),
        lock = engine.for_update_of("u"),
    );
    let mut values = vec![tenant.as_str().into()];
    values.extend(cells);
    rows(tx, &sql, values).await
}

/// Locks one user.
pub(crate) async fn lock_user(tx: &impl ConnectionTrait, tenant: &TenantId, id: UserId) -> Result<Model> {
    let found = lock_users(tx, tenant, [id]).await?;
    found.into_iter().next().ok_or(StoreError::NotFound(Kind::User))
}

/// Writes changes of one tenant's users, at most [`feed::MAX_EVENTS`], as the last act of a transaction: [`write_rows`] and
/// [`write_events`].
pub(crate) async fn write(
    tx: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    writes: &[UserWrite],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    write_rows(tx, scope, tenant, writes).await?;
    write_events(tx, tenant, writes, cause, now).await
}

/// Writes the users and their identifiers. Releases all identifiers before it claims any, so that users may swap theirs.
///
/// `AlreadyExists` means that an identifier or an external id is somebody else's.
pub(crate) async fn write_rows(
    tx: &impl ConnectionTrait,
    scope: &str,
    tenant: &TenantId,
    writes: &[UserWrite],
) -> Result<()> {
    if writes.iter().any(|write| write.before.is_none()) {
        // On PostgreSQL no foreign key checks the tenant: it would do so for each row.
        tables::tenant::require(tx, tenant).await?;
    }
    let mut released = Vec::new();
    let mut claimed = Vec::new();
    for write in writes {
        let before = write.before.as_ref().map(User::identifiers).unwrap_or_default();
        let after = match write.deleted {
            true => Vec::new(),
            false => write.after.identifiers(),
        };
        let user = write.after.id;
        let goes = before.iter().filter(|key| !after.contains(key));
        released.extend(goes.map(|key| (key.clone(), user)));
        let comes = after.iter().filter(|key| !before.contains(key));
        claimed.extend(comes.map(|key| (key.clone(), user)));
    }
    release(tx, scope, tenant, released).await?;
    claim(tx, scope, tenant, claimed).await?;
    upsert(tx, tenant, writes).await?;
    delete(tx, tenant, writes).await
}

/// Writes the events of changes, as the last act of a transaction.
pub(crate) async fn write_events(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    writes: &[UserWrite],
    cause: Cause<'_>,
    now: DateTime<Utc>,
) -> Result<()> {
    let events: Vec<NewEvent<'_>> = writes
        .iter()
        .map(|write| NewEvent {
            event_type: write.event,
            user: write.after.id,
            user_sync: write.after.origin.as_ref().map(|origin| &origin.user_sync),
            after: (write.event != EventType::Erased).then_some(&write.after),
            changes: &write.changes,
        })
        .collect();
    feed::append(tx, tenant, &events, cause, now).await
}

async fn upsert(tx: &impl ConnectionTrait, tenant: &TenantId, writes: &[UserWrite]) -> Result<()> {
    let mut bulk = Bulk::new(COLUMNS.map(|(name, column_type, nullable)| {
        if nullable {
            Column::nullable(name, column_type)
        } else {
            Column::new(name, column_type)
        }
    }));
    for write in writes.iter().filter(|write| !write.deleted) {
        let model = Model::of(&write.after, write.fingerprint.clone())?;
        bulk.push([
            model.id.into(),
            model.user_sync.into(),
            model.directory.into(),
            model.id_kind.into(),
            model.external_id.into(),
            model.linked.into(),
            model.details.into(),
            model.state.into(),
            model.state_reason.into(),
            model.owner.into(),
            model.block_time.into(),
            model.fingerprint.into(),
            model.revision.into(),
            model.create_time.into(),
            model.update_time.into(),
        ]);
    }
    if bulk.is_empty() {
        return Ok(());
    }
    let names = bulk.names();
    let (source, cells) = bulk.source(Engine::of(tx), 2);
    let mut sql = format!("INSERT INTO users (tenant, {names}) SELECT $1, {names} FROM {source}");
    // If all users are new, there is nothing to compare with.
    if writes.iter().any(|write| write.before.is_some()) {
        let updates: Vec<String> = COLUMNS
            .iter()
            .map(|(name, ..)| *name)
            .filter(|name| !["id", "create_time"].contains(name))
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        // Without the WHERE, SQLite would take ON for the ON of a join.
        sql += &format!(
            " WHERE true ON CONFLICT (tenant, id) DO UPDATE SET {}",
            updates.join(", ")
        );
    }
    let mut values = vec![tenant.as_str().into()];
    values.extend(cells);
    execute(tx, &sql, values).await?;
    Ok(())
}

async fn delete(tx: &impl ConnectionTrait, tenant: &TenantId, writes: &[UserWrite]) -> Result<()> {
    for write in writes.iter().filter(|write| write.deleted) {
        for sql in [
            "DELETE FROM last_logins WHERE tenant = $1 AND user_id = $2",
            "DELETE FROM users WHERE tenant = $1 AND id = $2",
        ] {
            execute(tx, sql, vec![tenant.as_str().into(), write.after.id.0.into()]).await?;
        }
    }
    Ok(())
}
