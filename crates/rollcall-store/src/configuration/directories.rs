//! Directories: how customers' servers are reached. Their secrets are in `secrets.rs`.

use chrono::{DateTime, Utc};
use rollcall_core::directory::{Directory, DirectoryObservations, DirectorySettings, PasswordStrength};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::revision::Revision;
use rollcall_core::secret::{Password, SecretBytes};
use sea_orm::ConnectionTrait;

use crate::audit::Recorded;
use crate::configuration::secrets::BIND_PASSWORD;
use crate::configuration::tenants::count_up_to;
use crate::create_requests::{CreateRequest, Created};
use crate::db::query::{column, execute, rows};
use crate::db::timestamp::to_micros;
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::runs::lifecycle::supersede_waiting;
use crate::store::Store;
use crate::tables::directory::{Entity, Model};
use crate::tables::json::JsonColumn;
use crate::tables::labels::Label;
use crate::tables::{self, columns, require_revision};

/// Secrets that come with new settings. A secret that is `None` stays as it is.
#[derive(Default)]
pub struct NewSecrets<'a> {
    /// Password of the service account.
    pub bind_password: Option<&'a Password>,
    /// Private key of the client certificate.
    pub client_key: Option<&'a SecretBytes>,
}

/// What an update of a directory writes.
pub struct DirectoryUpdate<'a> {
    /// The revision that the directory must have.
    pub expected_revision: Revision,
    /// All of its settings.
    pub settings: &'a DirectorySettings,
    /// The secrets that are replaced.
    pub secrets: NewSecrets<'a>,
    /// Whether a check has found known people under the endpoint, or somebody said that it is a new directory.
    pub endpoint_confirmed: bool,
}

/// What a run saw of a server beside its entries.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct Sighting {
    /// When the bind account's password expires.
    pub bind_password_expire_time: Option<DateTime<Utc>>,
    /// When the first certificate ends; `None` if none was seen.
    pub certificate_end: Option<DateTime<Utc>>,
}

impl Store {
    /// Creates a directory. Its endpoint counts as confirmed.
    ///
    /// # Errors
    /// `NotFound` for the tenant; `AlreadyExists`.
    pub async fn create_directory(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        settings: &DirectorySettings,
        secrets: NewSecrets<'_>,
        record: Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let tx = self.inner.database.begin().await?;
        let directory = self
            .insert_directory(&tx, tenant, id, settings, &secrets, &record)
            .await?;
        tx.commit().await?;
        Ok(directory)
    }

    /// The same for a call that may be a repeat.
    ///
    /// # Errors
    /// `RequestIdReused` too.
    pub async fn create_directory_once(
        &self,
        request: &CreateRequest<'_>,
        tenant: &TenantId,
        id: &DirectoryId,
        settings: &DirectorySettings,
        secrets: NewSecrets<'_>,
        record: Recorded<'_, Directory>,
    ) -> Result<Created<Directory>> {
        let tx = self.inner.database.begin().await?;
        if let Some(before) = self.claim(&tx, request, id.as_str(), record.time).await? {
            return Ok(Created::Before(before));
        }
        let directory = self
            .insert_directory(&tx, tenant, id, settings, &secrets, &record)
            .await?;
        tx.commit().await?;
        Ok(Created::Now(directory))
    }

    async fn insert_directory(
        &self,
        tx: &impl ConnectionTrait,
        tenant: &TenantId,
        id: &DirectoryId,
        settings: &DirectorySettings,
        secrets: &NewSecrets<'_>,
        record: &Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let now = record.time;
        tables::tenant::require(tx, tenant).await?;
        let mut model = Model {
            tenant: tenant.to_string(),
            id: id.to_string(),
            disabled: settings.disabled,
            settings: settings.to_json()?,
            bind_password: None,
            bind_password_update_time: None,
            bind_password_strength: None,
            pending_bind_password: None,
            pending_bind_password_time: None,
            pending_try_time: None,
            pending_refuse_time: None,
            client_key: None,
            endpoint_confirmed: true,
            observed: DirectoryObservations::default().to_json()?,
            observe_time: None,
            revision: 1,
            create_time: to_micros(now),
            update_time: to_micros(now),
        };
        self.put_secrets(&mut model, secrets, now)?;
        tables::insert(tx, model.clone()).await?;
        let directory = model.into_domain()?;
        record.write(tx, None, Some(&directory)).await?;
        Ok(directory)
    }

