//! What an operator sees who logs `rollcall_ldap=debug`, as the configuration advises.

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

use rollcall_ldap::{LdapDirectory, ResultCode};
use rollcall_testkit::{Operation, ScriptedLdap, ber};
use tracing_subscriber::EnvFilter;

use crate::setup::*;

#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

async fn verify(directory: &LdapDirectory) -> Option<ResultCode> {
    let (password, request) = (password("of nobody else"), read("cn=ada,dc=secret", &["uid"]));
    let verified = directory
        .verify_and_read("cn=ada,dc=secret", &password, &request, in_seconds(10))
        .await;
    verified.bind.ok().map(|answer| answer.code)
}

#[tokio::test]
async fn connections_passwords_and_searches_are_told_and_nobody_is_named() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        loop {
            let request = next(&mut peer).await?;
            let answer = match request.operation {
                Operation::Bind { ref dn, .. } if dn.starts_with("cn=ada") => {
                    ber::bind_response(request.id, 49, "", "")
                }
                Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                _ => [
                    entry(request.id, "cn=ada,dc=secret"),
                    ber::search_done(request.id, 0, ""),
                ]
                .concat(),
            };
            peer.send(&answer).await?;
        }
    })
    .await
    .unwrap();
    let url = format!("ldap://{}", server.address());
    let lines = Lines::default();
    let writer = lines.clone();
    let subscriber = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new("info,rollcall_ldap=debug"))
        .with_ansi(false)
        .with_writer(move || writer.clone())
        .finish();
    {
        let _guard = tracing::subscriber::set_default(subscriber);
        let directory = directory(settings(std::slice::from_ref(&url)), "service password");
        assert_eq!(verify(&directory).await, Some(ResultCode(49)));
        drop(server);
        verify(&directory).await;
    }
    let told = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
    for expected in [
        "a connection is open",
        "a password was tried",
        "a search ended",
        "no connection",
    ] {
        assert!(told.contains(expected), "{expected} is missing in\n{told}");
    }
    assert!(told.contains(&url) && told.contains("result=49"), "{told}");
    for secret in ["cn=ada", "of nobody else", "service password", "dc=secret"] {
        assert!(!told.contains(secret), "{secret} is in\n{told}");
    }
}
