//! How the deployment stands, in a few numbers. Global by nature.
//!
//! Every worker asks twice a minute, so what a look costs must not grow with the deployment. Each number is found by an
//! index that begins with the rows to be counted, and is counted no further than [`MOST`]. The only rows that a look
//! passes over are those of what somebody has switched off.

use chrono::{DateTime, Utc};
use sea_orm::{FromQueryResult, Value};

use crate::configuration::turns::{MAY_RUN, WITH_PARENTS};
use crate::db::query::{row, scalar};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::store::Store;

#[cfg(test)]
mod tests;

/// No number is counted further: from here on it is "this many or more".
const MOST: u32 = 1_000;

/// How the deployment stands. Counts end at 1,000.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Figures {
    /// Runs that wait for a person.
    pub held: i64,
    /// User syncs that may run by schedule, and were due before [`FiguresAsked::due`].
    pub late: i64,
    /// User syncs that may run by schedule, and never had a complete run.
    pub never: i64,
    /// The oldest last success of those that had one.
    pub oldest_success: Option<DateTime<Utc>>,
    /// Mails in the outbox.
    pub mails: i64,
    /// When the oldest of them was written.
    pub oldest_mail: Option<DateTime<Utc>>,
    /// Bind passwords of directories in use that were set before [`FiguresAsked::password_set`].
    pub old_passwords: i64,
    /// When the oldest of all bind passwords of directories in use was set.
    pub oldest_password: Option<DateTime<Utc>>,
}

/// The times before which something is too old.
#[derive(Clone, Copy, Debug)]
pub struct FiguresAsked {
    /// User syncs that were due before this time are late.
    pub due: DateTime<Utc>,
    /// Bind passwords that were set before this time are old.
    pub password_set: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct Row {
    held: i64,
    late: i64,
    never: i64,
    oldest_success: Option<i64>,
    mails: i64,
    oldest_mail: Option<i64>,
    old_passwords: i64,
    oldest_password: Option<i64>,
}

impl Store {
    /// How the deployment stands.
    ///
    /// # Errors
    /// What the store says.
    pub async fn figures(&self, asked: FiguresAsked) -> Result<Figures> {
        let (sql, values) = statement(asked);
        let found: Option<Row> = row(&self.inner.database.reader, &sql, values).await?;
        let found = found.ok_or(StoreError::corrupt("a count has no row"))?;
        Ok(Figures {
            held: found.held,
            late: found.late,
            never: found.never,
            oldest_success: found.oldest_success.map(from_micros).transpose()?,
            mails: found.mails,
            oldest_mail: found.oldest_mail.map(from_micros).transpose()?,
            old_passwords: found.old_passwords,
            oldest_password: found.oldest_password.map(from_micros).transpose()?,
        })
    }

    /// How many user syncs have a schedule. Reads their whole index, so call it rarely.
    ///
    /// # Errors
    /// What the store says.
    pub async fn scheduled_user_syncs(&self) -> Result<i64> {
        let sql = "SELECT COUNT(*) FROM user_syncs WHERE next_run_time IS NOT NULL";
        let counted = scalar(&self.inner.database.reader, sql, vec![]).await?;
        counted.ok_or(StoreError::corrupt("a count has no row"))
    }

    /// Connections of the pools to the database, and how many of them nobody uses.
    pub fn connections(&self) -> (u32, usize) {
        self.inner.database.connections()
    }
}

fn statement(asked: FiguresAsked) -> (String, Vec<Value>) {
    let count = |from: &str| format!("(SELECT COUNT(*) FROM (SELECT 1 FROM {from} LIMIT {MOST}) counted)");
    let first = |column: &str, from: &str| format!("(SELECT {column} FROM {from} ORDER BY {column} LIMIT 1)");
    let scheduled = format!("{WITH_PARENTS} WHERE s.next_run_time IS NOT NULL AND {MAY_RUN}");
    let passwords = "directories d JOIN tenants t ON t.id = d.tenant
        WHERE d.bind_password_update_time IS NOT NULL AND t.user_sync_enabled AND NOT d.disabled";
    let sql = format!(
        "SELECT {} AS held, {} AS late, {} AS never, {} AS oldest_success, {} AS mails,
            (SELECT create_time FROM mail_outbox ORDER BY position LIMIT 1) AS oldest_mail,
            {} AS old_passwords, {} AS oldest_password",
        count("sync_runs WHERE state = 'HELD'"),
        count(&format!(
            "{WITH_PARENTS} WHERE s.next_run_time < $1 AND {MAY_RUN}"
        )),
        count(&format!("{scheduled} AND s.last_complete_pull_time IS NULL")),
        first(
            "s.last_complete_pull_time",
            &format!("{scheduled} AND s.last_complete_pull_time IS NOT NULL")
        ),
        count("mail_outbox"),
        count(&format!("{passwords} AND d.bind_password_update_time < $2")),
        first("d.bind_password_update_time", passwords),
    );
    (
        sql,
        vec![to_micros(asked.due).into(), to_micros(asked.password_set).into()],
    )
}
