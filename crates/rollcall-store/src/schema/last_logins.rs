//! When users last logged in.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct LastLogins;

impl MigrationName for LastLogins {
    fn name(&self) -> &str {
        "m0030_last_logins"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LastLogins {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let uuid = match Engine::of(connection) {
            Engine::Sqlite => "BLOB",
            Engine::Postgres => "UUID",
        };
        // No foreign key: a login would wait for a writer of the user, only to check that the user exists. The row of a
        // user who is deleted meanwhile stays unseen, since ids do not come back.
        let table = format!(
            "CREATE TABLE last_logins (
                tenant TEXT NOT NULL,
                user_id {uuid} NOT NULL,
                time BIGINT NOT NULL,
                PRIMARY KEY (tenant, user_id)
            )"
        );
        connection.execute_unprepared(&table).await?;
        Ok(())
    }
}
