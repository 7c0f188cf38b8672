//! Deletes what is too old, by the registry of tables. Every transaction is short, since on SQLite nobody else writes meanwhile, and
//! none reads a whole table.

use std::time::Duration;

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use crate::audit;
use crate::db::query::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::store::Store;
use crate::tables::registry::Sweep;
use crate::users::feed;

/// Rows that one statement deletes: transactions must stay short.
const ROWS: u32 = 500;
/// Runs that are deleted between two looks at the clock; each may have many rows.
const RUNS: u32 = 10;
/// Soft locks that nobody touched for this long say nothing any more: longer than the longest window and lock, and than an
/// address stays a user's.
const THROTTLES_KEPT: Duration = Duration::from_secs(8 * 86_400);
/// Longer than any mail is tried. Older ones are left from before mail was switched off.
const MAIL_KEPT: Duration = Duration::from_secs(60 * 86_400);

/// How long is kept what the deployment decides about.
#[derive(Clone, Copy, Debug)]
pub struct Kept {
    /// Runs that ended, with plan and issues.
    pub runs: Duration,
    /// User events.
    pub events: Duration,
    /// Audit events.
    pub audit: Duration,
}

#[derive(FromQueryResult)]
struct OldEvent {
    position: i64,
    time: i64,
}

impl Store {
    /// Deletes a little of what is too old at `now`; returns how many rows, or runs. 0: nothing is left. Global by nature.
    pub async fn sweep(&self, sweep: Sweep, kept: &Kept, now: DateTime<Utc>) -> Result<u64> {
        match sweep {
            Sweep::Runs => self.delete_old_runs(now - kept.runs, RUNS).await,
            Sweep::Events => self.delete_old_events(now - kept.events, ROWS).await,
            Sweep::Audit => self.delete_old_audit(now - kept.audit, ROWS).await,
            Sweep::SoftLocks => self.delete_old_throttles(THROTTLES_KEPT, ROWS).await,
            Sweep::LoginRequests => self.delete_old_login_requests(ROWS).await,
            Sweep::CreateRequests => self.delete_old_create_requests(now, ROWS).await,
            Sweep::Mail => self.delete_old_mail(now - MAIL_KEPT, ROWS).await,
        }
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
