//! How the deployment stands, in a few numbers. Global by nature.

use chrono::{DateTime, Utc};
use sea_orm::FromQueryResult;

use crate::db::query::row;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::store::Store;

/// How the deployment stands.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Runs that wait for a person.
    pub held: i64,
    /// User syncs that run by schedule.
    pub scheduled: i64,
    /// Those of them that are due since before the time that was asked about.
    pub late: i64,
    /// Those of them that never had a complete run.
    pub never: i64,
    /// The oldest last success of those that had one.
    pub oldest_success: Option<DateTime<Utc>>,
    /// Mails in the outbox.
    pub mails: i64,
    /// When the oldest of them was written.
    pub oldest_mail: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Row {
    held: i64,
    scheduled: i64,
    late: i64,
    never: i64,
    oldest_success: Option<i64>,
    mails: i64,
    oldest_mail: Option<i64>,
}

impl Store {
    /// How the deployment stands; late is what is due since before `due_before`.
    ///
    /// # Errors
    /// What the store says.
    pub async fn figures(&self, due_before: DateTime<Utc>) -> Result<Figures> {
        let sql = "SELECT
            (SELECT COUNT(*) FROM sync_runs WHERE state = 'HELD') AS held,
            COUNT(*) AS scheduled,
            COALESCE(SUM(CASE WHEN next_run_time < $1 THEN 1 ELSE 0 END), 0) AS late,
            COUNT(*) - COUNT(last_complete_pull_time) AS never,
            MIN(last_complete_pull_time) AS oldest_success,
            (SELECT COUNT(*) FROM mail_outbox) AS mails,
            (SELECT MIN(create_time) FROM mail_outbox) AS oldest_mail
            FROM user_syncs WHERE next_run_time IS NOT NULL";
        let found: Option<Row> = row(
            &self.inner.database.reader,
            sql,
            vec![to_micros(due_before).into()],
        )
        .await?;
        let found = found.ok_or(StoreError::corrupt("a count has no row"))?;
        Ok(Figures {
            held: found.held,
            scheduled: found.scheduled,
            late: found.late,
            never: found.never,
            oldest_success: found.oldest_success.map(from_micros).transpose()?,
            mails: found.mails,
            oldest_mail: found.oldest_mail.map(from_micros).transpose()?,
        })
    }

    /// Connections of the pools to the database, and how many of them nobody uses.
    pub fn connections(&self) -> (u32, usize) {
        self.inner.database.connections()
    }
}
