//! Runs: creating, reading, and ending those that no worker has. What a worker does with a run is in `execution.rs`.
//!
//! Locks are taken in this order: lease, directory, user sync, run, users, feed heads.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
use rollcall_core::issue::{Health, IssueKind};
use rollcall_core::run::{Run, RunCounts, RunMode, RunState, RunTrigger, health_without_hold};
use sea_orm::{ConnectionTrait, Value};

use crate::audit::{self, NewAuditEvent, actor_column};
use crate::db::query::{Statement, execute, row, rows, scalar};
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Kind, Result, StoreError};
use crate::outbox::{self, Mailing};
use crate::page::{Page, PageRequest};
use crate::runs::leases::{LeaseToken, is_over, require_lease};
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;
use crate::tables::sync_run::{self, Entity, Model};
use crate::tables::{self, columns};

/// A run to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewRun {
    /// Its id.
    pub id: RunId,
    /// What it is for.
    pub mode: RunMode,
    /// Who starts it.
    pub trigger: RunTrigger,
    /// Who asks for it; empty for the schedule.
    pub asked_by: AskedBy,
}

impl Store {
    /// Creates a PENDING run and makes it the sync's last. Waiting plans of the sync end SUPERSEDED. Held ones do so
    /// only if the new run may change something.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound` for the user sync; `AlreadyExists`.
    pub async fn create_run(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        run: NewRun,
        record: Option<&NewAuditEvent>,
        now: DateTime<Utc>,
    ) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let user_sync = tables::user_sync::lock(&tx, key).await?;
        match run.mode {
            RunMode::Apply => supersede_waiting(&tx, &key.tenant, key.user_sync.as_str(), now).await?,
            RunMode::Preview | RunMode::Relink => {
                let of_sync = (&key.tenant, key.user_sync.as_str());
                supersede(&tx, of_sync, "'PLANNED'", now).await?;
            }
        }
        let directory_revision = directory_revision(&tx, key, &user_sync.directory).await?;
        let model = new_model(key, run, (user_sync.revision, directory_revision), now)?;
        tables::insert(&tx, model.clone()).await?;
        let sql = "UPDATE user_syncs SET last_run = $3 WHERE tenant = $1 AND id = $2";
        execute(&tx, sql, sync_run::primary_key(key, RunId(model.id)).into()).await?;
        audit::insert(&tx, record.into_iter()).await?;
        tx.commit().await?;
        model.into_domain()
    }

    /// When somebody last asked for a run of this user sync that may change something, whatever became of that run.
    pub async fn last_manual_run(&self, key: &UserSyncKey) -> Result<Option<DateTime<Utc>>> {
        let sql = "SELECT create_time FROM sync_runs WHERE tenant = $1 AND user_sync = $2
              AND initiator = 'CALL' AND mode <> 'PREVIEW'
            ORDER BY create_time DESC LIMIT 1";
        let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        let last: Option<i64> = scalar(&self.inner.database.reader, sql, values).await?;
        last.map(from_micros).transpose()
    }

    /// One run.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn run(&self, key: &UserSyncKey, id: RunId) -> Result<Run> {
        sync_run::find(&self.inner.database.reader, key, id)
            .await?
            .into_domain()
    }

    /// The tenant's run with this id, whichever user sync it belongs to.
    pub async fn find_run(&self, tenant: &TenantId, id: RunId) -> Result<Option<Run>> {
        let sql = format!(
            "SELECT {} FROM sync_runs r WHERE tenant = $1 AND id = $2",
            columns::<Entity>("r")
        );
        let values = vec![tenant.as_str().into(), id.0.into()];
        let model: Option<Model> = row(&self.inner.database.reader, &sql, values).await?;
        model.map(Model::into_domain).transpose()
    }

    /// The runs of a user sync, the newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_runs(&self, key: &UserSyncKey, page: &PageRequest) -> Result<Page<Run>> {
        self.list_runs_of(&key.tenant, Some(&key.user_sync), page).await
    }

    /// The runs of all of a tenant's user syncs, the newest first.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_tenant_runs(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Run>> {
        self.list_runs_of(tenant, None, page).await
    }

    async fn list_runs_of(
        &self,
        tenant: &TenantId,
        user_sync: Option<&UserSyncId>,
        page: &PageRequest,
    ) -> Result<Page<Run>> {
        let (sql, values) = page_of_runs(tenant, user_sync, page)?;
        let reading = self.inner.database.in_index_order().await?;
        let models: Vec<Model> = rows(&reading, &sql, values).await?;
        reading.commit().await?;
        let cursor = |model: &Model| (model.create_time, model.id.to_string());
        Page::cut(models, page, cursor, Model::into_domain)
    }

    /// Ends a run that waits for a person, CANCELLED.
    ///
    /// # Errors
    /// `NotFound`; `NotInState`.
    pub async fn cancel_waiting_run(
        &self,
        key: &UserSyncKey,
        id: RunId,
        record: &NewAuditEvent,
    ) -> Result<Run> {
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        // Read without the lock: `NotFound` for a run comes before `NotFound` for its user sync.
        sync_run::find(&tx, key, id).await?;
        tables::user_sync::lock(&tx, key).await?;
        let mut model = sync_run::lock(&tx, key, id).await?;
        let was_held = model.run_state()? == RunState::Held;
        model.advance(|run| run.cancelled(now))?;
        model.cancelled_by = Some(record.decision().to_json()?);
        if was_held {
            forget_hold(&tx, &key.tenant, key.user_sync.as_str()).await?;
        }
        tables::update(&tx, model.clone()).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        model.into_domain()
    }

    /// Asks the worker that has the run to stop; see [`Store::cancel_requested`].
    ///
    /// # Errors
    /// `NotFound`; `NotInState` if no worker has it.
    pub async fn request_cancel(&self, key: &UserSyncKey, id: RunId, record: &NewAuditEvent) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let mut model = sync_run::lock(&tx, key, id).await?;
        if !model.run_state()?.is_working() {
            return Err(StoreError::NotInState);
        }
        if !model.cancel_requested {
            model.cancelled_by = Some(record.decision().to_json()?);
        }
        model.cancel_requested = true;
        tables::update(&tx, model).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// True if a person wants the run to stop.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn cancel_requested(&self, key: &UserSyncKey, id: RunId) -> Result<bool> {
        let sql = "SELECT cancel_requested FROM sync_runs WHERE tenant = $1 AND user_sync = $2 AND id = $3";
        let requested = scalar(
            &self.inner.database.reader,
            sql,
            sync_run::primary_key(key, id).into(),
        )
        .await?;
        requested.ok_or(StoreError::NotFound(Kind::Run))
    }

    /// Waiting runs whose time is over, the longest first. Global by nature.
    pub async fn overdue_runs(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Run>> {
        let sql = format!(
            "SELECT {} FROM sync_runs r WHERE state IN ('PLANNED', 'HELD') AND expire_time <= $1
            ORDER BY expire_time, tenant, user_sync, id LIMIT {limit}",
            columns::<Entity>("r")
        );
        let models: Vec<Model> = rows(&self.inner.database.reader, &sql, vec![to_micros(now).into()]).await?;
        models.into_iter().map(Model::into_domain).collect()
    }

    /// Ends a waiting run whose time is over, EXPIRED. The mails about it go out if, and only if, this call ended it.
    /// `health` is the user sync's health from then on; `None` leaves it. False if the run does not wait any more, or
    /// its time is not over.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn expire_run(
        &self,
        key: &UserSyncKey,
        id: RunId,
        health: Option<&Health>,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        let mut user_sync = tables::user_sync::lock(&tx, key).await?;
        let mut model = sync_run::lock(&tx, key, id).await?;
        match model.advance(|run| run.expired(now)) {
            Err(StoreError::NotInState) => return Ok(false),
            advanced => advanced?,
        }
        if let Some(health) = health {
            user_sync.health = health.to_json()?;
        }
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        tables::update(&tx, model).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// The run of a user sync that a worker works on, or has left unfinished; the oldest if there are several.
    pub async fn working_run(&self, key: &UserSyncKey) -> Result<Option<Run>> {
        let sql = format!(
            "SELECT {} FROM sync_runs r WHERE tenant = $1 AND user_sync = $2
              AND state IN ('PENDING', 'PULLING', 'APPLYING')
            ORDER BY create_time LIMIT 1",
            columns::<Entity>("r")
        );
        let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        let model: Option<Model> = row(&self.inner.database.reader, &sql, values).await?;
        model.map(Model::into_domain).transpose()
    }

    /// Runs that a worker began and whose lease nobody holds any more. They have to be taken over. Global by nature.
    pub async fn abandoned_runs(&self, limit: u32) -> Result<Vec<Run>> {
        let is_over = is_over(self.inner.database.engine, "l");
        let sql = format!(
            "SELECT {} FROM sync_runs r
            LEFT JOIN leases l ON l.name = 'tenants/' || r.tenant || '/userSyncs/' || r.user_sync
            WHERE r.state IN ('PENDING', 'PULLING', 'APPLYING') AND (l.name IS NULL OR {is_over})
            ORDER BY r.create_time LIMIT {limit}",
            columns::<Entity>("r")
        );
        let models: Vec<Model> = rows(&self.inner.database.reader, &sql, vec![]).await?;
        models.into_iter().map(Model::into_domain).collect()
    }
}

