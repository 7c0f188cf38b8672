//! What a login needs to know about the tenant as a whole: its directories' lockout thresholds, and which
//! directories it has. Read anew every few seconds, not at every login.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_store::{PageRequest, Store, StoreError};
use tokio::time::Instant;

/// A view is used for this long.
const FRESH: Duration = Duration::from_secs(10);
/// Tenants kept; beyond it all are read anew.
const CAPACITY: usize = 10_000;
/// Directories of one tenant looked at.
const MAX_DIRECTORIES: u32 = 1_000;

/// A tenant as a login sees it.
pub struct TenantView {
    /// The add-on switch.
    pub enabled: bool,
    /// The directories that are switched on.
    pub directories: Vec<DirectoryId>,
    /// After how many wrong passwords each of them locks, as far as known.
    pub thresholds: Vec<Option<u32>>,
}

/// The views of the last seconds.
#[derive(Default)]
pub struct TenantViews(Mutex<HashMap<TenantId, (Instant, Arc<TenantView>)>>);

impl TenantViews {
    /// The tenant, at most some seconds old.
    ///
    /// # Errors
    /// `NotFound`, and what else the store says.
    pub async fn get(&self, store: &Store, tenant: &TenantId) -> Result<Arc<TenantView>, StoreError> {
        let now = Instant::now();
        if let Some((since, view)) = self.0.lock().unwrap_or_else(PoisonError::into_inner).get(tenant)
            && now.duration_since(*since) < FRESH
        {
            return Ok(Arc::clone(view));
        }
        let enabled = store.tenant(tenant).await?.settings.user_sync_enabled;
        let page = store
            .list_directories(tenant, &PageRequest::first(MAX_DIRECTORIES))
            .await?;
        let used: Vec<_> = page
            .items
            .iter()
            .filter(|directory| !directory.settings.disabled)
            .collect();
        let view = Arc::new(TenantView {
            enabled,
            directories: used.iter().map(|directory| directory.id.clone()).collect(),
            thresholds: used
                .iter()
                .map(|directory| directory.observed.lockout_threshold)
                .collect(),
        });
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.len() >= CAPACITY {
            kept.clear();
        }
        kept.insert(tenant.clone(), (now, Arc::clone(&view)));
        Ok(view)
    }
}
