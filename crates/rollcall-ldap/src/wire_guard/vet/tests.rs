#![allow(clippy::unwrap_used, clippy::expect_used)]
use proptest::prelude::*;

use super::*;

const SEARCH: Option<Request> = Some(Request {
    id: 2,
    operation: Operation::Search,
});
const BIND: Option<Request> = Some(Request {
    id: 2,
    operation: Operation::Bind,
});

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put(&mut out, tag, content);
    out
}

fn message(operation: &[u8]) -> Vec<u8> {
    element(SEQUENCE, &[&[2, 1, 2], operation].concat())
}

fn result(tag: u8, matched: &[u8], text: &[u8], rest: &[u8]) -> Vec<u8> {
    let parts = [
        &[10, 1, 0],
        &*element(OCTET_STRING, matched),
        &*element(OCTET_STRING, text),
        rest,
    ]
    .concat();
    message(&element(tag, &parts))
}

fn entry(dn: &[u8], name: &[u8], values: &[&[u8]]) -> Vec<u8> {
    let values: Vec<u8> = values
        .iter()
        .flat_map(|value| element(OCTET_STRING, value))
        .collect();
    let attribute = [element(OCTET_STRING, name), element(SET, &values)].concat();
    let attributes = element(SEQUENCE, &element(SEQUENCE, &attribute));
    message(&element(0x64, &[element(OCTET_STRING, dn), attributes].concat()))
}

fn vetted(message: &[u8], request: Option<Request>) -> Result<Answer, ProtocolViolation> {
    vet(&mut message.to_vec(), request, 1000).map(|vetted| vetted.answer)
}

#[test]
fn answers_fit_the_request_or_are_refused() {
    let answers = [
        (0x61, Operation::Bind),
        (0x65, Operation::Search),
        (0x78, Operation::Extended),
    ];
    for (tag, own) in answers {
        for (_, operation) in answers {
            let outcome = vetted(&result(tag, b"", b"", b""), Some(Request { id: 2, operation }));
            let expected = if own == operation {
                Ok(Answer::Final)
            } else {
                Err(ProtocolViolation::UnexpectedOperation)
            };
            assert_eq!(outcome, expected, "{tag:x} for {operation:?}");
        }
    }
    assert_eq!(
        vetted(&entry(b"cn=x", b"cn", &[]), BIND),
        Err(ProtocolViolation::UnexpectedOperation)
    );
    assert_eq!(
        vetted(&result(0x65, b"", b"", b""), None),
        Err(ProtocolViolation::UnknownMessageId)
    );
}

#[test]
fn an_empty_bind_response_is_refused() {
    assert_eq!(
        vetted(&message(&[0x61, 0]), BIND),
        Err(ProtocolViolation::ElementMissing)
    );
}

#[test]
fn a_result_code_that_is_an_integer_is_refused() {
    let operation = [0x61, 7, 2, 1, 0, 4, 0, 4, 0];
    assert_eq!(
        vetted(&message(&operation), BIND),
        Err(ProtocolViolation::UnexpectedElement)
    );
}

#[test]
fn text_that_ldap3_takes_for_utf_8_is_repaired_in_place() {
    let mut bytes = result(0x61, b"\xfc", b"f\xfcr \xe2\x82", b"");
    let length = bytes.len();
    assert_eq!(vet(&mut bytes, BIND, 1000).unwrap().answer, Answer::Final);
    assert_eq!(bytes, result(0x61, b"?", b"f?r ??", b""));
    assert_eq!(bytes.len(), length);
    let referral = element(0xa3, &element(OCTET_STRING, b"ldap://\xff"));
    let mut bytes = result(0x61, b"", b"", &referral);
    vet(&mut bytes, BIND, 1000).unwrap();
    assert_eq!(
        bytes,
        result(
            0x61,
            b"",
            b"",
            &element(0xa3, &element(OCTET_STRING, b"ldap://?"))
        )
    );
}

#[test]
fn an_entry_is_tainted_by_its_names_and_not_by_its_values() {
    let tainted = |bytes: &[u8]| vetted(bytes, SEARCH);
    assert_eq!(
        tainted(&entry(b"cn=x", b"cn", &[b"\xff\xfe"])),
        Ok(Answer::Entry { tainted: false })
    );
    assert_eq!(
        tainted(&entry(b"cn=\xe4", b"cn", &[])),
        Ok(Answer::Entry { tainted: true })
    );
    assert_eq!(
        tainted(&entry(b"cn=x", b"c\xe4", &[])),
        Ok(Answer::Entry { tainted: true })
    );
    let mut bytes = entry(b"cn=x", b"cn", &[b"\xff\xfe"]);
    vet(&mut bytes, SEARCH, 1000).unwrap();
    assert_eq!(
        bytes,
        entry(b"cn=x", b"cn", &[b"\xff\xfe"]),
        "values keep their bytes"
    );
}

#[test]
fn parts_of_an_entry_have_one_type_each() {
    let dn = element(OCTET_STRING, b"cn=x");
    let search = |parts: &[&[u8]]| vetted(&message(&element(0x64, &parts.concat())), SEARCH);
    let empty_list: &[u8] = &[0x30, 0];
    assert_eq!(search(&[&dn, empty_list]), Ok(Answer::Entry { tainted: false }));
    for wrong in [
        [&dn[..], &[0x31, 0]],
        [&[0x24, 0][..], empty_list],
        [&dn[..], &[0x30, 2, 4, 0]],
        [&dn[..], &[0x30, 6, 0x30, 4, 4, 0, 0x30, 0]],
        [&dn[..], &[0x30, 8, 0x30, 6, 4, 0, 0x31, 2, 0x30, 0]],
        [&dn[..], &[0x30, 8, 0x30, 6, 4, 0, 0x31, 0, 4, 0]],
        [&dn[..], &[0x30, 0, 4, 0]],
    ] {
        assert_eq!(
            search(&wrong),
            Err(ProtocolViolation::UnexpectedElement),
            "{wrong:02x?}"
        );
    }
}

