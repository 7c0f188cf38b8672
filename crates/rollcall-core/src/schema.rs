//! Which attributes and object classes a server knows (RFC 4512 section 4.1), and which names denote one attribute.
//!
//! A type has names and an OID, and a server answers with the one that it likes (RFC 4511 section 4.5.2): who asks for
//! `surname` gets `sn`. What is read here was written by somebody else: it is bounded, and what cannot be read is passed
//! over.

mod description;

use std::collections::BTreeSet;

use crate::entry::Entry;
use crate::secret_attribute::is_secret;
use description::Description;

/// Most attribute types, and most object classes, that are kept.
const MAX_DEFINITIONS: usize = 20_000;
/// Most bytes that all names together may have.
const MAX_NAME_BYTES: usize = 2 << 20;
/// Longest way up from a type to what it inherits from.
const MAX_INHERITANCE: usize = 16;

/// Where the definitions stand in the subschema subentry (RFC 4512 section 4.2).
pub const ATTRIBUTES: [&str; 2] = ["attributeTypes", "objectClasses"];

/// Syntaxes whose values are bytes: RFC 4517 section 3.3 and RFC 4523 section 2 for those under `115.121.1`, and
/// MS-ADTS 3.1.1.2.2.2 for the others (security descriptors, DNs with bytes).
const BINARY_SYNTAXES: [&str; 11] = [
    "1.3.6.1.4.1.1466.115.121.1.4",
    "1.3.6.1.4.1.1466.115.121.1.5",
    "1.3.6.1.4.1.1466.115.121.1.8",
    "1.3.6.1.4.1.1466.115.121.1.9",
    "1.3.6.1.4.1.1466.115.121.1.10",
    "1.3.6.1.4.1.1466.115.121.1.23",
    "1.3.6.1.4.1.1466.115.121.1.28",
    "1.3.6.1.4.1.1466.115.121.1.40",
    "1.3.6.1.4.1.1466.115.121.1.49",
    "1.2.840.113556.1.4.903",
    "1.2.840.113556.1.4.907",
];

/// What a server knows. The default knows nothing: names then denote one attribute only if they are spelled alike.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Schema {
    /// Every name and OID in lower case, with its type, in order.
    names: Box<[(Box<str>, u32)]>,
    types: Box<[Type]>,
    /// The names and OIDs of all object classes in lower case.
    classes: BTreeSet<Box<str>>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
struct Type {
    /// The name that stands for all names of the type: the first that no other type claims, as the server writes it.
    name: Box<str>,
    superior: Option<u32>,
    has_subtypes: bool,
    binary: Option<bool>,
    kept_by_server: bool,
}

impl Schema {
    /// From the subschema subentry's [`ATTRIBUTES`].
    pub fn from_entry(entry: &Entry) -> Self {
        let read = |attribute: &str| {
            let texts = entry.texts(attribute).filter_map(Description::parse);
            texts.take(MAX_DEFINITIONS).collect::<Vec<_>>()
        };
        let mut types = read(ATTRIBUTES[0]);
        // Values have no order. Where two types claim one name, the same one gets it each time.
        types.sort_unstable_by(|a, b| a.oid.cmp(&b.oid));
        types.dedup_by(|a, b| a.oid == b.oid);
        let mut room = MAX_NAME_BYTES;
        let mut names: Vec<(Box<str>, u32)> = Vec::new();
        for (number, one) in (0..).zip(&types) {
            for name in std::iter::once(&one.oid).chain(&one.names) {
                room = room.saturating_sub(name.len());
                if room > 0 {
                    names.push((name.to_ascii_lowercase().into(), number));
                }
            }
        }
        names.sort();
        names.dedup_by(|a, b| a.0 == b.0);
        let names = names.into_boxed_slice();
        let type_of = |name: &str| find(&names, &name.to_ascii_lowercase());
        let mut kept: Vec<Type> = (0..)
            .zip(&types)
            .map(|(number, one)| Type {
                name: one
                    .names
                    .iter()
                    .find(|name| type_of(name) == Some(number))
                    .unwrap_or(&one.oid)
                    .as_str()
                    .into(),
                superior: one
                    .superior
                    .as_deref()
                    .and_then(type_of)
                    .filter(|up| *up != number),
                has_subtypes: false,
                binary: one.syntax.as_deref().map(is_binary_syntax),
                kept_by_server: one.kept_by_server,
            })
            .collect();
        for superior in kept.iter().filter_map(|one| one.superior).collect::<Vec<_>>() {
            kept[superior as usize].has_subtypes = true;
        }
        let classes = read(ATTRIBUTES[1]).into_iter().flat_map(|one| {
            let names = std::iter::once(one.oid).chain(one.names);
            names
                .map(|name| name.to_ascii_lowercase().into())
                .collect::<Vec<Box<str>>>()
        });
        Self {
            classes: classes.collect(),
            types: kept.into(),
            names,
        }
    }

