use anyhow::Result;
use rollcall_testkit::{Filter, Operation, Peer, ScriptedLdap, TestCa, ber, wait_for};
use std::process::{Command, Output};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;

/// A directory with one entry on each of two pages; the password is `right`.
async fn two_pages(mut peer: Peer) -> Result<()> {
    while let Some(request) = peer.receive().await? {
        match request.operation {
            Operation::Bind { password, .. } if password == b"right" => {
                peer.send(&ber::bind_response(request.id, 0, "", "")).await?;
            }
            Operation::Bind { .. } => {
                peer.send(&ber::bind_response(request.id, 49, "", "data 52e"))
                    .await?
            }
            Operation::Search {
                page: Some((_, cookie)),
                ..
            } => {
                let (cn, next): (&[u8], &[u8]) = if cookie.is_empty() {
                    (b"one", b"more")
                } else {
                    (b"two", b"")
                };
                peer.send(&ber::search_entry(request.id, "cn=x", &[("cn", &[cn])]))
                    .await?;
                peer.send(&ber::page_done(request.id, next)).await?;
            }
            _ => return Ok(()),
        }
    }
    Ok(())
}

/// `ldapsearch` as an independent judge of what the server sends.
async fn ldapsearch(
    server: &ScriptedLdap,
    ca: Option<&TestCa>,
    arguments: &'static [&'static str],
) -> Output {
    let scheme = if ca.is_some() { "ldaps" } else { "ldap" };
    let url = format!("{scheme}://{}", server.address());
    let ca = ca.map(TestCa::file).unwrap_or_default();
    tokio::task::spawn_blocking(move || {
        let mut command = Command::new("ldapsearch");
        command.env("LDAPTLS_CACERT", ca).args(["-x", "-LLL", "-H", &url]);
        command.args(arguments).output().unwrap()
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn libldap_understands_answers_and_pages_over_plain_text_and_tls() {
    let ca = TestCa::new().unwrap();
    let plain = ScriptedLdap::plain(two_pages).await.unwrap();
    let tls = ScriptedLdap::tls(&ca.loopback_server().unwrap(), two_pages)
        .await
        .unwrap();
    for (server, ca) in [(&plain, None), (&tls, Some(&ca))] {
        let arguments = &[
            "-D",
            "cn=me",
            "-w",
            "right",
            "-b",
            "dc=x",
            "-E",
            "pr=1/noprompt",
            "(cn=*)",
            "cn",
        ];
        let output = ldapsearch(server, ca, arguments).await;
        let text = String::from_utf8_lossy(&output.stdout);
        assert!(text.contains("cn: one") && text.contains("cn: two"), "{output:?}");
        let received: Vec<Operation> = server
            .received()
            .into_iter()
            .map(|request| request.operation)
            .collect();
        assert_eq!(
            received[0],
            Operation::Bind {
                dn: "cn=me".to_owned(),
                password: b"right".to_vec()
            }
        );
        let search = |cookie: &[u8]| Operation::Search {
            base: "dc=x".to_owned(),
            scope: 2,
            size_limit: 0,
            filter: Filter::Present("cn".to_owned()),
            attributes: vec!["cn".to_owned()],
            page: Some((1, cookie.to_vec())),
        };
        assert_eq!(received[1..3], [search(b""), search(b"more")]);
        assert_eq!(server.connections(), 1);
        wait_for("the script sees the end", Duration::from_secs(10), async || {
            server.open_connections() == 0
        })
        .await
        .unwrap();
    }
}

#[tokio::test]
async fn diagnostics_reach_the_client() {
    let server = ScriptedLdap::plain(two_pages).await.unwrap();
    let output = ldapsearch(&server, None, &["-D", "cn=me", "-w", "wrong", "-b", ""]).await;
    assert_eq!(output.status.code(), Some(49));
    assert!(
        String::from_utf8_lossy(&output.stderr).contains("data 52e"),
        "{output:?}"
    );
}

#[tokio::test]
async fn start_tls_and_garbage_and_a_pause_until_the_test_says() {
    let ca = TestCa::new().unwrap();
    let certificate = ca.loopback_server().unwrap();
    let go = Arc::new(Notify::new());
    let gate = go.clone();
    let server = ScriptedLdap::plain(move |mut peer| {
        let (certificate, gate) = (certificate.clone(), gate.clone());
        async move {
            let start = peer.receive().await?.unwrap();
            assert_eq!(
                start.operation,
                Operation::Extended("1.3.6.1.4.1.1466.20037".to_owned())
            );
            peer.send(&ber::extended_response(start.id, 0, "")).await?;
            peer.tls(&certificate).await?;
            peer.receive().await?;
            gate.notified().await;
            // A length of four gigabytes of which nothing comes, and the end of the connection.
            peer.send(&[0x30, 0x84, 0xff, 0xff, 0xff, 0xff]).await
        }
    })
    .await
    .unwrap();
    let url = format!("ldap://{}", server.address());
    let file = ca.file();
    let client = tokio::task::spawn_blocking(move || {
        let mut command = Command::new("ldapsearch");
        command.env("LDAPTLS_CACERT", file);
        command
            .args(["-x", "-ZZ", "-H", &url, "-D", "cn=me", "-w", "x", "-b", ""])
            .output()
            .unwrap()
    });
    wait_for(
        "the bind comes through TLS",
        Duration::from_secs(10),
        async || server.received().len() == 2,
    )
    .await
    .unwrap();
    assert!(!client.is_finished());
    go.notify_one();
    assert!(!client.await.unwrap().status.success());
}

#[test]
fn lengths_and_integers_take_their_shortest_form() {
    assert_eq!(ber::element(4, &[7; 127])[..2], [4, 127]);
    assert_eq!(ber::element(4, &[7; 128])[..3], [4, 0x81, 128]);
    assert_eq!(ber::element(4, &[7; 256])[..4], [4, 0x82, 1, 0]);
    assert_eq!(ber::integer(2, 0), [2, 1, 0]);
    assert_eq!(ber::integer(2, 127), [2, 1, 127]);
    assert_eq!(ber::integer(2, 128), [2, 2, 0, 128]);
    assert_eq!(ber::integer(2, -1), [2, 1, 0xff]);
    assert_eq!(ber::integer(2, -129), [2, 2, 0xff, 0x7f]);
}
