//! Which user sync is due next. The tenant that was served longest ago comes first, so that nobody waits for everything
//! that another tenant has. What is due is found by index, however many tenants there are. Global by nature.

use chrono::{DateTime, Utc};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::user_sync::UserSync;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::db::query::{column, execute, row, rows};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::columns;
use crate::tables::user_sync::{Entity, Model};

/// The condition that a user sync may run by itself. `s` is its row, `t` its tenant's and `d` its directory's.
pub(crate) const MAY_RUN: &str = "s.auto_sync AND NOT s.disabled AND t.user_sync_enabled AND NOT d.disabled";
/// The tables of these three rows.
pub(crate) const WITH_PARENTS: &str = "user_syncs s JOIN tenants t ON t.id = s.tenant
    JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory";

/// A user sync that is due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Due {
    /// Which one.
    pub key: UserSyncKey,
    /// The directory that it reads.
    pub directory: DirectoryId,
    /// When it became due.
    pub time: DateTime<Utc>,
}

/// Where a list of what is due goes on.
#[derive(Clone, Debug, Default)]
pub struct DueCursor(i64, String, String);

impl Store {
    /// Tenants that may have something due at `now`, the one that was served longest ago first.
    pub async fn tenants_in_turn(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<TenantId>> {
        let sql =
            format!("SELECT tenant FROM tenant_turns WHERE turn <= $1 ORDER BY turn, tenant LIMIT {limit}");
        let found: Vec<String> =
            column(&self.inner.database.reader, &sql, vec![to_micros(now).into()]).await?;
        found.iter().map(|tenant| tenant_id(tenant)).collect()
    }

    /// The tenant's user sync that is due longest: scheduled, enabled, of an enabled tenant and directory, claimed by nobody,
    /// and of a directory that fewer than `per_directory` runs read now.
    pub async fn next_due_of(
        &self,
        tenant: &TenantId,
        now: DateTime<Utc>,
        per_directory: u32,
    ) -> Result<Option<UserSync>> {
        let sql = format!(
            "SELECT {columns} FROM {WITH_PARENTS}
            WHERE s.tenant = $1 AND s.next_run_time <= $2 AND (s.claim_end IS NULL OR s.claim_end <= $2) AND {MAY_RUN}
              AND s.directory NOT IN (
                SELECT o.directory FROM sync_runs r JOIN user_syncs o ON o.tenant = r.tenant AND o.id = r.user_sync
                WHERE r.state IN ('PENDING', 'PULLING') AND r.tenant = $1
                GROUP BY o.directory HAVING COUNT(*) >= $3)
            ORDER BY s.next_run_time, s.id LIMIT 1",
            columns = columns::<Entity>("s")
        );
        let values = vec![
            tenant.as_str().into(),
            to_micros(now).into(),
            i64::from(per_directory).into(),
        ];
        let model: Option<Model> = row(&self.inner.database.reader, &sql, values).await?;
        model.map(Model::into_domain).transpose()
    }

    /// The user sync, if it is still due at the same time and nobody has claimed it.
    pub async fn still_due(&self, due: &Due, now: DateTime<Utc>) -> Result<Option<UserSync>> {
        let sql = format!(
            "SELECT {columns} FROM {WITH_PARENTS}
            WHERE s.tenant = $1 AND s.id = $2 AND s.next_run_time = $3
              AND (s.claim_end IS NULL OR s.claim_end <= $4) AND {MAY_RUN}",
            columns = columns::<Entity>("s")
        );
        let values = vec![
            due.key.tenant.as_str().into(),
            due.key.user_sync.as_str().into(),
            to_micros(due.time).into(),
            to_micros(now).into(),
        ];
        let model: Option<Model> = row(&self.inner.database.reader, &sql, values).await?;
        model.map(Model::into_domain).transpose()
    }

    /// Moves on the turn of a tenant for which nothing could be started at `now`: to the time when its next user sync
    /// is due. If that time has come already, its directories are busy, and the tenant goes behind all others that
    /// wait.
    pub async fn pass_turn(&self, tenant: &TenantId, now: DateTime<Utc>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        // Whatever makes a user sync due earlier waits for this transaction, and then sets the turn anew.
        lock_turn(&tx, tenant).await?;
        move_turn(&tx, tenant, now).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Gives a turn to every tenant that has something due and a turn in the far future: a clock that was ahead has
    /// moved it.
    pub async fn bring_turns_forward(&self, now: DateTime<Utc>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let sql = format!(
            "UPDATE tenant_turns SET turn = 0 WHERE (turn IS NULL OR turn > $1) AND EXISTS (
                SELECT 1 FROM {WITH_PARENTS}
                WHERE s.tenant = tenant_turns.tenant AND s.next_run_time <= $1
                  AND (s.claim_end IS NULL OR s.claim_end <= $1) AND {MAY_RUN})"
        );
        execute(&tx, &sql, vec![to_micros(now).into()]).await?;
        tx.commit().await?;
        Ok(())
    }

    /// User syncs that are due at `now` and that nobody has claimed, of one tenant or of all, the longest due first.
    /// Also returns where the list goes on, if it may go on.
    pub async fn list_due(
        &self,
        now: DateTime<Utc>,
        tenant: Option<&TenantId>,
        after: &DueCursor,
        limit: u32,
    ) -> Result<(Vec<Due>, Option<DueCursor>)> {
        let of_tenant = tenant.map_or("", |_| " AND s.tenant = $5");
        let sql = format!(
            "SELECT s.tenant, s.id, s.directory, s.next_run_time FROM {WITH_PARENTS}
            WHERE s.next_run_time <= $1 AND (s.next_run_time, s.tenant, s.id) > ($2, $3, $4)
              AND (s.claim_end IS NULL OR s.claim_end <= $1) AND {MAY_RUN}{of_tenant}
            ORDER BY s.next_run_time, s.tenant, s.id LIMIT {limit}"
        );
        let DueCursor(time, last_tenant, id) = after.clone();
        let mut values = vec![to_micros(now).into(), time.into(), last_tenant.into(), id.into()];
        values.extend(tenant.map(|tenant| tenant.as_str().into()));
        let found: Vec<DueRow> = rows(&self.inner.database.reader, &sql, values).await?;
        let last = found.last().filter(|_| found.len() == limit as usize);
        let next = last.map(|last| DueCursor(last.next_run_time, last.tenant.clone(), last.id.clone()));
        let due = found
            .into_iter()
            .map(DueRow::into_domain)
            .collect::<Result<_>>()?;
        Ok((due, next))
    }
}

/// Makes whatever becomes due wait for the end of the transaction.
pub(crate) async fn lock_turn(tx: &impl ConnectionTrait, tenant: &TenantId) -> Result<()> {
    let lock = "UPDATE tenant_turns SET turn = turn WHERE tenant = $1";
    execute(tx, lock, vec![tenant.as_str().into()]).await?;
    Ok(())
}

/// Moves a tenant's turn on, like [`Store::pass_turn`], in a transaction that has written the tenant's row. Whatever
/// becomes due earlier waits for that transaction.
pub(crate) async fn move_turn(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = format!(
        "UPDATE tenant_turns SET turn = (
            SELECT CASE WHEN MIN(due.time) < $2 THEN $2 ELSE MIN(due.time) END FROM (
                SELECT CASE WHEN s.claim_end > s.next_run_time THEN s.claim_end ELSE s.next_run_time END AS time
                FROM {WITH_PARENTS} WHERE s.tenant = $1 AND s.next_run_time IS NOT NULL AND {MAY_RUN}) due)
        WHERE tenant = $1"
    );
    execute(tx, &sql, vec![tenant.as_str().into(), to_micros(now).into()]).await?;
    Ok(())
}

#[derive(FromQueryResult)]
struct DueRow {
    tenant: String,
    id: String,
    directory: String,
    next_run_time: i64,
}

impl DueRow {
    fn into_domain(self) -> Result<Due> {
        Ok(Due {
            key: UserSyncKey {
                tenant: tenant_id(&self.tenant)?,
                user_sync: UserSyncId::parse(&self.id).ok_or_else(malformed)?,
            },
            directory: DirectoryId::parse(&self.directory).ok_or_else(malformed)?,
            time: from_micros(self.next_run_time)?,
        })
    }
}

fn tenant_id(stored: &str) -> Result<TenantId> {
    TenantId::parse(stored).ok_or_else(malformed)
}

fn malformed() -> StoreError {
    StoreError::corrupt("a stored id is malformed")
}
