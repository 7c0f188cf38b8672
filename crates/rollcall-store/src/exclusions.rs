//! Exclusion lists of directories.

use std::collections::HashSet;

use chrono::{DateTime, Utc};
use rollcall_core::exclusions::{Exclusions, tag};
use rollcall_core::id::{DirectoryId, TenantId, UserId};
use rollcall_core::mac::Tag;
use rollcall_core::plan::Change;
use rollcall_core::user::Origin;
use sea_orm::ConnectionTrait;

use crate::db::query::{column, execute};
use crate::db::timestamp::to_micros;
use crate::error::{Result, StoreError};
use crate::purpose::Purpose;
use crate::store::Store;

impl Store {
    /// The people whom no user sync of the tenant takes from this directory.
    ///
    /// # Errors
    /// `KeyMissing`.
    pub async fn exclusions(&self, tenant: &TenantId, directory: &DirectoryId) -> Result<Exclusions> {
        self.exclusions_in(&self.inner.database.reader, tenant, directory)
            .await
    }

    pub(crate) async fn exclusions_in(
        &self,
        connection: &impl ConnectionTrait,
        tenant: &TenantId,
        directory: &DirectoryId,
    ) -> Result<Exclusions> {
        let sql = "SELECT person FROM exclusions WHERE tenant = $1 AND directory = $2";
        let values = vec![tenant.as_str().into(), directory.as_str().into()];
        let tags: Vec<Vec<u8>> = column(connection, sql, values).await?;
        if tags.is_empty() {
            return Ok(Exclusions::default());
        }
        let bad = |_| StoreError::corrupt("an entry of an exclusion list is malformed");
        let tags = tags.into_iter().map(|tag| Tag::try_from(tag).map_err(bad));
        let tags: HashSet<Tag> = tags.collect::<Result<_>>()?;
        let keys = self.keys()?;
        Ok(Exclusions::new(
            tenant,
            directory,
            keys.of(Purpose::ExclusionList),
            tags,
        ))
    }

    /// The users among these changes that would be people who are on a list. A change that takes access away is
    /// allowed.
    pub(crate) async fn excluded(
        &self,
        tx: &impl ConnectionTrait,
        tenant: &TenantId,
        changes: &[Change],
    ) -> Result<HashSet<UserId>> {
        let gains = || changes.iter().filter(|change| !change.is_removal());
        let directories: HashSet<&DirectoryId> = gains().map(|change| &change.origin.directory).collect();
        let mut excluded = HashSet::new();
        for directory in directories {
            let list = self.exclusions_in(tx, tenant, directory).await?;
            let of_list = gains().filter(|change| change.origin.directory == *directory);
            let listed = of_list.filter(|change| list.has(&change.origin.external_id));
            excluded.extend(listed.map(|change| change.user));
        }
        Ok(excluded)
    }

    /// Puts a person on the list of their directory.
    pub(crate) async fn exclude(
        &self,
        tx: &impl ConnectionTrait,
        tenant: &TenantId,
        origin: &Origin,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let keys = self.keys()?;
        let person = tag(
            keys.of(Purpose::ExclusionList),
            tenant,
            &origin.directory,
            &origin.external_id,
        );
        let sql = "INSERT INTO exclusions (tenant, directory, person, create_time)
            SELECT tenant, id, $3, $4 FROM directories WHERE tenant = $1 AND id = $2
            ON CONFLICT (tenant, directory, person) DO NOTHING";
        let values = vec![
            tenant.as_str().into(),
            origin.directory.as_str().into(),
            person.to_vec().into(),
            to_micros(now).into(),
        ];
        execute(tx, sql, values).await?;
        Ok(())
    }
}
