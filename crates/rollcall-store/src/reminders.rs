//! What mails have told admins of what they have to see to: once when it begins, once when it is settled.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::TenantId;
use rollcall_core::reminder::Remembered;
use sea_orm::FromQueryResult;

use crate::db::query::{column, execute, rows, scalar, text};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::outbox::{Mailing, enqueue, enqueue_over_days};
use crate::store::Store;

/// No look is put off for longer than this. A later one was put there by a clock that was ahead.
const FARTHEST: TimeDelta = TimeDelta::days(2);

/// What is remembered of a tenant's reminders.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Reminders {
    /// What was told, in the order of the keys.
    pub known: Vec<Remembered>,
    /// When the present week began; `None` while nothing is open.
    pub week: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Row {
    topic: String,
    stage: i64,
    message: String,
    tell_time: i64,
    state: String,
}

impl Store {
    /// Tenants that are due to be looked at, each for one replica. Each is due again at `next`. Global by nature.
    pub async fn claim_reminder_looks(
        &self,
        limit: u32,
        next: DateTime<Utc>,
        now: DateTime<Utc>,
    ) -> Result<Vec<TenantId>> {
        let lock = self.inner.database.engine.skip_locked();
        let mut claimed = Vec::new();
        for (due, time) in [("<= $1", now), ("> $1", now + FARTHEST)] {
            let tx = self.inner.database.begin().await?;
            let sql = format!(
                "UPDATE tenants SET reminder_look_time = $2 WHERE id IN (
                    SELECT id FROM tenants WHERE reminder_look_time {due}
                    ORDER BY reminder_look_time, id LIMIT {limit}{lock})
                RETURNING id"
            );
            let values = vec![to_micros(time).into(), to_micros(next).into()];
            let ids: Vec<String> = column(&tx, &sql, values).await?;
            tx.commit().await?;
            claimed.extend(ids);
            if claimed.len() >= limit as usize {
                break;
            }
        }
        let parsed = claimed.iter().map(|id| TenantId::parse(id));
        parsed
            .map(|id| id.ok_or(StoreError::corrupt("a stored id is malformed")))
            .collect()
    }

    /// What was told to a tenant's admins.
    pub async fn reminders(&self, tenant: &TenantId) -> Result<Reminders> {
        let reader = &self.inner.database.reader;
        let sql =
            "SELECT topic, stage, message, tell_time, state FROM reminders WHERE tenant = $1 ORDER BY topic";
        let found: Vec<Row> = rows(reader, sql, vec![tenant.as_str().into()]).await?;
        let sql = "SELECT reminder_summary_time FROM tenants WHERE id = $1";
        let week: Option<Option<i64>> = scalar(reader, sql, vec![tenant.as_str().into()]).await?;
        Ok(Reminders {
            known: found.into_iter().map(Row::into_domain).collect::<Result<_>>()?,
            week: week.flatten().map(from_micros).transpose()?,
        })
    }

    /// Puts reminders into the outbox, and remembers what they tell. Returns false and does nothing if today's budget
    /// does not reach for all of them and another day's would. Reminders that are more than any day's budget are sent
    /// over several days.
    pub async fn remind(
        &self,
        tenant: &TenantId,
        remembered: &Reminders,
        mailings: &[Mailing],
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        let sql = "UPDATE tenants SET reminder_summary_time = $2 WHERE id = $1";
        let values = vec![tenant.as_str().into(), remembered.week.map(to_micros).into()];
        if execute(&tx, sql, values).await? == 0 {
            return Ok(true);
        }
        let sql = "DELETE FROM reminders WHERE tenant = $1";
        execute(&tx, sql, vec![tenant.as_str().into()]).await?;
        for known in &remembered.known {
            let state = match (known.open, known.quiet) {
                (false, _) => "ENDED",
                (true, true) => "QUIET",
                (true, false) => "OPEN",
            };
            let sql = "INSERT INTO reminders (tenant, topic, stage, message, tell_time, state)
                VALUES ($1, $2, $3, $4, $5, $6)";
            let values = vec![
                tenant.as_str().into(),
                text(&known.key),
                known.stage.into(),
                text(&known.message),
                to_micros(known.tell_time).into(),
                state.into(),
            ];
            execute(&tx, sql, values).await?;
        }
        for mailing in mailings {
            let one_day = mailing.mails.len() <= mailing.per_day as usize;
            // A tenant with a budget of no mails gets none.
            if one_day || mailing.per_day == 0 {
                let withheld = enqueue(&tx, tenant, mailing, now).await?;
                if withheld > 0 && one_day {
                    return Ok(false);
                }
            } else {
                enqueue_over_days(&tx, tenant, mailing, now).await?;
            }
        }
        tx.commit().await?;
        Ok(true)
    }
}

impl Row {
    fn into_domain(self) -> Result<Remembered> {
        Ok(Remembered {
            key: self.topic,
            stage: self.stage,
            message: self.message,
            tell_time: from_micros(self.tell_time)?,
            open: self.state != "ENDED",
            quiet: self.state == "QUIET",
        })
    }
}
