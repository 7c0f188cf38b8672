//! User syncs: settings, schedule and health.

use chrono::{DateTime, Utc};
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::revision::Revision;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use sea_orm::ConnectionTrait;

use crate::audit::Recorded;
use crate::configuration::tenants::count_up_to;
use crate::create_requests::{CreateRequest, Created};
use crate::db::engine::Engine;
use crate::db::query::{Statement, execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::page::{Page, PageRequest, merged};
use crate::runs::lifecycle::supersede_waiting;
use crate::schema::list_indexes::health_level;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;
use crate::tables::user_sync::{Entity, Model};
use crate::tables::{self, columns, require_revision};

/// Which user syncs to list. An empty field is no condition.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct UserSyncFilter {
    /// Of this directory.
    pub directory: Option<DirectoryId>,
    /// In one of these conditions.
    pub health: Vec<HealthLevel>,
}

impl Store {
    /// Creates a user sync. `next_run_time` is what its schedule says.
    ///
    /// # Errors
    /// `NotFound` for the tenant or the directory; `AlreadyExists`.
    pub async fn create_user_sync(
        &self,
        tenant: &TenantId,
        id: &UserSyncId,
        settings: &UserSyncSettings,
        next_run_time: Option<DateTime<Utc>>,
        record: Recorded<'_, UserSync>,
    ) -> Result<UserSync> {
        let tx = self.inner.database.begin().await?;
        let user_sync = create(&tx, tenant, id, settings, next_run_time, &record).await?;
        tx.commit().await?;
        Ok(user_sync)
    }

    /// The same for a call that may be a repeat.
    ///
    /// # Errors
    /// `RequestIdReused` too.
    pub async fn create_user_sync_once(
        &self,
        request: &CreateRequest<'_>,
        tenant: &TenantId,
        id: &UserSyncId,
        settings: &UserSyncSettings,
        next_run_time: Option<DateTime<Utc>>,
        record: Recorded<'_, UserSync>,
    ) -> Result<Created<UserSync>> {
        let tx = self.inner.database.begin().await?;
        if let Some(before) = self.claim(&tx, request, id.as_str(), record.time).await? {
            return Ok(Created::Before(before));
        }
        let user_sync = create(&tx, tenant, id, settings, next_run_time, &record).await?;
        tx.commit().await?;
        Ok(Created::Now(user_sync))
    }

    /// One user sync.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn user_sync(&self, tenant: &TenantId, id: &UserSyncId) -> Result<UserSync> {
        let key = key(tenant, id);
        tables::user_sync::find(&self.inner.database.reader, &key)
            .await?
            .into_domain()
    }

    /// A tenant's user syncs in the order of their ids.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_user_syncs(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<UserSync>> {
        self.find_user_syncs(Some(tenant), &UserSyncFilter::default(), page)
            .await
    }

    /// User syncs by tenant and id: those of one tenant, or of all.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn find_user_syncs(
        &self,
        tenant: Option<&TenantId>,
        filter: &UserSyncFilter,
        page: &PageRequest,
    ) -> Result<Page<UserSync>> {
        let (sql, values) = search(self.inner.database.engine, tenant, filter, page)?;
        let found: Vec<Model> = rows(&self.inner.database.reader, &sql, values).await?;
        let key = |model: &Model| (model.tenant.clone(), model.id.clone());
        Page::cut(found, page, key, Model::into_domain)
    }

    /// How many user syncs a tenant has, counted up to `most`.
    pub async fn count_user_syncs(&self, tenant: &TenantId, most: u32) -> Result<usize> {
        count_up_to(self, "user_syncs", tenant, most).await
    }

    /// All user syncs on a directory in the order of their ids.
    pub async fn user_syncs_of_directory(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
    ) -> Result<Vec<UserSync>> {
        let sql = format!(
            "SELECT {} FROM user_syncs s WHERE tenant = $1 AND directory = $2 ORDER BY id",
            columns::<Entity>("s")
        );
        let values = vec![tenant.as_str().into(), directory.as_str().into()];
        let models: Vec<Model> = rows(&self.inner.database.reader, &sql, values).await?;
        models.into_iter().map(Model::into_domain).collect()
    }

    /// Replaces settings. Its waiting runs end SUPERSEDED; other searches, mappings or another directory are
    /// a new scope.
    ///
    /// # Errors
    /// `NotFound` for the user sync or its new directory; `RevisionMismatch`.
    pub async fn update_user_sync(
        &self,
        tenant: &TenantId,
        id: &UserSyncId,
        expected_revision: Revision,
        settings: &UserSyncSettings,
        next_run_time: Option<DateTime<Utc>>,
        record: Recorded<'_, UserSync>,
    ) -> Result<UserSync> {
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        // The directory before the sync, as everywhere: locks taken in one order never wait for each other.
        tables::directory::lock(&tx, tenant, &settings.directory).await?;
        let key = key(tenant, id);
        let locked = tables::user_sync::lock(&tx, &key).await?;
        require_revision(Revision::new(locked.revision), Some(expected_revision))?;
        supersede_waiting(&tx, tenant, id.as_str(), now).await?;
        let mut model = tables::user_sync::find(&tx, &key).await?;
        let before = model.clone().into_domain()?;
        let old = UserSyncSettings::from_json(&model.settings)?;
        model.revision += 1;
        model.deleting_revision = None;
        if old.changes_scope(settings) {
            model.scope_revision = model.revision;
        }
        model.directory = settings.directory.to_string();
        model.disabled = settings.disabled;
        model.auto_sync = settings.auto_sync;
        model.settings = settings.to_json()?;
        model.erase_after = erase_after(settings);
        model.next_run_time = next_run_time.map(to_micros);
        model.update_time = to_micros(now);
        tables::update(&tx, model.clone()).await?;
        let user_sync = model.into_domain()?;
        record.write(&tx, Some(&before), Some(&user_sync)).await?;
        tx.commit().await?;
        Ok(user_sync)
    }

    /// User syncs whose time comes later than this, the latest first. Global by nature.
    pub async fn user_syncs_due_after(&self, time: DateTime<Utc>, limit: u32) -> Result<Vec<UserSync>> {
        let sql = format!(
            "SELECT {} FROM user_syncs s WHERE next_run_time > $1 ORDER BY next_run_time DESC LIMIT {limit}",
            columns::<Entity>("s")
        );
        let models: Vec<Model> =
            rows(&self.inner.database.reader, &sql, vec![to_micros(time).into()]).await?;
        models.into_iter().map(Model::into_domain).collect()
    }

    /// Sets when the schedule fires next, if it is still `expected`. False if another replica was faster. It does not
    /// count as a change of the user sync: the revision stays.
    pub async fn set_next_run_time(
        &self,
        tenant: &TenantId,
        id: &UserSyncId,
        expected: Option<DateTime<Utc>>,
        next: Option<DateTime<Utc>>,
    ) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        let sql = "UPDATE user_syncs SET next_run_time = $3
            WHERE tenant = $1 AND id = $2 AND next_run_time IS NOT DISTINCT FROM $4";
        let values = vec![
            tenant.as_str().into(),
            id.as_str().into(),
            next.map(to_micros).into(),
            expected.map(to_micros).into(),
        ];
        let set = execute(&tx, sql, values).await? == 1;
        tx.commit().await?;
        Ok(set)
    }
}

