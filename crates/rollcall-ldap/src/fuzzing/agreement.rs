//! The guard and the code behind it, compared with another decoder.
//!
//! ldap-parser shares no code with ldap3 or with the guard. Both must read alike what the guard lets through. What the
//! guard refuses although ldap-parser reads it, it must refuse for one of the known reasons.

use std::collections::BTreeMap;
use std::mem::discriminant;

use lber::structure::{PL, StructureTag};
use lber::structures::Tag;
use ldap_parser::FromBer;
use ldap_parser::ldap::{LdapMessage, LdapResult, ProtocolOp};

use super::{ID, MAX_ELEMENTS, OPERATIONS};
use crate::entry::from_tree;
use crate::protocol_violation::ProtocolViolation;
use crate::wire_guard::vet::{Answer, Request, vet};

/// A message as a decoder reads it.
#[derive(PartialEq, Eq, Debug)]
struct Reading {
    id: u32,
    contents: Contents,
    controls: Vec<(String, bool, Option<Vec<u8>>)>,
}

#[derive(PartialEq, Eq, Debug)]
enum Contents {
    Entry {
        dn: String,
        attributes: BTreeMap<String, Vec<Vec<u8>>>,
    },
    Result {
        tag: u64,
        code: u32,
        matched_dn: String,
        text: String,
    },
    /// What is never forwarded, by its tag number.
    Other(u64),
}

/// Compares the two on one message, as the answer to each kind of request.
pub fn agreement(message: &[u8]) {
    for operation in OPERATIONS {
        let mut copy = message.to_vec();
        match vet(&mut copy, Some(Request { id: ID, operation }), MAX_ELEMENTS) {
            Ok(vetted) if matches!(vetted.answer, Answer::Entry { .. } | Answer::Final) => {
                assert_eq!(theirs(&copy), Some(ours(&copy)), "{copy:02x?}");
            }
            Ok(_) => {}
            Err(violation) => {
                let kind = discriminant(&violation);
                let known = STRICTER
                    .iter()
                    .any(|(_, example, _)| discriminant(example) == kind)
                    || is_limit(violation);
                assert!(known || theirs(message).is_none(), "{violation:?} {message:02x?}");
            }
        }
    }
}

/// Where the guard is stricter than ldap-parser: the reason, what it says, and an answer to a search that
/// shows it.
#[rustfmt::skip]
const STRICTER: [(&str, ProtocolViolation, &[u8]); 16] = [
    ("ldap-parser knows of no request in flight", ProtocolViolation::UnknownMessageId,
        &[0x30, 12, 2, 1, 3, 0x65, 7, 10, 1, 0, 4, 0, 4, 0]),
    ("nor of its kind", ProtocolViolation::UnexpectedOperation,
        &[0x30, 12, 2, 1, 2, 0x61, 7, 10, 1, 0, 4, 0, 4, 0]),
    ("it takes an operation for constructed whose tag says that it is not", ProtocolViolation::UnexpectedOperation,
        &[0x30, 12, 2, 1, 2, 0x45, 7, 10, 1, 0, 4, 0, 4, 0]),
    ("it takes lengths of the indefinite form, which RFC 4511 section 5.1 forbids", ProtocolViolation::IndefiniteLength,
        &[0x30, 0x80, 2, 1, 2, 0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0, 0]),
    ("it stops reading an answer behind the parts that it knows", ProtocolViolation::ElementOverrun,
        &[0x30, 14, 2, 1, 2, 0x65, 9, 10, 1, 0, 4, 0, 4, 0, 0xa3, 9]),
    ("and behind the controls", ProtocolViolation::UnexpectedElement,
        &[0x30, 14, 2, 1, 2, 0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0x85, 0]),
    ("it does not look into them", ProtocolViolation::IndefiniteLength,
        &[0x30, 14, 2, 1, 2, 0x65, 9, 10, 1, 0, 4, 0, 4, 0, 0xa3, 0x80]),
    ("nor at the number of their tags", ProtocolViolation::HighTagNumber,
        &[0x30, 15, 2, 1, 2, 0x65, 10, 10, 1, 0, 4, 0, 4, 0, 0x9f, 0x20, 0]),
    ("nor at the size of their length fields", ProtocolViolation::LengthField,
        &[0x30, 14, 2, 1, 2, 0x65, 9, 10, 1, 0, 4, 0, 4, 0, 0xa3, 0xff]),
    ("nor at their nesting", ProtocolViolation::TooDeep,
        &[0x30, 44, 2, 1, 2, 0x65, 39, 10, 1, 0, 4, 0, 4, 0,
          0xa5, 30, 0xa5, 28, 0xa5, 26, 0xa5, 24, 0xa5, 22, 0xa5, 20, 0xa5, 18, 0xa5, 16,
          0xa5, 14, 0xa5, 12, 0xa5, 10, 0xa5, 8, 0xa5, 6, 0xa5, 4, 0xa5, 2, 0xa5, 0]),
    ("it drops the controls from the first one on that it cannot read", ProtocolViolation::ElementMissing,
        &[0x30, 16, 2, 1, 2, 0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0xa0, 2, 0x30, 0]),
    ("also where criticality is no truth value", ProtocolViolation::BooleanLength,
        &[0x30, 21, 2, 1, 2, 0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0xa0, 7, 0x30, 5, 4, 1, b'1', 1, 0]),
    ("it takes any text for an object identifier", ProtocolViolation::MalformedControl,
        &[0x30, 19, 2, 1, 2, 0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0xa0, 5, 0x30, 3, 4, 1, b'x']),
    ("it takes a number without octets for zero", ProtocolViolation::EmptyInteger,
        &[0x30, 11, 2, 1, 2, 0x65, 6, 10, 0, 4, 0, 4, 0]),
    ("it takes result codes of more than 31 bits, and negative ones for positive", ProtocolViolation::IntegerOutOfRange,
        &[0x30, 15, 2, 1, 2, 0x65, 10, 10, 4, 0xff, 0xff, 0xff, 0xff, 4, 0, 4, 0]),
    ("it goes on reading after an attribute that it cannot read", ProtocolViolation::UnexpectedElement,
        &[0x30, 11, 2, 1, 2, 0x64, 6, 4, 0, 0x30, 2, 5, 0]),
];

