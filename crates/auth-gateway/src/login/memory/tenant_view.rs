//! What a login needs to know about the tenant as a whole: the user syncs with their directories, and the soft lock for
//! each. It is read anew every few seconds, not at every login.

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
/// A login that waits for another login's reading reads by itself after this time: the other may hang on a dead
/// connection.
const PATIENCE: Duration = Duration::from_millis(200);
/// Tenants that are kept. Beyond it, the least used are read anew.
const CAPACITY: usize = 10_000;
/// Directories of one tenant looked at.
const MAX_DIRECTORIES: u32 = 1_000;
/// User syncs of one tenant looked at.
const MAX_USER_SYNCS: u32 = 1_000;

/// A tenant as a login sees it.
pub struct TenantView {
    /// The user syncs whose directories can be asked.
    homes: Vec<Home>,
    /// If there are none, the reasons.
    obstacles: Vec<Obstacle>,
    /// The soft lock for logins without a directory.
    default_lock: SoftLockRules,
}

/// A user sync and its directory, to which a login belongs or is treated as belonging.
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
    /// The user sync and directory of the users of this sync.
    pub fn home(&self, user_sync: &UserSyncId) -> Option<&Home> {
        self.homes
            .iter()
            .find(|home| home.user_sync.user_sync == *user_sync)
    }

    /// A user sync and directory for an unknown login. The same login always gets the same one, so that it behaves like
    /// a known login.
    pub fn home_for_unknown_login(&self, login_hash: &str) -> Option<&Home> {
        one_of(&self.homes, login_hash)
    }

    /// Why no user of the tenant can log in, if that is so.
    pub fn obstacle(&self, login_hash: &str) -> Option<&Obstacle> {
        one_of(&self.obstacles, login_hash)
    }

    /// The soft lock of a user sync, or the default one.
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
    /// Views whose soft locks are based on these defaults.
    pub fn new(defaults: SoftLockDefaults) -> Self {
        Self {
            defaults,
            kept: Cache::new(CAPACITY),
        }
    }

    /// The view of the tenant, at most a few seconds old. If several logins ask at once, one reads it and the others
    /// wait.
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
            // Users of this directory get that error. An unknown login must not be refused because of it.
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
