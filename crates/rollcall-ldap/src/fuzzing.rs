//! Entry points of the fuzz targets; compiled for them and for the test that replays their seeds.
#![allow(clippy::expect_used, clippy::panic)]

use lber::structures::Tag;

use crate::guard::frame::message_length;
use crate::guard::vet::{Answer, Operation, Request, vet};

/// Vets a message as the answer to each kind of request; what passes is decoded as ldap3 would.
pub fn vet_and_decode(message: &[u8]) {
    for operation in [Operation::Bind, Operation::Search, Operation::Extended] {
        let mut copy = message.to_vec();
        let id = 2;
        let vetted = vet(&mut copy, Some(Request { id, operation }), 10_000);
        assert_eq!(copy.len(), message.len());
        // The rest is not forwarded.
        let Ok(Answer::Entry { .. } | Answer::Final) = vetted.map(|vetted| vetted.answer) else {
            continue;
        };
        let (rest, tree) = lber::parse::parse_tag(&copy).expect("a vetted message parses");
        assert!(rest.is_empty());
        let mut parts = tree.expect_constructed().expect("a sequence").into_iter().skip(1);
        let operation = parts.next().expect("an operation");
        match operation.id {
            4 => {
                let _ = ldap3::SearchEntry::construct(ldap3::ResultEntry::new(operation.clone()));
                crate::entry::from_tree(operation, false).expect("our own decoding agrees");
            }
            1 | 5 | 24 => {
                let _ = crate::bind::answer(ldap3::LdapResult::from(Tag::StructureTag(operation)));
            }
            _ => {}
        }
    }
}

/// Finds the end of the first message.
pub fn frame(bytes: &[u8]) {
    if let Ok(Some(length)) = message_length(bytes, 1 << 20) {
        assert!((2..=1 << 20).contains(&length));
    }
}

/// Reads control values that a server sent.
pub fn control_values(value: &[u8]) {
    crate::bind::read_control_values(value);
    crate::paging::read_control_value(value);
}

#[cfg(test)]
mod tests;
