//! How targets are read and compared.

use std::collections::HashSet;

use rollcall_core::id::DirectoryId;
use rollcall_core::revision::Revision;
use uuid::Uuid;

use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::Statement;
use crate::db::row::{FromRow, Row, from_row};
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::login::target::{LoginSync, LoginTarget};
use crate::tables::columns;
use crate::tables::user::{Entity, Model};

/// The switches and revisions that decide a login, beside the user.
pub(super) struct Switches {
    pub(super) identifier: String,
    tenant_enabled: bool,
    tenant_revision: i64,
    user_sync_revision: Option<i64>,
    in_force_revision: Option<i64>,
    user_sync_disabled: Option<bool>,
    directory_id: Option<String>,
    directory_revision: Option<i64>,
    directory_disabled: Option<bool>,
    endpoint_confirmed: Option<bool>,
    observe_time: Option<i64>,
    last_complete_pull_time: Option<i64>,
    last_login_time: Option<i64>,
}

from_row!(Switches {
    identifier,
    tenant_enabled,
    tenant_revision,
    user_sync_revision,
    in_force_revision,
    user_sync_disabled,
    directory_id,
    directory_revision,
    directory_disabled,
    endpoint_confirmed,
    observe_time,
    last_complete_pull_time,
    last_login_time,
});

/// The row of a target.
pub(super) struct TargetRow {
    user: Model,
    pub(super) switches: Switches,
}

/// The columns of [`Switches`].
pub(super) const SWITCHES: &str = "t.user_sync_enabled AS tenant_enabled, t.revision AS tenant_revision,
    s.revision AS user_sync_revision, s.in_force_revision, s.disabled AS user_sync_disabled, d.id AS directory_id,
    d.revision AS directory_revision, d.disabled AS directory_disabled, d.endpoint_confirmed,
    d.observe_time, s.last_complete_pull_time, CASE WHEN l.time > 0 THEN l.time END AS last_login_time";

/// Joins the tables of [`SWITCHES`] to a user `u`.
pub(super) const JOINS: &str = "JOIN tenants t ON t.id = u.tenant
    LEFT JOIN user_syncs s ON s.tenant = u.tenant AND s.id = u.user_sync
    LEFT JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory";

/// Joins what [`SWITCHES`] selects and does not decide a login.
pub(super) const LAST_LOGIN: &str = "LEFT JOIN last_logins l ON l.tenant = u.tenant AND l.user_id = u.id";

/// Selects the revisions of everything that decides the logins of these users: [`Revisions`].
pub(super) fn select_revisions<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
    first: usize,
) -> Option<Statement> {
    let (source, cells) = users_source(targets, engine, first)?;
    let sql = format!(
        "SELECT u.tenant, u.id, u.revision, t.revision AS tenant_revision, s.revision AS user_sync_revision,
            d.revision AS directory_revision
        FROM {source} {look_up} {JOINS}",
        look_up = engine.look_up("users", "u", "u.tenant = input.tenant AND u.id = input.id")
    );
    Some((sql, cells))
}

/// Compares the revisions of all that decides the logins of these users with those that are expected. Selects `ok`. For
/// PostgreSQL.
pub(super) fn compare_revisions<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    first: usize,
) -> Option<Statement> {
    let mut bulk = Bulk::new([
        Column::new("tenant", Type::Text),
        Column::new("id", Type::Uuid),
        Column::new("revision", Type::BigInt),
        Column::new("tenant_revision", Type::BigInt),
        Column::nullable("user_sync_revision", Type::BigInt),
        Column::nullable("directory_revision", Type::BigInt),
    ]);
    let wanted: HashSet<Revisions> = targets.map(Revisions::of).collect();
    for revisions in &wanted {
        bulk.push([
            revisions.tenant.as_str().into(),
            revisions.id.into(),
            revisions.revision.into(),
            revisions.tenant_revision.into(),
            revisions.user_sync_revision.into(),
            revisions.directory_revision.into(),
        ]);
    }
    if bulk.is_empty() {
        return None;
    }
    let (source, cells) = bulk.source(Engine::Postgres, first);
    let sql = format!(
        "SELECT count(*) = {count} AS ok FROM {source} {look_up} {JOINS}
        WHERE u.revision = input.revision AND t.revision = input.tenant_revision
            AND s.revision IS NOT DISTINCT FROM input.user_sync_revision
            AND d.revision IS NOT DISTINCT FROM input.directory_revision",
        count = wanted.len(),
        look_up = Engine::Postgres.look_up("users", "u", "u.tenant = input.tenant AND u.id = input.id")
    );
    Some((sql, cells))
}