    /// One directory.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn directory(&self, tenant: &TenantId, id: &DirectoryId) -> Result<Directory> {
        let reader = &self.inner.database.reader;
        tables::directory::find(reader, tenant, id).await?.into_domain()
    }

    /// A tenant's directories in the order of their ids.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_directories(&self, tenant: &TenantId, page: &PageRequest) -> Result<Page<Directory>> {
        let after: String = page.key()?.unwrap_or_default();
        let limit = page.limit_sql();
        let sql = format!(
            "SELECT {} FROM directories d WHERE tenant = $1 AND id > $2 ORDER BY id{limit}",
            columns::<Entity>("d")
        );
        let values = vec![tenant.as_str().into(), after.into()];
        let models: Vec<Model> = rows(&self.inner.database.reader, &sql, values).await?;
        Page::cut(models, page, |model| model.id.clone(), Model::into_domain)
    }

    /// How many directories a tenant has, counted up to `most`.
    pub async fn count_directories(&self, tenant: &TenantId, most: u32) -> Result<usize> {
        count_up_to(self, "directories", tenant, most).await
    }

    /// Replaces settings, and the secrets that are given. Waiting runs of the directory's user syncs end
    /// SUPERSEDED; a new identity attribute counts as a new scope of theirs.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn update_directory(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        update: DirectoryUpdate<'_>,
        record: Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let DirectoryUpdate {
            expected_revision,
            settings,
            secrets,
            endpoint_confirmed,
        } = update;
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, tenant, id, Some(expected_revision)).await?;
        let before = model.clone().into_domain()?;
        let old = DirectorySettings::from_json(&model.settings)?;
        model.settings = settings.to_json()?;
        model.disabled = settings.disabled;
        model.endpoint_confirmed = endpoint_confirmed;
        if settings.client_certificate.is_none() {
            model.client_key = None;
        }
        self.put_secrets(&mut model, &secrets, now)?;
        bump(&mut model, now);
        tables::update(&tx, model.clone()).await?;
        if old.external_id_attribute != settings.external_id_attribute {
            let sql = "UPDATE user_syncs SET revision = revision + 1, scope_revision = revision + 1,
                deleting_revision = NULL, update_time = $3 WHERE tenant = $1 AND directory = $2";
            let values = vec![tenant.as_str().into(), id.as_str().into(), to_micros(now).into()];
            execute(&tx, sql, values).await?;
        }
        for user_sync in user_syncs_of(&tx, tenant, id).await? {
            supersede_waiting(&tx, tenant, &user_sync, now).await?;
        }
        let directory = model.into_domain()?;
        record.write(&tx, Some(&before), Some(&directory)).await?;
        tx.commit().await?;
        Ok(directory)
    }

    /// Deletes a directory.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `DirectoryInUse`.
    pub async fn delete_directory(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, Directory>,
    ) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let before = lock(&tx, tenant, id, expected_revision).await?.into_domain()?;
        if !user_syncs_of(&tx, tenant, id).await?.is_empty() {
            return Err(StoreError::DirectoryInUse);
        }
        for sql in [
            "DELETE FROM check_results WHERE tenant = $1 AND subject = 'directories/' || $2",
            "DELETE FROM directories WHERE tenant = $1 AND id = $2",
        ] {
            execute(&tx, sql, vec![tenant.as_str().into(), id.as_str().into()]).await?;
        }
        record.write(&tx, Some(&before), None).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Replaces the bind password.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn rotate_bind_password(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        expected_revision: Option<Revision>,
        password: &Password,
        record: Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let now = record.time;
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, tenant, id, expected_revision).await?;
        let before = model.clone().into_domain()?;
        let secrets = NewSecrets {
            bind_password: Some(password),
            client_key: None,
        };
        self.put_secrets(&mut model, &secrets, now)?;
        self.commit_password(tx, before, model, &record).await
    }

    /// Writes a directory of which only bind passwords have changed.
    pub(crate) async fn commit_password(
        &self,
        tx: sea_orm::DatabaseTransaction,
        before: Directory,
        mut model: Model,
        record: &Recorded<'_, Directory>,
    ) -> Result<Directory> {
        bump(&mut model, record.time);
        tables::update(&tx, model.clone()).await?;
        let (tenant, id) = (&before.tenant, &before.id);
        // Runs read nothing that has changed, so their plans stay current.
        let sql = "UPDATE sync_runs SET directory_revision = $3
            WHERE tenant = $1 AND directory_revision = $3 - 1 AND state IN ('PENDING', 'PULLING')
              AND user_sync IN (SELECT id FROM user_syncs WHERE tenant = $1 AND directory = $2)";
        let values = vec![tenant.as_str().into(), id.as_str().into(), model.revision.into()];
        execute(&tx, sql, values).await?;
        let directory = model.into_domain()?;
        record.write(&tx, Some(&before), Some(&directory)).await?;
        tx.commit().await?;
        Ok(directory)
    }

    /// Saves what was found out about the server, except [`DirectoryObservations::hidden_state`] and
    /// [`DirectoryObservations::unreachable_since`]. It does not count as a change of the directory: the revision
    /// stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn save_observations(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        observed: &DirectoryObservations,
    ) -> Result<()> {
        self.observe(tenant, id, |before| DirectoryObservations {
            hidden_state: before.hidden_state,
            unreachable_since: before.unreachable_since,
            ..observed.clone()
        })
        .await
    }

    /// Saves what a run saw of the server, which it has reached.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn save_sighting(&self, tenant: &TenantId, id: &DirectoryId, seen: &Sighting) -> Result<()> {
        self.observe(tenant, id, |before| DirectoryObservations {
            bind_password_expire_time: seen.bind_password_expire_time,
            certificate_end: seen.certificate_end.or(before.certificate_end),
            unreachable_since: None,
            ..before
        })
        .await
    }

    /// Saves that a run could not reach the server. If that was known, the time since when stays.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn save_unreachable(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.observe(tenant, id, |before| DirectoryObservations {
            unreachable_since: before.unreachable_since.or(Some(now)),
            ..before
        })
        .await
    }

    /// Saves which attributes of the account's state may not be read of the entries of a user sync.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn save_hidden_state(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        user_sync: &UserSyncId,
        hidden: &[String],
        now: DateTime<Utc>,
    ) -> Result<()> {
        self.observe(tenant, id, |mut observed| {
            match hidden {
                [] => observed.hidden_state.remove(user_sync),
                names => observed.hidden_state.insert(user_sync.clone(), names.to_vec()),
            };
            // Logins use what they keep in memory until this time changes.
            observed.observe_time = Some(now);
            observed
        })
        .await
    }

    async fn observe(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        change: impl FnOnce(DirectoryObservations) -> DirectoryObservations,
    ) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let model = lock(&tx, tenant, id, None).await?;
        let observed = change(DirectoryObservations::from_json(&model.observed)?);
        let sql = "UPDATE directories SET observed = $3, observe_time = $4 WHERE tenant = $1 AND id = $2";
        let values = vec![
            tenant.as_str().into(),
            id.as_str().into(),
            observed.to_json()?.into(),
            observed.observe_time.map(to_micros).into(),
        ];
        execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Confirms that the endpoint is the same directory as before, or a new one that is wanted.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`, so that nobody confirms an endpoint that they did not see.
    pub async fn confirm_endpoint(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        expected_revision: Revision,
        record: Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, tenant, id, Some(expected_revision)).await?;
        let before = model.clone().into_domain()?;
        if before.endpoint_confirmed {
            return Ok(before);
        }
        model.endpoint_confirmed = true;
        bump(&mut model, record.time);
        tables::update(&tx, model.clone()).await?;
        let directory = model.into_domain()?;
        record.write(&tx, Some(&before), Some(&directory)).await?;
        tx.commit().await?;
        Ok(directory)
    }

    pub(crate) fn put_secrets(
        &self,
        model: &mut Model,
        secrets: &NewSecrets<'_>,
        now: DateTime<Utc>,
    ) -> Result<()> {
        if let Some(password) = secrets.bind_password {
            model.bind_password = Some(self.seal_password(model, BIND_PASSWORD, password)?);
            model.bind_password_update_time = Some(to_micros(now));
            model.bind_password_strength = Some(PasswordStrength::of(password).label().to_owned());
            model.forget_pending_password();
        }
        if let Some(key) = secrets.client_key {
            model.client_key = Some(self.seal_client_key(model, key)?);
        }
        Ok(())
    }
}

pub(crate) async fn lock(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &DirectoryId,
    expected_revision: Option<Revision>,
) -> Result<Model> {
    let model = tables::directory::lock(tx, tenant, id).await?;
    require_revision(Revision::new(model.revision), expected_revision)?;
    Ok(model)
}

fn bump(model: &mut Model, now: DateTime<Utc>) {
    model.revision += 1;
    model.update_time = to_micros(now);
}

async fn user_syncs_of(
    tx: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &DirectoryId,
) -> Result<Vec<String>> {
    let sql = "SELECT id FROM user_syncs WHERE tenant = $1 AND directory = $2 ORDER BY id";
    column(tx, sql, vec![tenant.as_str().into(), id.as_str().into()]).await
}
