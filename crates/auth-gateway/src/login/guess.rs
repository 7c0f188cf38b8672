//! Whom a guess is counted for.

use std::net::IpAddr;

use rollcall_core::id::TenantId;
use rollcall_core::throttle::ThrottleSubject;

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
}