/// ldap-parser has no limits.
fn is_limit(violation: ProtocolViolation) -> bool {
    use ProtocolViolation as V;
    matches!(violation, V::TooManyControls | V::TooManyElements { .. })
}

/// As ldap3 and the code above it read a message.
fn ours(message: &[u8]) -> Reading {
    let (rest, tree) = lber::parse::parse_tag(message).expect("a vetted message parses");
    assert!(rest.is_empty());
    let mut parts = tree.expect_constructed().expect("a sequence").into_iter();
    let id = primitive(parts.next().expect("an id"));
    let id = id.iter().fold(0, |sum, octet| (sum << 8) | u32::from(*octet));
    let operation = parts.next().expect("an operation");
    let controls = parts.next().map_or_else(Vec::new, children);
    let contents = match operation.id {
        4 => {
            let entry = from_tree(operation, false).expect("an entry");
            Contents::Entry {
                dn: entry.dn,
                attributes: entry.attributes,
            }
        }
        tag => {
            let result = ldap3::LdapResult::from(Tag::StructureTag(operation));
            Contents::Result {
                tag,
                code: result.rc,
                matched_dn: result.matched,
                text: result.text,
            }
        }
    };
    Reading {
        id,
        contents,
        controls: controls.into_iter().map(control).collect(),
    }
}

/// As ldap3 does, which keeps the function to itself.
fn control(control: StructureTag) -> (String, bool, Option<Vec<u8>>) {
    let mut parts = children(control).into_iter().peekable();
    let oid = primitive(parts.next().expect("an OID"));
    let critical = parts
        .next_if(|part| part.id == 1)
        .is_some_and(|part| primitive(part)[0] != 0);
    (
        String::from_utf8(oid).expect("an OID"),
        critical,
        parts.next().map(primitive),
    )
}

fn children(tag: StructureTag) -> Vec<StructureTag> {
    tag.expect_constructed().expect("a constructed element")
}

fn primitive(tag: StructureTag) -> Vec<u8> {
    match tag.payload {
        PL::P(octets) => octets,
        PL::C(_) => panic!("a primitive element"),
    }
}

/// As ldap-parser reads a message; `None` if it does not.
#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of ldap-parser: the others are no answers"
)]
fn theirs(message: &[u8]) -> Option<Reading> {
    let (rest, message) = LdapMessage::from_ber(message).ok()?;
    if !rest.is_empty() {
        return None;
    }
    let tag = u64::from(message.protocol_op.tag().0);
    let result = |result: &LdapResult<'_>| Contents::Result {
        tag,
        code: result.result_code.0,
        matched_dn: result.matched_dn.0.to_string(),
        text: result.diagnostic_message.0.to_string(),
    };
    let contents = match &message.protocol_op {
        ProtocolOp::SearchResultEntry(entry) => {
            let mut attributes: BTreeMap<String, Vec<Vec<u8>>> = BTreeMap::new();
            for attribute in &entry.attributes {
                let values = attribute.attr_vals.iter().map(|value| value.0.to_vec());
                attributes
                    .entry(attribute.attr_type.0.to_ascii_lowercase())
                    .or_default()
                    .extend(values);
            }
            attributes.retain(|_, values| !values.is_empty());
            Contents::Entry {
                dn: entry.object_name.0.to_string(),
                attributes,
            }
        }
        ProtocolOp::BindResponse(answer) => result(&answer.result),
        ProtocolOp::ExtendedResponse(answer) => result(&answer.result),
        ProtocolOp::SearchResultDone(answer) => result(answer),
        _ => Contents::Other(tag),
    };
    let controls = message.controls.unwrap_or_default();
    Some(Reading {
        id: message.message_id.0,
        contents,
        controls: controls
            .into_iter()
            .map(|control| {
                let value = control.control_value.map(|value| value.to_vec());
                (control.control_type.0.to_string(), control.criticality, value)
            })
            .collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire_guard::vet::Operation;

    #[test]
    fn each_reason_to_be_stricter_has_an_example() {
        let request = Some(Request {
            id: ID,
            operation: Operation::Search,
        });
        for (reason, violation, example) in STRICTER {
            let refused = vet(&mut example.to_vec(), request, MAX_ELEMENTS).map(|_| ());
            assert_eq!((reason, refused), (reason, Err(violation)));
            assert!(theirs(example).is_some(), "{reason}");
        }
    }
}
