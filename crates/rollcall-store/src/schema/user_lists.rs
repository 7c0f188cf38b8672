//! Indexes for lists of the few among a tenant's users: those who own it, are blocked, or are not active.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

pub(super) struct UserLists;

impl MigrationName for UserLists {
    fn name(&self) -> &str {
        "m0034_user_lists"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for UserLists {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        for statement in STATEMENTS {
            manager.get_connection().execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

// Partial indexes, so that an import writes none of them: its users are active, and are neither owners nor blocked.
const STATEMENTS: &[&str] = &[
    "CREATE INDEX users_that_own ON users (tenant, id) WHERE owner",
    "CREATE INDEX users_blocked ON users (tenant, id) WHERE block_time IS NOT NULL",
    "CREATE INDEX users_by_state ON users (state, tenant, id) WHERE state <> 'ACTIVE'",
];
