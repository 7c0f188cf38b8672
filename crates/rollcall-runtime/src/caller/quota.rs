//! A caller's quota: the generic cell rate algorithm (ITU-T I.371), one atomic and no lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// Allows so many calls per second in the long run, and so many at once.
#[derive(Debug)]
pub(super) struct Quota {
    began: Instant,
    /// When the allowance would be full again, in nanoseconds since `began`.
    full_at: AtomicU64,
    rate: Rate,
}

#[derive(Clone, Copy, PartialEq, Debug)]
struct Rate {
    /// Nanoseconds that one call costs.
    cost: u64,
    /// Nanoseconds that may be owed at most.
    allowance: u64,
}

impl Quota {
    /// A quota of this rate; `None` if there is no limit. A burst of 0 is one second's worth.
    pub(super) fn new(requests_per_second: u32, burst: u32) -> Option<Self> {
        let rate = Rate::new(requests_per_second, burst)?;
        Some(Self {
            began: Instant::now(),
            full_at: AtomicU64::new(0),
            rate,
        })
    }

    /// Whether both have the same rate and burst.
    pub(super) fn allows_the_same_as(&self, other: &Self) -> bool {
        self.rate == other.rate
    }

    /// Takes one call, or tells when one will be free.
    pub(super) fn spend(&self) -> Result<(), Duration> {
        let now = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        let mut full_at = self.full_at.load(Ordering::Relaxed);
        loop {
            let next = self
                .rate
                .after_one_more(full_at, now)
                .map_err(Duration::from_nanos)?;
            match self
                .full_at
                .compare_exchange_weak(full_at, next, Ordering::Relaxed, Ordering::Relaxed)
            {
                Ok(_) => return Ok(()),
                Err(changed) => full_at = changed,
            }
        }
    }
}

impl Rate {
    fn new(requests_per_second: u32, burst: u32) -> Option<Self> {
        let cost = 1_000_000_000_u64.checked_div(u64::from(requests_per_second))?;
        let burst = if burst == 0 { requests_per_second } else { burst };
        Some(Self {
            cost,
            allowance: cost.saturating_mul(u64::from(burst)),
        })
    }

    /// When the allowance will be full again after one more call now, or how long that call must wait.
    fn after_one_more(self, full_at: u64, now: u64) -> Result<u64, u64> {
        let next = full_at.max(now).saturating_add(self.cost);
        let limit = now.saturating_add(self.allowance);
        if next <= limit {
            Ok(next)
        } else {
            Err(next - limit)
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn the_burst_passes_at_once_and_then_the_rate_holds() {
        let rate = Rate::new(10, 3).unwrap();
        let mut full_at = 0;
        for _ in 0..3 {
            full_at = rate.after_one_more(full_at, 0).unwrap();
        }
        assert_eq!(rate.after_one_more(full_at, 0), Err(100_000_000));
        let tenth = 100_000_000;
        full_at = rate.after_one_more(full_at, tenth).unwrap();
        assert_eq!(rate.after_one_more(full_at, tenth), Err(tenth));
        assert!(rate.after_one_more(full_at, 2 * tenth).is_ok());
    }

    #[test]
    fn an_idle_caller_saves_up_no_more_than_the_burst() {
        let rate = Rate::new(1, 2).unwrap();
        let hour = 3_600_000_000_000;
        let one = rate.after_one_more(0, hour).unwrap();
        let two = rate.after_one_more(one, hour).unwrap();
        assert!(rate.after_one_more(two, hour).is_err());
    }

    #[test]
    fn no_rate_is_no_limit() {
        assert!(Rate::new(0, 0).is_none());
        assert_eq!(Rate::new(5, 0).unwrap().allowance, 1_000_000_000);
    }
}
