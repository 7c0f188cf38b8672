//! User syncs: settings, schedule and health.

use chrono::{DateTime, Utc};
use rollcall_core::guard::HoldReason;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId, UserSyncKey};
use rollcall_core::issue::Health;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use sea_orm::ConnectionTrait;

use crate::audit::Recorded;
use crate::create_requests::{CreateRequest, Created};
use crate::db::query::{execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::page::{Page, PageRequest};
use crate::runs::lifecycle::supersede_waiting;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::{self, require_revision, user_sync::Model};

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
        self.list_user_syncs_where(tenant, None, page).await
    }

    /// The same, of one directory only.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_user_syncs_on(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
        page: &PageRequest,
    ) -> Result<Page<UserSync>> {
        self.list_user_syncs_where(tenant, Some(directory), page).await
    }

    async fn list_user_syncs_where(
        &self,
        tenant: &TenantId,
        directory: Option<&DirectoryId>,
        page: &PageRequest,
    ) -> Result<Page<UserSync>> {
        let after: String = page.key()?.unwrap_or_default();
        let (limit, mut values) = (page.limit_sql(), vec![tenant.as_str().into(), after.into()]);
        let condition = directory.map_or("", |_| " AND directory = $3");
        values.extend(directory.map(|directory| directory.as_str().into()));
        let sql =
            format!("SELECT * FROM user_syncs WHERE tenant = $1 AND id > $2{condition} ORDER BY id{limit}");
        let models: Vec<Model> = rows(&self.inner.database.reader, &sql, values).await?;
        Page::cut(models, page, |model| model.id.clone(), Model::into_domain)
    }

    /// All user syncs on a directory in the order of their ids.
    pub async fn user_syncs_of_directory(
        &self,
        tenant: &TenantId,
        directory: &DirectoryId,
    ) -> Result<Vec<UserSync>> {
        let sql = "SELECT * FROM user_syncs WHERE tenant = $1 AND directory = $2 ORDER BY id";
        let values = vec![tenant.as_str().into(), directory.as_str().into()];
        let models: Vec<Model> = rows(&self.inner.database.reader, sql, values).await?;
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
        expected_revision: i64,
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
        require_revision(locked.revision, Some(expected_revision))?;
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
            "SELECT * FROM user_syncs WHERE next_run_time > $1 ORDER BY next_run_time DESC LIMIT {limit}"
        );
        let models: Vec<Model> =
            rows(&self.inner.database.reader, &sql, vec![to_micros(time).into()]).await?;
        models.into_iter().map(Model::into_domain).collect()
    }

    /// Sets when the schedule fires next, if it is still `expected`. False if another replica was faster.
    /// That is no change of the user sync: the revision stays.
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
