//! The rows of `directories`.

use rollcall_core::directory::{Directory, DirectoryObservations, DirectorySettings, PasswordStrength};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::revision::Revision;
use sea_orm::entity::prelude::*;

use crate::db::engine::Engine;
use crate::db::query::row;
use crate::db::timestamp::from_micros;
use crate::error::{Kind, Result, StoreError};
use crate::tables::columns;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;

#[derive(Clone, Debug, PartialEq, Eq, DeriveEntityModel)]
#[sea_orm(table_name = "directories")]
pub(crate) struct Model {
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) tenant: String,
    #[sea_orm(primary_key, auto_increment = false)]
    pub(crate) id: String,
    pub(crate) disabled: bool,
    pub(crate) settings: String,
    pub(crate) bind_password: Option<Vec<u8>>,
    pub(crate) bind_password_update_time: Option<i64>,
    pub(crate) bind_password_strength: Option<String>,
    pub(crate) pending_bind_password: Option<Vec<u8>>,
    pub(crate) pending_bind_password_time: Option<i64>,
    pub(crate) pending_try_time: Option<i64>,
    pub(crate) pending_refuse_time: Option<i64>,
    pub(crate) client_key: Option<Vec<u8>>,
    pub(crate) endpoint_confirmed: bool,
    pub(crate) observed: String,
    pub(crate) observe_time: Option<i64>,
    pub(crate) revision: i64,
    pub(crate) create_time: i64,
    pub(crate) update_time: i64,
}

#[derive(Copy, Clone, Debug, EnumIter, DeriveRelation)]
pub(crate) enum Relation {}

impl ActiveModelBehavior for ActiveModel {}

impl Model {
    /// Removes the pending password and everything that is known of it.
    pub(crate) fn forget_pending_password(&mut self) {
        self.pending_bind_password = None;
        self.pending_bind_password_time = None;
        self.pending_try_time = None;
        self.pending_refuse_time = None;
    }

    pub(crate) fn into_domain(self) -> Result<Directory> {
        let bad_id = || StoreError::corrupt("a stored id is malformed");
        Ok(Directory {
            tenant: TenantId::parse(&self.tenant).ok_or_else(bad_id)?,
            id: DirectoryId::parse(&self.id).ok_or_else(bad_id)?,
            settings: DirectorySettings::from_json(&self.settings)?,
            bind_password_set: self.bind_password.is_some(),
            bind_password_update_time: self.bind_password_update_time.map(from_micros).transpose()?,
            bind_password_strength: self
                .bind_password_strength
                .as_deref()
                .map(PasswordStrength::from_label)
                .transpose()?,
            pending_bind_password_time: self.pending_bind_password_time.map(from_micros).transpose()?,
            pending_bind_password_refuse_time: self.pending_refuse_time.map(from_micros).transpose()?,
            endpoint_confirmed: self.endpoint_confirmed,
            observed: DirectoryObservations::from_json(&self.observed)?,
            revision: Revision::new(self.revision),
            create_time: from_micros(self.create_time)?,
            update_time: from_micros(self.update_time)?,
        })
    }
}

/// Reads one row.
pub(crate) async fn find(
    connection: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &DirectoryId,
) -> Result<Model> {
    select(connection, tenant, id, "").await
}

/// Reads one row and locks it until the transaction ends.
pub(crate) async fn lock(tx: &impl ConnectionTrait, tenant: &TenantId, id: &DirectoryId) -> Result<Model> {
    select(tx, tenant, id, Engine::of(tx).for_update()).await
}

async fn select(
    connection: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &DirectoryId,
    lock: &str,
) -> Result<Model> {
    let sql = format!(
        "SELECT {} FROM directories d WHERE tenant = $1 AND id = $2{lock}",
        columns::<Entity>("d")
    );
    let model = row(connection, &sql, vec![tenant.as_str().into(), id.as_str().into()]).await?;
    model.ok_or(StoreError::NotFound(Kind::Directory))
}