/// The query for a page of runs, the newest first: a user sync's, or all of a tenant's.
pub(crate) fn page_of_runs(
    tenant: &TenantId,
    user_sync: Option<&UserSyncId>,
    page: &PageRequest,
) -> Result<Statement> {
    let before: (i64, Uuid) = match page.key::<(i64, String)>()? {
        Some((time, id)) => (time, Uuid::try_parse(&id).map_err(|_| StoreError::InvalidCursor)?),
        None => (i64::MAX, Uuid::max()),
    };
    let limit = page.limit_sql();
    let condition = user_sync.map_or("", |_| " AND user_sync = $4");
    let sql = format!(
        "SELECT {} FROM sync_runs r WHERE tenant = $1{condition} AND (create_time, id) < ($2, $3)
        ORDER BY create_time DESC, id DESC{limit}",
        columns::<Entity>("r")
    );
    let mut values: Vec<Value> = vec![tenant.as_str().into(), before.0.into(), before.1.into()];
    values.extend(user_sync.map(|user_sync| user_sync.as_str().into()));
    Ok((sql, values))
}

/// A PENDING run of a user sync and a directory at these revisions.
pub(crate) fn new_model(
    key: &UserSyncKey,
    run: NewRun,
    (user_sync_revision, directory_revision): (i64, i64),
    now: DateTime<Utc>,
) -> Result<Model> {
    Ok(Model {
        tenant: key.tenant.to_string(),
        user_sync: key.user_sync.to_string(),
        id: run.id.0,
        state: RunState::Pending.label().to_owned(),
        mode: run.mode.label().to_owned(),
        initiator: run.trigger.label().to_owned(),
        started_by: run.asked_by.caller.replace('\0', "\u{fffd}"),
        counts: RunCounts::default().to_json()?,
        issue_counts: BTreeMap::<IssueKind, u64>::new().to_json()?,
        hold_reasons: Vec::<HoldReason>::new().to_json()?,
        failure: None,
        complete: false,
        user_sync_revision,
        directory_revision,
        chunks: 0,
        applied_chunks: 0,
        issue_count: 0,
        cancel_requested: false,
        create_time: to_micros(now),
        plan_time: None,
        end_time: None,
        expire_time: None,
        hold_at: None,
        actor: actor_column(&run.asked_by.actor)?,
        released_by: None,
        cancelled_by: None,
        mails_withheld: 0,
    })
}

