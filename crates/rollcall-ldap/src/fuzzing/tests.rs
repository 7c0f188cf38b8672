//! What real servers said, random changes of it, and made-up messages, through the entry points of the fuzz
//! targets.
#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::Path;

use proptest::prelude::*;
use proptest::sample::{Index, select};

use super::*;

/// The seeds of one kind that come from real servers, or were written by hand where servers have none.
fn seeds(kind: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("fuzz/seeds")
        .join(kind);
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .collect();
    files.sort();
    files.into_iter().map(|file| fs::read(file).unwrap()).collect()
}

/// One change of a message: an octet replaced, put in or taken out, or everything from there on cut off.
fn changed(mut bytes: Vec<u8>, changes: &[(Index, u8, u8)]) -> Vec<u8> {
    for (at, kind, byte) in changes {
        if bytes.is_empty() {
            break;
        }
        let at = at.index(bytes.len());
        match kind {
            0 => bytes[at] = *byte,
            1 => bytes.insert(at, *byte),
            2 => drop(bytes.remove(at)),
            3 => bytes.truncate(at),
            _ => bytes[at] ^= 1 << (byte % 8),
        }
    }
    bytes
}

fn changes() -> impl Strategy<Value = Vec<(Index, u8, u8)>> {
    prop::collection::vec((any::<Index>(), 0..5_u8, any::<u8>()), 1..4)
}

/// An element whose length takes so many octets more than it needs.
fn element(tag: u8, spare: u8, content: &[u8]) -> Vec<u8> {
    let mut length = (content.len() as u32).to_be_bytes().to_vec();
    length.drain(..3 - usize::from(spare.min(3)).min(3));
    let needed = content
        .len()
        .to_be_bytes()
        .iter()
        .skip_while(|octet| **octet == 0)
        .count();
    while length.len() < needed {
        length = (content.len() as u32).to_be_bytes().to_vec();
    }
    let mut out = vec![tag, 0x80 | length.len() as u8];
    out.extend(length);
    out.extend(content);
    out
}

fn octets() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        "[a-zA-Z;=,-]{0,12}".prop_map(String::into_bytes),
        "\\PC{0,5}".prop_map(String::into_bytes),
        prop::collection::vec(any::<u8>(), 0..8),
    ]
}

/// Entries with repeated, empty and binary attributes.
fn entry() -> impl Strategy<Value = Vec<u8>> {
    let attribute = (octets(), prop::collection::vec(octets(), 0..4), 0..4_u8);
    (octets(), prop::collection::vec(attribute, 0..5)).prop_map(|(dn, attributes)| {
        let mut list = Vec::new();
        for (name, values, spare) in attributes {
            let values: Vec<u8> = values.iter().flat_map(|value| element(4, spare, value)).collect();
            let parts = [element(4, 0, &name), element(0x31, spare, &values)].concat();
            list.extend(element(0x30, spare, &parts));
        }
        element(0x64, 0, &[element(4, 1, &dn), element(0x30, 0, &list)].concat())
    })
}

/// Final answers of each kind, with codes of up to five octets, referrals, names and values.
fn result() -> impl Strategy<Value = Vec<u8>> {
    let code = prop::collection::vec(any::<u8>(), 0..6);
    let rest = prop::collection::vec((select(vec![0xa3, 0x87, 0x8a, 0x8b, 0x85]), octets()), 0..3);
    (select(vec![0x61, 0x65, 0x78]), code, octets(), octets(), rest).prop_map(
        |(tag, code, matched, text, rest)| {
            let mut parts = [
                element(10, 0, &code),
                element(4, 0, &matched),
                element(4, 2, &text),
            ]
            .concat();
            for (tag, content) in rest {
                let content = if tag == 0xa3 {
                    element(4, 0, &content)
                } else {
                    content
                };
                parts.extend(element(tag, 0, &content));
            }
            element(tag, 3, &parts)
        },
    )
}

