//! Tenants. Global by nature: they are what everything else is divided by.

use std::collections::BTreeMap;

use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_core::tenant::{Tenant, TenantSettings};
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::audit::{self, Recorded};
use crate::create_requests::{CreateRequest, Created};
use crate::db::bulk::{Bulk, Column, Type};
use crate::db::engine::Engine;
use crate::db::query::{column, execute, row, rows, scalar};
use crate::db::timestamp::{from_micros, to_micros, to_stored};
use crate::erasure;
use crate::error::{Result, StoreError};
use crate::page::{Page, PageRequest};
use crate::store::Store;
use crate::tables::tenant::{Entity, Model};
use crate::tables::{self, columns, registry, require_revision};
use crate::users::feed::{self, Cause, MAX_EVENTS};
use crate::users::write::{self, UserWrite};

#[derive(FromQueryResult)]
struct DomainRow {
    tenant: String,
    ordinal: i64,
    domain: String,
}

impl Store {
    /// Creates a tenant.
    ///
    /// # Errors
    /// `AlreadyExists`; `DomainTaken`.
    pub async fn create_tenant(
        &self,
        id: &TenantId,
        settings: &TenantSettings,
        record: Recorded<'_, Tenant>,
    ) -> Result<Tenant> {
        let tx = self.inner.database.begin().await?;
        let tenant = create(&tx, id, settings, &record).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    /// The same for a call that may be a repeat.
    ///
    /// # Errors
    /// `RequestIdReused` too.
    pub async fn create_tenant_once(
        &self,
        request: &CreateRequest<'_>,
        id: &TenantId,
        settings: &TenantSettings,
        record: Recorded<'_, Tenant>,
    ) -> Result<Created<Tenant>> {
        let tx = self.inner.database.begin().await?;
        if let Some(before) = self.claim(&tx, request, id.as_str(), record.time).await? {
            return Ok(Created::Before(before));
        }
        let tenant = create(&tx, id, settings, &record).await?;
        tx.commit().await?;
        Ok(Created::Now(tenant))
    }

    /// One tenant.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn tenant(&self, id: &TenantId) -> Result<Tenant> {
        find(&self.inner.database.reader, id).await
    }

    /// Whether there is such a tenant.
    pub async fn has_tenant(&self, id: &TenantId) -> Result<bool> {
        let sql = "SELECT id FROM tenants WHERE id = $1";
        let found: Vec<String> = column(&self.inner.database.reader, sql, vec![id.as_str().into()]).await?;
        Ok(!found.is_empty())
    }

    /// Tenants in the order of their ids: all, or those of `only`.
    ///
    /// # Errors
    /// `InvalidCursor`.
    pub async fn list_tenants(&self, only: Option<&[String]>, page: &PageRequest) -> Result<Page<Tenant>> {
        let after: String = page.key()?.unwrap_or_default();
        let database = &self.inner.database;
        let reader = &database.reader;
        let mut bulk = Bulk::new([Column::new("id", Type::Text)]);
        only.unwrap_or_default()
            .iter()
            .for_each(|id| bulk.push([id.as_str().into()]));
        let mut values = vec![after.into()];
        let among = match only {
            None => String::new(),
            Some([]) => " AND FALSE".to_owned(),
            Some(_) => {
                let (source, cells) = bulk.source(database.engine, 2);
                values.extend(cells);
                format!(" AND id IN (SELECT input.id FROM {source})")
            }
        };
        let limit = page.limit_sql();
        let sql = format!(
            "SELECT {} FROM tenants t WHERE id > $1{among} ORDER BY id{limit}",
            columns::<Entity>("t")
        );
        let models: Vec<Model> = rows(reader, &sql, values).await?;
        let tenants = all_with_domains(reader, models).await?;
        Page::cut(tenants, page, |tenant| tenant.id.to_string(), Ok)
    }

