//! `sync_runs`.

use std::collections::BTreeMap;

use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{Run, RunCounts, RunMode, RunState, RunTrigger};
use sea_orm::entity::prelude::*;

use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::tables::json::Saved;
use crate::tables::labels::Word;

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
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn run_state(&self) -> Result<RunState> {
        RunState::from_word(&self.state)
    }

    /// Goes over to a state, if the state machine allows it.
    pub(crate) fn become_state(&mut self, next: RunState) -> Result<()> {
        if !self.run_state()?.may_become(next) {
            return Err(StoreError::NotInState);
        }
        next.word().clone_into(&mut self.state);
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
            mode: RunMode::from_word(&self.mode)?,
            trigger: RunTrigger::from_word(&self.initiator)?,
            started_by: self.started_by,
            counts: RunCounts::from_json(&self.counts)?,
            issue_counts: BTreeMap::<IssueKind, u64>::from_json(&self.issue_counts)?,
            hold_reasons: Vec::from_json(&self.hold_reasons)?,
            failure: self.failure,
            complete: self.complete,
            user_sync_revision: self.user_sync_revision,
            directory_revision: self.directory_revision,
            create_time: from_micros(self.create_time)?,
            plan_time: self.plan_time.map(from_micros).transpose()?,
            end_time: self.end_time.map(from_micros).transpose()?,
            expire_time: self.expire_time.map(from_micros).transpose()?,
        })
    }
}
