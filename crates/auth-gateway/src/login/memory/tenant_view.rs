//! What a login needs to know about the tenant as a whole: where its users are at home, and what the soft lock is
//! for them. Read anew every few seconds, not at every login.

use std::sync::Arc;
use std::time::Duration;

use quick_cache::sync::{Cache, EntryAction, EntryResult};
use rollcall_core::directory::Directory;
use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};
use rollcall_core::soft_lock::{DirectoryLockout, SoftLock, SoftLockDefaults, SoftLockRules};
use rollcall_core::user_sync::UserSync;
use rollcall_store::{PageRequest, Store, StoreError};
use tokio::time::{Instant, timeout};

use rollcall_service::eligibility::Obstacle;

/// A view is used for this long.
const FRESH: Duration = Duration::from_secs(10);
/// Who waits for another's reading reads it after this long: that one may hang on a connection that is dead.
const PATIENCE: Duration = Duration::from_millis(200);
/// Tenants kept; beyond it, those that are asked for least are read anew.
const CAPACITY: usize = 10_000;
/// Directories of one tenant looked at.
const MAX_DIRECTORIES: u32 = 1_000;
/// User syncs of one tenant looked at.
const MAX_USER_SYNCS: u32 = 1_000;

/// A tenant as a login sees it.
pub struct TenantView {
    /// Those whose directories can be asked.
    homes: Vec<Home>,
    /// If there are none, why.
    obstacles: Vec<Obstacle>,
    /// The soft lock where there is no directory.
    default_lock: SoftLockRules,
}

/// A user sync and its directory: whose user a login is, or seems to be.
#[derive(Clone)]
pub struct Home {
    /// The user sync.
    pub user_sync: UserSyncKey,
    /// Its directory.
    pub directory: Arc<Directory>,
    /// The soft lock for its users.
    pub lock: SoftLockRules,
}

/// The views of the last seconds.
pub struct TenantViews {
    defaults: SoftLockDefaults,
    kept: Cache<TenantId, (Instant, Arc<TenantView>)>,
}

impl TenantView {
    /// Where the users of this sync are at home.
    pub fn home(&self, user_sync: &UserSyncId) -> Option<&Home> {
        self.homes
            .iter()
            .find(|home| home.user_sync.user_sync == *user_sync)
    }

    /// Where a login that names nobody seems to be at home: for the same login always the same, so that it behaves like
    /// somebody's.
    pub fn home_for_unknown_login(&self, login_hash: &str) -> Option<&Home> {
        one_of(&self.homes, login_hash)
    }

    /// Why nobody at all can log in, if that is so.
    pub fn obstacle(&self, login_hash: &str) -> Option<&Obstacle> {
        one_of(&self.obstacles, login_hash)
    }

    /// The soft lock at a home, or where there is none.
    pub fn lock(&self, home: Option<&Home>) -> SoftLockRules {
        home.map_or(self.default_lock, |home| home.lock)
    }
}

fn one_of<'a, T>(all: &'a [T], login_hash: &str) -> Option<&'a T> {
    let number = login_hash.bytes().fold(0_usize, |sum, byte| {
        sum.wrapping_mul(31).wrapping_add(usize::from(byte))
    });
    all.get(number.checked_rem(all.len())?)
}

impl TenantViews {
    /// Locks stand on these defaults.
    pub fn new(defaults: SoftLockDefaults) -> Self {
        Self {
            defaults,
            kept: Cache::new(CAPACITY),
        }
    }

    /// The tenant, at most some seconds old. One of those who ask at once reads it, and the others wait for that.
    ///
    /// # Errors
    /// `NotFound`, and what else the store says.
    pub async fn get(&self, store: &Store, tenant: &TenantId) -> Result<Arc<TenantView>, StoreError> {
        let now = Instant::now();
        let is_fresh = |since: Instant| now.saturating_duration_since(since) < FRESH;
        if let Some((since, view)) = self.kept.get(tenant)
            && is_fresh(since)
        {
            return Ok(view);
        }
        let entry = self.kept.entry_async(tenant, |_, (since, view)| {
            if is_fresh(*since) {
                EntryAction::Retain(Arc::clone(view))
            } else {
                EntryAction::ReplaceWithGuard
            }
        });
        let place = match timeout(PATIENCE, entry).await {
            Ok(EntryResult::Retained(view)) => return Ok(view),
            Ok(EntryResult::Vacant(place) | EntryResult::Replaced(place, _)) => Some(place),
            Ok(EntryResult::Removed(..) | EntryResult::Timeout) | Err(_) => None,
        };
        let enabled = store.tenant(tenant).await?.settings.user_sync_enabled;
        let directories = store
            .list_directories(tenant, &PageRequest::first(MAX_DIRECTORIES))
            .await?;
        let syncs = store
            .list_user_syncs(tenant, &PageRequest::first(MAX_USER_SYNCS))
            .await?;
        let directories = directories.items.into_iter().map(Arc::new);
        let view = Arc::new(self.view(tenant, enabled, &directories.collect::<Vec<_>>(), &syncs.items));
        let kept = (now, Arc::clone(&view));
        match place {
            Some(place) => _ = place.insert(kept),
            None => self.kept.insert(tenant.clone(), kept),
        }
        Ok(view)
    }

    fn view(
        &self,
        tenant: &TenantId,
        enabled: bool,
        directories: &[Arc<Directory>],
        syncs: &[UserSync],
    ) -> TenantView {
        let (mut homes, mut obstacles) = (Vec::new(), Vec::new());
        for sync in syncs {
            let is_its = |directory: &&Arc<Directory>| directory.id == sync.settings.directory;
            let Some(directory) = directories.iter().find(is_its) else {
                continue;
            };
            match Obstacle::of_sync(sync, directory) {
                Some(obstacle) => obstacles.push(obstacle),
                None => homes.push(Home {
                    user_sync: sync.key(),
                    directory: Arc::clone(directory),
                    lock: self
                        .defaults
                        .rules(&directory.settings.soft_lock, directory.observed.lockout()),
                }),
            }
        }
        if !enabled {
            homes.clear();
            obstacles = vec![Obstacle::tenant_disabled(tenant)];
        } else if !homes.is_empty() {
            // Users of this directory are told so. An unknown login must not be turned away for it.
            obstacles.clear();
        }
        TenantView {
            homes,
            obstacles,
            default_lock: self
                .defaults
                .rules(&SoftLock::default(), DirectoryLockout::default()),
        }
    }
}
