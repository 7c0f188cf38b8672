//! Binding by objectGUID: only on hosts that are proven to take it.

use rollcall_core::dialect::Dialect;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_ldap::{BindAs, DirectoryConfig, LdapDirectory, ResultCode};
use rollcall_testkit::{Operation, Peer, ScriptedLdap, ber};

use crate::setup::*;

const OWN_GUID: [u8; 16] = [7; 16];
const PERSON: &str = "CN=Ada,DC=lab,DC=test";

/// A server that answers binds by GUID with this code, and shows the service account's GUID if it is to.
async fn server(code: i64, shows_guid: bool) -> ScriptedLdap {
    let serve = move |mut peer: Peer| async move {
        while let Some(request) = peer.receive().await? {
            match &request.operation {
                Operation::Bind { dn, .. } => {
                    let code = if dn.starts_with("<GUID=") { code } else { 0 };
                    peer.send(&ber::bind_response(request.id, code, "", "")).await?;
                }
                Operation::Search { base, .. } if base == SERVICE_DN && shows_guid => {
                    let guid: &[&[u8]] = &[&OWN_GUID];
                    let entry = ber::search_entry(request.id, SERVICE_DN, &[("objectGUID", guid)]);
                    peer.send(&entry).await?;
                    peer.send(&ber::search_done(request.id, 0, "")).await?;
                }
                _ => peer.send(&ber::search_done(request.id, 0, "")).await?,
            }
        }
        Ok(())
    };
    ScriptedLdap::plain(serve).await.unwrap()
}

/// The names of the binds that two logins send, in order, without the service account's usual ones.
async fn names(server: &ScriptedLdap, dialect: Dialect) -> Vec<String> {
    let config = config(
        settings(&[format!("ldap://{}", server.address())]),
        "service password",
    );
    let directory = LdapDirectory::new(DirectoryConfig {
        dialect: Some(dialect),
        ..config
    })
    .unwrap();
    let id = ExternalId::from_bytes(IdKind::ObjectGuid, &[1; 16]).unwrap();
    let who = BindAs {
        name: PERSON,
        id: Some(&id),
    };
    for _ in 0..2 {
        let answer = bind(&directory, who, &password("secret"), in_seconds(10)).await;
        assert!(matches!(
            answer.unwrap().code,
            ResultCode::SUCCESS | ResultCode::INVALID_CREDENTIALS
        ));
    }
    bound(server)
}

fn guid(byte: u8) -> String {
    format!("<GUID={}>", format!("{byte:02x}").repeat(16))
}

#[tokio::test]
async fn a_host_that_lets_the_service_account_in_by_its_guid_gets_guids() {
    let server = server(0, true).await;
    let expected = [guid(7), guid(1), guid(1)];
    assert_eq!(names(&server, Dialect::ActiveDirectory).await, expected);
}

#[tokio::test]
async fn a_host_that_does_not_gets_dns_and_is_asked_once() {
    let refuses = server(49, true).await;
    assert_eq!(
        names(&refuses, Dialect::ActiveDirectory).await,
        [&guid(7), PERSON, PERSON]
    );
    let hides = server(0, false).await;
    assert_eq!(names(&hides, Dialect::ActiveDirectory).await, [PERSON, PERSON]);
    let other = server(0, true).await;
    assert_eq!(names(&other, Dialect::Generic).await, [PERSON, PERSON]);
}

/// A server that calls itself Active Directory and knows no `<GUID=...>`: it shows ids as text, and finds them by the
/// text alone.
async fn imitation(refusal: i64) -> ScriptedLdap {
    let text = "7c9e6679-7425-40de-944b-e07fc1f90ae7";
    let serve = move |mut peer: Peer| async move {
        while let Some(request) = peer.receive().await? {
            let entry = ber::search_entry(request.id, PERSON, &[("objectGUID", &[text.as_bytes()])]);
            let done = |code| ber::search_done(request.id, code, "");
            let answer = match &request.operation {
                Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                Operation::Search { base, .. } if base.starts_with("<GUID=") => done(refusal),
                Operation::Search { .. } => [entry, done(0)].concat(),
                _ => done(0),
            };
            peer.send(&answer).await?;
        }
        Ok(())
    };
    ScriptedLdap::plain(serve).await.unwrap()
}

#[tokio::test]
async fn whoever_was_moved_is_found_on_a_server_that_only_looks_like_active_directory() {
    let gil = ExternalId::parse(IdKind::ObjectGuid, "7c9e6679-7425-40de-944b-e07fc1f90ae7").unwrap();
    // Invalid DN syntax, no such object, and an answer that says nothing.
    for refusal in [34, 32, 0, 1] {
        let server = imitation(refusal).await;
        for dialect in [Some(Dialect::ActiveDirectory), Some(Dialect::Generic), None] {
            let settings = settings(&[format!("ldap://{}", server.address())]);
            let directory = LdapDirectory::new(DirectoryConfig {
                dialect,
                ..config(settings, "service password")
            })
            .unwrap();
            let (bases, attributes) = (["DC=lab,DC=test".to_owned()], ["objectGUID".to_owned()]);
            let found = directory.find_by_external_id(&gil, &bases, &attributes, in_seconds(10));
            let found = found.await.unwrap().map(|entry| entry.dn);
            assert_eq!(found.as_deref(), Some(PERSON), "{refusal} {dialect:?}");
        }
    }
}
