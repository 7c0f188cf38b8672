//! A run under way: what the worker that holds the lease does, except for the plan and its application.

use chrono::{DateTime, Utc};
use rollcall_core::directory::Directory;
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::Health;
use rollcall_core::revision::Revision;
use rollcall_core::run::{PlanOutcome, PlanResult, Run, RunCounts, RunState};
use rollcall_core::user_sync::UserSync;
use sea_orm::{ConnectionTrait, DatabaseTransaction, DbErr, FromQueryResult, QueryResult};

use crate::audit::{self, NewAuditEvent};
use crate::db::engine::Engine;
use crate::db::query::{execute, row, scalar};
use crate::db::timestamp::to_micros;
use crate::error::{Kind, Result, StoreError};
use crate::outbox::{self, Mailing};
use crate::runs::handle::RunHandle;
use crate::runs::in_force;
use crate::runs::leases::{self, LeaseToken, is_over, require_lease};
use crate::runs::lifecycle::supersede_waiting;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::sync_run::{self, Model};
use crate::tables::{self, columns};

/// How a run ends, and what that means for its user sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct RunEnd {
    /// A final state.
    pub state: RunState,
    /// Why it failed, for the tenant's admin.
    pub failure: Option<String>,
    /// The user sync's health from now on.
    pub health: Health,
    /// The scope under which the run was applied; `None` if it was not applied.
    pub applied_scope_revision: Option<Revision>,
    /// When its pull ended Complete; `None` if it did not. The configuration of a Complete run is in force from the
    /// run's end on.
    pub complete_pull_time: Option<DateTime<Utc>>,
}

/// What a run reads a directory for.
#[derive(Clone, PartialEq, Debug)]
pub struct PullBegun {
    /// The run, PULLING.
    pub run: Run,
    /// The user sync as the run takes it. An edit after this supersedes the run.
    pub user_sync: UserSync,
    /// Its directory.
    pub directory: Directory,
    /// Whether the tenant has the add-on.
    pub user_sync_enabled: bool,
}

