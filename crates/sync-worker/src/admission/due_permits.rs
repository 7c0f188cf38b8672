//! How many due runs may be under way at a time, and how many of one tenant.

use std::collections::HashMap;
use std::sync::Arc;

use parking_lot::Mutex;
use rollcall_core::id::TenantId;

use crate::run::per_tenant;

/// The permits of one scheduler or caller.
#[derive(Clone)]
pub(crate) struct DuePermits {
    concurrent: usize,
    taken: Arc<Mutex<HashMap<TenantId, usize>>>,
}

/// A permit, until it is dropped.
pub(crate) struct DuePermit {
    taken: Arc<Mutex<HashMap<TenantId, usize>>>,
    tenant: TenantId,
}

impl DuePermits {
    pub(crate) fn new(concurrent: usize) -> Self {
        Self {
            concurrent,
            taken: Arc::default(),
        }
    }

    pub(crate) fn are_full(&self) -> bool {
        self.taken.lock().values().sum::<usize>() >= self.concurrent
    }

    /// `None` if there is none for this tenant.
    pub(crate) fn take(&self, tenant: &TenantId) -> Option<DuePermit> {
        let mut taken = self.taken.lock();
        let (all, of_tenant) = (
            taken.values().sum(),
            taken.get(tenant).copied().unwrap_or_default(),
        );
        if !has_room(of_tenant, all, self.concurrent) {
            return None;
        }
        taken.insert(tenant.clone(), of_tenant + 1);
        Some(DuePermit {
            taken: Arc::clone(&self.taken),
            tenant: tenant.clone(),
        })
    }
}

/// Whether a tenant may have one permit more. A quarter of the permits is kept for tenants that have none, so that they
/// need not wait for a few tenants with slow directories.
fn has_room(of_tenant: usize, all: usize, concurrent: usize) -> bool {
    match of_tenant {
        0 => all < concurrent,
        _ => of_tenant < per_tenant(concurrent) && all < concurrent - concurrent / 4,
    }
}

impl Drop for DuePermit {
    fn drop(&mut self) {
        let mut taken = self.taken.lock();
        if let Some(count) = taken.get_mut(&self.tenant) {
            *count -= 1;
        }
        taken.retain(|_, count| *count > 0);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn tenant(id: &str) -> TenantId {
        TenantId::parse(id).unwrap()
    }

    #[test]
    fn a_few_tenants_with_much_to_do_leave_permits_to_those_who_have_none() {
        let permits = DuePermits::new(8);
        let slow: Vec<_> = ["acme", "evil", "slow"]
            .iter()
            .cycle()
            .take(30)
            .filter_map(|id| permits.take(&tenant(id)))
            .collect();
        assert_eq!(slow.len(), 6);
        let small: Vec<_> = ["one", "two", "three"]
            .iter()
            .filter_map(|id| permits.take(&tenant(id)))
            .collect();
        assert_eq!(small.len(), 2);
        assert!(permits.are_full());
        drop(small);
        assert!(!permits.are_full());
        drop(slow);
        assert!(permits.taken.lock().is_empty());
    }

    #[test]
    fn one_tenant_has_half_of_the_permits_and_at_least_one() {
        for (concurrent, expected) in [(1, 1), (2, 1), (3, 2), (4, 2), (8, 4)] {
            let permits = DuePermits::new(concurrent);
            let taken: Vec<_> = (0..9).filter_map(|_| permits.take(&tenant("acme"))).collect();
            assert_eq!(taken.len(), expected, "{concurrent}");
        }
    }
}
