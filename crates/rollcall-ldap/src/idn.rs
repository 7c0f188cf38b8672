//! Host names in other scripts (RFC 5890): DNS, SNI and certificates know only their A-labels.

use std::borrow::Cow;

/// The host as DNS knows it. `None` if no such name can exist.
pub(crate) fn to_ascii(host: &str) -> Option<Cow<'_, str>> {
    // Names of ASCII stay as they are: some directories have hosts with underscores.
    if host.is_ascii() {
        return Some(Cow::Borrowed(host));
    }
    idna::domain_to_ascii_strict(host).ok().map(Cow::Owned)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn other_scripts_become_a_labels_and_ascii_stays() {
        for (host, expected) in [
            ("dc1.example.com", "dc1.example.com"),
            ("dc_1.example.com", "dc_1.example.com"),
            ("10.0.0.1", "10.0.0.1"),
            ("fd00::1", "fd00::1"),
            ("verzeichnis.bücher.example", "verzeichnis.xn--bcher-kva.example"),
            ("BÜCHER.example", "xn--bcher-kva.example"),
            ("例え.テスト", "xn--r8jz45g.xn--zckzah"),
        ] {
            assert_eq!(to_ascii(host).as_deref(), Some(expected));
        }
    }

    #[test]
    fn what_cannot_be_a_name_is_none() {
        assert_eq!(to_ascii(&format!("{}.example", "ü".repeat(80))), None);
        assert_eq!(to_ascii("\u{301}a.example"), None);
    }
}
