//! The rows of `user_syncs`.

use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::Health;
use rollcall_core::revision::Revision;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use sea_orm::entity::prelude::*;

use crate::db::engine::Engine;
use crate::db::query::row;
use crate::db::timestamp::from_micros;
use crate::error::{Kind, Result, StoreError};
use crate::tables::columns;
use crate::tables::json::JsonColumn;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "user_syncs")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: String,
    pub(crate) directory: String,
    pub(crate) disabled: bool,
    pub(crate) auto_sync: bool,
    pub(crate) settings: String,
    pub(crate) revision: i64,
    pub(crate) scope_revision: i64,
    pub(crate) applied_scope_revision: i64,
    pub(crate) in_force_revision: Option<i64>,
    pub(crate) hold: String,
    pub(crate) last_complete_pull_time: Option<i64>,
    pub(crate) last_run: Option<Uuid>,
    pub(crate) next_run_time: Option<i64>,
    pub(crate) claim_end: Option<i64>,
    pub(crate) health: String,
    pub(crate) told: String,
    pub(crate) deleting_revision: Option<i64>,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) erase_after: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    pub(crate) fn into_domain(self) -> Result<UserSync> {
        let bad_id = || StoreError::corrupt("a stored id is malformed");
        Ok(UserSync {
            tenant: TenantId::parse(&self.tenant).ok_or_else(bad_id)?,
            id: UserSyncId::parse(&self.id).ok_or_else(bad_id)?,
            settings: UserSyncSettings::from_json(&self.settings)?,
            revision: Revision::new(self.revision),
            scope_revision: Revision::new(self.scope_revision),
            applied_scope_revision: Revision::new(self.applied_scope_revision),
            in_force_revision: self.in_force_revision.map(Revision::new),
            hold: Vec::from_json(&self.hold)?,
            last_complete_pull_time: self.last_complete_pull_time.map(from_micros).transpose()?,
            last_run: self.last_run.map(RunId),
            next_run_time: self.next_run_time.map(from_micros).transpose()?,
            health: Health::from_json(&self.health)?,
            create_time: from_micros(self.create_time)?,
            update_time: from_micros(self.update_time)?,
        })
    }
}

/// Reads one row.
pub(crate) async fn find(connection: &impl ConnectionTrait, key: &UserSyncKey) -> Result<Model> {
    select(connection, key, "").await
}

/// Reads one row and locks it until the transaction ends.
pub(crate) async fn lock(tx: &impl ConnectionTrait, key: &UserSyncKey) -> Result<Model> {
    select(tx, key, Engine::of(tx).for_update()).await
}

async fn select(connection: &impl ConnectionTrait, key: &UserSyncKey, lock: &str) -> Result<Model> {
    let sql = format!(
        "SELECT {} FROM user_syncs s WHERE tenant = $1 AND id = $2{lock}",
        columns::<Entity>("s")
    );
    let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
    let model = row(connection, &sql, values).await?;
    model.ok_or(StoreError::NotFound(Kind::UserSync))
}
