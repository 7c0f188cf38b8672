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
        let answer = directory
            .verify_password(who, &password("secret"), in_seconds(10))
            .await;
        assert!(matches!(
            answer.unwrap().code,
            ResultCode::SUCCESS | ResultCode::INVALID_CREDENTIALS
        ));
    }
    let binds = server
        .received()
        .into_iter()
        .filter_map(|request| match request.operation {
            Operation::Bind { dn, .. } => Some(dn),
            _ => None,
        });
    binds.filter(|dn| dn != SERVICE_DN).collect()
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