/// Ends the waiting runs of a user sync, SUPERSEDED. The user sync must be locked, or its directory.
pub(crate) async fn supersede_waiting(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    user_sync: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let of_sync = || vec![tenant.as_str().into(), user_sync.into()];
    let held = "SELECT COUNT(*) FROM sync_runs WHERE tenant = $1 AND user_sync = $2 AND state = 'HELD'";
    if scalar::<i64>(tx, held, of_sync()).await?.unwrap_or(0) > 0 {
        forget_hold(tx, tenant, user_sync).await?;
    }
    supersede(tx, (tenant, user_sync), "'PLANNED', 'HELD'", now).await
}

async fn supersede(
    tx: &impl ConnectionTrait,
    (tenant, user_sync): (&TenantId, &str),
    states: &str,
    now: DateTime<Utc>,
) -> Result<()> {
    let sql = format!(
        "UPDATE sync_runs SET state = 'SUPERSEDED', end_time = $3
        WHERE tenant = $1 AND user_sync = $2 AND state IN ({states})"
    );
    let values = vec![tenant.as_str().into(), user_sync.into(), to_micros(now).into()];
    execute(tx, &sql, values).await?;
    Ok(())
}

/// The health of a user sync whose run is not held any more no longer mentions the hold. The next run says how the sync
/// is.
async fn forget_hold(tx: &impl ConnectionTrait, tenant: &TenantId, user_sync: &str) -> Result<()> {
    let of_sync = || vec![tenant.as_str().into(), user_sync.into()];
    let sql = "SELECT health FROM user_syncs WHERE tenant = $1 AND id = $2";
    let Some(health) = scalar::<String>(tx, sql, of_sync()).await? else {
        return Ok(());
    };
    let health = health_without_hold(&Health::from_json(&health)?).to_json()?;
    let sql = "UPDATE user_syncs SET health = $3 WHERE tenant = $1 AND id = $2";
    let values = of_sync().into_iter().chain([health.into()]);
    execute(tx, sql, values.collect()).await?;
    Ok(())
}

pub(crate) async fn directory_revision(
    tx: &impl ConnectionTrait,
    key: &UserSyncKey,
    directory: &str,
) -> Result<i64> {
    let sql = "SELECT revision FROM directories WHERE tenant = $1 AND id = $2";
    let revision = scalar(tx, sql, vec![key.tenant.as_str().into(), directory.into()]).await?;
    revision.ok_or(StoreError::NotFound(Kind::Directory))
}
