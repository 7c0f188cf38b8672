//! Attributes asked for by any of their names (RFC 4512 section 2.5), on servers that answer by their own.

use std::time::Duration;

use rollcall_core::entry::Entry;
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{LdapError, SearchOutcome};
use rollcall_testkit::{Ldif, Operation, Peer, ScriptedLdap, Slapd, SlapdBuilder, ber};

use crate::setup::*;

const AMY: &str = "uid=amy1,dc=example,dc=org";
const NAMES: [(&str, &str); 9] = [
    ("userid", "amy1"),
    ("rfc822Mailbox", "amy@example.com"),
    ("commonName", "Amy One"),
    ("gn", "Amy"),
    ("surname", "One"),
    ("streetAddress", "Main 1"),
    ("2.5.4.4", "One"),
    ("0.9.2342.19200300.100.1.1", "amy1"),
    ("CommonName;phonetic;LANG-ja", "\u{30a8}\u{30a4}\u{30df}"),
];

fn company(configure: impl FnOnce(SlapdBuilder) -> SlapdBuilder) -> Slapd {
    let mut ldif = Ldif::new();
    ldif.entry(AMY)
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "amy1")
        .attribute("cn", "Amy One")
        .attribute("cn;lang-ja;phonetic", "\u{30a8}\u{30a4}\u{30df}")
        .attribute("sn", "One")
        .attribute("givenName", "Amy")
        .attribute("mail", "amy@example.com")
        .attribute("street", "Main 1");
    let builder = Slapd::builder().global_config("attributeoptions lang- phonetic");
    configure(builder.ldif(ldif.as_str())).start().unwrap()
}

fn wanted() -> Vec<&'static str> {
    NAMES.map(|(name, _)| name).to_vec()
}

fn assert_found(entry: &Entry) {
    for (name, value) in NAMES {
        assert_eq!(
            entry.values(name),
            [value.as_bytes().to_vec()],
            "{name} in {entry:?}"
        );
    }
}

#[tokio::test]
async fn every_way_to_read_an_entry_finds_values_by_the_names_asked_for() {
    let slapd = company(|builder| builder);
    let directory = on_slapd(&slapd);
    let (entries, outcome) = pull(&directory, everything(AMY, &wanted())).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)));
    assert_found(&entries[0]);

    let names: Vec<String> = wanted().into_iter().map(str::to_owned).collect();
    let found = directory.find(
        AMY,
        SearchScope::Base,
        "(objectClass=*)",
        &names,
        1,
        in_seconds(10),
    );
    assert_found(&found.await.unwrap().entries[0]);

    let request = read(AMY, &wanted());
    let entry = directory.read_entry(&request, in_seconds(10)).await.unwrap();
    assert_found(&entry.unwrap());
    let both = directory
        .verify_and_read(AMY, &password("wrong"), &request, in_seconds(10))
        .await;
    assert_found(&both.read.unwrap().unwrap());
}

#[tokio::test]
async fn two_names_of_one_attribute_both_have_its_values() {
    let slapd = company(|builder| builder);
    let request = read(AMY, &["sn", "surname", "uid"]);
    let entry = on_slapd(&slapd)
        .read_entry(&request, in_seconds(10))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(entry.values("sn"), entry.values("surname"));
    assert_eq!(entry.text("surname"), Some("One"));
}

#[tokio::test]
async fn a_server_that_hides_its_schema_is_asked_for_it_once_and_its_names_stay() {
    let slapd = company(|builder| builder.global_config("access to dn.base=\"cn=Subschema\" by * none"));
    let directory = on_slapd(&slapd);
    assert!(directory.schema(in_seconds(10)).await.unwrap().is_empty());
    let request = read(AMY, &["surname", "CN;phonetic;lang-ja", "uid"]);
    let entry = directory
        .read_entry(&request, in_seconds(10))
        .await
        .unwrap()
        .unwrap();
    assert!(entry.values("surname").is_empty());
    assert_eq!(entry.text("sn"), Some("One"));
    assert!(entry.text("cn;phonetic;lang-ja").is_some());
}

/// A server that answers `surname` with `sn`, and with `rest` whatever is asked about its schema.
async fn renaming(rest: fn(i64) -> Vec<u8>) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer: Peer| async move {
        while let Some(request) = peer.receive().await? {
            let answer = match &request.operation {
                Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                Operation::Search { base, .. } if base == AMY => [
                    ber::search_entry(request.id, AMY, &[("sn", &[b"One"])]),
                    ber::search_done(request.id, 0, ""),
                ]
                .concat(),
                _ => rest(request.id),
            };
            if answer.is_empty() {
                return Ok(());
            }
            peer.send(&answer).await?;
        }
        Ok(())
    })
    .await
    .unwrap()
}

fn schema_requests(server: &ScriptedLdap) -> usize {
    let is_one =
        |operation: &Operation| matches!(operation, Operation::Search { base, .. } if base.is_empty());
    server
        .received()
        .iter()
        .filter(|request| is_one(&request.operation))
        .count()
}

#[tokio::test]
async fn a_question_about_a_name_that_is_lost_is_an_error_and_no_absence() {
    let server = renaming(|_| Vec::new()).await;
    let directory = on_script(server.address());
    let answer = directory
        .read_entry(&read(AMY, &["surname"]), in_seconds(5))
        .await;
    assert!(matches!(answer, Err(LdapError::ConnectionLost)), "{answer:?}");
    let (entries, outcome) = pull(&directory, everything(AMY, &["surname"])).await;
    assert!(entries.is_empty());
    assert!(!matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
}

#[tokio::test]
async fn the_schema_is_read_when_it_is_needed_and_once() {
    let server = renaming(|id| ber::search_done(id, 0, "")).await;
    let directory = on_script(server.address());
    for _ in 0..3 {
        let entry = directory
            .read_entry(&read(AMY, &["sn", "uid"]), in_seconds(5))
            .await
            .unwrap();
        assert_eq!(entry.unwrap().text("sn"), Some("One"));
    }
    assert_eq!(schema_requests(&server), 0);
    for _ in 0..3 {
        directory
            .read_entry(&read(AMY, &["surname", "uid"]), in_seconds(5))
            .await
            .unwrap();
    }
    // Once for what asks for a secret, since the name may be another one's, and once to understand the answer.
    assert_eq!(schema_requests(&server), 2);
}

#[tokio::test]
async fn searches_that_all_wait_for_the_schema_do_not_wait_for_each_other() {
    let slapd = company(|builder| builder);
    let directory = on_slapd(&slapd);
    // As many as the pool has connections.
    let pulls = (0..8).map(|_| pull(&directory, everything(AMY, &["surname"])));
    let all = tokio::time::timeout(Duration::from_secs(8), futures::future::join_all(pulls)).await;
    for (entries, _) in all.unwrap() {
        assert_eq!(entries[0].text("surname"), Some("One"));
    }
}
