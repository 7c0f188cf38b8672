//! Mails on their way: written before they are sent, so that none is lost.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::id::TenantId;
use sea_orm::{ConnectionTrait, FromQueryResult};
use serde::{Deserialize, Serialize};

use crate::db::query::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::json::unreadable;

/// A mail to send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewMail {
    /// Names the mail for whoever receives it twice; letters, digits, dots and hyphens.
    pub id: String,
    /// Addresses of the recipients.
    pub to: Vec<String>,
    /// Subject line.
    pub subject: String,
    /// Plain text.
    pub text: String,
    /// The same as HTML.
    pub html: String,
}

/// A mail that this worker is to send now.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct ClaimedMail {
    /// Which mail, for [`Store::finish_mail`].
    pub position: i64,
    /// Its tenant.
    pub tenant: TenantId,
    /// What to send.
    pub mail: NewMail,
    /// How often it was claimed, this time included.
    pub attempts: u32,
}

#[derive(FromQueryResult)]
struct Row {
    position: i64,
    tenant: String,
    message: String,
    attempts: i64,
}

impl Store {
    /// Puts a mail into the outbox.
    pub async fn enqueue_mail(&self, tenant: &TenantId, mail: &NewMail, now: DateTime<Utc>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        enqueue(&tx, tenant, std::slice::from_ref(mail), now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Mails that are due, the longest due first, each for one worker. One that is not finished is due again
    /// after `retry_after`. Global by nature.
    pub async fn claim_mail(
        &self,
        limit: u32,
        retry_after: Duration,
        now: DateTime<Utc>,
    ) -> Result<Vec<ClaimedMail>> {
        let tx = self.inner.database.begin().await?;
        let lock = self.inner.database.engine.skip_locked();
        let sql = format!(
            "UPDATE mail_outbox SET attempts = attempts + 1, next_attempt_time = $2
            WHERE position IN (SELECT position FROM mail_outbox WHERE next_attempt_time <= $1
                ORDER BY next_attempt_time, position LIMIT {limit}{lock})
            RETURNING position, tenant, message, attempts"
        );
        let retry_micros = i64::try_from(retry_after.as_micros()).unwrap_or(i64::MAX / 4);
        let next = to_micros(now).saturating_add(retry_micros);
        let mut found: Vec<Row> = rows(&tx, &sql, vec![to_micros(now).into(), next.into()]).await?;
        tx.commit().await?;
        found.sort_by_key(|row| row.position);
        found.into_iter().map(Row::into_domain).collect()
    }

    /// Makes a mail that could not be sent due at `next_attempt_time`. Global by nature.
    pub async fn postpone_mail(&self, position: i64, next_attempt_time: DateTime<Utc>) -> Result<()> {
        let sql = "UPDATE mail_outbox SET next_attempt_time = $2 WHERE position = $1";
        let values = vec![position.into(), to_micros(next_attempt_time).into()];
        self.inner.database.write(sql, values).await?;
        Ok(())
    }

    /// Takes a mail that was sent, or given up, out of the outbox. Global by nature.
    pub async fn finish_mail(&self, position: i64) -> Result<()> {
        let sql = "DELETE FROM mail_outbox WHERE position = $1";
        self.inner.database.write(sql, vec![position.into()]).await?;
        Ok(())
    }
}

/// Puts mails into the outbox, in the transaction of what they tell about.
pub(crate) async fn enqueue(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    mails: &[NewMail],
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO mail_outbox (tenant, message, attempts, next_attempt_time, create_time)
        VALUES ($1, $2, 0, $3, $3)";
    for mail in mails {
        let message = serde_json::to_string(mail).map_err(unreadable)?;
        let values = vec![tenant.as_str().into(), message.into(), to_micros(now).into()];
        execute(tx, sql, values).await?;
    }
    Ok(())
}

impl Row {
    fn into_domain(self) -> Result<ClaimedMail> {
        Ok(ClaimedMail {
            position: self.position,
            tenant: TenantId::parse(&self.tenant).ok_or(StoreError::corrupt("a stored id is malformed"))?,
            mail: serde_json::from_str(&self.message).map_err(unreadable)?,
            attempts: u32::try_from(self.attempts).unwrap_or(u32::MAX),
        })
    }
}