    /// Replaces a tenant's settings.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `DomainTaken`.
    pub async fn update_tenant(
        &self,
        id: &TenantId,
        expected_revision: Revision,
        settings: &TenantSettings,
        record: Recorded<'_, Tenant>,
    ) -> Result<Tenant> {
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, id, Some(expected_revision)).await?;
        let before = find(&tx, id).await?;
        model.display_name = settings.display_name.clone();
        model.user_sync_enabled = settings.user_sync_enabled;
        model.revision += 1;
        model.update_time = to_micros(record.time);
        model.deleting_revision = None;
        tables::update(&tx, model).await?;
        execute(
            &tx,
            "DELETE FROM tenant_domains WHERE tenant = $1",
            vec![id.as_str().into()],
        )
        .await?;
        insert_domains(&tx, id, &settings.verified_domains).await?;
        let tenant = find(&tx, id).await?;
        record.write(&tx, Some(&before), Some(&tenant)).await?;
        tx.commit().await?;
        Ok(tenant)
    }

    /// Switches a tenant's add-on off, so that nothing starts while what it has is deleted, and returns its revision.
    /// A repeat with the revision of a deletion that broke off changes nothing more.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn begin_tenant_deletion(
        &self,
        id: &TenantId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, Tenant>,
    ) -> Result<Revision> {
        let tx = self.inner.database.begin().await?;
        let mut model = tables::tenant::lock(&tx, id).await?;
        let present = Revision::new(model.revision);
        let expected = expected_revision.unwrap_or(present);
        if model.deleting_revision == Some(expected.number()) {
            return Ok(present);
        }
        require_revision(present, Some(expected))?;
        let before = find(&tx, id).await?;
        model.user_sync_enabled = false;
        model.deleting_revision = Some(expected.number());
        model.revision += 1;
        model.update_time = to_micros(record.time);
        let revision = Revision::new(model.revision);
        tables::update(&tx, model).await?;
        let tenant = find(&tx, id).await?;
        record.write(&tx, Some(&before), Some(&tenant)).await?;
        tx.commit().await?;
        Ok(revision)
    }

    /// Deletes a tenant. Archived users, and users whom a deleted user sync left behind, go with it; on demand all
    /// users do. Each of them is erased, with an event. Earlier events keep their positions only, and audit rows stay
    /// as long as they are kept. A later tenant with the same id does not see them. The deletion is recorded with the
    /// first users that go, and again with the tenant.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `TenantInUse` while it has directories, user syncs or users that stay.
    pub async fn delete_tenant(
        &self,
        id: &TenantId,
        expected_revision: Option<Revision>,
        with_all_users: bool,
        record: Recorded<'_, Tenant>,
    ) -> Result<()> {
        let mut first = true;
        while self
            .delete_some_of_tenant(id, expected_revision, with_all_users, first, &record)
            .await?
        {
            first = false;
        }
        erasure::events::empty_all(&self.inner.database, id).await?;
        audit::forget_all(self, id).await
    }

    /// Deletes the next users, or if there are none the tenant; true if something is left.
    async fn delete_some_of_tenant(
        &self,
        id: &TenantId,
        expected_revision: Option<Revision>,
        with_all_users: bool,
        first: bool,
        record: &Recorded<'_, Tenant>,
    ) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        lock(&tx, id, expected_revision).await?;
        let tenant = find(&tx, id).await?;
        let users = match with_all_users {
            true => "",
            false => {
                "UNION ALL SELECT state FROM users WHERE tenant = $1 AND state <> 'ARCHIVED'
                    AND (state_reason IS NULL OR state_reason <> 'SYNC_DELETED')"
            }
        };
        let used = format!(
            "SELECT id FROM directories WHERE tenant = $1
            UNION ALL SELECT id FROM user_syncs WHERE tenant = $1 {users} LIMIT 1"
        );
        let used: Vec<String> = column(&tx, &used, vec![id.as_str().into()]).await?;
        if !used.is_empty() {
            return Err(StoreError::TenantInUse);
        }
        let users = format!(
            "SELECT {} FROM users u WHERE tenant = $1 ORDER BY id LIMIT {MAX_EVENTS}{}",
            columns::<tables::user::Entity>("u"),
            Engine::of(&tx).for_update()
        );
        let left: Vec<tables::user::Model> = rows(&tx, &users, vec![id.as_str().into()]).await?;
        if !left.is_empty() {
            let writes = left
                .into_iter()
                .map(|model| Ok(UserWrite::erasure(model.into_domain()?)));
            let writes: Vec<UserWrite> = writes.collect::<Result<_>>()?;
            let now = to_stored(record.time);
            let cause = Cause::asked_by(&record.asked_by);
            write::write(&tx, self.scope(id), id, &writes, cause, now).await?;
            if first {
                record.write(&tx, Some(&tenant), Some(&tenant)).await?;
            }
            tx.commit().await?;
            return Ok(true);
        }
        for sql in registry::with_tenant() {
            execute(&tx, &sql, vec![id.as_str().into()]).await?;
        }
        record.write(&tx, Some(&tenant), None).await?;
        tx.commit().await?;
        Ok(false)
    }

    /// The tenant that has verified this domain, which must be in lower case.
    pub async fn tenant_by_domain(&self, domain: &str) -> Result<Option<Tenant>> {
        if !rollcall_core::tenant::is_domain(domain) {
            return Ok(None);
        }
        let reader = &self.inner.database.reader;
        let sql = format!(
            "SELECT {} FROM tenant_domains d JOIN tenants t ON t.id = d.tenant WHERE d.domain = $1",
            columns::<Entity>("t")
        );
        match row::<Model>(reader, &sql, vec![domain.into()]).await? {
            Some(model) => Ok(Some(with_domains(reader, model).await?)),
            None => Ok(None),
        }
    }
}

