//! The sweep over all that is kept of a tenant.

use std::collections::BTreeSet;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::erasure::{Eraser, Person};
use rollcall_core::id::{TenantId, UserId, Uuid};
use sea_orm::FromQueryResult;

use super::erase::sealed_for;
use super::{events, plans, texts};
use crate::audit;
use crate::db::engine::Engine;
use crate::db::query::{column, execute, rows, scalar};
use crate::db::timestamp::to_micros;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::json::JsonColumn;

/// Most people who are looked for in one sweep.
const MANY: u32 = 100;
/// A login, or a call that changes a user, that began before an erasure has ended after this time.
const SETTLED: TimeDelta = TimeDelta::minutes(5);
/// A run of the tenant that began before the erasure `e` and is still worked on.
const RUN_UNDER_WAY: &str = "SELECT r.id FROM sync_runs r WHERE r.tenant = e.tenant
    AND r.state IN ('PENDING', 'PULLING', 'APPLYING') AND r.create_time <= e.create_time";

#[derive(FromQueryResult)]
struct Row {
    user_id: Uuid,
    person: Vec<u8>,
    create_time: i64,
}

impl Store {
    /// Takes people of a tenant who were erased, one or all, out of everything that is kept: events, plans, issues of
    /// any person, reports that wait to be sent, results of checks, and the actors of changes. False if a run that
    /// began before the erasure is under way, which may still write about them: a later sweep sees to that.
    ///
    /// # Errors
    /// `KeyMissing`.
    pub async fn sweep_erased(
        &self,
        tenant: &TenantId,
        only: Option<UserId>,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let database = &self.inner.database;
        let of_user = only.map_or("", |_| " AND user_id = $4");
        let sql = format!(
            "SELECT user_id, person, create_time FROM erasures
            WHERE tenant = $1 AND (create_time, user_id) > ($2, $3){of_user} ORDER BY create_time, user_id LIMIT {MANY}"
        );
        let mut last = (0, Uuid::nil());
        loop {
            let mut values = vec![tenant.as_str().into(), last.0.into(), last.1.into()];
            values.extend(only.map(|user| user.0.into()));
            let pending: Vec<Row> = rows(&database.writer, &sql, values).await?;
            let Some(end) = pending.last() else { break };
            last = (end.create_time, end.user_id);
            let until = end.create_time;
            let mut people = Vec::with_capacity(pending.len());
            for row in &pending {
                people.push(self.person(tenant, row)?);
            }
            for person in &mut people {
                self.forget_attempts(tenant, person.user).await?;
                events::empty(database, tenant, person).await?;
            }
            plans::clear(database, tenant, until, &eraser(tenant, &people)?, &mut people).await?;
            let eraser = eraser(tenant, &people)?;
            texts::clear(database, tenant, until, &eraser).await?;
            audit::forget(self, tenant, &people, &eraser).await?;
            self.finish(tenant, &pending, now).await?;
        }
        self.compact().await;
        let under_way = format!(
            "SELECT e.user_id FROM erasures e WHERE e.tenant = $1 AND ($2 IS NULL OR e.user_id = $2)
              AND EXISTS ({RUN_UNDER_WAY}) LIMIT 1"
        );
        let values = vec![tenant.as_str().into(), only.map(|user| user.0).into()];
        let under_way: Option<Uuid> = scalar(&database.reader, &under_way, values).await?;
        Ok(under_way.is_none())
    }

    /// Tenants with people who were erased long enough ago that nothing is written about them any more. Global by
    /// nature.
    pub async fn tenants_to_sweep(&self, now: DateTime<Utc>) -> Result<BTreeSet<TenantId>> {
        let sql = format!(
            "SELECT DISTINCT e.tenant FROM erasures e WHERE e.create_time <= $1 AND NOT EXISTS ({RUN_UNDER_WAY})"
        );
        let settled = vec![to_micros(now - SETTLED).into()];
        let tenants: Vec<String> = column(&self.inner.database.reader, &sql, settled).await?;
        let parse = |id: &String| TenantId::parse(id).ok_or(StoreError::corrupt("a stored id is malformed"));
        tenants.iter().map(parse).collect()
    }

    fn person(&self, tenant: &TenantId, row: &Row) -> Result<Person> {
        let user = UserId(row.user_id).to_string();
        let plain = self
            .inner
            .keyring()
            .open(sealed_for(tenant, &user), &row.person)?;
        let json = std::str::from_utf8(&plain).map_err(|_| StoreError::corrupt("a person is not text"))?;
        Person::from_json(json)
    }

    /// Deletes the soft lock of a user, the refusals that it counted, and the time of the last login.
    async fn forget_attempts(&self, tenant: &TenantId, user: UserId) -> Result<()> {
        for table in ["login_throttles", "login_refusals"] {
            let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND (subject = $2 OR subject LIKE $3)");
            let subject = format!("user/{user}");
            let values = vec![
                tenant.as_str().into(),
                subject.clone().into(),
                format!("{subject}/%").into(),
            ];
            self.inner.database.write(&sql, values).await?;
        }
        let sql = "DELETE FROM last_logins WHERE tenant = $1 AND user_id = $2";
        let values = vec![tenant.as_str().into(), user.0.into()];
        self.inner.database.write(sql, values).await?;
        Ok(())
    }

    /// Forgets whom to look for, once nothing more can be written about them.
    async fn finish(&self, tenant: &TenantId, pending: &[Row], now: DateTime<Utc>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        for row in pending {
            let sql = format!(
                "DELETE FROM erasures AS e WHERE e.tenant = $1 AND e.user_id = $2 AND e.create_time = $3
                  AND e.create_time <= $4 AND NOT EXISTS ({RUN_UNDER_WAY})"
            );
            let values = vec![
                tenant.as_str().into(),
                row.user_id.into(),
                row.create_time.into(),
                to_micros(now - SETTLED).into(),
            ];
            execute(&tx, &sql, values).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// SQLite's log keeps old versions of pages until it is written anew. A reader can prevent that now; then the next
    /// sweep does it.
    async fn compact(&self) {
        if self.inner.database.engine == Engine::Sqlite {
            let _ = execute(
                &self.inner.database.writer,
                "PRAGMA wal_checkpoint(TRUNCATE)",
                vec![],
            )
            .await;
        }
    }
}

fn eraser(tenant: &TenantId, people: &[Person]) -> Result<Eraser> {
    Eraser::new(tenant, people).ok_or(StoreError::corrupt("people have too many names to look for"))
}
