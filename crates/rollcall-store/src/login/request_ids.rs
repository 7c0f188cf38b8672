//! Which login requests were carried out lately, by whichever replica: a repeat must not bind again. What they ended
//! with is not kept, since nothing that is derived from a password is stored, and without it nobody could tell a
//! repeat from another attempt.

use chrono::{DateTime, Utc};

use crate::db::query::{execute, text};
use crate::db::timestamp::{to_micros, to_stored};
use crate::error::Result;
use crate::store::Store;

impl Store {
    /// Takes a request for the caller to carry out, until `expires`. False if somebody has it. `request` is a keyed hash.
    pub async fn claim_login_request(
        &self,
        request: &str,
        expires: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let sql = "INSERT INTO login_requests (request, expire_time) VALUES ($1, $2)
            ON CONFLICT (request) DO UPDATE SET expire_time = excluded.expire_time
                WHERE login_requests.expire_time <= $3";
        let (expires, now) = (to_micros(to_stored(expires)), to_micros(to_stored(now)));
        let tx = self.inner.database.begin().await?;
        let taken = execute(&tx, sql, vec![text(request), expires.into(), now.into()]).await?;
        tx.commit().await?;
        Ok(taken > 0)
    }

    /// Gives a request back that came to nothing, so that it may be repeated.
    pub async fn release_login_request(&self, request: &str) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        execute(
            &tx,
            "DELETE FROM login_requests WHERE request = $1",
            vec![text(request)],
        )
        .await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes requests that expired before `now`, at most `limit`; returns how many. Global by nature.
    pub async fn delete_old_login_requests(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM login_requests WHERE request IN (
                SELECT request FROM login_requests WHERE expire_time <= $1 ORDER BY expire_time LIMIT {limit})
                AND expire_time <= $1"
        );
        let tx = self.inner.database.begin().await?;
        let deleted = execute(&tx, &sql, vec![to_micros(now).into()]).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
