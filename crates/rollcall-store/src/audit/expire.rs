//! Retention of the sealed record.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use crate::audit::chain::start_signature;
use crate::db::engine::Engine;
use crate::db::query::{execute, rows, scalar};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::purpose::Purpose;
use crate::store::Store;

#[derive(FromQueryResult)]
struct Oldest {
    position: i64,
    time: i64,
    hash: Vec<u8>,
}

/// See [`Store::delete_old_audit`].
pub(crate) async fn delete_old(store: &Store, before: DateTime<Utc>, limit: u32) -> Result<u64> {
    let database = &store.inner.database;
    let oldest = format!("SELECT position, time, hash FROM audit_events ORDER BY position LIMIT {limit}");
    let oldest: Vec<Oldest> = rows(&database.reader, &oldest, vec![]).await?;
    let old = oldest
        .into_iter()
        .take_while(|event| event.time < to_micros(before));
    let Some(last) = old.last() else {
        return Ok(0);
    };
    let key = store.keys()?.of(Purpose::AuditRecord);
    let signature = start_signature(key, last.position, &last.hash);
    let tx = database.begin().await?;
    // The start never moves back: another replica may have deleted more meanwhile.
    let sql = "UPDATE audit_ends SET position = $1, hash = $2, signature = $3
        WHERE name = 'start' AND position < $1";
    let start = vec![last.position.into(), last.hash.into(), signature.to_vec().into()];
    execute(&tx, sql, start).await?;
    let sql = "DELETE FROM audit_payloads WHERE position <= $1";
    execute(&tx, sql, vec![last.position.into()]).await?;
    let deleted = match database.engine {
        Engine::Sqlite => {
            let sql = "DELETE FROM audit_events WHERE position <= $1";
            execute(&tx, sql, vec![last.position.into()]).await?
        }
        // Deleting goes through a function, so that the service's role needs no right to delete an event.
        Engine::Postgres => {
            let deleted: Option<i64> = scalar(&tx, "SELECT audit_expire()", vec![]).await?;
            deleted.map_or(0, |deleted| u64::try_from(deleted).unwrap_or_default())
        }
    };
    tx.commit().await?;
    Ok(deleted)
}