impl Store {
    /// PENDING or PULLING to PULLING: the pull begins, or begins anew after a takeover. Chunks, issues and
    /// counts of an earlier attempt are discarded, and the revisions that the plan is made with recorded. `None` while
    /// `per_directory` runs of the directory are PULLING, whichever process has them; one that is PULLING already goes on.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`; `CancelRequested`.
    pub async fn begin_pull(&self, run: &RunHandle, per_directory: u32) -> Result<Option<PullBegun>> {
        let tx = self.inner.database.begin().await?;
        run.require_lease(&tx).await?;
        let DirectoryOfSync {
            directory,
            user_sync_enabled,
        } = lock_directory_of(&tx, &run.key).await?;
        // The runs are counted after the directory is locked, when no other run can begin to pull.
        let pulling = pulling(&tx, run, &directory.id).await?;
        let user_sync = tables::user_sync::lock(&tx, &run.key).await?;
        let mut model = run.lock(&tx).await?;
        if model.cancel_requested {
            return Err(StoreError::CancelRequested);
        }
        let is_first = model.run_state()? == RunState::Pending;
        let is_busy = is_first && pulling >= i64::from(per_directory);
        if is_busy || user_sync.directory != directory.id {
            return Ok(None);
        }
        model.advance(|run| {
            run.pulling(
                Revision::new(user_sync.revision),
                Revision::new(directory.revision),
            )
        })?;
        if !is_first {
            for table in ["sync_plan_chunks", "sync_run_issues"] {
                let sql = format!("DELETE FROM {table} WHERE tenant = $1 AND user_sync = $2 AND run = $3");
                execute(&tx, &sql, sync_run::primary_key(&run.key, run.id).into()).await?;
            }
        }
        model.chunks = 0;
        model.applied_chunks = 0;
        model.hold_at = None;
        model.issue_count = 0;
        in_force::keep(&tx, &run.key, &user_sync).await?;
        Ok(Some(PullBegun {
            run: self.save_run(tx, model).await?,
            user_sync: user_sync.into_domain()?,
            directory: directory.into_domain()?,
            user_sync_enabled,
        }))
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

    /// True if a run's plan is still wanted: since its pull began, nobody has changed the user sync or its directory,
    /// or switched its tenant off.
    pub async fn is_plan_current(&self, key: &UserSyncKey, id: RunId) -> Result<bool> {
        is_current(&self.inner.database.reader, key, id).await
    }

    /// PULLING to PLANNED, HELD or APPLYING: the plan is complete. A waiting plan expires after
    /// [`PLAN_LIFETIME`](rollcall_core::run::PLAN_LIFETIME). The mails go out if, and only if, this takes place.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `NotInState`; `CancelRequested`; `RevisionMismatch` if the plan is not wanted any more.
    pub async fn finish_plan(
        &self,
        run: &RunHandle,
        plan: PlanResult,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        let (mut user_sync, mut model) = lock_for_end_of_pull(&tx, run).await?;
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

    /// PULLING to the end of a run whose plan has no change: as [`Store::finish_plan`] and [`Store::end_run`], at once. The lease
    /// is given up.
    ///
    /// # Errors
    /// As [`Store::finish_plan`]; `NotInState` also if the plan is to be applied and has changes.
    pub async fn end_unchanged_run(
        &self,
        run: &RunHandle,
        plan: PlanResult,
        end: RunEnd,
        mailing: &Mailing,
        now: DateTime<Utc>,
    ) -> Result<Run> {
        let tx = self.inner.database.begin().await?;
        let (mut user_sync, mut model) = lock_for_end_of_pull(&tx, run).await?;
        if plan.outcome != PlanOutcome::Apply || model.chunks != 0 {
            return Err(StoreError::NotInState);
        }
        model.advance(|run| run.with_plan(&plan, now))?;
        user_sync.hold.clone_from(&model.hold_reasons);
        take_end(&mut user_sync, &mut model, end, now)?;
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        leases::release(&tx, &run.lease).await?;
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
        // The user sync is locked before the run, as everywhere.
        let mut user_sync = tables::user_sync::lock(&tx, &run.key).await.map_err(|error| {
            match matches!(error, StoreError::NotFound(Kind::UserSync)) {
                true => StoreError::NotFound(Kind::Run),
                false => error,
            }
        })?;
        let mut model = run.lock(&tx).await?;
        model.advance(|run| run.released(now))?;
        model.released_by = Some(record.decision().to_json()?);
        tables::update(&tx, model.clone()).await?;
        user_sync.hold = Vec::<HoldReason>::new().to_json()?;
        tables::update(&tx, user_sync).await?;
        // Other waiting plans were made for the users as they were before.
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
        take_end(&mut user_sync, &mut model, end, now)?;
        outbox::report(&tx, mailing, &mut user_sync, &mut model, now).await?;
        tables::update(&tx, user_sync).await?;
        self.save_run(tx, model).await
    }

    /// Sets a user sync's health, for instance when a run is held. It does not count as a change of the user sync: the
    /// revision stays.
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

/// Ends a run, and tells its user sync.
fn take_end(
    user_sync: &mut tables::user_sync::Model,
    model: &mut Model,
    end: RunEnd,
    now: DateTime<Utc>,
) -> Result<()> {
    model.advance(|run| run.ended(end.state, end.failure, now))?;
    user_sync.health = end.health.to_json()?;
    if let Some(revision) = end.applied_scope_revision {
        user_sync.applied_scope_revision = revision.number();
    }
    if let Some(time) = end.complete_pull_time {
        user_sync.last_complete_pull_time = Some(to_micros(time));
        user_sync.in_force_revision = Some(model.user_sync_revision);
    }
    Ok(())
}

/// Locks what the end of a pull writes. The plan must still be wanted: nobody has changed the configuration or
/// cancelled the run.
async fn lock_for_end_of_pull(
    tx: &impl ConnectionTrait,
    run: &RunHandle,
) -> Result<(tables::user_sync::Model, Model)> {
    run.require_lease(tx).await?;
    // The directory is locked before the sync, as everywhere.
    let of_sync = lock_directory_of(tx, &run.key).await?;
    let directory = of_sync.directory;
    let user_sync = tables::user_sync::lock(tx, &run.key).await?;
    let model = run.lock(tx).await?;
    // If the sync has another directory by now, its revision has changed too.
    let is_current = of_sync.user_sync_enabled
        && user_sync.directory == directory.id
        && (user_sync.revision, directory.revision) == (model.user_sync_revision, model.directory_revision);
    match (is_current, model.cancel_requested) {
        (false, _) => Err(StoreError::RevisionMismatch),
        (true, true) => Err(StoreError::CancelRequested),
        (true, false) => Ok((user_sync, model)),
    }
}

/// The directory of a user sync, and whether its tenant has the add-on.
struct DirectoryOfSync {
    directory: tables::directory::Model,
    user_sync_enabled: bool,
}

impl FromQueryResult for DirectoryOfSync {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self {
            directory: tables::directory::Model::from_query_result(row, prefix)?,
            user_sync_enabled: row.try_get(prefix, "user_sync_enabled")?,
        })
    }
}

async fn lock_directory_of(tx: &impl ConnectionTrait, key: &UserSyncKey) -> Result<DirectoryOfSync> {
    let sql = format!(
        "SELECT {}, t.user_sync_enabled FROM user_syncs s
        JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory
        JOIN tenants t ON t.id = s.tenant
        WHERE s.tenant = $1 AND s.id = $2{}",
        columns::<tables::directory::Entity>("d"),
        Engine::of(tx).for_update_of("d")
    );
    let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
    let found = row(tx, &sql, values).await?;
    found.ok_or(StoreError::NotFound(Kind::UserSync))
}

/// Other runs that read the directory now: those whose worker holds their lease.
async fn pulling(tx: &impl ConnectionTrait, run: &RunHandle, directory: &str) -> Result<i64> {
    let is_over = is_over(Engine::of(tx), "l");
    let sql = format!(
        "SELECT COUNT(*) FROM sync_runs r
        JOIN user_syncs o ON o.tenant = r.tenant AND o.id = r.user_sync AND o.directory = $2
        JOIN leases l ON l.name = 'tenants/' || r.tenant || '/userSyncs/' || r.user_sync
        WHERE r.tenant = $1 AND r.state = 'PULLING' AND r.id <> $3 AND NOT {is_over}"
    );
    let values = vec![run.key.tenant.as_str().into(), directory.into(), run.id.0.into()];
    Ok(scalar(tx, &sql, values).await?.unwrap_or_default())
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
