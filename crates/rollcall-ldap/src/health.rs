//! When to leave a host alone: a circuit breaker with a half-open probe.

use std::time::Duration;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;
use tokio::time::Instant;

use crate::error::LdapError;

/// First rest of a failed host.
const FIRST_REST: Duration = Duration::from_secs(1);
/// Longest rest.
const LONGEST_REST: Duration = Duration::from_secs(30);
/// A probe that is not heard of for this long counts as lost, and the next caller may probe.
const PROBE_TIME: Duration = Duration::from_secs(10);

/// What was seen of one host since the directory was opened.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct HostStatus {
    /// False while it rests after failures.
    pub usable: bool,
    /// How long ago it last answered.
    pub success: Option<Duration>,
    /// How long ago it last failed or turned the service account down, and why.
    pub failure: Option<(Duration, LdapError)>,
    /// When the certificate that it showed last ends.
    pub certificate_end: Option<DateTime<Utc>>,
}

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
    success: Option<Instant>,
    failure: Option<(Instant, LdapError)>,
    certificate_end: Option<DateTime<Utc>>,
}

impl Health {
    pub(crate) fn new(threshold: u32) -> Self {
        Self {
            threshold,
            state: Mutex::default(),
        }
    }

    /// True if the host may be tried. After its rest one caller may, and the others when that one succeeds.
    pub(crate) fn admit(&self, now: Instant) -> bool {
        let mut state = self.state.lock();
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
    pub(crate) fn succeeded(&self, now: Instant) {
        let mut state = self.state.lock();
        state.failures = 0;
        state.rest_until = None;
        state.success = Some(now);
    }

    /// The host could not be used.
    pub(crate) fn failed(&self, now: Instant, error: &LdapError) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= self.threshold {
            let doublings = (state.failures - self.threshold).min(10);
            state.rest_until = Some(now + (FIRST_REST * 2_u32.pow(doublings)).min(LONGEST_REST));
        }
        state.failure = Some((now, error.clone()));
    }

    /// The host works, but not with these settings: no reason to leave it alone.
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
            usable: state.rest_until.is_none(),
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
    fn a_failing_host_rests_longer_each_time_and_one_probe_wakes_it() {
        let start = Instant::now();
        let after = |seconds: f64| start + Duration::from_secs_f64(seconds);
        let health = Health::new(2);
        health.failed(start, &LdapError::Timeout);
        assert!(health.admit(start) && health.status(start).usable);
        health.failed(start, &LdapError::Timeout);
        assert!(!health.admit(after(0.9)));
        assert!(health.admit(after(1.0)), "the probe");
        assert!(!health.admit(after(1.0)), "everybody else");
        health.failed(after(1.0), &LdapError::Timeout);
        assert!(!health.admit(after(2.9)));
        assert!(health.admit(after(3.0)));
        health.succeeded(after(3.0));
        assert!(health.admit(after(3.0)) && health.admit(after(3.0)) && health.status(start).usable);
    }

    #[test]
    fn a_lost_probe_does_not_rest_a_host_for_ever_and_rests_have_an_end() {
        let start = Instant::now();
        let health = Health::new(1);
        for _ in 0..100 {
            health.failed(start, &LdapError::Timeout);
        }
        assert!(!health.admit(start + Duration::from_secs(29)));
        assert!(health.admit(start + Duration::from_secs(30)));
        assert!(!health.admit(start + Duration::from_secs(31)));
        assert!(health.admit(start + Duration::from_secs(41)));
    }

    #[test]
    fn what_happened_last_is_told() {
        let start = Instant::now();
        let health = Health::new(1);
        let refused = LdapError::BindRefused(crate::result_code::ResultCode(49));
        health.failed(start, &LdapError::Timeout);
        health.succeeded(start + Duration::from_secs(1));
        health.turned_down(start + Duration::from_secs(2), &refused);
        let expected = HostStatus {
            usable: true,
            success: Some(Duration::from_secs(4)),
            failure: Some((Duration::from_secs(3), refused)),
            certificate_end: None,
        };
        assert_eq!(health.status(start + Duration::from_secs(5)), expected);
    }
}
