//! The configuration in force of a user sync: that of its last Complete run that was applied. Later edits are a draft,
//! and no login is judged by them.

use std::sync::Arc;

use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};
use rollcall_core::revision::Revision;
use rollcall_core::user_sync::{UserSync, UserSyncSettings};
use sea_orm::ConnectionTrait;

use crate::db::query::{execute, scalar};
use crate::error::Result;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::user_sync::Model;

/// A user sync with the configuration by which its users are judged outside of runs.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct JudgedBy {
    /// The user sync as it was last edited. Its switches and its schedule hold at once; so do its searches, for people
    /// who are outside of them. The rest of its settings is a draft.
    pub user_sync: Arc<UserSync>,
    /// The settings by which an entry's scope, role and fields are judged: those in force, or those of the user sync
    /// before its first Complete run was applied.
    pub in_force: Arc<UserSyncSettings>,
}

impl Store {
    /// A user sync with its configuration in force.
    ///
    /// # Errors
    /// `NotFound`.
    pub async fn judged_by(&self, tenant: &TenantId, id: &UserSyncId) -> Result<JudgedBy> {
        let user_sync = self.user_sync(tenant, id).await?;
        let edited = user_sync
            .in_force_revision
            .filter(|revision| *revision != user_sync.revision);
        let in_force = match edited {
            Some(revision) => self.settings_of_revision(tenant, id, revision).await?,
            None => None,
        };
        Ok(JudgedBy {
            in_force: Arc::new(in_force.unwrap_or_else(|| user_sync.settings.clone())),
            user_sync: Arc::new(user_sync),
        })
    }

    /// The settings that the runs of a revision ran with; `None` if no run had it, or none of them is kept.
    pub async fn settings_of_revision(
        &self,
        tenant: &TenantId,
        id: &UserSyncId,
        revision: Revision,
    ) -> Result<Option<UserSyncSettings>> {
        of_revision(&self.inner.database.reader, tenant, id, revision).await
    }
}

pub(crate) async fn of_revision(
    connection: &impl ConnectionTrait,
    tenant: &TenantId,
    id: &UserSyncId,
    revision: Revision,
) -> Result<Option<UserSyncSettings>> {
    let sql =
        "SELECT settings FROM user_sync_settings WHERE tenant = $1 AND user_sync = $2 AND revision = $3";
    let values = vec![
        tenant.as_str().into(),
        id.as_str().into(),
        revision.number().into(),
    ];
    let settings: Option<String> = scalar(connection, sql, values).await?;
    settings
        .map(|settings| UserSyncSettings::from_json(&settings))
        .transpose()
}

/// Keeps the settings of a run: one copy for all runs of a revision. Settings in force are kept already.
pub(crate) async fn keep(tx: &impl ConnectionTrait, key: &UserSyncKey, user_sync: &Model) -> Result<()> {
    if user_sync.in_force_revision == Some(user_sync.revision) {
        return Ok(());
    }
    let sql = "INSERT INTO user_sync_settings (tenant, user_sync, revision, settings) VALUES ($1, $2, $3, $4)
        ON CONFLICT (tenant, user_sync, revision) DO NOTHING";
    let values = vec![
        key.tenant.as_str().into(),
        key.user_sync.as_str().into(),
        user_sync.revision.into(),
        user_sync.settings.as_str().into(),
    ];
    execute(tx, sql, values).await?;
    Ok(())
}

/// Deletes copies of settings that no run has any more and that are not in force.
pub(crate) const DELETE_UNUSED: &str = "DELETE FROM user_sync_settings
    WHERE tenant = $1 AND user_sync = $2
      AND revision NOT IN (SELECT user_sync_revision FROM sync_runs WHERE tenant = $1 AND user_sync = $2)
      AND revision NOT IN (SELECT in_force_revision FROM user_syncs
        WHERE tenant = $1 AND id = $2 AND in_force_revision IS NOT NULL)";
