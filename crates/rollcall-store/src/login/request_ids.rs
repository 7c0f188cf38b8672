//! The request ids of recent logins, shared by all replicas: a repeated request must not bind again.
//!
//! The outcome of a login is not kept with its request id, because nothing that is derived from a password is stored.
//! Without it, a repeat cannot be told from another attempt with the same id.

use std::time::Duration;

use crate::db::database::Database;
use crate::db::query::text;
use crate::db::timestamp::in_micros;
use crate::error::Result;
use crate::store::Store;

/// Takes a request id, unless another caller has it and its time is not over. True if it was taken. Time is the
/// database's: by the clock of one replica, an id that another one took might seem to be over.
pub(super) async fn claim(database: &Database, request: &str, time: Duration) -> Result<bool> {
    let sql = format!(
        "INSERT INTO login_requests (request, expire_time) VALUES ($1, {now} + $2)
        ON CONFLICT (request) DO UPDATE SET expire_time = excluded.expire_time
            WHERE login_requests.expire_time <= {now}",
        now = database.engine.now()
    );
    let values = vec![text(request), in_micros(time).into()];
    Ok(database.write(&sql, values).await? > 0)
}

/// Gives a request id back.
pub(super) async fn release(database: &Database, request: &str) -> Result<()> {
    let sql = "DELETE FROM login_requests WHERE request = $1";
    database.write(sql, vec![text(request)]).await?;
    Ok(())
}

impl Store {
    /// Deletes requests whose time is over, at most `limit`. Returns how many. Global by nature.
    pub async fn delete_old_login_requests(&self, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM login_requests WHERE request IN (
                SELECT request FROM login_requests WHERE expire_time <= {now} ORDER BY expire_time LIMIT {limit})
                AND expire_time <= {now}",
            now = self.inner.database.engine.now()
        );
        self.inner.database.write(&sql, vec![]).await
    }
}
