//! A run under way: the steps of the worker that holds the lease, but for the plan and its application.

use chrono::{DateTime, Utc};
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::Health;
use rollcall_core::run::{PlanOutcome, PlanResult, Run, RunCounts, RunState};
use sea_orm::{ConnectionTrait, DatabaseTransaction};

use crate::audit::{self, NewAuditEvent};
use crate::db::query::{execute, scalar};
use crate::db::timestamp::to_micros;
use crate::error::{Kind, Result, StoreError};
use crate::outbox::{self, Mailing};
use crate::runs::handle::RunHandle;
use crate::runs::in_force;
use crate::runs::leases::{LeaseToken, require_lease};
use crate::runs::lifecycle::{directory_revision, supersede_waiting};
use crate::store::Store;
use crate::tables;
use crate::tables::json::JsonColumn;
use crate::tables::sync_run::{self, Model};

/// How a run ends, and what that means for its user sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEnd {
    /// A final state.
    pub state: RunState,
    /// Why it failed, for the tenant's admin.
    pub failure: Option<String>,
    /// The user sync's health from now on.
    pub health: Health,
    /// The scope under which the run applied; `None` if it did not.
    pub applied_scope_revision: Option<i64>,
    /// When its pull ended Complete; `None` if it did not. The configuration that a Complete run ran with is in force
    /// from its end on.
    pub complete_pull_time: Option<DateTime<Utc>>,
}