#[test]
fn lengths_as_active_directory_writes_them_are_fine() {
    let done = [
        0x30, 0x84, 0, 0, 0, 16, 2, 1, 2, 0x65, 0x84, 0, 0, 0, 7, 10, 1, 0, 4, 0, 4, 0,
    ];
    assert_eq!(vetted(&done, SEARCH), Ok(Answer::Final));
}

#[test]
fn unknown_result_codes_pass_and_too_long_ones_do_not() {
    let done = |code: &[u8]| {
        let parts = [&element(ENUMERATED, code)[..], &[4, 0, 4, 0]].concat();
        vetted(&message(&element(0x65, &parts)), SEARCH)
    };
    assert_eq!(done(&[0x41, 0x0e]), Ok(Answer::Final));
    assert_eq!(
        done(&[0, 0, 0, 0, 0, 0, 0, 0, 4]),
        Err(ProtocolViolation::IntegerOutOfRange)
    );
    assert_eq!(done(&[0xff]), Err(ProtocolViolation::IntegerOutOfRange));
}

#[test]
fn unknown_trailing_parts_are_walked_but_not_too_deep() {
    let mut part = Vec::new();
    for _ in 0..12 {
        part = element(0xa5, &part);
    }
    assert_eq!(vetted(&result(0x65, b"", b"", &part), SEARCH), Ok(Answer::Final));
    for _ in 0..3 {
        part = element(0xa5, &part);
    }
    assert_eq!(
        vetted(&result(0x65, b"", b"", &part), SEARCH),
        Err(ProtocolViolation::TooDeep)
    );
    // ldap3 goes by the number alone and would unwrap these.
    for tag in [0x03, 0x23, 0x2a, 0xaa, 0xab, 0x83, 0x43] {
        let outcome = vetted(&result(0x65, b"", b"", &[tag, 0]), SEARCH);
        assert_eq!(outcome, Err(ProtocolViolation::UnexpectedElement), "{tag:x}");
    }
}

#[test]
fn what_trails_a_message_is_refused() {
    let mut trailing = message(&[0x65, 7, 10, 1, 0, 4, 0, 4, 0, 0x85, 0]);
    trailing[1] += 0;
    assert_eq!(
        vetted(&trailing, SEARCH),
        Err(ProtocolViolation::UnexpectedElement)
    );
}

proptest! {
    /// No bytes make the guard panic, or lengthen or shorten a message.
    #[test]
    fn any_bytes_get_an_answer(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        for request in [SEARCH, BIND, None] {
            let mut copy = bytes.clone();
            let _ = vet(&mut copy, request, 1000);
            prop_assert_eq!(copy.len(), bytes.len());
        }
    }

    /// Nearly right messages, each with a few bytes changed: the interesting neighbourhood.
    #[test]
    fn what_is_let_through_does_not_make_ldap3_panic(
        dn in "[a-z]{0,8}",
        values in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..6), 0..4),
        changes in proptest::collection::vec((any::<proptest::sample::Index>(), any::<u8>()), 0..4),
        kind in 0..3,
    ) {
        let values: Vec<&[u8]> = values.iter().map(Vec::as_slice).collect();
        let (mut bytes, request) = match kind {
            0 => (entry(dn.as_bytes(), b"cn", &values), SEARCH),
            1 => (result(0x65, dn.as_bytes(), b"text", &element(0xa3, &element(4, b"ldap://x"))), SEARCH),
            _ => (result(0x61, dn.as_bytes(), b"text", &[]), BIND),
        };
        for (index, byte) in changes {
            let index = index.index(bytes.len());
            bytes[index] = byte;
        }
        // The rest is not forwarded.
        if let Ok(Answer::Entry { .. } | Answer::Final) = vet(&mut bytes, request, 1000).map(|vetted| vetted.answer) {
            decode_like_ldap3(&bytes, request);
        }
    }
}

/// The steps of ldap3's own decoding that panic on what they do not expect.
fn decode_like_ldap3(bytes: &[u8], request: Option<Request>) {
    let (rest, tree) = lber::parse::parse_tag(bytes).expect("a vetted message parses");
    assert!(rest.is_empty());
    let mut parts = tree.expect_constructed().expect("a sequence");
    let last = parts.pop().expect("an element");
    let operation = if parts.len() == 2 {
        parts.pop().expect("an operation")
    } else {
        last
    };
    match (operation.id, request.map(|request| request.operation)) {
        (4, Some(Operation::Search)) => {
            let entry = ldap3::ResultEntry::new(operation.clone());
            ldap3::SearchEntry::construct(entry);
            crate::entry::from_tree(operation, false).expect("our own decoding agrees");
        }
        (5, Some(Operation::Search)) | (1, Some(Operation::Bind)) | (24, _) => {
            let result = ldap3::LdapResult::from(lber::structures::Tag::StructureTag(operation));
            assert!(result.rc <= i32::MAX as u32);
        }
        _ => {}
    }
}
