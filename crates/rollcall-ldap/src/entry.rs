//! From ldap3's raw element tree to an entry.
//!
//! ldap3's own `SearchEntry::construct` panics on what it does not expect, keeps only the last of two
//! blocks of one attribute, and sorts values into text and binary by what their bytes happen to be.

use std::collections::btree_map;

use lber::structure::{PL, StructureTag};
use rollcall_core::entry::Entry;

use crate::protocol_violation::ProtocolViolation;

/// Moves the values out of a `SearchResultEntry`. Blocks of one attribute are put together, empty ones
/// dropped; names become lower case.
pub(crate) fn from_tree(tree: StructureTag, tainted: bool) -> Result<Entry, ProtocolViolation> {
    let mut parts = constructed(tree)?.into_iter();
    let dn = text(parts.next())?;
    let attributes = constructed(parts.next().ok_or(ProtocolViolation::Undecodable)?)?;
    let mut entry = Entry {
        dn,
        tainted,
        ..Entry::default()
    };
    for attribute in attributes {
        let mut parts = constructed(attribute)?.into_iter();
        let mut name = text(parts.next())?;
        name.make_ascii_lowercase();
        let values = constructed(parts.next().ok_or(ProtocolViolation::Undecodable)?)?;
        if values.is_empty() {
            continue;
        }
        let values = values.into_iter().map(|value| match value.payload {
            PL::P(bytes) => Ok(bytes),
            PL::C(_) => Err(ProtocolViolation::Undecodable),
        });
        match entry.attributes.entry(name) {
            btree_map::Entry::Vacant(vacant) => {
                vacant.insert(values.collect::<Result<_, _>>()?);
            }
            btree_map::Entry::Occupied(mut occupied) => {
                for value in values {
                    occupied.get_mut().push(value?);
                }
            }
        }
    }
    Ok(entry)
}

fn constructed(tree: StructureTag) -> Result<Vec<StructureTag>, ProtocolViolation> {
    tree.expect_constructed().ok_or(ProtocolViolation::Undecodable)
}

fn text(tree: Option<StructureTag>) -> Result<String, ProtocolViolation> {
    let bytes = tree
        .and_then(StructureTag::expect_primitive)
        .ok_or(ProtocolViolation::Undecodable)?;
    String::from_utf8(bytes).map_err(|_| ProtocolViolation::Undecodable)
}

/// The attribute and the last index of a name like `member;range=0-1499`. `None` in it stands for `*`: the
/// range is the last one.
pub(crate) fn range(name: &str) -> Option<(&str, Option<u32>)> {
    let (attribute, options) = name.split_once(';')?;
    let range = options
        .split(';')
        .find_map(|option| option.strip_prefix("range="))?;
    let (_, high) = range.split_once('-')?;
    Some((
        attribute,
        if high == "*" {
            None
        } else {
            Some(high.parse().ok()?)
        },
    ))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use lber::common::TagClass;

    use super::*;

    fn octets(bytes: &[u8]) -> StructureTag {
        StructureTag {
            class: TagClass::Universal,
            id: 4,
            payload: PL::P(bytes.to_vec()),
        }
    }

    fn list(id: u64, items: Vec<StructureTag>) -> StructureTag {
        StructureTag {
            class: TagClass::Universal,
            id,
            payload: PL::C(items),
        }
    }

    fn attribute(name: &str, values: &[&[u8]]) -> StructureTag {
        let values = values.iter().map(|value| octets(value)).collect();
        list(16, vec![octets(name.as_bytes()), list(17, values)])
    }

    #[test]
    fn blocks_of_one_attribute_are_put_together_whatever_their_case_and_bytes() {
        let tree = list(
            4,
            vec![
                octets(b"cn=x"),
                list(
                    16,
                    vec![
                        attribute("mail", &[b"a"]),
                        attribute("MAIL", &[b"\xff", b"b"]),
                        attribute("cn;lang-de", &[b"y"]),
                        attribute("member", &[]),
                    ],
                ),
            ],
        );
        let entry = from_tree(tree, true).unwrap();
        assert_eq!(entry.dn, "cn=x");
        assert!(entry.tainted);
        assert_eq!(
            entry.values("mail"),
            [b"a".to_vec(), b"\xff".to_vec(), b"b".to_vec()]
        );
        assert_eq!(
            entry.attributes.keys().collect::<Vec<_>>(),
            ["cn;lang-de", "mail"]
        );
    }

    #[test]
    fn ranges_are_told_from_other_options() {
        assert_eq!(range("member;range=0-1499"), Some(("member", Some(1499))));
        assert_eq!(range("member;range=1500-*"), Some(("member", None)));
        assert_eq!(range("member;range=x"), None);
        assert_eq!(range("cn;lang-de"), None);
        assert_eq!(range("cn"), None);
    }

    #[test]
    fn anything_else_is_an_error_and_no_panic() {
        for tree in [
            octets(b""),
            list(4, vec![]),
            list(4, vec![octets(b"cn=x")]),
            list(4, vec![octets(b"\xff")]),
        ] {
            assert_eq!(from_tree(tree, false), Err(ProtocolViolation::Undecodable));
        }
    }
}
