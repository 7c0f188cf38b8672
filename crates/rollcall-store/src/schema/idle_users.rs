//! Users who did not log in lately are found by index: each user has a row in `last_logins` from the start, with the
//! time 0 until the first login.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct IdleUsers;

impl MigrationName for IdleUsers {
    fn name(&self) -> &str {
        "m0037_idle_users"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for IdleUsers {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let triggers = match Engine::of(connection) {
            Engine::Sqlite => SQLITE,
            Engine::Postgres => POSTGRES,
        };
        // The triggers come first, so that a user who is created meanwhile is not forgotten.
        for statement in triggers.iter().chain(STATEMENTS) {
            connection.execute_unprepared(statement).await?;
        }
        Ok(())
    }
}

const STATEMENTS: &[&str] = &[
    "INSERT INTO last_logins (tenant, user_id, time) SELECT tenant, id, 0 FROM users WHERE true
        ON CONFLICT (tenant, user_id) DO NOTHING",
    "CREATE INDEX last_logins_by_time ON last_logins (tenant, time, user_id)",
];

// Triggers do it, since the former release creates users too while both run.

const SQLITE: &[&str] = &["CREATE TRIGGER users_created_login AFTER INSERT ON users
    BEGIN
        INSERT INTO last_logins (tenant, user_id, time) VALUES (NEW.tenant, NEW.id, 0)
        ON CONFLICT (tenant, user_id) DO NOTHING;
    END"];

const POSTGRES: &[&str] = &[
    "CREATE FUNCTION user_created_login() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN
        INSERT INTO last_logins (tenant, user_id, time) SELECT tenant, id, 0 FROM created
        ON CONFLICT (tenant, user_id) DO NOTHING;
        RETURN NULL;
    END $$",
    "CREATE TRIGGER users_created_login AFTER INSERT ON users REFERENCING NEW TABLE AS created
    FOR EACH STATEMENT EXECUTE FUNCTION user_created_login()",
];
