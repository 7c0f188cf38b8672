//! Search filters (RFC 4511 section 4.5.1.7) as they came over the wire.

use lber::common::TagClass;
use lber::structure::{PL, StructureTag};

/// A filter.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Filter {
    /// All of them hold.
    And(Vec<Filter>),
    /// One of them holds.
    Or(Vec<Filter>),
    /// It does not hold.
    Not(Box<Filter>),
    /// The attribute has this value; an approximate match too.
    Equal(String, Vec<u8>),
    /// The attribute has a value of these parts in this order.
    Substrings {
        /// The attribute.
        attribute: String,
        /// How the value begins.
        initial: Option<Vec<u8>>,
        /// What it contains.
        any: Vec<Vec<u8>>,
        /// How it ends.
        end: Option<Vec<u8>>,
    },
    /// The attribute has a value that is not less.
    AtLeast(String, Vec<u8>),
    /// The attribute has a value that is not greater.
    AtMost(String, Vec<u8>),
    /// The attribute has a value.
    Present(String),
    /// A matching rule of its own.
    Extensible {
        /// Its name or OID.
        rule: Option<String>,
        /// The attribute that it looks at.
        attribute: Option<String>,
        /// What it looks for.
        value: Vec<u8>,
    },
}

impl Filter {
    /// Whether it asks about this attribute.
    pub fn names(&self, wanted: &str) -> bool {
        match self {
            Self::And(parts) | Self::Or(parts) => parts.iter().any(|part| part.names(wanted)),
            Self::Not(part) => part.names(wanted),
            Self::Equal(name, _)
            | Self::AtLeast(name, _)
            | Self::AtMost(name, _)
            | Self::Present(name)
            | Self::Substrings { attribute: name, .. } => name.eq_ignore_ascii_case(wanted),
            Self::Extensible { attribute, .. } => attribute
                .as_ref()
                .is_some_and(|name| name.eq_ignore_ascii_case(wanted)),
        }
    }
}

pub(super) fn parse(tag: &StructureTag) -> Option<Filter> {
    if tag.class != TagClass::Context {
        return None;
    }
    Some(match (tag.id, &tag.payload) {
        (0, PL::C(parts)) => Filter::And(all(parts)?),
        (1, PL::C(parts)) => Filter::Or(all(parts)?),
        (2, PL::C(parts)) => match parts.as_slice() {
            [part] => Filter::Not(Box::new(parse(part)?)),
            _ => return None,
        },
        (3 | 8, PL::C(parts)) => pair(parts).map(|(name, value)| Filter::Equal(name, value))?,
        (4, PL::C(parts)) => substrings(parts)?,
        (5, PL::C(parts)) => pair(parts).map(|(name, value)| Filter::AtLeast(name, value))?,
        (6, PL::C(parts)) => pair(parts).map(|(name, value)| Filter::AtMost(name, value))?,
        (7, PL::P(name)) => Filter::Present(String::from_utf8(name.clone()).ok()?),
        (9, PL::C(parts)) => extensible(parts)?,
        _ => return None,
    })
}

fn all(parts: &[StructureTag]) -> Option<Vec<Filter>> {
    parts.iter().map(parse).collect()
}

fn pair(parts: &[StructureTag]) -> Option<(String, Vec<u8>)> {
    match parts {
        [name, value] => Some((String::from_utf8(bytes(name)?).ok()?, bytes(value)?)),
        _ => None,
    }
}

fn substrings(parts: &[StructureTag]) -> Option<Filter> {
    let [name, pieces] = parts else { return None };
    let PL::C(pieces) = &pieces.payload else {
        return None;
    };
    let (mut initial, mut any, mut end) = (None, Vec::new(), None);
    for piece in pieces {
        match piece.id {
            0 => initial = Some(bytes(piece)?),
            1 => any.push(bytes(piece)?),
            2 => end = Some(bytes(piece)?),
            _ => return None,
        }
    }
    Some(Filter::Substrings {
        attribute: String::from_utf8(bytes(name)?).ok()?,
        initial,
        any,
        end,
    })
}

fn extensible(parts: &[StructureTag]) -> Option<Filter> {
    let (mut rule, mut attribute, mut wanted) = (None, None, Vec::new());
    for part in parts {
        match part.id {
            1 => rule = Some(String::from_utf8(bytes(part)?).ok()?),
            2 => attribute = Some(String::from_utf8(bytes(part)?).ok()?),
            3 => wanted = bytes(part)?,
            _ => {}
        }
    }
    Some(Filter::Extensible {
        rule,
        attribute,
        value: wanted,
    })
}

fn bytes(tag: &StructureTag) -> Option<Vec<u8>> {
    match &tag.payload {
        PL::P(bytes) => Some(bytes.clone()),
        PL::C(_) => None,
    }
}
