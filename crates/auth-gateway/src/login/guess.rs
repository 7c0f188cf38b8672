//! The soft lock around a guess: whom it is counted for, and whether it may go anywhere at all.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use rollcall_core::id::TenantId;
use rollcall_core::throttle::ThrottleSubject;
use tokio::time::Instant;

/// A refusal by the soft lock is audited once in this time for each subject; a flood is one event.
const AUDIT_PAUSE: Duration = Duration::from_secs(60);
/// Subjects remembered as audited; beyond it all may be audited again.
const CAPACITY: usize = 100_000;

/// The subject of an end user's address: an IPv6 customer has at least a /64, so that is one address here.
pub fn client_subject(address: IpAddr) -> ThrottleSubject {
    let text = match address.to_canonical() {
        IpAddr::V4(v4) => v4.to_string(),
        IpAddr::V6(v6) => {
            let [a, b, c, d, ..] = v6.segments();
            format!("{a:x}:{b:x}:{c:x}:{d:x}::/64")
        }
    };
    ThrottleSubject::Client(text)
}

/// The subject as text, for keyed hashes in memory.
pub fn subject_key(tenant: &TenantId, subject: &ThrottleSubject) -> String {
    match subject {
        ThrottleSubject::User(user) => format!("{tenant}/user/{user}"),
        ThrottleSubject::UnknownLogin(hash) => format!("{tenant}/unknown/{hash}"),
        ThrottleSubject::Client(address) => format!("{tenant}/client/{address}"),
    }
}

/// Which refusals were audited lately.
#[derive(Default)]
pub struct AuditedRefusals(Mutex<HashMap<String, Instant>>);

impl AuditedRefusals {
    /// True if a refusal of this subject is worth an audit event again.
    pub fn is_due(&self, subject: &str, now: Instant) -> bool {
        let mut audited = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(last) = audited.get(subject)
            && now.saturating_duration_since(*last) < AUDIT_PAUSE
        {
            return false;
        }
        if audited.len() >= CAPACITY {
            audited.clear();
        }
        audited.insert(subject.to_owned(), now);
        true
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn neighbours_in_an_ipv6_network_are_one_client() {
        let subject = |text: &str| client_subject(text.parse().unwrap());
        assert_eq!(subject("2001:db8:1:2::1"), subject("2001:db8:1:2:ffff::9"));
        assert_ne!(subject("2001:db8:1:2::1"), subject("2001:db8:1:3::1"));
        assert_eq!(subject("::ffff:192.0.2.7"), subject("192.0.2.7"));
        assert_ne!(subject("192.0.2.7"), subject("192.0.2.8"));
    }

    #[test]
    fn a_flood_is_audited_once_a_minute() {
        let refusals = AuditedRefusals::default();
        let start = Instant::now();
        assert!(refusals.is_due("a", start));
        assert!(!refusals.is_due("a", start + Duration::from_secs(59)));
        assert!(refusals.is_due("b", start));
        assert!(refusals.is_due("a", start + Duration::from_secs(60)));
    }
}
