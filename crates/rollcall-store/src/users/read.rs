//! Reading users.

use std::collections::{BTreeSet, HashMap};

use chrono::{DateTime, Utc};
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::identifier::normalize;
use rollcall_core::user::{User, UserState};
use sea_orm::{ConnectionTrait, DbErr, FromQueryResult, QueryResult, Value};

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{Statement, column, row, rows, scalar};
use crate::db::timestamp::to_micros;
use crate::error::{Kind, Result, StoreError};
use crate::page::{Page, PageRequest, merged};
use crate::schema::user_roles;
use crate::store::{IdentifierUniqueness, Store};
use crate::tables::columns;
use crate::tables::labels::Label;
use crate::tables::user::{Entity, Model};

/// Where users come from.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserSource {
    /// Created by the product.
    Local,
    /// Owned by a user sync.
    Synced,
}

/// Which users to list. A field that is `None` is no condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserFilter {
    /// In one of these states; empty for any.
    pub states: Vec<UserState>,
    /// Of this source.
    pub source: Option<UserSource>,
    /// Owned by this user sync.
    pub user_sync: Option<UserSyncId>,
    /// From this directory.
    pub directory: Option<DirectoryId>,
    /// With this role.
    pub role: Option<String>,
    /// The tenant's owners, or everybody else.
    pub owner: Option<bool>,
    /// Blocked, or not.
    pub blocked: Option<bool>,
    /// Without a noted login at this time or later. Includes those who never logged in.
    pub no_login_since: Option<DateTime<Utc>>,
    /// Without any login.
    pub never_logged_in: bool,
}

impl UserFilter {
    fn is_by_login(&self) -> bool {
        self.no_login_since.is_some() || self.never_logged_in
    }
}

/// A user with the time of the last login as it is stored: 0 for none.
struct Idle {
    user: Model,
    last_login: i64,
}

impl FromQueryResult for Idle {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self {
            user: Model::from_query_result(row, prefix)?,
            last_login: row.try_get(prefix, "last_login")?,
        })
    }
}

