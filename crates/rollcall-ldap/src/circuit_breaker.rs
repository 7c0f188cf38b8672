//! When to leave a host alone: a circuit breaker with a half-open probe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::LdapError;

/// The breaker of a failed host is open for this long at first.
const FIRST_OPEN: Duration = Duration::from_secs(1);
/// The longest that it is open.
const LONGEST_OPEN: Duration = Duration::from_secs(30);
/// A probe without a result for this long counts as lost, and the next caller may probe.
const PROBE_TIMEOUT: Duration = Duration::from_secs(10);

/// What was seen of one host since the directory was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostStatus {
    /// False while its circuit breaker is open.
    pub usable: bool,
    /// How long ago it last answered.
    pub success: Option<Duration>,
    /// How long ago it last failed or turned the service account down, and why.
    pub failure: Option<(Duration, LdapError)>,
    /// When the certificate that it showed last ends.
    pub certificate_end: Option<DateTime<Utc>>,
}

/// When one host may be tried, and what was seen of it.
#[derive(Debug)]
pub(crate) struct CircuitBreaker {
    /// Failures in a row after which it opens.
    threshold: u32,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Instant>,
    success: Option<Instant>,
    failure: Option<(Instant, LdapError)>,
    certificate_end: Option<DateTime<Utc>>,
}

impl CircuitBreaker {
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            state: Mutex::default(),
        }
    }

    /// True if the host may be tried. A breaker that was open long enough lets one caller probe. Once that one
    /// succeeds, it lets all callers in.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
        match state.open_until {
            None => true,
            Some(until) if until <= now => {
                state.open_until = Some(now + PROBE_TIMEOUT);
                true
            }
            Some(_) => false,
        }
    }

    /// The host answered.
    pub(crate) fn succeeded(&self, now: Instant) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.open_until = None;
        state.success = Some(now);
    }

    /// The host could not be used.
    pub(crate) fn failed(&self, now: Instant, error: &LdapError) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.threshold {
            let doublings = (state.failures - self.threshold).min(10);
            state.open_until = Some(now + (FIRST_OPEN * 2_u32.pow(doublings)).min(LONGEST_OPEN));
        }
        state.failure = Some((now, error.clone()));
    }

    /// The host works, but refuses these settings, which is no reason to leave it alone.
    pub(crate) fn turned_down(&self, now: Instant, error: &LdapError) {
        self.state.lock().failure = Some((now, error.clone()));
    }

    /// The host showed a certificate that ends then.
    pub(crate) fn showed_certificate(&self, end: DateTime<Utc>) {
        self.state.lock().certificate_end = Some(end);
    }

    pub(crate) fn status(&self, now: Instant) -> HostStatus {
        let state = self.state.lock();
        HostStatus {
            usable: state.open_until.is_none(),
            success: state.success.map(|time| now - time),
            failure: state
                .failure
                .as_ref()
                .map(|(time, error)| (now - *time, error.clone())),
            certificate_end: state.certificate_end,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_breaker_opens_for_longer_each_time_and_one_probe_closes_it() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let breaker = CircuitBreaker::new(2);
        breaker.failed(start, &LdapError::Timeout);
        assert!(breaker.admit(start) && breaker.status(start).usable);
        breaker.failed(start, &LdapError::Timeout);
        assert!(!breaker.admit(after(0.9)));
        assert!(breaker.admit(after(1.0)), "the probe");
        assert!(!breaker.admit(after(1.0)), "everybody else");
        breaker.failed(after(1.0), &LdapError::Timeout);
        assert!(!breaker.admit(after(2.9)));
        assert!(breaker.admit(after(3.0)));
        breaker.succeeded(after(3.0));
        assert!(breaker.admit(after(3.0)) && breaker.admit(after(3.0)) && breaker.status(start).usable);
    }

    #[test]
    fn a_lost_probe_opens_no_breaker_for_ever_and_the_longest_time_holds() {
        let start = Instant::now();
        let breaker = CircuitBreaker::new(1);
        for _ in 0..100 {
            breaker.failed(start, &LdapError::Timeout);
        }
        assert!(!breaker.admit(start + Duration::from_secs(29)));
        assert!(breaker.admit(start + Duration::from_secs(30)));
        assert!(!breaker.admit(start + Duration::from_secs(31)));
        assert!(breaker.admit(start + Duration::from_secs(41)));
    }

    #[test]
    fn what_happened_last_is_told() {
        let start = Instant::now();
        let breaker = CircuitBreaker::new(1);
        let refused = LdapError::BindRefused(crate::result_code::ResultCode(49));
        breaker.failed(start, &LdapError::Timeout);
        breaker.succeeded(start + Duration::from_secs(1));
        breaker.turned_down(start + Duration::from_secs(2), &refused);
        let expected = HostStatus {
            usable: true,
            success: Some(Duration::from_secs(4)),
            failure: Some((Duration::from_secs(3), refused)),
            certificate_end: None,
        };
        assert_eq!(breaker.status(start + Duration::from_secs(5)), expected);
    }
}
