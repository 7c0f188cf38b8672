//! An index of users by role, for lists of the few who have a rare one. The role stays in `details`, which the release
//! before writes too while both run: no column can differ from it.

use sea_orm_migration::sea_orm::{ConnectionTrait, Value};
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
        let role = key(Engine::of(connection));
        // Partial, although no role is null, so that only a list by role can use it: SQLite would skip from role to role
        // for other lists, and sort what it finds.
        let by_role =
            format!("CREATE INDEX users_by_role ON users (({role}), tenant, id) WHERE {role} IS NOT NULL");
        connection.execute_unprepared(&by_role).await?;
        Ok(())
    }
}

/// What the index has of the role in `users.details`: on PostgreSQL the role as JSON writes it, up to the first quotation mark.
/// PostgreSQL's JSON functions fail at U+0000, which a directory's texts may have, and a regular expression would make an import
/// of 100,000 users a second longer. Within a text each quotation mark has a backslash before it, and custom fields, which may
/// have this name, come later: so the first member of this name is the role.
pub(crate) fn key(engine: Engine) -> &'static str {
    match engine {
        Engine::Sqlite => "json_extract(details, '$.profile.role')",
        Engine::Postgres => r#"split_part(split_part(details, '"role":"', 2), '"', 1)"#,
    }
}

/// The condition that a user has this role, and its parameters from `$first` on.
pub(crate) fn condition(engine: Engine, role: &str, first: usize) -> (String, Vec<Value>) {
    let stored = key(engine);
    // Written as in the partial index.
    let of_index = format!("{stored} IS NOT NULL AND {stored} = ${first}");
    match engine {
        Engine::Sqlite => (of_index, vec![role.into()]),
        Engine::Postgres => {
            let json = serde_json::Value::from(role).to_string();
            let cut = json.split('"').nth(1).unwrap_or_default();
            // Roles with quotation marks may be the same up to the first one.
            let whole = format!(r#"strpos(details, ${}) = strpos(details, '"role":"')"#, first + 1);
            let member = format!("\"role\":{json}");
            (format!("{of_index} AND {whole}"), vec![cut.into(), member.into()])
        }
    }
}