impl Store {
    /// One user.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn user(&self, tenant: &TenantId, id: UserId) -> Result<User> {
        let sql = format!(
            "SELECT {} FROM users u WHERE tenant = $1 AND id = $2",
            columns::<Entity>("u")
        );
        let model: Option<Model> = row(
            &self.inner.database.reader,
            &sql,
            vec![tenant.as_str().into(), id.0.into()],
        )
        .await?;
        model.ok_or(StoreError::NotFound(Kind::User))?.into_domain()
    }

    /// Several users in the order of `ids`, without those that do not exist.
    pub async fn batch_users(&self, tenant: &TenantId, ids: &[UserId]) -> Result<Vec<User>> {
        let mut bulk = Bulk::new([Column::new("id", Type::Uuid)]);
        let wanted: BTreeSet<UserId> = ids.iter().copied().collect();
        wanted.into_iter().for_each(|id| bulk.push([id.0.into()]));
        if bulk.is_empty() {
            return Ok(Vec::new());
        }
        let database = &self.inner.database;
        let (source, cells) = bulk.source(database.engine, 2);
        let sql = format!(
            "SELECT {columns} FROM {source} {look_up}",
            columns = columns::<Entity>("u"),
            look_up = database
                .engine
                .look_up("users", "u", "u.tenant = $1 AND u.id = input.id")
        );
        let mut values = vec![tenant.as_str().into()];
        values.extend(cells);
        let models: Vec<Model> = rows(&database.reader, &sql, values).await?;
        let mut users: Vec<User> = models
            .into_iter()
            .map(Model::into_domain)
            .collect::<Result<_>>()?;
        let order: HashMap<UserId, usize> = ids.iter().enumerate().map(|(index, id)| (*id, index)).collect();
        users.sort_by_key(|user| order.get(&user.id).copied());
        Ok(users)
    }

    /// A tenant's users in the order of their ids. Users who did not log in lately are in the order of their last
    /// logins.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_users(
        &self,
        tenant: &TenantId,
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Page<User>> {
        if filter.is_by_login() {
            let (time, id) = page.key::<(i64, String)>()?.unzip();
            let after = (tenant.to_string(), time.unwrap_or(i64::MIN), user_id(id)?);
            let found = self.idle_after(Some(tenant), after, filter, page).await?;
            let key = |row: &Idle| (row.last_login, row.user.id.to_string());
            return Page::cut(found, page, key, |row| row.user.into_domain());
        }
        let after = user_id(page.key::<String>()?)?;
        let after = (tenant.to_string(), after);
        let models = self.users_after(Some(tenant), after, filter, page).await?;
        Page::cut(models, page, |model| model.id.to_string(), Model::into_domain)
    }

    /// The users of all tenants, by tenant and in the same order.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_all_users(&self, filter: &UserFilter, page: &PageRequest) -> Result<Page<User>> {
        if filter.is_by_login() {
            let after = match page.key::<(String, i64, String)>()? {
                Some((tenant, time, id)) => (tenant, time, user_id(Some(id))?),
                None => (String::new(), i64::MIN, Uuid::nil()),
            };
            let found = self.idle_after(None, after, filter, page).await?;
            let key = |row: &Idle| (row.user.tenant.clone(), row.last_login, row.user.id.to_string());
            return Page::cut(found, page, key, |row| row.user.into_domain());
        }
        let (tenant, after) = match page.key::<(String, String)>()? {
            Some((tenant, id)) => (tenant, user_id(Some(id))?),
            None => (String::new(), Uuid::nil()),
        };
        let models = self.users_after(None, (tenant, after), filter, page).await?;
        let key = |model: &Model| (model.tenant.clone(), model.id.to_string());
        Page::cut(models, page, key, Model::into_domain)
    }

    async fn users_after(
        &self,
        tenant: Option<&TenantId>,
        after: (String, Uuid),
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Vec<Model>> {
        let engine = self.inner.database.engine;
        let (sql, values) = page_of_users(engine, tenant.is_some(), after, filter, page);
        let reading = self.inner.database.in_index_order().await?;
        let models = rows(&reading, &sql, values).await?;
        reading.commit().await?;
        Ok(models)
    }

    async fn idle_after(
        &self,
        tenant: Option<&TenantId>,
        after: (String, i64, Uuid),
        filter: &UserFilter,
        page: &PageRequest,
    ) -> Result<Vec<Idle>> {
        let engine = self.inner.database.engine;
        let (sql, values) = page_of_idle(engine, tenant.is_some(), after, filter, page);
        let reading = self.inner.database.in_index_order().await?;
        let found = rows(&reading, &sql, values).await?;
        reading.commit().await?;
        Ok(found)
    }

    /// The user that has this login or e-mail address, however it is written.
    pub async fn lookup_user(&self, tenant: &TenantId, identifier: &str) -> Result<Option<User>> {
        let sql = format!(
            "SELECT {} FROM user_identifiers i JOIN users u ON u.tenant = i.tenant AND u.id = i.user_id
            WHERE i.scope = $1 AND i.identifier = $2 AND i.tenant = $3",
            columns::<Entity>("u")
        );
        let values = vec![
            self.scope(tenant).into(),
            normalize(identifier).into(),
            tenant.as_str().into(),
        ];
        let model: Option<Model> = row(&self.inner.database.reader, &sql, values).await?;
        model.map(Model::into_domain).transpose()
    }

    /// Whether nothing in the store can conflict with a new user: the tenant has no users, and identifiers are unique
    /// within it.
    pub async fn is_free_of_users(&self, tenant: &TenantId) -> Result<bool> {
        if self.inner.uniqueness == IdentifierUniqueness::Global {
            return Ok(false);
        }
        let sql = "SELECT id FROM users WHERE tenant = $1 LIMIT 1";
        let found: Vec<Uuid> = column(&self.inner.database.reader, sql, vec![tenant.as_str().into()]).await?;
        Ok(found.is_empty())
    }

    /// How many users a sync has, without the archived.
    pub async fn count_users(&self, tenant: &TenantId, user_sync: &UserSyncId) -> Result<u64> {
        let sql = "SELECT COUNT(*) FROM users WHERE tenant = $1 AND user_sync = $2 AND state <> 'ARCHIVED'";
        let values = vec![tenant.as_str().into(), user_sync.as_str().into()];
        let count: Option<i64> = scalar(&self.inner.database.reader, sql, values).await?;
        Ok(count.unwrap_or(0).unsigned_abs())
    }

    /// The users of a directory with these external ids.
    pub async fn users_by_external_ids(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
        ids: &[ExternalId],
    ) -> Result<Vec<User>> {
        let ids = ids.iter().map(|id| (directory, id));
        let found = by_external_ids(&self.inner.database.reader, tenant, ids).await?;
        found.into_iter().map(Model::into_domain).collect()
    }
}

/// The query for a page of users after this one, of its tenant or of all. If ACTIVE users are not asked for, each state
/// is looked for by itself, since the index keeps only the users of one state in order.
pub(crate) fn page_of_users(
    engine: Engine,
    of_tenant: bool,
    (tenant, id): (String, Uuid),
    filter: &UserFilter,
    page: &PageRequest,
) -> Statement {
    let mut values: Vec<Value> = vec![tenant.into(), id.into()];
    let place = match of_tenant {
        true => "u.tenant = $1 AND u.id > $2",
        false => "(u.tenant, u.id) > ($1, $2)",
    };
    let conditions = conditions(engine, filter, &mut values);
    let limit = page.limit_sql();
    let columns = columns::<Entity>("u");
    let list = |state: &str| {
        format!(
            "SELECT {columns} FROM users u WHERE {place}{conditions}{state} ORDER BY u.tenant, u.id{limit}"
        )
    };
    let lists: Vec<String> = match filter.states.as_slice() {
        [] => vec![list("")],
        states if states.contains(&UserState::Active) => vec![list(&in_states(states))],
        states => states
            .iter()
            .map(|state| {
                list(&format!(
                    " AND u.state <> 'ACTIVE' AND u.state = '{}'",
                    state.label()
                ))
            })
            .collect(),
    };
    (merged(&lists, "tenant, id", page), values)
}

