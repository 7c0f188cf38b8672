//! When to leave a host alone: a circuit breaker with a half-open probe.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

/// First rest of a failed host.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Longest rest.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A probe that is not heard of for this long counts as lost, and the next caller may probe.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// What is known about one host.
#[derive(Debug)]
pub(crate) struct Health {
    /// Failures in a row after which the host rests.
    threshold: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    rest_until: Option<Instant>,
}

impl Health {
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            state: Mutex::default(),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// True if the host may be tried. After its rest one caller may, and the others when that one succeeds.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut state = self.state();
        match state.rest_until {
            None => true,
            Some(until) if until <= now => {
                state.rest_until = Some(now + PROBE_TIME);
                true
            }
            Some(_) => false,
        }
    }

    /// The host answered.
    pub(crate) fn succeeded(&self) {
        *self.state() = State::default();
    }

    /// The host could not be used.
    pub(crate) fn failed(&self, now: Instant) {
        let mut state = self.state();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.threshold {
            let doublings = (state.failures - self.threshold).min(10);
            state.rest_until = Some(now + (FIRST_REST * 2_u32.pow(doublings)).min(LONGEST_REST));
        }
    }

    /// True while the host rests or is being probed.
    pub(crate) fn is_resting(&self) -> bool {
        self.state().rest_until.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failing_host_rests_longer_each_time_and_one_probe_wakes_it() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let health = Health::new(2);
        health.failed(start);
        assert!(health.admit(start) && !health.is_resting());
        health.failed(start);
        assert!(!health.admit(after(0.9)));
        assert!(health.admit(after(1.0)), "the probe");
        assert!(!health.admit(after(1.0)), "everybody else");
        health.failed(after(1.0));
        assert!(!health.admit(after(2.9)));
        assert!(health.admit(after(3.0)));
        health.succeeded();
        assert!(health.admit(after(3.0)) && health.admit(after(3.0)) && !health.is_resting());
    }

    #[test]
    fn a_lost_probe_does_not_rest_a_host_for_ever_and_rests_have_an_end() {
        let start = Instant::now();
        let health = Health::new(1);
        for _ in 0..100 {
            health.failed(start);
        }
        assert!(!health.admit(start + Duration::from_secs(29)));
        assert!(health.admit(start + Duration::from_secs(30)));
        assert!(!health.admit(start + Duration::from_secs(31)));
        assert!(health.admit(start + Duration::from_secs(41)));
    }
}
