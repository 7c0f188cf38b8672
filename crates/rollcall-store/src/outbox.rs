//! Mails that wait to be sent: they are written here before they are sent, so that none is lost.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::{TenantId, UserSyncKey};
use rollcall_core::issue::Health;
use rollcall_core::mail::MailsWithheld;
use sea_orm::{ConnectionTrait, FromQueryResult, Value};
use serde::{Deserialize, Serialize};

use crate::db::engine::Engine;
use crate::db::query::{execute, rows, scalar};
use crate::db::timestamp::to_micros;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables;
use crate::tables::json::{JsonColumn, unreadable};

/// Microseconds of a day.
const DAY: i64 = 86_400_000_000;

/// A mail to send.
#[derive(Clone, PartialEq, Eq, Debug, Serialize, Deserialize)]
pub struct NewMail {
    /// Names the mail, so that a recipient knows it again if it comes twice; letters, digits, dots and hyphens.
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

/// What mails are sent for: each purpose has a budget of its own, so that none can use up another's.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub enum MailPurpose {
    /// What somebody asked to be told.
    #[default]
    Report,
    /// How a run that the schedule started ended, where a person must see to it. No caller can bring these about at
    /// will.
    Alarm,
    /// A directory has a new endpoint, which a caller has set.
    Endpoint,
    /// What an admin has to see to. Callers can bring these about by what they change.
    Reminder,
}

/// Mails of one tenant about one thing.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Mailing {
    /// The mails, one for each address.
    pub mails: Vec<NewMail>,
    /// Which budget pays for them.
    pub purpose: MailPurpose,
    /// How many mails of this purpose the tenant may send in a day of UTC.
    pub per_day: u32,
    /// Addresses that were left out, since the tenant has not verified their domains.
    pub unverified: u32,
    /// What is remembered as told once all of these mails are sent; `None` if they tell nothing new.
    pub told: Option<Told>,
}

/// What the readers of a user sync's reports were told last, as fingerprints. `None` if nothing was wrong.
#[derive(Clone, PartialEq, Eq, Debug, Default, Serialize, Deserialize)]
pub struct Told {
    /// Why a run failed or is held.
    pub alarm: Option<String>,
    /// The issues of the last run that came to its end.
    pub issues: Option<String>,
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
    /// Puts mails into the outbox, as far as their budget reaches. Returns how many were left out.
    pub async fn enqueue_mails(
        &self,
        tenant: &TenantId,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<u32> {
        let tx = self.inner.database.begin().await?;
        let withheld = enqueue(&tx, tenant, mailing, now).await?;
        tx.commit().await?;
        Ok(withheld)
    }

    /// What the readers of a user sync's reports were told last.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn told(&self, key: &UserSyncKey) -> Result<Told> {
        let user_sync = tables::user_sync::find(&self.inner.database.reader, key).await?;
        serde_json::from_str(&user_sync.told).map_err(unreadable)
    }

