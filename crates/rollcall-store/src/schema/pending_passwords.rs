//! Bind passwords that take the place of the present ones when the directory refuses those.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct PendingPasswords;

impl MigrationName for PendingPasswords {
    fn name(&self) -> &str {
        "m0033_pending_passwords"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for PendingPasswords {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let bytes = match Engine::of(connection) {
            Engine::Sqlite => "BLOB",
            Engine::Postgres => "BYTEA",
        };
        for column in [
            format!("pending_bind_password {bytes}"),
            "pending_bind_password_time BIGINT".to_owned(),
            "pending_try_time BIGINT".to_owned(),
            "pending_refuse_time BIGINT".to_owned(),
        ] {
            let sql = format!("ALTER TABLE directories ADD COLUMN {column}");
            connection.execute_unprepared(&sql).await?;
        }
        Ok(())
    }
}