/// The query for a page of users who did not log in lately, behind this login of this user. It reads `last_logins`,
/// which has a row for each user.
pub(crate) fn page_of_idle(
    engine: Engine,
    of_tenant: bool,
    (tenant, time, id): (String, i64, Uuid),
    filter: &UserFilter,
    page: &PageRequest,
) -> Statement {
    let mut values: Vec<Value> = vec![tenant.into(), time.into(), id.into()];
    let place = match of_tenant {
        true => "l.tenant = $1 AND (l.time, l.user_id) > ($2, $3)",
        false => "(l.tenant, l.time, l.user_id) > ($1, $2, $3)",
    };
    let last = match filter.no_login_since {
        Some(since) if !filter.never_logged_in => to_micros(since).max(1),
        // A time at which nobody logged in.
        _ => 1,
    };
    values.push(last.into());
    let conditions = conditions(engine, filter, &mut values);
    let states = match filter.states.as_slice() {
        [] => String::new(),
        states => in_states(states),
    };
    let sql = format!(
        "SELECT {columns}, l.time AS last_login FROM last_logins l {users}
        WHERE {place} AND l.time < $4{conditions}{states} ORDER BY l.tenant, l.time, l.user_id{limit}",
        columns = columns::<Entity>("u"),
        users = engine.look_up("users", "u", "u.tenant = l.tenant AND u.id = l.user_id"),
        limit = page.limit_sql(),
    );
    (sql, values)
}

/// The conditions of a filter on `users u`, except those on states and logins.
fn conditions(engine: Engine, filter: &UserFilter, values: &mut Vec<Value>) -> String {
    let mut conditions = String::new();
    if let Some(role) = &filter.role {
        let (condition, of_role) = user_roles::condition(engine, role, values.len() + 1);
        conditions += &format!(" AND {condition}");
        values.extend(of_role);
    }
    let mut require = |column: &str, value: Option<&str>| {
        if let Some(value) = value {
            values.push(value.into());
            conditions += &format!(" AND u.{column} = ${}", values.len());
        }
    };
    require("user_sync", filter.user_sync.as_ref().map(UserSyncId::as_str));
    require("directory", filter.directory.as_ref().map(DirectoryId::as_str));
    // Written as in the partial indexes of owners and of blocked users.
    conditions += match filter.owner {
        Some(true) => " AND u.owner",
        Some(false) => " AND NOT u.owner",
        None => "",
    };
    conditions += match filter.source {
        Some(UserSource::Local) => " AND u.user_sync IS NULL",
        Some(UserSource::Synced) => " AND u.user_sync IS NOT NULL",
        None => "",
    };
    conditions += match filter.blocked {
        Some(true) => " AND u.block_time IS NOT NULL",
        Some(false) => " AND u.block_time IS NULL",
        None => "",
    };
    conditions
}

fn in_states(states: &[UserState]) -> String {
    let labels: Vec<String> = states
        .iter()
        .map(|state| format!("'{}'", state.label()))
        .collect();
    format!(" AND u.state IN ({})", labels.join(", "))
}

pub(crate) async fn by_external_ids<'a>(
    connection: &impl ConnectionTrait,
    tenant: &TenantId,
    ids: impl Iterator<Item = (&'a DirectoryId, &'a ExternalId)>,
) -> Result<Vec<Model>> {
    let mut bulk = Bulk::new([
        Column::new("directory", Type::Text),
        Column::new("id_kind", Type::Text),
        Column::new("external_id", Type::Bytes),
    ]);
    for (directory, id) in ids {
        bulk.push([
            directory.as_str().into(),
            id.kind().attribute().into(),
            id.bytes().to_vec().into(),
        ]);
    }
    if bulk.is_empty() {
        return Ok(Vec::new());
    }
    let engine = Engine::of(connection);
    let (source, cells) = bulk.source(engine, 2);
    let sql = format!(
        "SELECT {columns} FROM {source} {look_up}",
        columns = columns::<Entity>("u"),
        look_up = engine.look_up(
            "users",
            "u",
            "u.tenant = $1 AND u.directory = input.directory AND u.id_kind = input.id_kind
                AND u.external_id = input.external_id"
        )
    );
    let mut values = vec![tenant.as_str().into()];
    values.extend(cells);
    rows(connection, &sql, values).await
}

/// The id that a page begins behind; nil for the first page.
fn user_id(key: Option<String>) -> Result<Uuid> {
    key.map_or(Ok(Uuid::nil()), |id| {
        Uuid::try_parse(&id).map_err(|_| StoreError::InvalidCursor)
    })
}
