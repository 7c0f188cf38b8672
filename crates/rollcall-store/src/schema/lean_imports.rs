//! Removes what made imports slow and nothing needs: indexes that no query reads any more, and PostgreSQL's check of
//! the tenant for each inserted user. Code that inserts users locks the tenant's row once in each transaction instead.

use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use sea_orm_migration::sea_orm::{ConnectionTrait, DbBackend};

pub(super) struct LeanImports;

impl MigrationName for LeanImports {
    fn name(&self) -> &str {
        "m0038_lean_imports"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for LeanImports {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        for statement in INDEXES {
            connection.execute_unprepared(statement).await?;
        }
        // SQLite would have to rewrite the table, and its check costs little.
        if connection.get_database_backend() == DbBackend::Postgres {
            connection
                .execute_unprepared("ALTER TABLE users DROP CONSTRAINT users_tenant_fkey")
                .await?;
        }
        Ok(())
    }
}

const INDEXES: [&str; 2] = [
    "DROP INDEX user_identifiers_by_user",
    "DROP INDEX user_events_by_user_sync",
];
