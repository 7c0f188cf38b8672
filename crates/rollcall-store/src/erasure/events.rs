//! The events of a person: only their positions in the feed stay.

use rollcall_core::audit::AskedBy;
use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::TenantId;
use rollcall_core::user::{FieldChange, User};
use sea_orm::FromQueryResult;

use crate::db::database::Database;
use crate::db::query::{execute, rows};
use crate::error::Result;
use crate::tables::json::JsonColumn;
use crate::users::feed::NOTHING_LEFT;

/// Rows that are looked at together.
pub(super) const PAGE: u32 = 500;

#[derive(FromQueryResult)]
struct Row {
    position: i64,
    user_after: String,
    changes: String,
}

#[derive(FromQueryResult)]
struct AskedRow {
    position: i64,
    asked_by: String,
}

/// Empties the events of a person, and learns from them how the person was called before.
pub(super) async fn empty(database: &Database, tenant: &TenantId, person: &mut Person) -> Result<()> {
    let found = format!(
        "SELECT position, user_after, changes FROM user_events
        WHERE tenant = $1 AND user_id = $2 AND user_after <> '{NOTHING_LEFT}' LIMIT {PAGE}"
    );
    loop {
        let values = vec![tenant.as_str().into(), person.user.0.into()];
        let found: Vec<Row> = rows(&database.writer, &found, values).await?;
        if found.is_empty() {
            return Ok(());
        }
        let tx = database.begin().await?;
        for row in found {
            person.learn(&User::from_json(&row.user_after)?);
            person.learn_fields(&Vec::<FieldChange>::from_json(&row.changes)?);
            let sql =
                "UPDATE user_events SET user_after = $2, changes = '[]', asked_by = NULL WHERE position = $1";
            execute(&tx, sql, vec![row.position.into(), NOTHING_LEFT.into()]).await?;
        }
        tx.commit().await?;
    }
}

/// Empties all events of a tenant that is deleted.
pub(crate) async fn empty_all(database: &Database, tenant: &TenantId) -> Result<()> {
    let sql = format!(
        "UPDATE user_events SET user_after = '{NOTHING_LEFT}', changes = '[]', asked_by = NULL
        WHERE position IN (SELECT position FROM user_events
            WHERE tenant = $1 AND (user_after <> '{NOTHING_LEFT}' OR asked_by IS NOT NULL) LIMIT {PAGE})"
    );
    while database.write(&sql, vec![tenant.as_str().into()]).await? > 0 {}
    Ok(())
}

/// Takes people out of the callers and actors who asked for the changes of others.
pub(super) async fn asked_by(database: &Database, tenant: &TenantId, eraser: &Eraser) -> Result<()> {
    let page = format!(
        "SELECT position, asked_by FROM user_events
        WHERE tenant = $1 AND asked_by IS NOT NULL AND position > $2 ORDER BY position LIMIT {PAGE}"
    );
    let mut last = 0_i64;
    loop {
        let values = vec![tenant.as_str().into(), last.into()];
        let found: Vec<AskedRow> = rows(&database.reader, &page, values).await?;
        let Some(end) = found.last() else {
            return Ok(());
        };
        last = end.position;
        for AskedRow { position, asked_by } in found {
            if let Some(left) = eraser.asked_by(&AskedBy::from_json(&asked_by)?) {
                let sql = "UPDATE user_events SET asked_by = $2 WHERE position = $1";
                database
                    .write(sql, vec![position.into(), left.to_json()?.into()])
                    .await?;
            }
        }
    }
}