fn control() -> impl Strategy<Value = Vec<u8>> {
    let oid = prop_oneof![Just(b"1.2.840.113556.1.4.319".to_vec()), octets()];
    let critical = prop::option::of(any::<u8>());
    (oid, critical, prop::option::of(octets())).prop_map(|(oid, critical, value)| {
        let mut parts = element(4, 0, &oid);
        parts.extend(critical.map(|octet| element(1, 0, &[octet])).unwrap_or_default());
        parts.extend(value.map(|value| element(4, 1, &value)).unwrap_or_default());
        element(0x30, 0, &parts)
    })
}

/// Whole messages, most of them right.
fn made_up() -> impl Strategy<Value = Vec<u8>> {
    let id = prop_oneof![
        Just(vec![2]),
        Just(vec![0, 0, 2]),
        prop::collection::vec(any::<u8>(), 0..6)
    ];
    let controls = prop::option::of(prop::collection::vec(control(), 0..3));
    (id, prop_oneof![entry(), result()], controls, 0..4_u8).prop_map(|(id, operation, controls, spare)| {
        let mut parts = [element(2, 0, &id), operation].concat();
        parts.extend(
            controls
                .map(|list| element(0xa0, 0, &list.concat()))
                .unwrap_or_default(),
        );
        element(0x30, spare, &parts)
    })
}

#[test]
fn everything_that_real_servers_said_passes_as_the_answer_to_one_kind_of_request() {
    let messages = seeds("message");
    assert!(messages.len() > 20, "{} seeds", messages.len());
    for message in messages {
        assert_eq!(message_length(&message, 1 << 20), Ok(Some(message.len())));
        let fits = OPERATIONS.into_iter().filter(|operation| {
            let request = Request {
                id: ID,
                operation: *operation,
            };
            vet(&mut message.clone(), Some(request), MAX_ELEMENTS).is_ok()
        });
        assert_eq!(fits.count(), 1, "{}", String::from_utf8_lossy(&message));
        super::message(&message);
        agreement(&message);
    }
}

#[test]
fn every_seed_passes_its_target() {
    for (kind, target) in [
        ("control_value", control_value as fn(&[u8])),
        ("attribute_name", attribute_name),
        ("external_id", external_id),
        ("account_state", account_state),
        ("diagnostic", diagnostic),
        ("distinguished_name", distinguished_name),
        ("filter", filter),
        ("server_facts", server_facts),
    ] {
        for seed in seeds(kind) {
            target(&seed);
        }
    }
}

proptest! {
    #[test]
    fn changed_messages_of_real_servers_do_no_harm(message in select(seeds("message")), changes in changes()) {
        let message = changed(message, &changes);
        frame(&message);
        super::message(&message);
    }

    #[test]
    fn changed_messages_of_real_servers_are_read_alike_by_another_decoder(
        message in select(seeds("message")),
        changes in changes(),
    ) {
        agreement(&changed(message, &changes));
    }

    #[test]
    fn made_up_messages_are_read_alike_by_another_decoder(message in made_up(), changes in changes()) {
        agreement(&message);
        agreement(&changed(message, &changes));
    }

    #[test]
    fn changed_values_do_no_harm(
        (target, seed) in select(vec![
            ("control_value", control_value as fn(&[u8])),
            ("attribute_name", attribute_name),
            ("external_id", external_id),
            ("account_state", account_state),
            ("diagnostic", diagnostic),
            ("distinguished_name", distinguished_name),
            ("filter", filter),
            ("server_facts", server_facts),
        ]).prop_flat_map(|(kind, target)| (Just(target), select(seeds(kind)))),
        changes in changes(),
    ) {
        target(&changed(seed, &changes));
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    /// Whole conversations, cut anywhere, right and wrong.
    #[test]
    fn however_a_conversation_is_cut_the_same_is_let_through(
        how in any::<[u8; 3]>(),
        messages in prop::collection::vec(prop_oneof![select(seeds("message")), made_up()], 0..6),
        changes in prop::option::of(changes()),
    ) {
        let stream = changed(messages.concat(), &changes.unwrap_or_default());
        answers(&[&how[..], &stream].concat());
        requests(&[&how[..2], &stream].concat());
    }
}
