//! LDAP search filters (RFC 4515): parsed once, understood, and written again in one canonical form.
//!
//! A tenant's admin types or pastes filters, so the parser accepts line breaks and spaces between the
//! components and explains what is wrong and where. A value that comes from anywhere else enters a filter
//! through the constructors here and is escaped by `Display`, the only place that escapes.

mod clauses;
mod error;
mod name;
mod parse;
mod undefined;
mod value;
mod write;

use std::collections::BTreeSet;

use thiserror::Error;

use crate::secret_attribute::is_secret;

pub use clauses::Clause;
pub use error::{FilterError, FilterErrorKind};
pub use undefined::Undefined;

/// Longest filter accepted, in bytes.
pub const MAX_FILTER_BYTES: usize = 8 * 1024;
/// Deepest nesting accepted: `(a=b)` is 1 deep.
pub const MAX_FILTER_DEPTH: usize = 32;

/// A search filter. Its `Display` is the canonical RFC 4515 text, with every value escaped.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum Filter {
    /// All of these hold. `(&)`, of nothing, is true (RFC 4526).
    And(Vec<Filter>),
    /// One of these holds. `(|)`, of nothing, is false (RFC 4526).
    Or(Vec<Filter>),
    /// This does not hold.
    Not(Box<Filter>),
    /// The attribute is there.
    Present(Attribute),
    /// The attribute compares with the value.
    Compare {
        /// The attribute, with its options.
        attribute: Attribute,
        /// How to compare.
        comparison: Comparison,
        /// The assertion value, unescaped.
        value: Vec<u8>,
    },
    /// A value of the attribute matches a pattern with `*`. At least one part is given, none is empty.
    Substrings {
        /// The attribute, with its options.
        attribute: Attribute,
        /// What the value begins with.
        initial: Option<Vec<u8>>,
        /// What it holds in between, in this order.
        any: Vec<Vec<u8>>,
        /// What it ends with.
        last: Option<Vec<u8>>,
    },
    /// An extensible match, e.g. `(userAccountControl:1.2.840.113556.1.4.803:=2)`. Attribute or rule is given.
    Extensible {
        /// The attribute; all that the rule applies to if there is none.
        attribute: Option<Attribute>,
        /// True if the attributes in the entry's DN count too (`:dn`).
        dn_attributes: bool,
        /// The matching rule; the attribute's equality rule if there is none.
        rule: Option<MatchingRule>,
        /// The assertion value, unescaped.
        value: Vec<u8>,
    },
}

/// Why a filter is never sent, although it is well-formed.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum ForbiddenFilter {
    /// It asks about an attribute that holds passwords, hashes or keys.
    #[error("asks about {0}, which holds secrets: no filter may")]
    SecretAttribute(Attribute),
    /// A matching rule without an attribute asks about every attribute, those with secrets too (RFC 4511 section
    /// 4.5.1.7.7).
    #[error(
        "has a matching rule without an attribute, which asks about all of them: write (attribute:rule:=value)"
    )]
    RuleWithoutAttribute,
}

/// How [`Filter::Compare`] compares.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Comparison {
    /// `=`
    Equal,
    /// `>=`
    GreaterOrEqual,
    /// `<=`
    LessOrEqual,
    /// `~=`
    Approximate,
}

/// An attribute description: a name or OID with options, e.g. `mail`, `2.5.4.3`, `cn;lang-de`.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Attribute(String);

impl Attribute {
    /// The description as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The name or OID without the options.
    pub fn name(&self) -> &str {
        self.0.split(';').next().unwrap_or_default()
    }
}

/// A matching rule, by name or OID.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct MatchingRule(String);

impl MatchingRule {
    /// The rule as it was written.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl Filter {
    /// All of these hold. One filter stays as it is.
    pub fn and(filters: Vec<Filter>) -> Self {
        match <[Filter; 1]>::try_from(filters) {
            Ok([only]) => only,
            Err(filters) => Self::And(filters),
        }
    }

    /// One of these holds. One filter stays as it is.
    pub fn or(filters: Vec<Filter>) -> Self {
        match <[Filter; 1]>::try_from(filters) {
            Ok([only]) => only,
            Err(filters) => Self::Or(filters),
        }
    }

    /// The attribute has this value, byte for byte as given: no character of it has a meaning of its own.
    pub fn equality(attribute: Attribute, value: &[u8]) -> Self {
        Self::Compare {
            attribute,
            comparison: Comparison::Equal,
            value: value.to_vec(),
        }
    }

    /// The attribute is there.
    pub fn present(attribute: Attribute) -> Self {
        Self::Present(attribute)
    }

    /// The names of all attributes that the filter speaks of, without options, in lower case.
    pub fn attributes(&self) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        self.collect_attributes(&mut names);
        names
    }

    /// What the filter asks that nobody may ask: the values of a secret attribute, which a filter reveals letter by
    /// letter, or those of all attributes at once.
    ///
    /// # Errors
    /// The first such part.
    pub fn check_permitted(&self) -> Result<(), ForbiddenFilter> {
        match self {
            Self::And(inner) | Self::Or(inner) => inner.iter().try_for_each(Self::check_permitted),
            Self::Not(inner) => inner.check_permitted(),
            Self::Present(attribute)
            | Self::Compare { attribute, .. }
            | Self::Substrings { attribute, .. }
            | Self::Extensible {
                attribute: Some(attribute),
                ..
            } => match is_secret(attribute.as_str()) {
                true => Err(ForbiddenFilter::SecretAttribute(attribute.clone())),
                false => Ok(()),
            },
            Self::Extensible { attribute: None, .. } => Err(ForbiddenFilter::RuleWithoutAttribute),
        }
    }

    // The recursion here and in Display is bounded: a parsed filter is at most MAX_FILTER_DEPTH deep, and
    // what the constructors add is written down in code.
    fn collect_attributes(&self, names: &mut BTreeSet<String>) {
        match self {
            Self::And(inner) | Self::Or(inner) => inner.iter().for_each(|f| f.collect_attributes(names)),
            Self::Not(inner) => inner.collect_attributes(names),
            Self::Present(attribute)
            | Self::Compare { attribute, .. }
            | Self::Substrings { attribute, .. }
            | Self::Extensible {
                attribute: Some(attribute),
                ..
            } => {
                names.insert(attribute.name().to_ascii_lowercase());
            }
            Self::Extensible { attribute: None, .. } => {}
        }
    }
}

#[cfg(test)]
mod tests;
