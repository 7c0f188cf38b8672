//! One object as read from a directory.

use std::collections::BTreeMap;

/// An entry. Attributes are multi-valued, their order means nothing, and any value may be binary.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Entry {
    /// The DN as the server wrote it.
    pub dn: String,
    /// Values by attribute name in lower case. Values with options are kept under the name with its
    /// options, `cn;lang-de`; they never stand for the plain attribute.
    pub attributes: BTreeMap<String, Vec<Vec<u8>>>,
    /// Some text of this entry was not UTF-8 and had to be repaired: it must not be imported as it stands.
    pub tainted: bool,
    /// The entry was too large to be read: nothing of it is here but the DN. This is the largest of its attributes.
    pub oversized: Option<String>,
}

impl Entry {
    /// The values of an attribute, in the server's order.
    pub fn values(&self, name: &str) -> &[Vec<u8>] {
        // An entry has few attributes: comparing them all costs less than a lower case name to look up.
        let found = self
            .attributes
            .iter()
            .find(|(own, _)| own.eq_ignore_ascii_case(name));
        found.map_or(&[], |(_, values)| values)
    }

    /// The values that are text, in the server's order.
    pub fn texts(&self, name: &str) -> impl Iterator<Item = &str> {
        self.values(name)
            .iter()
            .filter_map(|value| std::str::from_utf8(value).ok())
    }

    /// The one text that stands for a multi-valued attribute: the smallest non-empty one. A server may
    /// order values as it likes (RFC 4511 section 4.1.7), so "the first" would change from run to run.
    pub fn text(&self, name: &str) -> Option<&str> {
        self.texts(name)
            .map(str::trim)
            .filter(|text| !text.is_empty())
            .min()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_chosen_value_does_not_depend_on_the_server_s_order() {
        let entry = |values: &[&str]| Entry {
            attributes: BTreeMap::from([(
                "mail".to_owned(),
                values.iter().map(|value| value.as_bytes().to_vec()).collect(),
            )]),
            ..Entry::default()
        };
        assert_eq!(entry(&["b@x", " ", "a@x"]).text("Mail"), Some("a@x"));
        assert_eq!(entry(&["a@x", "b@x"]).text("mail"), Some("a@x"));
        assert_eq!(entry(&["", " "]).text("mail"), None);
        assert_eq!(entry(&[]).text("other"), None);
    }
}
