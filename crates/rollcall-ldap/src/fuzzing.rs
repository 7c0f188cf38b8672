//! Entry points of the fuzz targets; compiled for them and for the tests that run them over what real servers
//! said and random changes of it.
//!
//! Each takes bytes as a server could send them and panics if something that must hold does not.
#![allow(clippy::expect_used, clippy::panic)]

use lber::structures::Tag;

use crate::wire_guard::frame::message_length;
use crate::wire_guard::vet::{Answer, Operation, Request, vet};

pub use self::agreement::agreement;
pub use self::conversation::{answers, requests};
pub use self::values::{
    account_state, attribute_name, control_value, diagnostic, distinguished_name, external_id, filter,
    server_facts,
};

mod agreement;
mod conversation;
mod values;

/// The kinds of requests that Rollcall makes.
const OPERATIONS: [Operation; 3] = [Operation::Bind, Operation::Search, Operation::Extended];
/// The id of the request that is taken to be in flight; all seeds answer it.
const ID: u32 = 2;
/// Elements that a message may have.
const MAX_ELEMENTS: u32 = 10_000;

/// Vets a message as the answer to each kind of request; what passes is decoded as ldap3 would.
pub fn message(message: &[u8]) {
    for operation in OPERATIONS {
        let mut copy = message.to_vec();
        let vetted = vet(&mut copy, Some(Request { id: ID, operation }), MAX_ELEMENTS);
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

#[cfg(test)]
mod tests;
