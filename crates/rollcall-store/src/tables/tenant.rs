//! The rows of `tenants`.

use rollcall_core::id::TenantId;
use sea_orm::entity::prelude::*;

use crate::db::engine::Engine;
use crate::db::query::{row, scalar};
use crate::error::{Kind, Result, StoreError};
use crate::tables::columns;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "tenants")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: String,
    pub(crate) display_name: String,
    pub(crate) user_sync_enabled: bool,
    pub(crate) revision: i64,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
    pub(crate) deleting_revision: Option<i64>,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

/// Reads one row.
pub(crate) async fn find(connection: &impl ConnectionTrait, id: &TenantId) -> Result<Model> {
    select(connection, id, "").await
}

/// Reads one row and locks it until the transaction ends.
pub(crate) async fn lock(tx: &impl ConnectionTrait, id: &TenantId) -> Result<Model> {
    select(tx, id, Engine::of(tx).for_update()).await
}

/// Makes sure that a tenant exists, and that nobody deletes it until the transaction ends.
pub(crate) async fn require(tx: &impl ConnectionTrait, id: &TenantId) -> Result<()> {
    let lock = match Engine::of(tx) {
        Engine::Sqlite => "",
        Engine::Postgres => " FOR KEY SHARE",
    };
    let sql = format!("SELECT id FROM tenants WHERE id = $1{lock}");
    let found: Option<String> = scalar(tx, &sql, vec![id.as_str().into()]).await?;
    found.map(|_| ()).ok_or(StoreError::NotFound(Kind::Tenant))
}

async fn select(connection: &impl ConnectionTrait, id: &TenantId, lock: &str) -> Result<Model> {
    let sql = format!(
        "SELECT {} FROM tenants t WHERE id = $1{lock}",
        columns::<Entity>("t")
    );
    let model = row(connection, &sql, vec![id.as_str().into()]).await?;
    model.ok_or(StoreError::NotFound(Kind::Tenant))
}
