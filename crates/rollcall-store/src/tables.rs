//! Each table's row as a struct, and how values are stored in columns. Private: other crates see domain types only.

pub(crate) mod directory;
pub(crate) mod json;
pub(crate) mod labels;
pub(crate) mod registry;
pub(crate) mod sync_run;
pub(crate) mod tenant;
pub(crate) mod user;
pub(crate) mod user_sync;

use sea_orm::{ActiveModelTrait, EntityTrait, IdenStatic, IntoActiveModel, Iterable, ModelTrait, QueryTrait};

use crate::db::query::execute_built;
use crate::error::{Result, StoreError};
use rollcall_core::revision::Revision;

/// The columns of a row, for a SELECT from its table under the name `alias`. No statement uses `*`: a prepared one
/// would break when a later release adds a column while this one runs.
pub(crate) fn columns<E: EntityTrait>(alias: &str) -> String {
    let mut columns = String::new();
    for column in E::Column::iter() {
        let comma = if columns.is_empty() { "" } else { ", " };
        columns.extend([comma, alias, ".", column.as_str()]);
    }
    columns
}

/// Inserts a whole row.
pub(crate) async fn insert<M, A>(connection: &impl sea_orm::ConnectionTrait, model: M) -> Result<()>
where
    A: ActiveModelTrait<Entity = M::Entity>,
    M: ModelTrait + IntoActiveModel<A>,
    M::Entity: EntityTrait<Model = M, ActiveModel = A>,
{
    let insert = <M::Entity as EntityTrait>::insert(model.into_active_model());
    execute_built(connection, insert.build(connection.get_database_backend())).await?;
    Ok(())
}

/// Writes all columns of a row that was read and locked before.
pub(crate) async fn update<M, A>(connection: &impl sea_orm::ConnectionTrait, model: M) -> Result<()>
where
    A: ActiveModelTrait<Entity = M::Entity> + sea_orm::ActiveModelBehavior + Send,
    M: ModelTrait + IntoActiveModel<A>,
    M::Entity: EntityTrait<Model = M, ActiveModel = A>,
{
    let update = <M::Entity as EntityTrait>::update(model.into_active_model().reset_all());
    let update = update.validate()?;
    match execute_built(connection, update.build(connection.get_database_backend())).await? {
        0 => Err(StoreError::corrupt("a row that was locked is gone")),
        _ => Ok(()),
    }
}

/// Makes sure that a resource still has the revision that the caller saw, if the caller names one.
pub(crate) fn require_revision(present: Revision, expected: Option<Revision>) -> Result<()> {
    match expected {
        Some(expected) if expected != present => Err(StoreError::RevisionMismatch),
        _ => Ok(()),
    }
}
