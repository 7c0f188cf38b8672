//! Where a connection may go.
//!
//! A directory's host is a tenant's input, so without a policy a tenant could point Rollcall at the
//! operator's own network. Names are resolved once, every address is checked, and only checked addresses
//! are connected to. Errors never name a refused address: a check must be no network scanner.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};

use ipnet::IpNet;

/// The ports of LDAP, LDAPS and Active Directory's global catalogue.
pub(crate) const DEFAULT_PORTS: [u16; 4] = [389, 636, 3268, 3269];

/// Which addresses and ports may be connected to.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct EgressPolicy {
    opened: Vec<IpNet>,
    ports: Vec<u16>,
}

impl Default for EgressPolicy {
    fn default() -> Self {
        Self::new(Vec::new(), DEFAULT_PORTS.to_vec())
    }
}

impl EgressPolicy {
    /// Public addresses and what the operator opens, which may be private or special; on these ports and
    /// no others.
    pub fn new(opened_networks: Vec<IpNet>, ports: Vec<u16>) -> Self {
        Self {
            opened: opened_networks,
            ports,
        }
    }

    /// True if a connection to this address and port is allowed.
    pub fn allows(&self, target: SocketAddr) -> bool {
        let address = target.ip().to_canonical();
        let opened = self.opened.iter().any(|network| network.contains(&address));
        self.allows_port(target.port()) && (opened || is_public(address))
    }

    /// True if a connection to this port is allowed somewhere.
    pub(crate) fn allows_port(&self, port: u16) -> bool {
        self.ports.contains(&port)
    }
}

/// True for addresses of the public internet.
fn is_public(address: IpAddr) -> bool {
    match address {
        IpAddr::V4(address) => is_public_v4(address),
        IpAddr::V6(address) => is_public_v6(address),
    }
}

/// IANA's special-purpose registry (RFC 6890 and successors). Metadata services live in 169.254.0.0/16,
/// 100.64.0.0/10 and, for one cloud, at 168.63.129.16.
fn is_public_v4(address: Ipv4Addr) -> bool {
    let [a, b, c, d] = address.octets();
    let special = matches!(
        (a, b, c),
        (0 | 10 | 127, _, _)
            | (100, 64..=127, _)
            | (169, 254, _)
            | (172, 16..=31, _)
            | (192, 0, 0 | 2)
            | (192, 88, 99)
            | (192, 168, _)
            | (198, 18..=19, _)
            | (198, 51, 100)
            | (203, 0, 113)
            | (224.., _, _)
    );
    !special && (a, b, c, d) != (168, 63, 129, 16)
}

fn is_public_v6(address: Ipv6Addr) -> bool {
    let parts = address.segments();
    let embedded = |high: u16, low: u16| {
        let [a, b] = high.to_be_bytes();
        let [c, d] = low.to_be_bytes();
        is_public_v4(Ipv4Addr::new(a, b, c, d))
    };
    match parts {
        // NAT64 (RFC 6052) and 6to4 (RFC 3056) lead to the IPv4 address that they hold.
        [0x64, 0xff9b, 0, 0, 0, 0, high, low] => embedded(high, low),
        [0x2002, high, low, ..] => embedded(high, low),
        // Teredo, benchmarking, ORCHID, documentation.
        [0x2001, 0..=0x1ff, ..] | [0x2001, 0xdb8, ..] | [0x3fff, 0..=0xfff, ..] => false,
        // Everything outside 2000::/3 is special: loopback, unspecified, mapped, unique local, link-local.
        [first, ..] => first & 0xe000 == 0x2000,
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn allows(policy: &EgressPolicy, address: &str) -> bool {
        policy.allows(SocketAddr::new(address.parse().unwrap(), 636))
    }

    #[test]
    fn public_addresses_are_allowed() {
        let policy = EgressPolicy::default();
        for address in [
            "8.8.8.8",
            "172.32.0.1",
            "100.128.0.1",
            "192.0.1.1",
            "2a00:1450::1",
            "2600::1",
        ] {
            assert!(allows(&policy, address), "{address}");
        }
        assert!(allows(&policy, "64:ff9b::808:808") && allows(&policy, "::ffff:8.8.8.8"));
    }

    #[test]
    fn loopback_private_and_metadata_addresses_are_refused_in_every_form() {
        let policy = EgressPolicy::default();
        for address in [
            "127.0.0.1",
            "127.255.255.254",
            "0.0.0.0",
            "10.0.0.1",
            "172.16.0.1",
            "172.31.255.255",
            "192.168.1.1",
            "169.254.169.254",
            "100.64.0.1",
            "100.100.100.200",
            "168.63.129.16",
            "192.0.0.192",
            "198.18.0.1",
            "224.0.0.1",
            "255.255.255.255",
            "240.0.0.1",
            "::",
            "::1",
            "::ffff:127.0.0.1",
            "::ffff:10.0.0.1",
            "::127.0.0.1",
            "fe80::1",
            "fc00::1",
            "fd00:ec2::254",
            "fec0::1",
            "ff02::1",
            "64:ff9b::a00:1",
            "64:ff9b:1::1",
            "2002:7f00:1::1",
            "2002:a9fe:a9fe::",
            "2001::1",
            "2001:db8::1",
            "3fff::1",
            "100::1",
        ] {
            assert!(!allows(&policy, address), "{address}");
        }
    }

    #[test]
    fn only_directory_ports_are_open() {
        let policy = EgressPolicy::default();
        let on = |port| policy.allows(SocketAddr::from(([8, 8, 8, 8], port)));
        assert!(on(389) && on(636) && on(3268) && on(3269));
        assert!(!on(22) && !on(80) && !on(443) && !on(5432) && !on(0));
    }

    #[test]
    fn the_operator_opens_networks_and_names_the_ports() {
        let policy = EgressPolicy::new(
            vec!["10.20.0.0/16".parse().unwrap(), "::1/128".parse().unwrap()],
            vec![636, 1389],
        );
        assert!(
            allows(&policy, "10.20.3.4") && allows(&policy, "::ffff:10.20.3.4") && allows(&policy, "::1")
        );
        assert!(!allows(&policy, "10.21.0.1") && !allows(&policy, "127.0.0.1"));
        assert!(policy.allows("10.20.0.1:1389".parse().unwrap()));
        assert!(!policy.allows("10.20.0.1:1390".parse().unwrap()));
        assert!(!policy.allows("10.20.0.1:389".parse().unwrap()) && !policy.allows_port(3268));
    }
}
