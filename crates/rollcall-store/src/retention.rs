//! Deletes old events, audit rows and mails. Every transaction is short, since on SQLite nobody else writes meanwhile, and
//! none reads a whole table.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use crate::audit;
use crate::db::query::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::store::Store;
use crate::users::feed;

#[derive(FromQueryResult)]
struct OldEvent {
    position: i64,
    time: i64,
}

impl Store {
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

    /// Deletes the oldest audit events that are sealed, at most `limit`, up to the first that is not from before `before`;
    /// returns how many. The only way in which an audit event goes: it leaves a signed note of where the chain starts now.
    /// Global by nature.
    pub async fn delete_old_audit(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        audit::delete_old(self, before, limit).await
    }

    /// Deletes mails that were written before `before` and that nobody has sent, at most `limit`; returns how many.
    /// Global by nature.
    pub async fn delete_old_mail(&self, before: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM mail_outbox WHERE position IN (
                SELECT position FROM mail_outbox WHERE create_time < $1 ORDER BY position LIMIT {limit})"
        );
        self.inner
            .database
            .write(&sql, vec![to_micros(before).into()])
            .await
    }
}