async fn create(
    tx: &impl ConnectionTrait,
    id: &TenantId,
    settings: &TenantSettings,
    record: &Recorded<'_, Tenant>,
) -> Result<Tenant> {
    let now = record.time;
    let model = Model {
        id: id.to_string(),
        display_name: settings.display_name.clone(),
        user_sync_enabled: settings.user_sync_enabled,
        revision: 1,
        create_time: to_micros(now),
        update_time: to_micros(now),
        deleting_revision: None,
    };
    tables::insert(tx, model).await?;
    insert_domains(tx, id, &settings.verified_domains).await?;
    // Another customer may have had this id before. The new one must not see what is left of that feed.
    feed::hide(tx, id).await?;
    let tenant = find(tx, id).await?;
    record.write(tx, None, Some(&tenant)).await?;
    Ok(tenant)
}

async fn find(connection: &impl ConnectionTrait, id: &TenantId) -> Result<Tenant> {
    let model = tables::tenant::find(connection, id).await?;
    with_domains(connection, model).await
}

async fn with_domains(connection: &impl ConnectionTrait, model: Model) -> Result<Tenant> {
    let sql = "SELECT domain FROM tenant_domains WHERE tenant = $1 ORDER BY ordinal";
    let verified_domains = column(connection, sql, vec![model.id.as_str().into()]).await?;
    into_domain(model, verified_domains)
}

/// The domain values of several tenants, read with one statement.
async fn all_with_domains(connection: &impl ConnectionTrait, models: Vec<Model>) -> Result<Vec<Tenant>> {
    let mut bulk = Bulk::new([Column::new("id", Type::Text)]);
    models
        .iter()
        .for_each(|model| bulk.push([model.id.as_str().into()]));
    if bulk.is_empty() {
        return Ok(Vec::new());
    }
    let engine = Engine::of(connection);
    let (source, cells) = bulk.source(engine, 1);
    let sql = format!(
        "SELECT d.tenant, d.ordinal, d.domain FROM {source} {look_up}",
        look_up = engine.look_up("tenant_domains", "d", "d.tenant = input.id")
    );
    let mut domains: BTreeMap<String, Vec<(i64, String)>> = BTreeMap::new();
    for DomainRow {
        tenant,
        ordinal,
        domain,
    } in rows(connection, &sql, cells).await?
    {
        domains.entry(tenant).or_default().push((ordinal, domain));
    }
    let tenants = models.into_iter().map(|model| {
        let mut domains = domains.remove(&model.id).unwrap_or_default();
        domains.sort();
        into_domain(model, domains.into_iter().map(|(_, domain)| domain).collect())
    });
    tenants.collect()
}

fn into_domain(model: Model, verified_domains: Vec<String>) -> Result<Tenant> {
    Ok(Tenant {
        id: TenantId::parse(&model.id).ok_or(StoreError::corrupt("a stored id is malformed"))?,
        settings: TenantSettings {
            display_name: model.display_name,
            user_sync_enabled: model.user_sync_enabled,
            verified_domains,
        },
        revision: Revision::new(model.revision),
        create_time: from_micros(model.create_time)?,
        update_time: from_micros(model.update_time)?,
    })
}

async fn lock(
    tx: &impl ConnectionTrait,
    id: &TenantId,
    expected_revision: Option<Revision>,
) -> Result<Model> {
    let model = tables::tenant::lock(tx, id).await?;
    require_revision(Revision::new(model.revision), expected_revision)?;
    Ok(model)
}

async fn insert_domains(tx: &impl ConnectionTrait, id: &TenantId, domains: &[String]) -> Result<()> {
    for (ordinal, domain) in (0_i64..).zip(domains) {
        let sql = "INSERT INTO tenant_domains (domain, tenant, ordinal) VALUES ($1, $2, $3)";
        let values = vec![domain.as_str().into(), id.as_str().into(), ordinal.into()];
        let taken = |error| match matches!(error, StoreError::AlreadyExists) {
            true => StoreError::DomainTaken,
            false => error,
        };
        execute(tx, sql, values).await.map_err(taken)?;
    }
    Ok(())
}

/// How many rows of a table a tenant has, counted up to `most`.
pub(crate) async fn count_up_to(store: &Store, table: &str, tenant: &TenantId, most: u32) -> Result<usize> {
    let sql =
        format!("SELECT COUNT(*) FROM (SELECT 1 FROM {table} WHERE tenant = $1 LIMIT {most}) AS counted");
    let count: Option<i64> = scalar(&store.inner.database.reader, &sql, vec![tenant.as_str().into()]).await?;
    Ok(usize::try_from(count.unwrap_or_default()).unwrap_or_default())
}
