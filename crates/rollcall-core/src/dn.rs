//! Distinguished names (RFC 4514): compared the way directories compare them, shown the way they were
//! written.

mod parse;

use std::fmt;
use std::hash::{Hash, Hasher};

use thiserror::Error;

use crate::identifier::normalize;

/// Longest DN that a person may write, in bytes.
pub const MAX_DN_BYTES: usize = 8 * 1024;
/// Longest DN of an entry that is taken, in bytes: it is sent with every bind.
pub(crate) const MAX_ENTRY_DN_BYTES: usize = 32 * 1024;

/// A distinguished name. Two are equal if a directory would take them for the same: attribute types and
/// values without regard to case, Unicode form and surplus spaces, parts of a multi-valued RDN in any order.
#[derive(Clone)]
pub struct Dn {
    text: String,
    rdns: Vec<Rdn>,
}

/// The parts of one RDN as they are compared, sorted.
type Rdn = Vec<(String, Value)>;

#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
enum Value {
    /// Text, normalized.
    Text(String),
    /// `#` and BER, or bytes that are not UTF-8: compared byte for byte.
    Bytes(Vec<u8>),
}

/// What is wrong with a DN, and where.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
#[error("column {column}: {problem}")]
pub struct DnError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// The character, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: DnProblem,
}

/// What can be wrong with a DN.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum DnProblem {
    /// Longer than [`MAX_DN_BYTES`].
    #[error("the DN is longer than {MAX_DN_BYTES} bytes")]
    TooLong,
    /// A part without `=`.
    #[error("a part of the DN has no \"=\": write it like ou=people,dc=example,dc=com")]
    MissingEquals,
    /// What stands before the `=` is neither a name nor an OID.
    #[error("this is not an attribute name or OID")]
    AttributeType,
    /// A backslash without a character or two hexadecimal digits to escape.
    #[error("a backslash must be followed by a special character or two hexadecimal digits")]
    Escape,
    /// A character that must be escaped.
    #[error("{0:?} must be written with a backslash before it")]
    Unescaped(char),
    /// `#` without pairs of hexadecimal digits.
    #[error("after # there must be pairs of hexadecimal digits")]
    HexString,
    /// A quoted value does not end.
    #[error("this quotation mark is never closed")]
    Quotes,
}

impl Dn {
    /// The DN as it was written.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The value of this attribute in the first RDN, as values are compared. `None` if the entry is named by another
    /// attribute, or the value is not text.
    pub(crate) fn naming_value(&self, attribute: &str) -> Option<&str> {
        let (_, value) = self
            .rdns
            .first()?
            .iter()
            .find(|(name, _)| name.eq_ignore_ascii_case(attribute))?;
        match value {
            Value::Text(text) => Some(text),
            Value::Bytes(_) => None,
        }
    }

    /// True if this is `base` or anywhere below it.
    pub fn is_within(&self, base: &Dn) -> bool {
        self.rdns.ends_with(&base.rdns)
    }

    /// True if this, or something above it, is called `value` by this attribute, which is in lower case.
    pub fn passes(&self, attribute: &str, value: &str) -> bool {
        let wanted = value_of(value.as_bytes().to_vec());
        let mut parts = self.rdns.iter().flatten();
        parts.any(|(own, value)| own == attribute && *value == wanted)
    }

    /// True if this is right below `parent`.
    pub fn is_child_of(&self, parent: &Dn) -> bool {
        self.rdns.len() == parent.rdns.len() + 1 && self.is_within(parent)
    }
}

fn value_of(bytes: Vec<u8>) -> Value {
    match String::from_utf8(bytes) {
        Ok(text) => Value::Text(normalize(&text)),
        Err(error) => Value::Bytes(error.into_bytes()),
    }
}

impl PartialEq for Dn {
    fn eq(&self, other: &Self) -> bool {
        self.rdns == other.rdns
    }
}

impl Eq for Dn {}

impl Hash for Dn {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.rdns.hash(state);
    }
}

impl fmt::Display for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Dn {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(&self.text, f)
    }
}

/// True if a directory would take two texts for the same DN.
pub fn is_same_dn(one: &str, other: &str) -> bool {
    one == other || Dn::given(one) == Dn::given(other)
}

/// The DN of the entry above, as it is written; `None` where there is none. Also for texts that a directory takes for a DN
/// and RFC 4514 does not.
pub fn parent_of(dn: &str) -> Option<&str> {
    split(dn).1.map(str::trim_start)
}

/// The first RDN, and what is behind it.
fn split(dn: &str) -> (&str, Option<&str>) {
    let end = end_of_rdn(dn, true).or_else(|| end_of_rdn(dn, false));
    match end {
        Some(end) => (&dn[..end], Some(&dn[end + 1..])),
        None => (dn, None),
    }
}

/// Where the separator behind the first RDN is. A value may be in quotation marks, if they are closed.
fn end_of_rdn(dn: &str, quotes: bool) -> Option<usize> {
    let (mut escaped, mut quoted, mut value_begins) = (false, false, false);
    for (index, c) in dn.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' if quoted => quoted = false,
            '"' if quotes && value_begins => quoted = true,
            ',' | ';' if !quoted => return Some(index),
            _ => {}
        }
        value_begins = c == '=' || value_begins && c == ' ';
    }
    None
}

#[cfg(test)]
mod tests;
