//! Places: only so many runs are worked on by one process at a time, however they were started. Others wait. One tenant
//! has half of the places at most: a directory that takes hours to answer must not keep everybody else's runs waiting.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use rollcall_core::id::TenantId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many of so many places one tenant may have.
pub(crate) fn per_tenant(concurrent: usize) -> usize {
    concurrent.div_ceil(2)
}

/// The places of one process.
pub(super) struct Places {
    all: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
    per_tenant: usize,
}

/// Held while a run is worked on.
pub(super) struct Place {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl Places {
    pub(super) fn new(concurrent: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(concurrent)),
            of_tenants: Mutex::default(),
            per_tenant: per_tenant(concurrent),
        }
    }

    pub(super) async fn take(&self, tenant: &TenantId) -> Result<Place, AcquireError> {
        Ok(Place {
            // First, since whoever waits for it must not hold what others could use.
            _of_tenant: self.of_tenant(tenant).acquire_owned().await?,
            _of_all: self.all.clone().acquire_owned().await?,
        })
    }

    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.of_tenants.lock().unwrap_or_else(PoisonError::into_inner);
        // Whoever has or awaits a place holds one too.
        tenants.retain(|_, places| Arc::strong_count(places) > 1);
        let places = tenants.entry(tenant.clone());
        places
            .or_insert_with(|| Arc::new(Semaphore::new(self.per_tenant)))
            .clone()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use futures::FutureExt;

    use super::*;

    #[test]
    fn a_tenant_has_its_part_of_the_places_and_leaves_the_rest_to_others() {
        let places = Places::new(4);
        let [acme, evil, third] = ["acme", "evil", "third"].map(|tenant| TenantId::parse(tenant).unwrap());
        let take = |tenant| places.take(tenant).now_or_never().map(Result::unwrap);
        let mut evils = vec![take(&evil).unwrap(), take(&evil).unwrap()];
        assert!(take(&evil).is_none());
        let acmes = [take(&acme).unwrap(), take(&acme).unwrap()];
        assert!(take(&third).is_none(), "all places are taken");
        evils.pop();
        let _third = take(&third).unwrap();
        evils.pop();
        assert!(take(&evil).is_some());
        assert_eq!(places.of_tenants.lock().unwrap().len(), 3);
        drop(acmes);
        assert!(take(&evil).is_some());
        assert!(!places.of_tenants.lock().unwrap().contains_key(&acme));
    }
}
