//! User syncs and directories in memory, for logins. Every login reads their revisions with its target, so a cached value
//! is never older than that query.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;

use parking_lot::Mutex;
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

#[derive(Default)]
pub(super) struct LoginCache {
    user_syncs: Cache<(TenantId, UserSyncId), JudgedBy>,
    directories: Cache<(TenantId, DirectoryId), Directory>,
}

struct Cache<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl LoginCache {
    /// Returns the configuration of a target, from memory while its revisions are the target's.
    pub(super) async fn config(
        &self,
        store: &Store,
        tenant: &TenantId,
        sync: &LoginSync,
    ) -> Result<LoginConfig> {
        let key = (tenant.clone(), sync.user_sync.clone());
        let is_current = |kept: &JudgedBy| {
            kept.user_sync.revision >= sync.user_sync_revision
                && kept.user_sync.in_force_revision >= sync.in_force_revision
        };
        let judged_by = match self.user_syncs.get(&key, is_current) {
            Some(kept) => kept,
            None => self
                .user_syncs
                .put(key, store.judged_by(tenant, &sync.user_sync).await?),
        };
        let key = (tenant.clone(), sync.directory.clone());
        let is_current = |kept: &Directory| {
            kept.revision >= sync.directory_revision && kept.observed.observe_time == sync.observe_time
        };
        let directory = match self.directories.get(&key, is_current) {
            Some(kept) => kept,
            None => self
                .directories
                .put(key, store.directory(tenant, &sync.directory).await?),
        };
        Ok(LoginConfig {
            user_sync: judged_by.user_sync.clone(),
            in_force: judged_by.in_force.clone(),
            directory,
        })
    }
}

impl<K: Eq + Hash, V> Cache<K, V> {
    fn get(&self, key: &K, is_current: impl FnOnce(&V) -> bool) -> Option<Arc<V>> {
        let kept = self.0.lock();
        kept.get(key).filter(|value| is_current(value)).cloned()
    }

    fn put(&self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut kept = self.0.lock();
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(key, value.clone());
        value
    }
}

impl<K, V> Default for Cache<K, V> {
    fn default() -> Self {
        Self(Mutex::default())
    }
}
