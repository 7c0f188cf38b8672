//! The request ids of recent logins, shared by all replicas: a repeated request must not bind again.
//!
//! The outcome of a login is not kept with its request id, because nothing that is derived from a password is stored. And
//! without that, a repeat cannot be told from another attempt with the same id.

use chrono::{DateTime, Utc};

use crate::db::database::Database;
use crate::db::query::text;
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::store::Store;

/// Takes a request, unless somebody has it whose time is not over; true if it was taken.
pub(super) async fn claim(
    database: &Database,
    request: &str,
    expires: DateTime<Utc>,
    now: DateTime<Utc>,
) -> Result<bool> {
    let sql = "INSERT INTO login_requests (request, expire_time) VALUES ($1, $2)
        ON CONFLICT (request) DO UPDATE SET expire_time = excluded.expire_time
            WHERE login_requests.expire_time <= $3";
    let values = vec![text(request), to_micros(expires).into(), to_micros(now).into()];
    Ok(database.write(sql, values).await? > 0)
}

/// Gives a request back.
pub(super) async fn release(database: &Database, request: &str) -> Result<()> {
    let sql = "DELETE FROM login_requests WHERE request = $1";
    database.write(sql, vec![text(request)]).await?;
    Ok(())
}

impl Store {
    /// Deletes requests that expired before `now`, at most `limit`. Returns how many. Global by nature.
    pub async fn delete_old_login_requests(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM login_requests WHERE request IN (
                SELECT request FROM login_requests WHERE expire_time <= $1 ORDER BY expire_time LIMIT {limit})
                AND expire_time <= $1"
        );
        self.inner.database.write(&sql, vec![to_micros(now).into()]).await
    }
}
