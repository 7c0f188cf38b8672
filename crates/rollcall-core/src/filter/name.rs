//! What may be the name of an attribute or of a matching rule.

use super::{Attribute, MatchingRule};

impl Attribute {
    /// Accepts what RFC 4512 2.5 calls an attribute description, nothing else.
    pub fn parse(text: &str) -> Option<Self> {
        is_attribute(text).then(|| Self(text.to_owned()))
    }
}

impl MatchingRule {
    /// Accepts a name or a numeric OID, nothing else. A name that begins with `dn` is refused: parsers take it for the
    /// flag `:dn` without reading on, and no server has such a rule.
    pub fn parse(text: &str) -> Option<Self> {
        let is_dn = text
            .get(..2)
            .is_some_and(|start| start.eq_ignore_ascii_case("dn"));
        (is_name_or_oid(text) && !is_dn).then(|| Self(text.to_owned()))
    }
}

fn is_attribute(text: &str) -> bool {
    let mut parts = text.split(';');
    let is_option =
        |option: &str| !option.is_empty() && option.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    parts.next().is_some_and(is_name_or_oid) && parts.all(is_option)
}

fn is_name_or_oid(text: &str) -> bool {
    if text.starts_with(|c: char| c.is_ascii_alphabetic()) {
        return text.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'-');
    }
    let is_number = |number: &str| {
        !number.is_empty()
            && number.bytes().all(|b| b.is_ascii_digit())
            && (number.len() == 1 || !number.starts_with('0'))
    };
    text.contains('.') && text.split('.').all(is_number)
}
