//! What a login needs to know about the tenant as a whole: which directories it has, and what the soft lock is
//! for the users of each. Read anew every few seconds, not at every login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::directory::DirectoryObservations;
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::soft_lock::{SoftLock, SoftLockDefaults, SoftLockRules};
use rollcall_store::{PageRequest, Store, StoreError};
use tokio::time::Instant;

/// A view is used for this long.
const FRESH: Duration = Duration::from_secs(10);
/// Tenants kept; beyond it all are read anew.
const CAPACITY: usize = 10_000;
/// Directories of one tenant looked at.
const MAX_DIRECTORIES: u32 = 1_000;
/// User syncs of one tenant looked at.
const MAX_USER_SYNCS: u32 = 1_000;

/// A tenant as a login sees it.
pub struct TenantView {
    /// The add-on switch.
    pub enabled: bool,
    /// The directories that are switched on and have users.
    pub directories: Vec<DirectoryId>,
    /// The soft lock for the users of each of them.
    locks: Vec<SoftLockRules>,
    /// The soft lock where there is no directory.
    default_lock: SoftLockRules,
}

/// The views of the last seconds.
pub struct TenantViews {
    defaults: SoftLockDefaults,
    kept: Mutex<HashMap<TenantId, (Instant, Arc<TenantView>)>>,
}

impl TenantView {
    /// The soft lock for the users of this directory.
    pub fn lock_of(&self, directory: &DirectoryId) -> SoftLockRules {
        let known = self.directories.iter().position(|known| known == directory);
        known.map_or(self.default_lock, |index| self.locks[index])
    }

    /// The soft lock for a login that names nobody: that of one of the directories, and for the same login
    /// always the same one. So it behaves like somebody's, and how many guesses it takes tells nothing.
    pub fn lock_of_nobody(&self, login_hash: &str) -> SoftLockRules {
        let number = login_hash.bytes().fold(0_usize, |sum, byte| {
            sum.wrapping_mul(31).wrapping_add(usize::from(byte))
        });
        match self.locks.len() {
            0 => self.default_lock,
            count => self.locks[number % count],
        }
    }
}

impl TenantViews {
    /// Locks stand on these defaults.
    pub fn new(defaults: SoftLockDefaults) -> Self {
        Self {
            defaults,
            kept: Mutex::default(),
        }
    }

    /// The tenant, at most some seconds old.
    ///
    /// # Errors
    /// `NotFound`, and what else the store says.
    pub async fn get(&self, store: &Store, tenant: &TenantId) -> Result<Arc<TenantView>, StoreError> {
        let now = Instant::now();
        if let Some((since, view)) = self
            .kept
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .get(tenant)
            && now.duration_since(*since) < FRESH
        {
            return Ok(Arc::clone(view));
        }
        let enabled = store.tenant(tenant).await?.settings.user_sync_enabled;
        let page = store
            .list_directories(tenant, &PageRequest::first(MAX_DIRECTORIES))
            .await?;
        let syncs = store
            .list_user_syncs(tenant, &PageRequest::first(MAX_USER_SYNCS))
            .await?;
        let has_users = |id: &DirectoryId| syncs.items.iter().any(|sync| sync.settings.directory == *id);
        let used: Vec<_> = page
            .items
            .iter()
            .filter(|directory| !directory.settings.disabled && has_users(&directory.id))
            .collect();
        let view = Arc::new(TenantView {
            enabled,
            directories: used.iter().map(|directory| directory.id.clone()).collect(),
            locks: used
                .iter()
                .map(|directory| {
                    self.defaults
                        .rules(&directory.settings.soft_lock, &directory.observed)
                })
                .collect(),
            default_lock: self
                .defaults
                .rules(&SoftLock::default(), &DirectoryObservations::default()),
        });
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(tenant.clone(), (now, Arc::clone(&view)));
        Ok(view)
    }
}