    /// Mails that are due, the longest due first, each for one worker. A mail that is not finished is due again after
    /// `retry_after`. Global by nature.
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

/// Puts the mails about a run into the outbox, in the transaction of what they tell about. Notes in the run, and in the
/// user sync's health, which mails were left out; the caller saves both.
pub(crate) async fn report(
    tx: &impl ConnectionTrait,
    mailing: &Mailing,
    user_sync: &mut tables::user_sync::Model,
    run: &mut tables::sync_run::Model,
    now: DateTime<Utc>,
) -> Result<()> {
    let tenant = TenantId::parse(&run.tenant).ok_or(StoreError::corrupt("a stored id is malformed"))?;
    let withheld = enqueue(tx, &tenant, mailing, now).await?;
    if let Some(told) = mailing.told.as_ref().filter(|_| withheld == 0) {
        user_sync.told = serde_json::to_string(told).map_err(unreadable)?;
    }
    let missing = MailsWithheld {
        over_budget: withheld,
        unverified: mailing.unverified,
    };
    run.mails_withheld += i64::from(withheld) + i64::from(mailing.unverified);
    let health = Health::from_json(&user_sync.health)?;
    user_sync.health = missing.shown_in(health).to_json()?;
    Ok(())
}

/// Puts mails into the outbox that are more than one day's budget allows. Each day's share is due on its day, and is
/// charged to it.
pub(crate) async fn enqueue_over_days(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    mailing: &Mailing,
    now: DateTime<Utc>,
) -> Result<()> {
    let used = charge(tx, tenant, mailing, |_| mailing.mails.len()).await?;
    for (place, mail) in (used..).zip(&mailing.mails) {
        let days = place / i64::from(mailing.per_day).max(1);
        insert(tx, tenant, mail, now, now + TimeDelta::days(days)).await?;
    }
    Ok(())
}

/// Puts mails into the outbox, as far as their budget reaches. Returns how many were left out.
pub(crate) async fn enqueue(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    mailing: &Mailing,
    now: DateTime<Utc>,
) -> Result<u32> {
    if mailing.mails.is_empty() {
        return Ok(0);
    }
    let mut allowed = 0;
    charge(tx, tenant, mailing, |used| {
        let left = i64::from(mailing.per_day).saturating_sub(used);
        allowed = mailing.mails.len().min(usize::try_from(left).unwrap_or_default());
        allowed
    })
    .await?;
    for mail in mailing.mails.iter().take(allowed) {
        insert(tx, tenant, mail, now, now).await?;
    }
    let withheld = mailing.mails.len() - allowed;
    if withheld > 0 {
        tracing::warn!(
            %tenant,
            purpose = mailing.purpose.label(),
            withheld,
            per_day = mailing.per_day,
            "mails are not sent: the tenant's budget of the day is used up"
        );
    }
    Ok(u32::try_from(withheld).unwrap_or(u32::MAX))
}

async fn insert(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    mail: &NewMail,
    now: DateTime<Utc>,
    due: DateTime<Utc>,
) -> Result<()> {
    let sql = "INSERT INTO mail_outbox (tenant, message, attempts, next_attempt_time, create_time)
        VALUES ($1, $2, 0, $3, $4)";
    let message = serde_json::to_string(mail).map_err(unreadable)?;
    let times = [to_micros(due).into(), to_micros(now).into()];
    let mut values = vec![tenant.as_str().into(), message.into()];
    values.extend(times);
    execute(tx, sql, values).await?;
    Ok(())
}

/// Charges mails to the budget of the present day, by the database's clock. `mails` says how many, given how many were
/// charged before; that number is returned. What exceeds one day's budget is charged to the days after it. Locks the
/// budget as the last row of its transaction.
async fn charge(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    mailing: &Mailing,
    mails: impl FnOnce(i64) -> usize,
) -> Result<i64> {
    let sql = format!(
        "INSERT INTO mail_budgets (tenant, purpose, day, mails) VALUES ($1, $2, {now} / {DAY}, 0)
        ON CONFLICT (tenant, purpose) DO UPDATE SET
            mails = CASE WHEN mail_budgets.day = excluded.day THEN mail_budgets.mails
                WHEN mail_budgets.day < excluded.day
                  AND mail_budgets.mails > $3 * (excluded.day - mail_budgets.day)
                THEN mail_budgets.mails - $3 * (excluded.day - mail_budgets.day)
                ELSE 0 END,
            day = excluded.day
        RETURNING mails",
        now = Engine::of(tx).now()
    );
    let key: [Value; 2] = [tenant.as_str().into(), mailing.purpose.label().into()];
    let mut values = key.to_vec();
    values.push(i64::from(mailing.per_day).into());
    let used: Option<i64> = scalar(tx, &sql, values).await?;
    let used = used.unwrap_or_default();
    let charged = mails(used) as i64;
    let sql = "UPDATE mail_budgets SET mails = mails + $3 WHERE tenant = $1 AND purpose = $2";
    let [tenant, purpose] = key;
    execute(tx, sql, vec![tenant, purpose, charged.into()]).await?;
    Ok(used)
}

impl MailPurpose {
    fn label(self) -> &'static str {
        match self {
            Self::Report => "REPORT",
            Self::Alarm => "ALARM",
            Self::Endpoint => "ENDPOINT",
            Self::Reminder => "REMINDER",
        }
    }
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

#[cfg(test)]
mod tests {
    use super::{NewMail, Told};
    use crate::tables::json::golden::current_plain;

    #[test]
    fn mails_are_read_as_releases_have_written_them() {
        current_plain::<NewMail>(
            r#"{"id":"run-1.a","to":["eve@example.org"],"subject":"A run","text":"It failed.","html":"<p>It failed.</p>"}"#,
        );
        current_plain::<Told>(r#"{"alarm":"5f","issues":null}"#);
    }
}
