//! How a user sync that is due is started: in one transaction it gets its lease, its run and its next time, and its
//! tenant goes behind the other tenants. So only one of many schedulers and callers starts it, and it stays due if that
//! one dies before the commit.

use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::id::UserSyncKey;
use rollcall_core::run::Run;
use sea_orm::{DbErr, FromQueryResult, QueryResult};

use crate::configuration::turns::{lock_turn, move_turn};
use crate::db::query::{execute, row};
use crate::db::timestamp::to_micros;
use crate::error::{Kind, Result, StoreError};
use crate::runs::leases::{self, LeaseName, LeaseToken, is_over};
use crate::runs::lifecycle::{NewRun, new_model, supersede_waiting};
use crate::store::Store;
use crate::tables::user_sync::{Entity, Model};
use crate::tables::{self, columns};

/// A user sync that is due, and the run that it is to have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DueRun {
    /// The user sync.
    pub key: UserSyncKey,
    /// When it became due.
    pub due: DateTime<Utc>,
    /// When it is due next.
    pub next: Option<DateTime<Utc>>,
    /// The run, which may change something.
    pub run: NewRun,
}

/// What became of a user sync that was due.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum DueStart {
    /// The run is there, and the lease to work on it.
    Started(LeaseToken, Box<Run>),
    /// It is no longer due at that time.
    NotDue,
    /// Another holder has the lease. The sync stays due.
    Busy,
    /// A worker that is gone left a run unfinished, which has to be finished first. The sync stays due.
    LeftBehind(LeaseToken),
}

struct Found {
    user_sync: Model,
    directory_revision: i64,
    working: i64,
    waiting: i64,
}

impl FromQueryResult for Found {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self {
            user_sync: Model::from_query_result(row, prefix)?,
            directory_revision: row.try_get(prefix, "directory_revision")?,
            working: row.try_get(prefix, "working")?,
            waiting: row.try_get(prefix, "waiting")?,
        })
    }
}

impl Store {
    /// Starts a user sync that is due, unless somebody else does: the run is PENDING and the sync's last, and waiting plans of
    /// the sync end SUPERSEDED. `holder` and `ttl` are for the lease.
    ///
    /// # Errors
    /// `NotFound` for the user sync; `AlreadyExists` for the run.
    pub async fn start_due(
        &self,
        due: DueRun,
        holder: &str,
        ttl: Duration,
        now: DateTime<Utc>,
    ) -> Result<DueStart> {
        let DueRun { key, due, next, run } = due;
        let engine = self.inner.database.engine;
        let tx = self.inner.database.begin().await?;
        let name = LeaseName::run_of(&key);
        let Some(lease) = leases::take(&tx, &name, holder, ttl, &is_over(engine, "leases")).await? else {
            let user_sync = tables::user_sync::find(&tx, &key).await?;
            return Ok(match is_due(&user_sync, due, now) {
                true => DueStart::Busy,
                // Another process had the lease, and has started the sync.
                false => DueStart::NotDue,
            });
        };
        let of_sync = "FROM sync_runs r WHERE r.tenant = s.tenant AND r.user_sync = s.id AND r.state";
        let sql = format!(
            "SELECT {}, d.revision AS directory_revision,
                (SELECT COUNT(*) {of_sync} IN ('PENDING', 'PULLING', 'APPLYING')) AS working,
                (SELECT COUNT(*) {of_sync} IN ('PLANNED', 'HELD')) AS waiting
            FROM user_syncs s JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory
            WHERE s.tenant = $1 AND s.id = $2{}",
            columns::<Entity>("s"),
            engine.for_update_of("s")
        );
        let of_key = || vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        let found: Option<Found> = row(&tx, &sql, of_key()).await?;
        let found = found.ok_or(StoreError::NotFound(Kind::UserSync))?;
        if !is_due(&found.user_sync, due, now) {
            return Ok(DueStart::NotDue);
        }
        if found.working > 0 {
            tx.commit().await?;
            return Ok(DueStart::LeftBehind(lease));
        }
        if found.waiting > 0 {
            supersede_waiting(&tx, &key.tenant, key.user_sync.as_str(), now).await?;
        }
        let revisions = (found.user_sync.revision, found.directory_revision);
        let model = new_model(&key, run, revisions, now)?;
        tables::insert(&tx, model.clone()).await?;
        let sql = "UPDATE user_syncs SET last_run = $3, next_run_time = $4, claim_end = NULL
            WHERE tenant = $1 AND id = $2";
        let mut values = of_key();
        values.extend([model.id.into(), next.map(to_micros).into()]);
        execute(&tx, sql, values).await?;
        // If there is a next time, the trigger of the statement before has locked the tenant's turn.
        if next.is_none() {
            lock_turn(&tx, &key.tenant).await?;
        }
        move_turn(&tx, &key.tenant, now).await?;
        tx.commit().await?;
        Ok(DueStart::Started(lease, Box::new(model.into_domain()?)))
    }
}

fn is_due(user_sync: &Model, due: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    // Former releases claimed a sync that they were about to start.
    let is_claimed = user_sync.claim_end.is_some_and(|end| end > to_micros(now));
    user_sync.next_run_time == Some(to_micros(due)) && !is_claimed
}