/// The query for a page of user syncs. Each health level is looked for by itself, since the index keeps only the syncs
/// of one level in order.
pub(crate) fn search(
    engine: Engine,
    tenant: Option<&TenantId>,
    filter: &UserSyncFilter,
    page: &PageRequest,
) -> Result<Statement> {
    let (last_tenant, last): (String, String) = page.key()?.unwrap_or_default();
    let (mut conditions, mut values) = match tenant {
        Some(tenant) => (
            "tenant = $1 AND id > $2".to_owned(),
            vec![tenant.as_str().into(), last.into()],
        ),
        None => (
            "(tenant, id) > ($1, $2)".to_owned(),
            vec![last_tenant.into(), last.into()],
        ),
    };
    if let Some(directory) = &filter.directory {
        values.push(directory.as_str().into());
        conditions += " AND directory = $3";
    }
    let limit = page.limit_sql();
    let columns = columns::<Entity>("s");
    let list = |health: &str| {
        format!("SELECT {columns} FROM user_syncs s WHERE {conditions}{health} ORDER BY tenant, id{limit}")
    };
    let lists: Vec<String> = match filter.health.as_slice() {
        [] => vec![list("")],
        health => health
            .iter()
            .map(|health| list(&format!(" AND {} = '{}'", health_level(engine), health.label())))
            .collect(),
    };
    Ok((merged(&lists, "tenant, id", page), values))
}

async fn create(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &UserSyncId,
    settings: &UserSyncSettings,
    next_run_time: Option<DateTime<Utc>>,
    record: &Recorded<'_, UserSync>,
) -> Result<UserSync> {
    let now = record.time;
    tables::tenant::require(tx, tenant).await?;
    tables::directory::lock(tx, tenant, &settings.directory).await?;
    let model = Model {
        tenant: tenant.to_string(),
        id: id.to_string(),
        directory: settings.directory.to_string(),
        disabled: settings.disabled,
        auto_sync: settings.auto_sync,
        settings: settings.to_json()?,
        revision: 1,
        scope_revision: 1,
        applied_scope_revision: 0,
        in_force_revision: None,
        hold: Vec::<HoldReason>::new().to_json()?,
        last_complete_pull_time: None,
        last_run: None,
        next_run_time: next_run_time.map(to_micros),
        claim_end: None,
        health: Health::default().to_json()?,
        told: "{}".to_owned(),
        deleting_revision: None,
        create_time: to_micros(now),
        update_time: to_micros(now),
        erase_after: erase_after(settings),
    };
    tables::insert(tx, model.clone()).await?;
    let user_sync = model.into_domain()?;
    record.write(tx, None, Some(&user_sync)).await?;
    Ok(user_sync)
}

fn erase_after(settings: &UserSyncSettings) -> Option<i64> {
    settings
        .erase_after
        .and_then(|time| i64::try_from(time.as_micros()).ok())
}

fn key(tenant: &TenantId, user_sync: &UserSyncId) -> UserSyncKey {
    UserSyncKey {
        tenant: tenant.clone(),
        user_sync: user_sync.clone(),
    }
}