    /// True if no attribute type could be read, so that nothing can be said.
    pub fn is_empty(&self) -> bool {
        self.types.is_empty()
    }

    /// True if the server knows the attribute.
    pub fn defines(&self, attribute: &str) -> bool {
        self.type_of(attribute).is_some()
    }

    /// True if the server knows the object class, or nothing is known about its classes.
    pub(crate) fn may_define_class(&self, class: &str) -> bool {
        self.classes.is_empty() || self.classes.contains(class.trim().to_ascii_lowercase().as_str())
    }

    /// One key for all descriptions of one attribute with the same options, in lower case.
    pub fn canonical(&self, description: &str) -> String {
        let (name, options) = split(description);
        let mut key = match self.type_of(name) {
            Some(one) => one.name.to_ascii_lowercase(),
            None => name.to_ascii_lowercase(),
        };
        let options: BTreeSet<String> = options.map(str::to_ascii_lowercase).collect();
        for option in options.iter().filter(|option| !option.is_empty()) {
            key.push(';');
            key.push_str(option);
        }
        key
    }

    /// The name by which the server calls an attribute, without options.
    pub fn name_of(&self, attribute: &str) -> Option<&str> {
        self.type_of(attribute).map(|one| &*one.name)
    }

    /// True if other types are kinds of this one, as `cn` and `sn` are of `name`. A server answers with theirs.
    pub(crate) fn has_subtypes(&self, attribute: &str) -> bool {
        self.type_of(attribute).is_some_and(|one| one.has_subtypes)
    }

    /// True if the values are bytes by their syntax; `None` if the schema does not tell.
    pub fn is_binary(&self, attribute: &str) -> Option<bool> {
        let mut one = self.type_of(attribute)?;
        for _ in 0..MAX_INHERITANCE {
            match one.binary {
                None => one = self.types.get(one.superior? as usize)?,
                known => return known,
            }
        }
        None
    }

    /// True if the server itself makes the values, and nobody else can write them; `None` if it does not know the
    /// attribute.
    pub fn is_kept_by_server(&self, attribute: &str) -> Option<bool> {
        self.type_of(attribute).map(|one| one.kept_by_server)
    }

    /// Further names and OIDs, in lower case, that ask for a secret on this server although they do not look like it:
    /// the other names of an attribute that holds secrets, and the names of its subtypes and supertypes.
    pub fn other_names_of_secrets(&self) -> BTreeSet<String> {
        let mut asks = vec![false; self.types.len()];
        for (_, number) in self.names.iter().filter(|(name, _)| is_secret(name)) {
            asks[*number as usize] = true;
        }
        let named: Vec<bool> = asks.clone();
        for number in 0..self.types.len() {
            let line: Vec<usize> = self.line(number).collect();
            if let Some(last) = line.iter().rposition(|one| named[*one]) {
                line[..last].iter().for_each(|below| asks[*below] = true);
            }
            if named[number] {
                line.iter().for_each(|above| asks[*above] = true);
            }
        }
        let asking = self.names.iter().filter(|(_, number)| asks[*number as usize]);
        let others = asking.filter(|(name, _)| !is_secret(name));
        others.map(|(name, _)| name.to_string()).collect()
    }

    /// A type, then its supertypes upwards.
    fn line(&self, number: usize) -> impl Iterator<Item = usize> {
        let above = |one: &usize| self.types.get(*one)?.superior.map(|up| up as usize);
        std::iter::successors(Some(number), above).take(MAX_INHERITANCE)
    }

    fn type_of(&self, attribute: &str) -> Option<&Type> {
        let (name, _) = split(attribute);
        let number = find(&self.names, &name.to_ascii_lowercase())?;
        self.types.get(number as usize)
    }
}

fn find(names: &[(Box<str>, u32)], name: &str) -> Option<u32> {
    let at = names.binary_search_by(|(own, _)| (**own).cmp(name)).ok()?;
    Some(names[at].1)
}

/// The name and the options.
fn split(description: &str) -> (&str, impl Iterator<Item = &str>) {
    let mut parts = description.split(';').map(str::trim);
    (parts.next().unwrap_or_default(), parts)
}

fn is_binary_syntax(syntax: &str) -> bool {
    BINARY_SYNTAXES.contains(&syntax)
}

#[cfg(test)]
mod tests;
