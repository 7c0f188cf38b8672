//! User syncs and directories in memory, for logins. Every login reads their revisions together with its target, so a
//! cached value is never older than that query.

use std::sync::Arc;

use quick_cache::sync::Cache;
use rollcall_core::directory::Directory;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::user_sync::{UserSync, UserSyncSettings};

use crate::error::Result;
use crate::login::target::LoginSync;
use crate::runs::in_force::JudgedBy;
use crate::store::Store;

/// Most user syncs, and most directories, in the cache.
const CAPACITY: usize = 10_000;

/// The configuration that decides a login.
#[derive(Clone, Debug)]
pub struct LoginConfig {
    /// The user sync as it was last edited; see [`JudgedBy::user_sync`].
    pub user_sync: Arc<UserSync>,
    /// Its settings in force, by which its people are judged; see [`JudgedBy::in_force`].
    pub in_force: Arc<UserSyncSettings>,
    /// Its directory.
    pub directory: Arc<Directory>,
}

pub(super) struct LoginCache {
    user_syncs: Cache<(TenantId, UserSyncId), Arc<JudgedBy>>,
    directories: Cache<(TenantId, DirectoryId), Arc<Directory>>,
}

impl LoginCache {
    /// Returns the configuration of a target, from memory while its revisions are the target's.
    pub(super) async fn config(
        &self,
        store: &Store,
        tenant: &TenantId,
        sync: &LoginSync,
    ) -> Result<LoginConfig> {
        let key = (tenant.clone(), sync.user_sync.clone());
        let is_current = |kept: &Arc<JudgedBy>| {
            kept.user_sync.revision >= sync.user_sync_revision
                && kept.user_sync.in_force_revision >= sync.in_force_revision
        };
        let judged_by = match self.user_syncs.get(&key).filter(is_current) {
            Some(kept) => kept,
            None => {
                let read = Arc::new(store.judged_by(tenant, &sync.user_sync).await?);
                self.user_syncs.insert(key, Arc::clone(&read));
                read
            }
        };
        let key = (tenant.clone(), sync.directory.clone());
        let is_current = |kept: &Arc<Directory>| {
            kept.revision >= sync.directory_revision && kept.observed.observe_time == sync.observe_time
        };
        let directory = match self.directories.get(&key).filter(is_current) {
            Some(kept) => kept,
            None => {
                let read = Arc::new(store.directory(tenant, &sync.directory).await?);
                self.directories.insert(key, Arc::clone(&read));
                read
            }
        };
        Ok(LoginConfig {
            user_sync: judged_by.user_sync.clone(),
            in_force: judged_by.in_force.clone(),
            directory,
        })
    }
}

impl Default for LoginCache {
    fn default() -> Self {
        Self {
            user_syncs: Cache::new(CAPACITY),
            directories: Cache::new(CAPACITY),
        }
    }
}
