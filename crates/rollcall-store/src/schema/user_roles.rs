//! An index of users by role, for lists of the few who have a rare one. The role stays in `details`, which the release
//! before writes too while both run: no column can differ from it.

use sea_orm_migration::sea_orm::ConnectionTrait;
use sea_orm_migration::{DbErr, MigrationName, MigrationTrait, SchemaManager, async_trait};

use crate::db::engine::Engine;

pub(super) struct UserRoles;

impl MigrationName for UserRoles {
    fn name(&self) -> &str {
        "m0039_user_roles"
    }
}

#[async_trait::async_trait]
impl MigrationTrait for UserRoles {
    async fn up(&self, manager: &SchemaManager) -> Result<(), DbErr> {
        let connection = manager.get_connection();
        let role = role(Engine::of(connection));
        // Partial, although no role is null, so that only a list by role can use it: SQLite would skip from role to role
        // for other lists, and sort what it finds.
        let by_role =
            format!("CREATE INDEX users_by_role ON users (({role}), tenant, id) WHERE {role} IS NOT NULL");
        connection.execute_unprepared(&by_role).await?;
        Ok(())
    }
}

/// The role in `users.details`, as the index has it: on PostgreSQL still in JSON, with its quotation marks. PostgreSQL's JSON
/// functions fail at U+0000, which a directory's texts may have, so the first member of this name is looked for. Within a
/// text each quotation mark has a backslash before it, and custom fields, which may have this name, come later.
pub(crate) fn role(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "json_extract(details, '$.profile.role')",
        Engine::Postgres => r#"substring(details FROM '"role":("([^"\\]|\\.)*")')"#,
    }
}
