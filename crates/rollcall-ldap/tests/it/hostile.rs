//! Bytes that crash, stall or flood ldap3 on its own. Each ends one connection with a typed reason.

use std::time::Duration;

use rollcall_ldap::{LdapError, ProtocolViolation as Violation};
use rollcall_testkit::{ScriptedLdap, ber};
use tokio::time::Instant;

use crate::setup::*;

/// The error of a search that is answered with these bytes; 1 in them stands for the message id.
async fn search_error(answer: impl Fn(u8) -> Vec<u8> + Send + Sync + Clone + 'static) -> LdapError {
    let server = ScriptedLdap::plain(move |mut peer| {
        let answer = answer.clone();
        async move {
            let search = after_bind(&mut peer).await?;
            peer.send(&answer(search.id as u8)).await?;
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let before = Instant::now();
    let error = on_script(server.address())
        .read_entry(&read("dc=x", &["uid"]), in_seconds(10))
        .await
        .unwrap_err();
    assert!(
        before.elapsed() < Duration::from_secs(5),
        "{error:?} took {:?}",
        before.elapsed()
    );
    error
}

fn violation(error: LdapError) -> Violation {
    match error {
        LdapError::Protocol(violation) => violation,
        other => panic!("{other:?}"),
    }
}

fn nested(depth: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    for _ in 0..depth {
        bytes = ber::element(0xa1, &bytes);
    }
    bytes
}

/// Matrix case 37: 40 KB of this abort a process that lets ldap3 read them.
#[tokio::test]
async fn nesting_10_000_deep_is_one_error() {
    let deep = nested(10_000);
    for operation in [0x64, 0x65, 0x78] {
        let deep = deep.clone();
        let error =
            search_error(move |id| ber::message(id.into(), ber::element(operation, &deep), &[])).await;
        assert!(matches!(
            violation(error),
            Violation::UnexpectedElement | Violation::UnexpectedOperation
        ));
    }
    let error = search_error(move |id| {
        let result = [ber::result_parts(0, "", ""), nested(10_000)].concat();
        ber::message(id.into(), ber::element(0x65, &result), &[])
    })
    .await;
    assert_eq!(violation(error), Violation::TooDeep);
}

/// Matrix case 38.
#[tokio::test]
async fn lengths_beyond_the_limit_are_refused_at_the_header() {
    let limit = 256 << 20;
    for header in [
        vec![0x30, 0x84, 0x80, 0, 0, 0],
        vec![0x30, 0x88, 0x40, 0, 0, 0, 0, 0, 0, 0],
        vec![0x30, 0x84, 0x11, 0, 0, 0],
    ] {
        let error = search_error(move |_| header.clone()).await;
        assert_eq!(violation(error), Violation::MessageTooLarge { limit });
    }
    let error = search_error(|_| [vec![0x30, 0xff], vec![1; 127]].concat()).await;
    assert_eq!(violation(error), Violation::LengthField);
}

/// Matrix case 39: ldap3 takes the overlong ones for incomplete and parses them again at every byte.
#[tokio::test]
async fn malformed_elements_are_errors_at_once() {
    let cases: [(Vec<u8>, Violation); 11] = [
        (vec![0x30, 0], Violation::ElementMissing),
        (vec![0x30, 3, 2, 1, 1], Violation::ElementMissing),
        (vec![0x30, 5, 4, 1, 1, 0x65, 0], Violation::UnexpectedElement),
        (vec![0x30, 0x80, 0, 0], Violation::IndefiniteLength),
        (vec![0x30, 5, 2, 1, 2, 0x7f, 1], Violation::HighTagNumber),
        (vec![0x30, 4, 2, 0, 0x65, 0], Violation::EmptyInteger),
        (
            vec![0x30, 8, 2, 1, 2, 0x65, 0x82, 1, 0, 0],
            Violation::ElementOverrun,
        ),
        (
            vec![0x30, 8, 2, 1, 2, 0x65, 0x80, 0, 0, 0],
            Violation::IndefiniteLength,
        ),
        (
            vec![0x30, 11, 2, 1, 2, 0x65, 6, 10, 0, 4, 0, 4, 0],
            Violation::EmptyInteger,
        ),
        (
            vec![0x30, 12, 2, 1, 2, 0x65, 7, 2, 1, 0, 4, 0, 4, 0],
            Violation::UnexpectedElement,
        ),
        (vec![0x30, 5, 2, 1, 2, 0x65, 0], Violation::ElementMissing),
    ];
    for (bytes, expected) in cases {
        let shown = bytes.clone();
        assert_eq!(
            violation(search_error(move |_| bytes.clone()).await),
            expected,
            "{shown:02x?}"
        );
    }
}

/// Matrix case 40: 9.5 MB of these take half a gigabyte in ldap3.
#[tokio::test]
async fn millions_of_tiny_elements_are_refused() {
    let error = search_error(|id| {
        let values = [0x04, 0x00].repeat(2_000_000);
        let attribute = ber::sequence(&[ber::octets("member"), ber::element(0x31, &values)]);
        let entry = [ber::octets("cn=x"), ber::sequence(&[attribute])].concat();
        ber::message(id.into(), ber::element(0x64, &entry), &[])
    })
    .await;
    assert_eq!(violation(error), Violation::TooManyElements { limit: 75_000 });
}

/// Matrix case 46.
#[tokio::test]
async fn malformed_controls_are_errors() {
    let with_controls = |id: u8, controls: &[Vec<u8>]| {
        ber::message(
            id.into(),
            ber::element(0x65, &ber::result_parts(0, "", "")),
            controls,
        )
    };
    let oid = || ber::octets("1.2.3");
    let cases: Vec<(Vec<Vec<u8>>, Violation)> = vec![
        (vec![ber::octets("not a control")], Violation::UnexpectedElement),
        (vec![ber::sequence(&[])], Violation::ElementMissing),
        (
            vec![ber::sequence(&[ber::octets(b"\xff\xfe")])],
            Violation::MalformedControl,
        ),
        (
            vec![ber::sequence(&[ber::octets("")])],
            Violation::MalformedControl,
        ),
        (
            vec![ber::sequence(&[oid(), vec![1, 0]])],
            Violation::BooleanLength,
        ),
        (
            vec![ber::sequence(&[oid(), vec![1, 2, 0, 0]])],
            Violation::BooleanLength,
        ),
        (
            vec![ber::sequence(&[oid(), vec![5, 0]])],
            Violation::MalformedControl,
        ),
        (
            vec![ber::sequence(&[oid(), ber::octets(""), ber::octets("")])],
            Violation::MalformedControl,
        ),
        (
            vec![ber::control("1.2.3", b""); 10_000],
            Violation::TooManyControls,
        ),
    ];
    for (controls, expected) in cases {
        let error = search_error(move |id| with_controls(id, &controls)).await;
        assert_eq!(violation(error), expected);
    }
}

/// Matrix cases 47 and 48.
#[tokio::test]
async fn messages_that_nobody_asked_for_end_the_connection() {
    let unknown = search_error(|_| ber::search_entry(77, "cn=x", &[])).await;
    assert_eq!(violation(unknown), Violation::UnknownMessageId);
    let negative = search_error(|_| ber::search_done(-1, 0, "")).await;
    assert_eq!(violation(negative), Violation::IntegerOutOfRange);
    let noise = search_error(|id| ber::message(id.into(), ber::element(0x79, &[]), &[]).repeat(2000)).await;
    assert_eq!(violation(noise), Violation::TooMuchNoise);
    let unsolicited = search_error(|_| {
        let result = [ber::result_parts(0, "", ""), ber::element(0x8a, b"1.2.3")].concat();
        ber::message(0, ber::element(0x78, &result), &[]).repeat(2000)
    })
    .await;
    assert_eq!(violation(unsolicited), Violation::TooMuchNoise);
    let unknown_operation = search_error(|id| ber::message(id.into(), ber::element(0x6f, &[]), &[])).await;
    assert_eq!(violation(unknown_operation), Violation::UnexpectedOperation);
}

#[tokio::test]
async fn an_entry_after_the_end_closes_the_connection_and_the_answer_stands() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        let answer = [
            ber::search_entry(search.id, "cn=1", &[("uid", &[b"x"])]),
            ber::search_done(search.id, 0, ""),
            ber::search_done(search.id, 0, ""),
            ber::search_entry(search.id, "cn=2", &[("uid", &[b"y"])]),
        ];
        peer.send(&answer.concat()).await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let directory = on_script(server.address());
    let entry = directory
        .read_entry(&read("dc=x", &["uid"]), in_seconds(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.dn, "cn=1");
    directory
        .read_entry(&read("dc=x", &["uid"]), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(server.connections(), 2, "the first connection was not used again");
}

/// One directory's bytes are no other's trouble: same process, same runtime.
#[tokio::test]
async fn a_hostile_directory_costs_one_connection_only() {
    let hostile = ScriptedLdap::plain(|mut peer| async move {
        let search = after_bind(&mut peer).await?;
        peer.send(&ber::message(search.id, ber::element(0x64, &nested(20_000)), &[]))
            .await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let good = ScriptedLdap::plain(|mut peer| async move {
        let mut search = after_bind(&mut peer).await?;
        loop {
            let entry = ber::search_entry(search.id, "cn=1", &[("uid", &[b"x"])]);
            peer.send(&[entry, ber::search_done(search.id, 0, "")].concat())
                .await?;
            search = next(&mut peer).await?;
        }
    })
    .await
    .unwrap();
    let (bad, fine) = (on_script(hostile.address()), on_script(good.address()));
    let request = read("dc=x", &["uid"]);
    for _ in 0..3 {
        let (error, entry) = tokio::join!(
            bad.read_entry(&request, in_seconds(10)),
            fine.read_entry(&request, in_seconds(10))
        );
        assert!(matches!(error, Err(LdapError::Protocol(_))));
        assert!(entry.unwrap().is_some());
    }
    assert_eq!(good.connections(), 1);
}
