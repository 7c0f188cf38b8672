//! Whom a login means: one query on the hot path of every login.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::identifier::normalize;
use rollcall_core::user::User;
use sea_orm::{DbErr, FromQueryResult, QueryResult, Value};
use uuid::Uuid;

use crate::db::batcher::{Answer, BatchHandler, Batcher};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::database::Database;
use crate::db::dedicated_connection::{DedicatedConnection, Purpose};
use crate::db::engine::Engine;
use crate::db::query::text;
use crate::db::timestamp::from_micros;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::user::Model;

/// Whom a login means, and what decides whether and where it is answered.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginTarget {
    /// The user.
    pub user: User,
    /// The tenant's add-on switch.
    pub tenant_enabled: bool,
    /// The tenant's revision.
    pub tenant_revision: i64,
    /// The user sync that owns the user; `None` if the user is LOCAL, or its sync was deleted (then
    /// [`User::origin`] is set all the same).
    pub sync: Option<LoginSync>,
}

/// The user sync and directory that decide a login. The rest of them is in
/// [`LoginConfig`](crate::LoginConfig).
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LoginSync {
    /// The user sync.
    pub user_sync: UserSyncId,
    /// Its revision.
    pub user_sync_revision: i64,
    /// The revision of its configuration in force. Runs change it without a new revision.
    pub in_force_revision: Option<i64>,
    /// It is switched off.
    pub user_sync_disabled: bool,
    /// Its directory.
    pub directory: DirectoryId,
    /// The directory's revision.
    pub directory_revision: i64,
    /// The directory is switched off.
    pub directory_disabled: bool,
    /// The directory's endpoint may be used.
    pub endpoint_confirmed: bool,
    /// When the directory's observations were made.
    pub observe_time: Option<DateTime<Utc>>,
    /// When a pull of the user sync last ended Complete: so fresh is the user's DN. Not in what is kept in
    /// memory, since runs change it without a new revision.
    pub last_complete_pull_time: Option<DateTime<Utc>>,
}

#[derive(FromQueryResult)]
struct Switches {
    identifier: String,
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
}

pub(crate) struct Row {
    user: Model,
    switches: Switches,
}

/// What decides a login beside the user.
const SWITCHES: &str = "t.user_sync_enabled AS tenant_enabled, t.revision AS tenant_revision,
    s.revision AS user_sync_revision, s.in_force_revision, s.disabled AS user_sync_disabled, d.id AS directory_id,
    d.revision AS directory_revision, d.disabled AS directory_disabled, d.endpoint_confirmed,
    d.observe_time, s.last_complete_pull_time";

/// Where it is, of a user `u`.
const JOINS: &str = "JOIN tenants t ON t.id = u.tenant
    LEFT JOIN user_syncs s ON s.tenant = u.tenant AND s.id = u.user_sync
    LEFT JOIN directories d ON d.tenant = s.tenant AND d.id = s.directory";

impl Store {
    /// The user that has this login or e-mail address, however it is written, with the switches and
    /// revisions of everything that decides its login. `None` if nobody has it.
    pub async fn login_target(&self, tenant: &TenantId, identifier: &str) -> Result<Option<LoginTarget>> {
        let wanted = Wanted {
            scope: self.scope(tenant).to_owned(),
            tenant: tenant.clone(),
            identifier: normalize(identifier),
        };
        self.inner
            .login_reader
            .batches
            .submit(|answer| Job { wanted, answer })
            .await
    }
}

/// Reads targets for all logins of the process: one query for all that wait.
pub(crate) struct LoginReader {
    batches: Batcher<Job>,
}

struct Job {
    wanted: Wanted,
    answer: Answer<Option<LoginTarget>>,
}

#[derive(Clone, PartialEq, Eq, Hash)]
struct Wanted {
    scope: String,
    tenant: TenantId,
    identifier: String,
}

struct Queries {
    connection: DedicatedConnection,
}

impl LoginReader {
    pub(crate) fn start(database: Arc<Database>) -> Self {
        Self {
            batches: Batcher::start(Queries {
                connection: DedicatedConnection::new(database, Purpose::Reading),
            }),
        }
    }

    pub(crate) async fn end(&self) {
        self.batches.end().await;
    }
}

impl BatchHandler for Queries {
    type Job = Job;
    type Outcome = Option<LoginTarget>;

    async fn carry_out(&mut self, jobs: &[Job]) -> Result<Vec<Option<LoginTarget>>> {
        let script = vec![query(
            jobs.iter().map(|job| &job.wanted),
            self.connection.engine(),
        )];
        let found = self.connection.send_first(script).await?;
        let mut targets = HashMap::with_capacity(jobs.len());
        for row in found.iter().flatten() {
            let row = Row::from_query_result(row, "")?;
            let identifier = row.switches.identifier.clone();
            let target = row.into_domain()?;
            targets.insert((target.user.tenant.clone(), identifier), target);
        }
        let target = |job: &Job| targets.get(&(job.wanted.tenant.clone(), job.wanted.identifier.clone()));
        Ok(jobs.iter().map(|job| target(job).cloned()).collect())
    }

    fn answer(job: Job, outcome: Result<Option<LoginTarget>>) {
        let _ = job.answer.send(outcome);
    }
}

