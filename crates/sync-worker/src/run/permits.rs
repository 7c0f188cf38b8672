//! A process works on a limited number of runs at a time, however they were started. Others wait. One tenant has at
//! most half of the permits: a directory that takes hours to answer must not keep everybody else's runs waiting.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rollcall_core::id::TenantId;
use tokio::sync::{AcquireError, OwnedSemaphorePermit, Semaphore};

/// How many of these permits one tenant may have.
pub(crate) fn per_tenant(concurrent: usize) -> usize {
    concurrent.div_ceil(2)
}

/// The permits of one process.
pub(crate) struct WorkerPermits {
    all: Arc<Semaphore>,
    of_tenants: Mutex<HashMap<TenantId, Arc<Semaphore>>>,
    per_tenant: usize,
}

/// Held while a run is worked on.
pub(crate) struct WorkerPermit {
    _of_tenant: OwnedSemaphorePermit,
    _of_all: OwnedSemaphorePermit,
}

impl WorkerPermits {
    pub(crate) fn new(concurrent: usize) -> Self {
        Self {
            all: Arc::new(Semaphore::new(concurrent)),
            of_tenants: Mutex::default(),
            per_tenant: per_tenant(concurrent),
        }
    }

    pub(crate) async fn take(&self, tenant: &TenantId) -> Result<WorkerPermit, AcquireError> {
        Ok(WorkerPermit {
            // The tenant's permit comes first: a run that waits for it must not hold a permit that others could use.
            _of_tenant: self.of_tenant(tenant).acquire_owned().await?,
            _of_all: self.all.clone().acquire_owned().await?,
        })
    }

    fn of_tenant(&self, tenant: &TenantId) -> Arc<Semaphore> {
        let mut tenants = self.of_tenants.lock();
        // Every run that has or awaits a permit also holds a reference, so this tenant is not in use.
        tenants.retain(|_, permits| Arc::strong_count(permits) > 1);
        let permits = tenants.entry(tenant.clone());
        permits
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
    fn a_tenant_has_its_part_of_the_permits_and_leaves_the_rest_to_others() {
        let permits = WorkerPermits::new(4);
        let [acme, evil, third] = ["acme", "evil", "third"].map(|tenant| TenantId::parse(tenant).unwrap());
        let take = |tenant| permits.take(tenant).now_or_never().map(Result::unwrap);
        let mut evils = vec![take(&evil).unwrap(), take(&evil).unwrap()];
        assert!(take(&evil).is_none());
        let acmes = [take(&acme).unwrap(), take(&acme).unwrap()];
        assert!(take(&third).is_none(), "all permits are taken");
        evils.pop();
        let _third = take(&third).unwrap();
        evils.pop();
        assert!(take(&evil).is_some());
        assert_eq!(permits.of_tenants.lock().len(), 3);
        drop(acmes);
        assert!(take(&evil).is_some());
        assert!(!permits.of_tenants.lock().contains_key(&acme));
    }
}
