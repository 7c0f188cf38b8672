//! The rows of `sync_runs`.

use std::collections::BTreeMap;

use rollcall_core::audit::{Actor, AskedBy, Decision};
use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::IssueKind;
use rollcall_core::revision::Revision;
use rollcall_core::run::{Run, RunCounts, RunMode, RunState, RunTrigger};
use sea_orm::Value;
use sea_orm::entity::prelude::*;

use crate::db::engine::Engine;
use crate::db::query::row;
use crate::db::timestamp::{from_micros, to_micros};
use crate::error::{Kind, Result, StoreError};
use crate::tables::columns;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "sync_runs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) user_sync: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: Uuid,
    pub(crate) state: String,
    pub(crate) mode: String,
    pub(crate) initiator: String,
    pub(crate) started_by: String,
    pub(crate) counts: String,
    pub(crate) issue_counts: String,
    pub(crate) hold_reasons: String,
    pub(crate) failure: Option<String>,
    pub(crate) complete: bool,
    pub(crate) user_sync_revision: i64,
    pub(crate) directory_revision: i64,
    pub(crate) chunks: i64,
    pub(crate) applied_chunks: i64,
    pub(crate) issue_count: i64,
    pub(crate) cancel_requested: bool,
    pub(crate) create_time: i64,
    pub(crate) plan_time: Option<i64>,
    pub(crate) end_time: Option<i64>,
    pub(crate) expire_time: Option<i64>,
    pub(crate) hold_at: Option<i64>,
    pub(crate) actor: Option<String>,
    pub(crate) released_by: Option<String>,
    pub(crate) cancelled_by: Option<String>,
    pub(crate) mails_withheld: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn run_state(&self) -> Result<RunState> {
        RunState::from_label(&self.state)
    }

    /// Moves the run on by a step of the domain. `NotInState` if the run is not in a state that allows it.
    pub(crate) fn advance(&mut self, step: impl FnOnce(&Run) -> Option<Run>) -> Result<()> {
        let run = self.clone().into_domain()?;
        let run = step(&run).ok_or(StoreError::NotInState)?;
        run.state.label().clone_into(&mut self.state);
        self.counts = run.counts.to_json()?;
        self.issue_counts = run.issue_counts.to_json()?;
        self.hold_reasons = run.hold_reasons.to_json()?;
        self.failure = run.failure.map(|failure| failure.replace('\0', "\u{fffd}"));
        self.complete = run.complete;
        self.user_sync_revision = run.user_sync_revision.number();
        self.directory_revision = run.directory_revision.number();
        self.plan_time = run.plan_time.map(to_micros);
        self.end_time = run.end_time.map(to_micros);
        self.expire_time = run.expire_time.map(to_micros);
        Ok(())
    }

    pub(crate) fn into_domain(self) -> Result<Run> {
        let bad_id = || StoreError::corrupt("a stored id is malformed");
        Ok(Run {
            user_sync: UserSyncKey {
                tenant: TenantId::parse(&self.tenant).ok_or_else(bad_id)?,
                user_sync: UserSyncId::parse(&self.user_sync).ok_or_else(bad_id)?,
            },
            id: RunId(self.id),
            state: self.run_state()?,
            mode: RunMode::from_label(&self.mode)?,
            trigger: RunTrigger::from_label(&self.initiator)?,
            asked_by: AskedBy {
                caller: self.started_by,
                actor: stored(self.actor, Actor::from_json)?.unwrap_or_default(),
            },
            release: stored(self.released_by, Decision::from_json)?,
            cancellation: stored(self.cancelled_by, Decision::from_json)?,
            counts: RunCounts::from_json(&self.counts)?,
            issue_counts: BTreeMap::<IssueKind, u64>::from_json(&self.issue_counts)?,
            hold_reasons: Vec::from_json(&self.hold_reasons)?,
            failure: self.failure,
            complete: self.complete,
            user_sync_revision: Revision::new(self.user_sync_revision),
            directory_revision: Revision::new(self.directory_revision),
            create_time: from_micros(self.create_time)?,
            plan_time: self.plan_time.map(from_micros).transpose()?,
            end_time: self.end_time.map(from_micros).transpose()?,
            expire_time: self.expire_time.map(from_micros).transpose()?,
            mails_withheld: u64::try_from(self.mails_withheld).unwrap_or_default(),
        })
    }
}

fn stored<T>(column: Option<String>, read: fn(&str) -> Result<T>) -> Result<Option<T>> {
    column.as_deref().map(read).transpose()
}

/// Reads one row.
pub(crate) async fn find(connection: &impl ConnectionTrait, key: &UserSyncKey, id: RunId) -> Result<Model> {
    select(connection, key, id, "").await
}

/// Reads one row and locks it until the transaction ends.
pub(crate) async fn lock(tx: &impl ConnectionTrait, key: &UserSyncKey, id: RunId) -> Result<Model> {
    select(tx, key, id, Engine::of(tx).for_update()).await
}

/// Locks a run, which must be in one of these states.
pub(crate) async fn lock_in_state(
    tx: &impl ConnectionTrait,
    key: &UserSyncKey,
    id: RunId,
    states: &[RunState],
) -> Result<Model> {
    let model = lock(tx, key, id).await?;
    match states.contains(&model.run_state()?) {
        true => Ok(model),
        false => Err(StoreError::NotInState),
    }
}

async fn select(
    connection: &impl ConnectionTrait,
    key: &UserSyncKey,
    id: RunId,
    lock: &str,
) -> Result<Model> {
    let sql = format!(
        "SELECT {} FROM sync_runs r WHERE tenant = $1 AND user_sync = $2 AND id = $3{lock}",
        columns::<Entity>("r")
    );
    let model = row(connection, &sql, primary_key(key, id).into()).await?;
    model.ok_or(StoreError::NotFound(Kind::Run))
}

/// The values of a run's primary key: tenant, user sync, id.
pub(crate) fn primary_key(key: &UserSyncKey, id: RunId) -> [Value; 3] {
    [
        key.tenant.as_str().into(),
        key.user_sync.as_str().into(),
        id.0.into(),
    ]
}
