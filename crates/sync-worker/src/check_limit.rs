//! How many checks a tenant may start: each one makes connections to an address of the tenant's choice.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use parking_lot::Mutex;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;

/// Most tenants that are remembered. Then those that may start checks again are forgotten.
const MAX_REMEMBERED: usize = 10_000;

/// Counts checks by tenant. A tenant may start a minute's worth at once, then they come back one by one.
pub(crate) struct CheckLimit {
    /// Time that one check costs.
    cost: Duration,
    /// Cost that may pile up.
    burst: Duration,
    /// When each tenant has paid for all of its checks.
    paid_at: Mutex<HashMap<TenantId, Instant>>,
}

impl CheckLimit {
    /// Allows so many checks a minute and tenant, at least one.
    pub(crate) fn new(per_minute: u32) -> Self {
        let minute = Duration::from_secs(60);
        Self {
            cost: minute / per_minute.max(1),
            burst: minute,
            paid_at: Mutex::default(),
        }
    }

    /// Counts a check of the tenant at `now`.
    ///
    /// # Errors
    /// `CHECKS_RATE_LIMITED`, with the time after which the next one is allowed.
    pub(crate) fn admit(&self, tenant: &TenantId, now: Instant) -> Result<(), Error> {
        let mut paid_at = self.paid_at.lock();
        if paid_at.len() >= MAX_REMEMBERED {
            paid_at.retain(|_, at| *at > now);
        }
        let begin = paid_at.get(tenant).map_or(now, |at| (*at).max(now));
        let debt = (begin + self.cost).duration_since(now);
        if debt > self.burst {
            let message = "too many checks of this tenant at a time; try again a little later";
            let error = Error::new(Reason::ChecksRateLimited, message).with("tenant", tenant.as_str());
            return Err(error.retry_after(debt - self.burst));
        }
        paid_at.insert(tenant.clone(), begin + self.cost);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_tenant_may_burst_and_then_waits_and_others_do_not() {
        let limit = CheckLimit::new(3);
        let (acme, other) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("other").unwrap(),
        );
        let start = Instant::now();
        for _ in 0..3 {
            limit.admit(&acme, start).unwrap();
        }
        let refused = limit.admit(&acme, start).unwrap_err();
        assert_eq!(refused.reason, Reason::ChecksRateLimited);
        assert_eq!(refused.retry_after, Some(Duration::from_secs(20)));
        limit.admit(&other, start).unwrap();
        limit.admit(&acme, start + Duration::from_secs(20)).unwrap();
        limit.admit(&acme, start + Duration::from_secs(20)).unwrap_err();
    }

    #[test]
    fn idle_tenants_are_forgotten() {
        let limit = CheckLimit::new(60);
        let start = Instant::now();
        for number in 0..MAX_REMEMBERED {
            limit
                .admit(&TenantId::parse(&format!("t{number}")).unwrap(), start)
                .unwrap();
        }
        limit
            .admit(&TenantId::parse("late").unwrap(), start + Duration::from_secs(2))
            .unwrap();
        assert_eq!(limit.paid_at.lock().len(), 1);
    }
}
