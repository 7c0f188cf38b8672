//! Networks in CIDR notation (RFC 4632, RFC 4291 section 2.3), as operators write them.

use std::net::IpAddr;

use ipnet::IpNet;
use serde::de::{Deserialize, Deserializer, Error};

/// Reads ranges of addresses such as `10.20.0.0/16`. A lone address stands for itself.
pub(super) fn networks<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<IpNet>, D::Error> {
    let texts = Vec::<String>::deserialize(deserializer)?;
    let network = |text: &String| {
        parse(text)
            .ok_or_else(|| D::Error::custom(format!("\"{text}\" is not a network such as \"10.20.0.0/16\"")))
    };
    texts.iter().map(network).collect()
}

/// Bits behind the prefix must be zero, since otherwise one of the two is a mistake.
fn parse(text: &str) -> Option<IpNet> {
    let address = text.parse::<IpAddr>().map(IpNet::from);
    let network = address.or_else(|_| text.parse()).ok()?;
    (network == network.trunc()).then_some(network)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn a_lone_address_is_a_network_of_one() {
        assert_eq!(parse("127.0.0.1"), "127.0.0.1/32".parse().ok());
        assert_eq!(parse("fd00::1"), "fd00::1/128".parse().ok());
        assert_eq!(parse("10.20.0.0/16"), "10.20.0.0/16".parse().ok());
        assert!(parse("::/0").is_some());
    }

    #[test]
    fn bad_notation_is_refused() {
        for bad in [
            "",
            "10.0.0.0/33",
            "10.0.0.1/8",
            "::/129",
            "10.0.0.0/",
            "10.0.0.0/-1",
            "example.com/8",
        ] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
