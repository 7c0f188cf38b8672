//! Deleting what is too old. Every transaction is short, since nobody writes on SQLite meanwhile, and none looks
//! through a whole table.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use crate::db::database::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::runs::in_force;
use crate::store::Store;
use crate::users::feed;

/// What belongs to a run, by what, and how much of it one transaction deletes; a chunk is as large as many issues.
pub(crate) const PARTS: [(&str, &str, u32); 2] = [
    ("sync_run_issues", "issue", 1_000),
    ("sync_plan_chunks", "chunk", 10),
];

#[derive(FromQueryResult)]
struct OldRun {
    tenant: String,
    user_sync: String,
    id: Uuid,
}

#[derive(FromQueryResult)]
struct OldEvent {
    position: i64,
    time: i64,
}

impl Store {
    /// Deletes runs that ended before `before`, with their plans and issues, at most `limit`; returns how
    /// many. A sync's last run stays. Global by nature.
    pub async fn delete_old_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "SELECT r.tenant, r.user_sync, r.id FROM sync_runs r
            LEFT JOIN user_syncs s ON s.tenant = r.tenant AND s.id = r.user_sync AND s.last_run = r.id
            WHERE r.end_time < $1 AND s.id IS NULL LIMIT {limit}"
        );
        let old: Vec<OldRun> =
            rows(&self.inner.database.reader, &sql, vec![to_micros(before).into()]).await?;
        for run in &old {
            for (table, key, batch) in PARTS {
                let part = format!(
                    "DELETE FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND {key} IN (
                        SELECT {key} FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3 LIMIT {batch})"
                );
                while self.delete(&part, run.key()).await? > 0 {}
            }
            let sql = "DELETE FROM sync_runs WHERE tenant = $1 AND user_sync = $2 AND id = $3";
            self.delete(sql, run.key()).await?;
            let of_sync = vec![run.tenant.as_str().into(), run.user_sync.as_str().into()];
            self.delete(in_force::DELETE_UNUSED, of_sync).await?;
        }
        Ok(old.len() as u64)
    }

    /// Deletes the oldest user events, at most `limit`, up to the first that is not from before `before`; returns
    /// how many. Cursors before them expire. Global by nature.
    pub async fn delete_old_events(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let tx = self.inner.database.begin().await?;
        let oldest = format!("SELECT position, time FROM user_events ORDER BY position LIMIT {limit}");
        let oldest: Vec<OldEvent> = rows(&tx, &oldest, vec![]).await?;
        let old = oldest.iter().take_while(|event| event.time < to_micros(before));
        let Some(last) = old.last().map(|event| event.position) else {
            return Ok(0);
        };
        feed::expire(&tx, last).await?;
        let sql = "DELETE FROM user_events WHERE position <= $1";
        let deleted = execute(&tx, sql, vec![last.into()]).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Deletes those of the `limit` oldest audit events that are from before `before`; returns how many. The only
    /// way in which an audit event goes. Global by nature.
    pub async fn delete_old_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM audit_events WHERE position IN (
                SELECT position FROM (
                    SELECT position, time FROM audit_events ORDER BY position LIMIT {limit}
                ) oldest WHERE time < $1)"
        );
        self.delete(&sql, vec![to_micros(before).into()]).await
    }

    /// Deletes mails that were written before `before` and that nobody has sent, at most `limit`; returns how many.
    /// Global by nature.
    pub async fn delete_old_mail(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM mail_outbox WHERE position IN (
                SELECT position FROM mail_outbox WHERE create_time < $1 ORDER BY position LIMIT {limit})"
        );
        self.delete(&sql, vec![to_micros(before).into()]).await
    }

    async fn delete(&self, sql: &str, values: Vec<Value>) -> Result<u64> {
        let tx = self.inner.database.begin().await?;
        let deleted = execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}

impl OldRun {
    fn key(&self) -> Vec<Value> {
        vec![
            self.tenant.as_str().into(),
            self.user_sync.as_str().into(),
            self.id.into(),
        ]
    }
}
