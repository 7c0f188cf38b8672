//! User syncs and directories in memory, for logins. [`Store::login_target`] reads their revisions each time,
//! so what is kept here is never older than the query before it.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_core::directory::Directory;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::user_sync::{UserSync, UserSyncSettings};

use crate::error::Result;
use crate::login::target::LoginSync;
use crate::runs::in_force::JudgedBy;
use crate::store::Store;

/// Most user syncs, and most directories, that are kept.
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
pub(crate) struct LoginCache {
    user_syncs: Cache<(TenantId, UserSyncId), JudgedBy>,
    directories: Cache<(TenantId, DirectoryId), Directory>,
}

struct Cache<K, V>(Mutex<HashMap<K, Arc<V>>>);

impl Store {
    /// The user sync and directory of a login's target, from memory while their revisions are the same. If
    /// they changed after the target was read, what is returned is newer than it.
    ///
    /// # Errors
    /// `NotFound` if one of them was deleted meanwhile.
    pub async fn login_config(&self, tenant: &TenantId, sync: &LoginSync) -> Result<LoginConfig> {
        let cache = &self.inner.login_cache;
        let key = (tenant.clone(), sync.user_sync.clone());
        let is_current = |kept: &JudgedBy| {
            kept.user_sync.revision >= sync.user_sync_revision
                && kept.user_sync.in_force_revision >= sync.in_force_revision
        };
        let judged_by = match cache.user_syncs.get(&key, is_current) {
            Some(kept) => kept,
            None => cache
                .user_syncs
                .put(key, self.judged_by(tenant, &sync.user_sync).await?),
        };
        let key = (tenant.clone(), sync.directory.clone());
        let is_current = |kept: &Directory| {
            kept.revision >= sync.directory_revision && kept.observed.observe_time == sync.observe_time
        };
        let directory = match cache.directories.get(&key, is_current) {
            Some(kept) => kept,
            None => cache
                .directories
                .put(key, self.directory(tenant, &sync.directory).await?),
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
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        kept.get(key).filter(|value| is_current(value)).cloned()
    }

    fn put(&self, key: K, value: V) -> Arc<V> {
        let value = Arc::new(value);
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
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