fn query<'w>(wanted: impl Iterator<Item = &'w Wanted>, engine: Engine) -> (String, Vec<Value>) {
    let mut bulk = Bulk::new([
        Column::new("scope", Type::Text),
        Column::new("tenant", Type::Text),
        Column::new("identifier", Type::Text),
    ]);
    for wanted in wanted.collect::<HashSet<_>>() {
        bulk.push([
            wanted.scope.as_str().into(),
            wanted.tenant.as_str().into(),
            text(&wanted.identifier),
        ]);
    }
    let (source, values) = bulk.source(engine, 1);
    let sql = format!(
        "SELECT u.*, i.identifier, {SWITCHES}
        FROM {source} {identifiers} {users} {JOINS}",
        identifiers = engine.look_up(
            "user_identifiers",
            "i",
            "i.scope = input.scope AND i.identifier = input.identifier AND i.tenant = input.tenant"
        ),
        users = engine.look_up("users", "u", "u.tenant = i.tenant AND u.id = i.user_id"),
    );
    (sql, values)
}

/// What decides the logins of these users, as it is now: within the transaction that records their ends.
pub(crate) fn revisions<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
    first: usize,
) -> Option<(String, Vec<Value>)> {
    let (source, cells) = named(targets, engine, first)?;
    let sql = format!(
        "SELECT u.tenant, u.id, u.revision, t.revision AS tenant_revision, s.revision AS user_sync_revision,
            d.revision AS directory_revision
        FROM {source} {look_up} {JOINS}",
        look_up = engine.look_up("users", "u", "u.tenant = input.tenant AND u.id = input.id")
    );
    Some((sql, cells))
}

/// Whether all that decides the logins of these users is as it was, on PostgreSQL: selects `ok`.
pub(crate) fn comparison<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    first: usize,
) -> Option<(String, Vec<Value>)> {
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

/// The targets anew.
pub(crate) fn anew<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
) -> Option<(String, Vec<Value>)> {
    let (source, cells) = named(targets, engine, 1)?;
    let look_up = engine.look_up("users", "u", "u.tenant = input.tenant AND u.id = input.id");
    Some((
        format!("SELECT u.*, '' AS identifier, {SWITCHES} FROM {source} {look_up} {JOINS}"),
        cells,
    ))
}

fn named<'t>(
    targets: impl Iterator<Item = &'t LoginTarget>,
    engine: Engine,
    first: usize,
) -> Option<(String, Vec<Value>)> {
    let mut bulk = Bulk::new([Column::new("tenant", Type::Text), Column::new("id", Type::Uuid)]);
    let users: HashSet<_> = targets
        .map(|target| (&target.user.tenant, target.user.id))
        .collect();
    for (tenant, user) in users {
        bulk.push([tenant.as_str().into(), user.0.into()]);
    }
    (!bulk.is_empty()).then(|| bulk.source(engine, first))
}

/// A row of [`revisions`].
#[derive(FromQueryResult, PartialEq, Eq, Hash)]
pub(crate) struct Revisions {
    pub(crate) tenant: String,
    pub(crate) id: Uuid,
    revision: i64,
    tenant_revision: i64,
    user_sync_revision: Option<i64>,
    directory_revision: Option<i64>,
}

impl Revisions {
    pub(crate) fn of(target: &LoginTarget) -> Self {
        Self {
            tenant: target.user.tenant.to_string(),
            id: target.user.id.0,
            revision: target.user.revision,
            tenant_revision: target.tenant_revision,
            user_sync_revision: target.sync.as_ref().map(|sync| sync.user_sync_revision),
            directory_revision: target.sync.as_ref().map(|sync| sync.directory_revision),
        }
    }
}

impl LoginTarget {
    /// Whether a verdict that was made with this target is one about the other too: what differs decides no login.
    pub fn decides_like(&self, other: &Self) -> bool {
        let revisions = |target: &Self| Revisions {
            revision: 0,
            ..Revisions::of(target)
        };
        self.user.stands_like(&other.user) && revisions(self) == revisions(other)
    }
}

impl FromQueryResult for Row {
    fn from_query_result(row: &QueryResult, prefix: &str) -> Result<Self, DbErr> {
        Ok(Self {
            user: Model::from_query_result(row, prefix)?,
            switches: Switches::from_query_result(row, prefix)?,
        })
    }
}

impl Row {
    pub(crate) fn into_domain(self) -> Result<LoginTarget> {
        let user = self.user.into_domain()?;
        let switches = self.switches;
        let sync = match (&user.origin, switches.user_sync_revision) {
            (Some(origin), Some(user_sync_revision)) => Some(LoginSync {
                user_sync: origin.user_sync.clone(),
                user_sync_revision,
                in_force_revision: switches.in_force_revision,
                user_sync_disabled: switches.user_sync_disabled.unwrap_or(true),
                directory: switches
                    .directory_id
                    .as_deref()
                    .and_then(DirectoryId::parse)
                    .ok_or(StoreError::corrupt("a user sync has no directory"))?,
                directory_revision: switches.directory_revision.unwrap_or(0),
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
            tenant_revision: switches.tenant_revision,
            sync,
        })
    }
}
