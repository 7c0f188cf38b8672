//! Deletes runs that ended long ago. A run's plan and issues go first and in parts, so that every transaction is short.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};
use uuid::Uuid;

use crate::db::query::{Statement, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::runs::in_force;
use crate::store::Store;

/// Rows that belong to a run.
pub(crate) struct RunPart {
    pub(crate) table: &'static str,
    /// The column that tells the rows of one run apart.
    pub(crate) key: &'static str,
    /// How many rows one transaction deletes.
    pub(crate) batch: u32,
}

/// All that belongs to a run. A chunk is as large as many issues.
pub(crate) const RUN_PARTS: [RunPart; 2] = [
    RunPart {
        table: "sync_run_issues",
        key: "issue",
        batch: 1_000,
    },
    RunPart {
        table: "sync_plan_chunks",
        key: "chunk",
        batch: 10,
    },
];

#[derive(FromQueryResult)]
struct OldRun {
    tenant: String,
    user_sync: String,
    id: Uuid,
}

impl Store {
    /// Deletes runs that ended before `before`, with their plans and issues, at most `limit`; returns how
    /// many. A sync's last run stays. Global by nature.
    pub async fn delete_old_runs(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let database = &self.inner.database;
        let (sql, values) = old_runs(before, limit);
        let old: Vec<OldRun> = rows(&database.reader, &sql, values).await?;
        for run in &old {
            for RunPart { table, key, batch } in RUN_PARTS {
                let part = format!(
                    "DELETE FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3 AND {key} IN (
                        SELECT {key} FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3 LIMIT {batch})"
                );
                while database.write(&part, run.key()).await? > 0 {}
            }
            let sql = "DELETE FROM sync_runs WHERE tenant = $1 AND user_sync = $2 AND id = $3";
            database.write(sql, run.key()).await?;
            let of_sync = vec![run.tenant.as_str().into(), run.user_sync.as_str().into()];
            database.write(in_force::DELETE_UNUSED, of_sync).await?;
        }
        Ok(old.len() as u64)
    }
}

/// The query for runs that ended before this time, but for the last of each user sync.
pub(crate) fn old_runs(before: DateTime<Utc>, limit: u32) -> Statement {
    let sql = format!(
        "SELECT r.tenant, r.user_sync, r.id FROM sync_runs r
        WHERE r.end_time < $1 AND NOT EXISTS (
            SELECT 1 FROM user_syncs s WHERE s.tenant = r.tenant AND s.id = r.user_sync AND s.last_run = r.id)
        ORDER BY r.end_time LIMIT {limit}"
    );
    (sql, vec![to_micros(before).into()])
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
