//! What of a filter a server cannot evaluate: attributes and object classes that it does not know.
//!
//! Such a condition is Undefined, and so is the NOT of one (RFC 4511 section 4.5.1.7): neither matches anything.

use std::collections::{BTreeMap, BTreeSet};

use super::{Comparison, Filter};
use crate::schema::Schema;

/// What a server does not know of a filter.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Undefined {
    /// Attributes, each once as it is written first, by its name in lower case.
    pub attributes: BTreeMap<String, String>,
    /// Object classes, as they are written.
    pub classes: BTreeSet<String>,
    /// One of them stands within a NOT.
    pub negated: bool,
}

impl Undefined {
    /// What a server with this schema does not know; nothing if the schema is not known.
    pub fn of(filter: &Filter, schema: &Schema) -> Self {
        let mut found = Self::default();
        if !schema.is_empty() {
            found.collect(filter, schema, false);
        }
        found
    }

    /// True if the server knows all of it.
    pub fn is_empty(&self) -> bool {
        self.attributes.is_empty() && self.classes.is_empty()
    }

    /// What is wrong and what to do; `None` if nothing is.
    pub fn message_and_hint(&self) -> Option<(String, String)> {
        if self.is_empty() {
            return None;
        }
        let mut message = Vec::new();
        if !self.attributes.is_empty() {
            let names: Vec<&str> = self.attributes.values().map(String::as_str).collect();
            let names = names.join(", ");
            message.push(format!(
                "The server does not know these attributes of the filter: {names}."
            ));
        }
        if !self.classes.is_empty() {
            let names: Vec<&str> = self.classes.iter().map(String::as_str).collect();
            let names = names.join(", ");
            message.push(format!(
                "The server does not know these object classes of the filter: {names}."
            ));
        }
        let mut hint =
            "A condition on something that the server does not know matches nothing, without an error. \
                        Check the spelling."
                .to_owned();
        if self.negated {
            hint.push_str(
                " The NOT of such a condition does not match everything: it matches nothing either on servers that keep \
                 to RFC 4511 section 4.5.1.7, such as OpenLDAP. Take it out of the filter.",
            );
        }
        Some((message.join(" "), hint))
    }

    // Bounded like the recursion of the filter itself.
    fn collect(&mut self, filter: &Filter, schema: &Schema, negated: bool) {
        let attribute = match filter {
            Filter::And(inner) | Filter::Or(inner) => {
                inner.iter().for_each(|one| self.collect(one, schema, negated));
                return;
            }
            Filter::Not(inner) => return self.collect(inner, schema, true),
            Filter::Extensible { attribute: None, .. } => return,
            Filter::Present(attribute)
            | Filter::Compare { attribute, .. }
            | Filter::Substrings { attribute, .. }
            | Filter::Extensible {
                attribute: Some(attribute),
                ..
            } => attribute.name(),
        };
        if !schema.defines(attribute) {
            let written = attribute.to_owned();
            self.attributes
                .entry(attribute.to_ascii_lowercase())
                .or_insert(written);
            self.negated |= negated;
        }
        if let Filter::Compare {
            comparison: Comparison::Equal,
            value,
            ..
        } = filter
            && schema.canonical(attribute) == schema.canonical("objectClass")
            && let Ok(class) = std::str::from_utf8(value)
            && !schema.may_define_class(class)
        {
            self.classes.insert(class.to_owned());
            self.negated |= negated;
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::entry::Entry;

    fn undefined(filter: &str) -> Undefined {
        let values = |texts: &[&str]| {
            texts
                .iter()
                .map(|text| text.as_bytes().to_vec())
                .collect::<Vec<_>>()
        };
        let types = [
            "( 2.5.4.0 NAME 'objectClass' )",
            "( 2.5.4.3 NAME ( 'cn' 'commonName' ) )",
        ];
        let schema = Schema::from_entry(&Entry {
            attributes: [
                ("attributetypes".to_owned(), values(&types)),
                ("objectclasses".to_owned(), values(&["( 2.5.6.6 NAME 'person' )"])),
            ]
            .into(),
            ..Entry::default()
        });
        Undefined::of(&Filter::parse(filter).unwrap(), &schema)
    }

    #[test]
    fn attributes_and_classes_that_a_server_does_not_know_are_named() {
        assert!(undefined("(&(objectClass=Person)(commonName=a*)(2.5.4.0=2.5.6.6))").is_empty());
        let odd = undefined("(|(objectClass=persn)(&(cn=a)(sAMAccountName=b)(SAMACCOUNTNAME=*)))");
        assert_eq!(odd.attributes.values().collect::<Vec<_>>(), ["sAMAccountName"]);
        assert_eq!(odd.classes, BTreeSet::from(["persn".to_owned()]));
        assert!(!odd.negated);
        let (message, hint) = odd.message_and_hint().unwrap();
        assert!(message.contains(" sAMAccountName.") && message.contains("persn") && !hint.contains("NOT"));
    }

    #[test]
    fn what_the_not_of_such_a_condition_means_is_said() {
        for filter in ["(!(objectClass=computr))", "(&(cn=*)(!(|(uid=x)(cn=y))))"] {
            let (_, hint) = undefined(filter).message_and_hint().unwrap();
            assert!(hint.contains("NOT") && hint.contains("4.5.1.7"), "{hint}");
        }
    }

    #[test]
    fn nothing_is_said_where_the_schema_is_not_known() {
        let filter = Filter::parse("(!(objectClass=persn))").unwrap();
        assert!(Undefined::of(&filter, &Schema::default()).is_empty());
    }
}
