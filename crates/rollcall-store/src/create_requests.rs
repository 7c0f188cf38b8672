//! Which calls created what lately: a repeat with the same request id creates nothing more (AIP-155). What a call
//! created and that it did are committed together.

use chrono::{DateTime, TimeDelta, Utc};
use ring::digest::{Context, SHA256};
use rollcall_core::id::TenantId;
use rollcall_core::secret::SecretBytes;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::query::{execute, row};
use crate::db::timestamp::{to_micros, to_stored};
use crate::error::{Result, StoreError};
use crate::purpose::Purpose;
use crate::store::Store;

/// For how long a repeated call is recognised.
pub const REPEATABLE_FOR: TimeDelta = TimeDelta::hours(24);

/// A call that creates something, as its repeats are recognised.
pub struct CreateRequest<'a> {
    /// Whose resource it is to be; `None` for a tenant itself.
    pub tenant: Option<&'a TenantId>,
    /// Who calls. Callers do not meet each other's request ids.
    pub caller: &'a str,
    /// What the caller calls this request.
    pub id: &'a str,
    /// The method and all fields of the request. May hold secrets.
    pub content: &'a SecretBytes,
}

/// What came of a call that may be a repeat.
#[derive(PartialEq, Eq, Debug)]
pub enum Created<T> {
    /// This call created it.
    Now(T),
    /// An earlier call did; the id of what it created, which may be gone since.
    Before(String),
}

#[derive(FromQueryResult)]
struct Earlier {
    content: Vec<u8>,
    resource: String,
}

impl Store {
    /// The id of what an earlier call with this request id created.
    ///
    /// # Errors
    /// `RequestIdReused` if that call had another content.
    pub async fn created_before(
        &self,
        request: &CreateRequest<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        self.earlier(&self.inner.database.reader, request, now).await
    }

    /// Deletes requests that expired before `now`, at most `limit`; returns how many. Global by nature.
    pub async fn delete_old_create_requests(&self, now: DateTime<Utc>, limit: u32) -> Result<u64> {
        let sql = format!(
            "DELETE FROM create_requests WHERE request IN (
                SELECT request FROM create_requests WHERE expire_time <= $1 ORDER BY expire_time LIMIT {limit})
                AND expire_time <= $1"
        );
        let tx = self.inner.database.begin().await?;
        let deleted = execute(&tx, &sql, vec![to_micros(now).into()]).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Takes the request id for the resource that this transaction creates, or returns the id of what an earlier call
    /// created. Waits for a call with the same request id that is under way.
    pub(crate) async fn claim(
        &self,
        tx: &impl ConnectionTrait,
        request: &CreateRequest<'_>,
        resource: &str,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        let sql = "INSERT INTO create_requests (request, tenant, content, resource, expire_time)
            VALUES ($1, $2, $3, $4, $5)
            ON CONFLICT (request) DO UPDATE SET content = excluded.content, resource = excluded.resource,
                expire_time = excluded.expire_time
                WHERE create_requests.expire_time <= $6";
        let key = request.key();
        let content = self.keys()?.of(Purpose::CreateRequests).tag(&request.parts(&key));
        let values = vec![
            key.as_str().into(),
            request.scope().into(),
            content.to_vec().into(),
            resource.into(),
            to_micros(to_stored(now + REPEATABLE_FOR)).into(),
            to_micros(to_stored(now)).into(),
        ];
        if execute(tx, sql, values).await? > 0 {
            return Ok(None);
        }
        let earlier = self.earlier(tx, request, now).await?;
        // The row was there a moment ago. It can only have expired since, by the clock of another replica.
        earlier.map(Some).ok_or(StoreError::Contended)
    }

    async fn earlier(
        &self,
        connection: &impl ConnectionTrait,
        request: &CreateRequest<'_>,
        now: DateTime<Utc>,
    ) -> Result<Option<String>> {
        let sql = "SELECT content, resource FROM create_requests WHERE request = $1 AND expire_time > $2";
        let key = request.key();
        let values = vec![key.as_str().into(), to_micros(to_stored(now)).into()];
        let Some(earlier) = row::<Earlier>(connection, sql, values).await? else {
            return Ok(None);
        };
        // A keyed hash: the content may hold a password, and a reader of the database must not be able to try guesses on it.
        let content = self.keys()?.of(Purpose::CreateRequests);
        if content.is_tag(&request.parts(&key), &earlier.content) {
            Ok(Some(earlier.resource))
        } else {
            Err(StoreError::RequestIdReused {
                request_id: request.id.to_owned(),
            })
        }
    }
}

impl CreateRequest<'_> {
    fn scope(&self) -> &str {
        self.tenant.map_or("", TenantId::as_str)
    }

    /// The parts whose tag is the stored content.
    fn parts<'s>(&'s self, key: &'s str) -> [&'s [u8]; 2] {
        [key.as_bytes(), self.content.expose()]
    }

    /// The key under which the request is stored: a hash, since callers may put anything into their ids. Lengths are
    /// hashed too, so that two different requests never hash the same bytes.
    fn key(&self) -> String {
        let mut context = Context::new(&SHA256);
        for part in [self.scope(), self.caller, self.id] {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        let hash = context.finish();
        hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
    }
}