impl Store {
    /// PENDING or PULLING to PULLING: the pull begins, or begins anew after a takeover. Chunks, issues and
    /// counts of an earlier attempt are discarded, and the revisions that the plan is made with recorded.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn begin_pull(&self, run: &RunHandle) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        let user_sync = tables::user_sync::lock(&tx, &run.key).await?;
        let mut model = run.lock(&tx).await?;
        let directory_revision = directory_revision(&tx, &run.key, &user_sync.directory).await?;
        model.advance(|run| run.pulling(user_sync.revision, directory_revision))?;
        for table in ["sync_plan_chunks", "sync_run_issues"] {
            let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3");
            execute(&tx, &sql, sync_run::primary_key(&run.key, run.id).into()).await?;
        }
        model.chunks = 0;
        model.applied_chunks = 0;
        model.hold_at = None;
        model.issue_count = 0;
        in_force::keep(&tx, &run.key, &user_sync).await?;
        self.save_run(tx, model).await
    }

    /// Saves counts while the pull goes on.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`.
    pub async fn save_progress(&self, run: &RunHandle, counts: &RunCounts) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let mut model = run.lock_in_state(&tx, &[RunState::Pulling]).await?;
        model.counts = counts.to_json()?;
        self.save_run(tx, model).await?;
        Ok(())
    }

    /// True if a run's plan is still wanted: since its pull began, nobody changed the user sync or its directory, or
    /// switched its tenant off.
    pub async fn is_plan_current(&self, key: &UserSyncKey, id: RunId) -> Result<bool> {
        is_current(&self.inner.database.reader, key, id).await
    }

    /// PULLING to PLANNED, HELD or APPLYING: the plan is complete. A waiting plan expires after
    /// [`PLAN_LIFETIME`](rollcall_core::run::PLAN_LIFETIME). The mails go out if, and only if, this takes place.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`; `RevisionMismatch` if the plan is not wanted any more.
    pub async fn finish_plan(
        &self,
        run: &RunHandle,
        plan: PlanResult,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        // The directory before the sync, as everywhere. If the sync has another one by now, it is not the same any more.
        let user_sync = tables::user_sync::find(&tx, &run.key).await?;
        let directory = user_sync.into_domain()?.settings.directory;
        tables::directory::lock(&tx, &run.key.tenant, &directory).await?;
        let mut user_sync = tables::user_sync::lock(&tx, &run.key).await?;
        let mut model = run.lock(&tx).await?;
        if !is_current(&tx, &run.key, run.id).await? {
            return Err(StoreError::RevisionMismatch);
        }
        model.advance(|run| run.with_plan(&plan, now))?;
        if let PlanOutcome::HeldAfter(_, chunks) = plan.outcome {
            model.hold_at = Some(i64::from(chunks));
        }
        if plan.outcome != PlanOutcome::Planned {
            user_sync.hold.clone_from(&model.hold_reasons);
        }
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        self.save_run(tx, model).await
    }

    /// APPLYING to HELD: the chunks that did not wait are applied. The mails go out if, and only if, this takes place.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState` if the run is not held after the chunks that were applied;
    /// `RevisionMismatch` if the plan is not wanted any more.
    pub async fn hold_run(&self, run: &RunHandle, mailing: &Mailing, now: DateTime<Utc>) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        let mut user_sync = tables::user_sync::lock(&tx, &run.key).await?;
        let mut model = run.lock_in_state(&tx, &[RunState::Applying]).await?;
        if model.hold_at != Some(model.applied_chunks) {
            return Err(StoreError::NotInState);
        }
        if !is_current(&tx, &run.key, run.id).await? {
            return Err(StoreError::RevisionMismatch);
        }
        model.advance(|run| run.held(now))?;
        model.hold_at = None;
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        self.save_run(tx, model).await
    }

    /// PLANNED or HELD to APPLYING: a person released exactly this plan, and the record says who. Works once.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`, also when the plan's time is over.
    pub async fn begin_apply(&self, run: &RunHandle, record: &NewAuditEvent) -> Result<Run> {
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        // Before the run, as everywhere.
        let mut user_sync = tables::user_sync::lock(&tx, &run.key)
            .await
            .map_err(|error| match error {
                StoreError::NotFound(Kind::UserSync) => StoreError::NotFound(Kind::Run),
                other => other,
            })?;
        let mut model = run.lock(&tx).await?;
        model.advance(|run| run.released(now))?;
        model.released_by = Some(record.decision().to_json()?);
        tables::update(&tx, model.clone()).await?;
        user_sync.hold = Vec::<HoldReason>::new().to_json()?;
        tables::update(&tx, user_sync).await?;
        // Other plans are for the users as they were.
        supersede_waiting(&tx, &run.key.tenant, run.key.user_sync.as_str(), now).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        model.into_domain()
    }

    /// Ends a run that a worker has, and tells its user sync. The mails go out if, and only if, this takes place.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`, also when `end.state` is not final.
    pub async fn end_run(
        &self,
        run: &RunHandle,
        end: RunEnd,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        let mut user_sync = tables::user_sync::lock(&tx, &run.key).await?;
        let mut model = run.lock(&tx).await?;
        model.advance(|run| run.ended(end.state, end.failure, now))?;
        user_sync.health = end.health.to_json()?;
        if let Some(revision) = end.applied_scope_revision {
            user_sync.applied_scope_revision = revision;
        }
        if let Some(time) = end.complete_pull_time {
            user_sync.last_complete_pull_time = Some(to_micros(time));
            user_sync.in_force_revision = Some(model.user_sync_revision);
        }
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        self.save_run(tx, model).await
    }

    /// Sets a user sync's health, for instance when a run is held. That is no change: the revision stays.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`.
    pub async fn set_health(&self, lease: &LeaseToken, key: &UserSyncKey, health: &Health) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let mut user_sync = tables::user_sync::lock(&tx, key).await?;
        user_sync.health = health.to_json()?;
        tables::update(&tx, user_sync).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn save_run(&self, tx: DatabaseTransaction, model: Model) -> Result<Run> {
        tables::update(&tx, model.clone()).await?;
        tx.commit().await?;
        model.into_domain()
    }
}

async fn is_current(connection: &impl ConnectionTrait, key: &UserSyncKey, id: RunId) -> Result<bool> {
    let sql = "SELECT COUNT(*) FROM sync_runs r
        JOIN user_syncs s ON s.tenant = r.tenant AND s.id = r.user_sync AND s.revision = r.user_sync_revision
        JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory AND d.revision = r.directory_revision
        JOIN tenants t ON t.id = r.tenant AND t.user_sync_enabled
        WHERE r.tenant = $1 AND r.user_sync = $2 AND r.id = $3";
    let found: Option<i64> = scalar(connection, sql, sync_run::primary_key(key, id).into()).await?;
    Ok(found == Some(1))
}