/// Selects these targets as they are now: [`TargetRow`].
pub(super) fn select_targets<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
) -> Option<Statement> {
    let (source, cells) = users_source(targets, engine, 1)?;
    let look_up = engine.look_up("users", "u", "u.tenant = input.tenant AND u.id = input.id");
    Some((
        format!(
            "SELECT {columns}, '' AS identifier, {SWITCHES} FROM {source} {look_up} {JOINS} {LAST_LOGIN}",
            columns = columns::<Entity>("u")
        ),
        cells,
    ))
}

fn users_source<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
    first: usize,
) -> Option<Statement> {
    let mut bulk = Bulk::new([Column::new("tenant", Type::Text), Column::new("id", Type::Uuid)]);
    let users: HashSet<_> = targets
        .map(|target| (&target.user.tenant, target.user.id))
        .collect();
    for (tenant, user) in users {
        bulk.push([tenant.as_str().into(), user.0.into()]);
    }
    (!bulk.is_empty()).then(|| bulk.source(engine, first))
}

/// The revisions of all that decides a user's login.
#[derive(PartialEq, Eq, Hash)]
pub(super) struct Revisions {
    tenant: String,
    id: Uuid,
    revision: i64,
    tenant_revision: i64,
    user_sync_revision: Option<i64>,
    directory_revision: Option<i64>,
}

from_row!(Revisions {
    tenant,
    id,
    revision,
    tenant_revision,
    user_sync_revision,
    directory_revision,
});

impl Revisions {
    pub(super) fn of(target: &LoginTarget) -> Self {
        Self {
            tenant: target.user.tenant.to_string(),
            id: target.user.id.0,
            revision: target.user.revision.number(),
            tenant_revision: target.tenant_revision.number(),
            user_sync_revision: target.sync.as_ref().map(|sync| sync.user_sync_revision.number()),
            directory_revision: target.sync.as_ref().map(|sync| sync.directory_revision.number()),
        }
    }
}

impl FromRow for TargetRow {
    fn from_row(row: &Row) -> Result<Self> {
        Ok(Self {
            user: Model::from_row(row)?,
            switches: Switches::from_row(row)?,
        })
    }
}

impl TargetRow {
    pub(super) fn into_domain(self) -> Result<LoginTarget> {
        let user = self.user.into_domain()?;
        let switches = self.switches;
        let sync = match (&user.origin, switches.user_sync_revision) {
            (Some(origin), Some(user_sync_revision)) => Some(LoginSync {
                user_sync: origin.user_sync.clone(),
                user_sync_revision: Revision::new(user_sync_revision),
                in_force_revision: switches.in_force_revision.map(Revision::new),
                user_sync_disabled: switches.user_sync_disabled.unwrap_or(true),
                directory: switches
                    .directory_id
                    .as_deref()
                    .and_then(DirectoryId::parse)
                    .ok_or(StoreError::corrupt("a user sync has no directory"))?,
                directory_revision: switches.directory_revision.map_or(Revision::NONE, Revision::new),
                directory_disabled: switches.directory_disabled.unwrap_or(true),
                endpoint_confirmed: switches.endpoint_confirmed.unwrap_or(false),
                observe_time: switches.observe_time.map(from_micros).transpose()?,
                last_complete_pull_time: switches.last_complete_pull_time.map(from_micros).transpose()?,
            }),
            _ => None,
        };
        Ok(LoginTarget {
            user,
            tenant_enabled: switches.tenant_enabled,
            tenant_revision: Revision::new(switches.tenant_revision),
            sync,
            last_login_time: switches.last_login_time.map(from_micros).transpose()?,
        })
    }
}
