//! Dialling, TLS and StartTLS.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use rollcall_core::directory::{DirectorySettings, TransportSecurity};
use rollcall_ldap::{
    DialFailure, EgressPolicy, LdapDirectory, LdapError, ProtocolViolation, ResultCode, Spoken, TlsFailure,
};
use rollcall_testkit::{Certificate, ScriptedLdap, Slapd, TestCa, ber, wait_for};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::time::Instant;

use crate::setup::*;

pub(crate) async fn error_of(directory: &LdapDirectory) -> LdapError {
    directory
        .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
        .await
        .unwrap_err()
}

pub(crate) fn over_ldaps(slapd: &Slapd, ca: &str) -> DirectorySettings {
    DirectorySettings {
        bind_dn: slapd.service_dn(),
        ca_certificates: ca.into(),
        ..settings(&[slapd.tls_url()])
    }
}

pub(crate) fn over_start_tls(slapd: &Slapd, ca: &str) -> DirectorySettings {
    DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: ca.into(),
        ..slapd_settings(slapd)
    }
}

/// Matrix case 27: an address in the certificate, and the right CA.
#[tokio::test]
async fn ldaps_and_start_tls_work_with_the_tenant_s_ca() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    for settings in [over_ldaps(&slapd, &ca.pem()), over_start_tls(&slapd, &ca.pem())] {
        let directory = directory(settings, slapd.service_password());
        let entry = directory
            .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
            .await
            .unwrap();
        assert_eq!(entry.unwrap().text("dc"), Some("example"));
    }
}

#[tokio::test]
async fn each_certificate_problem_has_its_name() {
    let ca = TestCa::new().unwrap();
    let stranger = TestCa::new().unwrap();
    let failure = async |certificate: Certificate, ca_pem: String| {
        let slapd = Slapd::builder().certificate(certificate).start().unwrap();
        let mut failures = Vec::new();
        for settings in [over_ldaps(&slapd, &ca_pem), over_start_tls(&slapd, &ca_pem)] {
            match error_of(&directory(settings, slapd.service_password())).await {
                LdapError::Tls(failure) => failures.push(failure),
                other => panic!("{other:?}"),
            }
        }
        assert_eq!(failures[0], failures[1], "LDAPS and StartTLS tell the same");
        assert!(
            slapd.binds().unwrap().is_empty(),
            "no bind before a good handshake"
        );
        failures.remove(0)
    };
    let unknown = failure(ca.loopback_server().unwrap(), stranger.pem()).await;
    assert_eq!(unknown, TlsFailure::UnknownIssuer);
    let own = Certificate::self_signed(&["127.0.0.1"]).unwrap();
    // An address is no name to ask for.
    assert_eq!(failure(own, ca.pem()).await, TlsFailure::SelfSignedWithoutName);
    let future = failure(ca.future_server(&["127.0.0.1"]).unwrap(), ca.pem()).await;
    assert_eq!(future, TlsFailure::NotYetValid);
    let expired = failure(ca.expired_server(&["127.0.0.1"]).unwrap(), ca.pem()).await;
    assert_eq!(
        expired.to_string(),
        "the server's certificate has expired on 2001-01-01"
    );
    let wrong = failure(ca.server(&["dc1.example.com", "10.1.2.3"]).unwrap(), ca.pem()).await;
    assert_eq!(
        wrong,
        TlsFailure::WrongName {
            names: vec!["dc1.example.com".into(), "10.1.2.3".into()]
        }
    );
}

#[tokio::test]
async fn the_server_name_may_be_another_than_the_host() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.server(&["dc1.example.com"]).unwrap())
        .start()
        .unwrap();
    let settings = DirectorySettings {
        tls_server_name: Some("DC1.example.com".into()),
        ..over_ldaps(&slapd, &ca.pem())
    };
    let directory = directory(settings, slapd.service_password());
    assert!(
        directory
            .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
            .await
            .unwrap()
            .is_some()
    );
}

#[tokio::test]
async fn a_directory_without_a_ca_of_its_own_does_not_trust_a_private_one() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    match LdapDirectory::new(config(over_ldaps(&slapd, ""), slapd.service_password())) {
        Ok(directory) => assert_eq!(
            error_of(&directory).await,
            LdapError::Tls(TlsFailure::UnknownIssuer)
        ),
        Err(error) => assert!(matches!(error, LdapError::Misconfigured(_)), "{error:?}"),
    }
}

/// Servers that hang up without a reason, as slapd does here, over LDAPS and StartTLS.
#[tokio::test]
async fn old_tls_and_a_demand_for_a_client_certificate_are_recognised() {
    let ca = TestCa::new().unwrap();
    let demand = format!(
        "TLSCACertificateFile {}\nTLSVerifyClient demand",
        ca.file().display()
    );
    for (config, expected) in [
        (
            "TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS1.1:%COMPAT",
            TlsFailure::OldVersion,
        ),
        (
            "TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS1.0:%COMPAT",
            TlsFailure::OldVersion,
        ),
        (
            "TLSCipherSuite NORMAL:-VERS-ALL:+VERS-TLS1.2:-CIPHER-ALL:+AES-128-CBC",
            TlsFailure::NoCommonCipher,
        ),
        (&demand, TlsFailure::ClientCertificateRequired),
    ] {
        let certificate = ca.loopback_server().unwrap();
        let slapd = Slapd::builder().certificate(certificate).global_config(config);
        let slapd = slapd.start().unwrap();
        for settings in [over_ldaps(&slapd, &ca.pem()), over_start_tls(&slapd, &ca.pem())] {
            let error = error_of(&directory(settings, slapd.service_password())).await;
            assert_eq!(error, LdapError::Tls(expected.clone()), "{config}");
        }
        assert!(slapd.binds().unwrap().is_empty(), "{config}");
    }
}

/// Other servers say that they know no version that is offered, or just begin with an old one.
#[tokio::test]
async fn an_old_version_is_recognised_by_its_alert_and_by_its_hello() {
    let alert = b"\x15\x03\x01\x00\x02\x02\x46".to_vec();
    let hello = [
        &b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01"[..],
        &[7; 32],
        b"\x00\x00\x2f\x00",
    ]
    .concat();
    for answer in [alert, hello] {
        let server = ScriptedLdap::plain(move |mut peer| {
            let answer = answer.clone();
            async move {
                peer.send(&answer).await?;
                peer.closed().await
            }
        })
        .await
        .unwrap();
        let settings = DirectorySettings {
            ca_certificates: TestCa::new().unwrap().pem(),
            ..settings(&[format!("ldaps://{}", server.address())])
        };
        let error = error_of(&directory(settings, "x")).await;
        assert_eq!(error, LdapError::Tls(TlsFailure::OldVersion));
    }
}

/// Matrix case 28: whatever is not one good answer ends the connection, and no password was sent.
#[tokio::test]
async fn start_tls_fails_closed() {
    let start = async |answer: fn(i64) -> Vec<u8>| {
        let server = ScriptedLdap::plain(move |mut peer| async move {
            let request = next(&mut peer).await?;
            peer.send(&answer(request.id)).await?;
            peer.closed().await
        })
        .await
        .unwrap();
        let settings = DirectorySettings {
            transport_security: TransportSecurity::StartTls,
            ca_certificates: TestCa::new().unwrap().pem(),
            connect_timeout: Duration::from_millis(500),
            ..settings(&[format!("ldap://{}", server.address())])
        };
        let error = error_of(&directory(settings, "service password")).await;
        assert_eq!(server.received().len(), 1, "nothing but StartTLS was sent");
        error
    };
    for code in [2, 52, 53] {
        let refused = match code {
            2 => start(|id| ber::extended_response(id, 2, "")).await,
            52 => start(|id| ber::extended_response(id, 52, "")).await,
            _ => start(|id| ber::extended_response(id, 53, "")).await,
        };
        assert_eq!(refused, LdapError::StartTlsRefused(ResultCode(code)));
    }
    let injected = start(|id| {
        [
            ber::extended_response(id, 0, ""),
            ber::bind_response(2, 0, "", ""),
        ]
        .concat()
    })
    .await;
    assert_eq!(injected, LdapError::Protocol(ProtocolViolation::BytesBeforeTls));
    let other = start(|id| ber::bind_response(id, 0, "", "")).await;
    assert_eq!(other, LdapError::Protocol(ProtocolViolation::UnexpectedOperation));
    let stale = start(|id| ber::extended_response(id + 1, 0, "")).await;
    assert_eq!(stale, LdapError::Protocol(ProtocolViolation::UnknownMessageId));
    let garbage = start(|_| b"\x01\x02\x03".to_vec()).await;
    assert_eq!(
        garbage,
        LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Unknown))
    );
    let silence = start(|_| Vec::new()).await;
    assert_eq!(silence, LdapError::Timeout);
    let then_garbage = start(|id| ber::extended_response(id, 0, "")).await;
    assert_eq!(then_garbage, LdapError::Tls(TlsFailure::Timeout));
}

#[tokio::test]
async fn a_server_that_leaves_at_start_tls_is_lost() {
    let server = ScriptedLdap::plain(|mut peer| async move { next(&mut peer).await.map(drop) })
        .await
        .unwrap();
    let settings = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: TestCa::new().unwrap().pem(),
        ..settings(&[format!("ldap://{}", server.address())])
    };
    assert_eq!(
        error_of(&directory(settings, "x")).await,
        LdapError::ConnectionLost
    );
}

/// Matrix case 29.
#[tokio::test]
async fn a_port_that_speaks_something_else_is_recognised() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    let wants_tls = LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Tls));
    let plain_on_tls_port = DirectorySettings {
        bind_dn: slapd.service_dn(),
        ..settings(&[format!("ldap://{}", slapd.tls_address())])
    };
    let plain = directory(plain_on_tls_port.clone(), slapd.service_password());
    assert_eq!(error_of(&plain).await, wants_tls);
    let secret = password("a user's");
    let login = bind(&plain, SERVICE_DN, &secret, in_seconds(10));
    let refused = login.await.unwrap_err();
    assert!(refused.unsent && refused.error == wants_tls, "{refused:?}");
    let start_tls_on_tls_port = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: ca.pem(),
        ..plain_on_tls_port
    };
    assert_eq!(error_of(&directory(start_tls_on_tls_port, "x")).await, wants_tls);
    let tls_on_plain_port = DirectorySettings {
        ca_certificates: ca.pem(),
        ..settings(&[format!("ldaps://{}", slapd.address())])
    };
    assert_eq!(
        error_of(&directory(tls_on_plain_port, "x")).await,
        LdapError::Tls(TlsFailure::PlainLdap)
    );
    assert!(slapd.binds().unwrap().is_empty());
    let http = ScriptedLdap::plain(|mut peer| async move {
        peer.send(b"HTTP/1.1 400 Bad Request\r\n\r\n").await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let error = error_of(&on_script(http.address())).await;
    assert_eq!(
        error,
        LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Http))
    );
    let settings = DirectorySettings {
        ca_certificates: ca.pem(),
        ..settings(&[format!("ldaps://{}", http.address())])
    };
    assert_eq!(
        error_of(&directory(settings, "x")).await,
        LdapError::Tls(TlsFailure::NotTls)
    );
}

/// Matrix case 29: nothing that comes before the server has spoken LDAP holds a password.
#[tokio::test]
async fn no_password_goes_to_a_port_that_has_not_spoken_ldap() {
    for answer in [&b""[..], b"\x15\x03\x03\x00\x02\x02\x32", b"SSH-2.0-x\r\n"] {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut heard = vec![0; 4096];
            let count = stream.read(&mut heard).await.unwrap();
            heard.truncate(count);
            stream.write_all(answer).await.unwrap();
            stream.shutdown().await.unwrap();
            // Whatever else comes, e.g. a bind sent without waiting.
            stream.read_to_end(&mut heard).await.unwrap();
            heard
        });
        let error = error_of(&directory(settings(&[format!("ldap://{address}")]), "s3cret")).await;
        let expected = match answer {
            b"" => LdapError::ConnectionLost,
            [0x15, ..] => LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Tls)),
            _ => LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Unknown)),
        };
        assert_eq!(error, expected);
        let heard = heard.await.unwrap();
        assert!(!heard.is_empty() && !heard.windows(6).any(|part| part == b"s3cret"));
    }
}

/// Servers exist that do not know "1.1" and show all of a large root DSE, before anybody has bound.
#[tokio::test]
async fn a_root_dse_of_many_kilobytes_in_the_first_answer_is_ldap_all_the_same() {
    for values in [1, 60, 2_000] {
        let oids: Vec<String> = (0..values)
            .map(|arc| format!("1.3.6.1.4.1.42.2.27.9.{arc}.{}", "1.2.3.4.5.6.7.8".repeat(4)))
            .collect();
        let server = ScriptedLdap::plain(move |mut peer| {
            let oids = oids.clone();
            async move {
                let oids: Vec<&[u8]> = oids.iter().map(String::as_bytes).collect();
                peer.greet_with(ber::search_entry(1, "", &[("supportedControl", &oids)]));
                let search = after_bind(&mut peer).await?;
                peer.send(&ber::search_done(search.id, 0, "")).await?;
                peer.closed().await
            }
        })
        .await
        .unwrap();
        let found = on_script(server.address())
            .read_entry(&read("dc=x", &["uid"]), in_seconds(10))
            .await;
        assert_eq!(found, Ok(None), "{values}");
    }
}

/// Matrix case 24: a listener that accepts and never says a word.
#[tokio::test]
async fn a_black_hole_costs_no_more_than_the_deadline() {
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = hole.local_addr().unwrap();
    let mut tls = settings(&[format!("ldaps://{address}")]);
    tls.ca_certificates = TestCa::new().unwrap().pem();
    tls.connect_timeout = Duration::from_millis(300);
    let before = Instant::now();
    assert_eq!(
        error_of(&directory(tls, "x")).await,
        LdapError::Tls(TlsFailure::Timeout)
    );
    let mut plain = settings(&[format!("ldap://{address}")]);
    plain.connect_timeout = Duration::from_millis(300);
    assert_eq!(error_of(&directory(plain, "x")).await, LdapError::Timeout);
    assert!(before.elapsed() < Duration::from_secs(5));
}

#[tokio::test]
async fn what_cannot_be_reached_says_why() {
    let unknown = directory(settings(&["ldap://no-such-host.invalid".to_owned()]), "x");
    let error = error_of(&unknown).await;
    assert!(matches!(
        error,
        LdapError::Unreachable(DialFailure::NameNotFound | DialFailure::ResolveTimeout)
    ));
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap();
    let refused = directory(settings(&[format!("ldap://{closed}")]), "x");
    assert_eq!(
        error_of(&refused).await,
        LdapError::Unreachable(DialFailure::Refused)
    );
}

/// Matrix case 24: the operator's own network, by address, by name and by port; all fail alike.
#[tokio::test]
async fn the_egress_policy_keeps_tenants_out_of_the_operator_s_network() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    for host in [
        "127.0.0.1",
        "localhost",
        "169.254.169.254",
        "[::1]",
        "[::ffff:127.0.0.1]",
        "10.0.0.1",
    ] {
        let mut config = config(settings(&[format!("ldap://{host}:{port}")]), "x");
        config.egress = EgressPolicy::new(Vec::new(), vec![port]).into();
        let error = error_of(&LdapDirectory::new(config).unwrap()).await;
        assert_eq!(error, LdapError::EgressDenied, "{host}");
    }
    let mut config = config(settings(&[format!("ldap://127.0.0.1:{port}")]), "x");
    config.egress = EgressPolicy::new(vec!["127.0.0.0/8".parse().unwrap()], Vec::new()).into();
    assert_eq!(
        error_of(&LdapDirectory::new(config).unwrap()).await,
        LdapError::EgressDenied
    );
    let nobody_came = tokio::time::timeout(Duration::from_millis(50), listener.accept()).await;
    assert!(nobody_came.is_err());
    assert_eq!(
        LdapError::EgressDenied.to_string(),
        "connections to this host or port are not allowed"
    );
}

/// Matrix case 33: the server closed the pooled connection; nobody notices.
#[tokio::test]
async fn a_restarted_server_is_no_error_for_the_next_caller() {
    let mut slapd = Slapd::builder().start().unwrap();
    let directory = on_slapd(&slapd);
    let request = read("dc=example,dc=org", &["dc"]);
    let secret = password(slapd.service_password());
    for _ in 0..2 {
        assert!(
            directory
                .read_entry(&request, in_seconds(10))
                .await
                .unwrap()
                .is_some()
        );
        let answer = bind(&directory, &slapd.service_dn(), &secret, in_seconds(10))
            .await
            .unwrap();
        assert_eq!(answer.code, ResultCode::SUCCESS);
        slapd.stop();
        slapd.start().unwrap();
    }
}

/// Matrix case 27: names of the certificate that are not simply the host's.
#[tokio::test]
async fn wildcards_and_ipv6_addresses_are_names_and_a_common_name_is_not() {
    let ca = TestCa::new().unwrap();
    let served = async |certificate: Certificate, host: std::net::IpAddr, name: Option<&str>| {
        let slapd = Slapd::builder()
            .host(host)
            .certificate(certificate)
            .start()
            .unwrap();
        let settings = DirectorySettings {
            tls_server_name: name.map(str::to_owned),
            ..over_ldaps(&slapd, &ca.pem())
        };
        let directory = directory(settings, slapd.service_password());
        let dn = format!("cn=rollcall,ou=Services,{}", slapd.base_dn());
        directory
            .read_entry(&read(&dn, &["cn"]), in_seconds(10))
            .await
            .map(|entry| entry.is_some())
    };
    let v4 = "127.0.0.1".parse().unwrap();
    let wildcard = ca.server(&["*.example.com"]).unwrap();
    assert_eq!(
        served(wildcard.clone(), v4, Some("dc1.example.com")).await,
        Ok(true)
    );
    let deeper = served(wildcard, v4, Some("dc1.lab.example.com")).await;
    assert!(
        matches!(deeper, Err(LdapError::Tls(TlsFailure::WrongName { .. }))),
        "{deeper:?}"
    );
    let v6 = ca.server(&["::1"]).unwrap();
    assert_eq!(served(v6, "::1".parse().unwrap(), None).await, Ok(true));
    let common_name_only = served(ca.server(&[]).unwrap(), v4, Some("nameless")).await;
    assert!(
        matches!(common_name_only, Err(LdapError::Tls(TlsFailure::WrongName { ref names })) if names.is_empty()),
        "{common_name_only:?}"
    );
}

/// Matrix case 28 and RFC 4513 section 3.1.5: what the server said before TLS counts for nothing.
#[tokio::test]
async fn after_start_tls_the_first_message_is_already_encrypted() {
    let ca = TestCa::new().unwrap();
    let certificate = ca.loopback_server().unwrap();
    let server = ScriptedLdap::plain(move |mut peer| {
        let certificate = certificate.clone();
        async move {
            let start_tls = next(&mut peer).await?;
            peer.send(&ber::extended_response(start_tls.id, 0, "")).await?;
            peer.tls(&certificate).await?;
            let search = after_bind(&mut peer).await?;
            let entry = ber::search_entry(search.id, "dc=x", &[("dc", &[b"x"])]);
            peer.send(&[entry, ber::search_done(search.id, 0, "")].concat())
                .await?;
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let settings = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: ca.pem(),
        ..settings(&[format!("ldap://{}", server.address())])
    };
    let entry = directory(settings, "x")
        .read_entry(&read("dc=x", &["dc"]), in_seconds(10))
        .await
        .unwrap();
    assert_eq!(entry.unwrap().text("dc"), Some("x"));
    assert_eq!(server.received().len(), 3);
}

#[tokio::test]
async fn a_name_in_another_script_is_checked_as_its_a_label() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.server(&["xn--bcher-kva.example"]).unwrap())
        .start()
        .unwrap();
    let settings = DirectorySettings {
        tls_server_name: Some("Bücher.example".into()),
        ..over_ldaps(&slapd, &ca.pem())
    };
    let directory = directory(settings, slapd.service_password());
    let found = directory
        .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
        .await;
    assert!(found.unwrap().is_some());
}

/// A server that answers every search with its name, and none while it is down.
async fn named(name: &'static str, down: Arc<AtomicBool>) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer| {
        let down = down.clone();
        async move {
            let mut request = after_bind(&mut peer).await?;
            while !down.load(Ordering::SeqCst) {
                let values: &[&[u8]] = &[name.as_bytes()];
                peer.send(&ber::search_entry(request.id, "dc=x", &[("dc", values)]))
                    .await?;
                peer.send(&ber::search_done(request.id, 0, "")).await?;
                request = next(&mut peer).await?;
            }
            Ok(())
        }
    })
    .await
    .unwrap()
}

#[tokio::test]
async fn hosts_are_used_in_their_order_and_one_that_failed_comes_back_after_a_rest() {
    let down = Arc::new(AtomicBool::new(false));
    let first = named("first", down.clone()).await;
    let second = named("second", Arc::default()).await;
    let urls = [&first, &second].map(|server| format!("ldap://{}", server.address()));
    let directory = directory(settings(&urls), "x");
    let asked = async || {
        let entry = directory.read_entry(&read("dc=x", &["dc"]), in_seconds(10)).await;
        entry.unwrap().unwrap().text("dc").unwrap().to_owned()
    };
    assert_eq!(asked().await, "first");
    assert_eq!(second.connections(), 0, "nobody asks a second host without need");
    down.store(true, Ordering::SeqCst);
    assert_eq!(asked().await, "second", "within one call");
    let status = directory.host_status();
    assert!(!status[0].usable && status[1].usable);
    assert!(status[0].success > status[1].success, "{status:?}");
    assert!(
        matches!(status[0].failure, Some((_, LdapError::ConnectionLost))),
        "{status:?}"
    );
    let connections = first.connections();
    assert_eq!(asked().await, "second");
    assert_eq!(first.connections(), connections, "it rests");
    down.store(false, Ordering::SeqCst);
    let again = wait_for(
        "the first host is used again",
        Duration::from_secs(30),
        async || asked().await == "first",
    );
    again.await.unwrap();
    assert!(directory.host_status()[0].usable);
}

#[tokio::test]
async fn what_was_seen_of_a_host_is_kept_with_the_end_of_its_certificate() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    let unused = directory(over_ldaps(&slapd, &ca.pem()), "wrong");
    let status = unused.host_status().remove(0);
    assert_eq!(
        (status.success, status.failure, status.certificate_end),
        (None, None, None)
    );
    let refused = LdapError::BindRefused(ResultCode(49));
    assert_eq!(error_of(&unused).await, refused);
    let status = unused.host_status().remove(0);
    assert!(status.usable && status.success.is_none(), "{status:?}");
    assert_eq!(status.failure.map(|(_, error)| error), Some(refused));
    let end = status.certificate_end.unwrap();
    assert_eq!(end.format("%Y-%m-%d").to_string(), "2100-01-01");
}

/// Letters of another width are the same name (UTS #46), and this one is known everywhere.
#[tokio::test]
async fn a_host_in_another_script_is_resolved_connected_to_and_verified() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.server(&["localhost"]).unwrap())
        .start()
        .unwrap();
    let settings = DirectorySettings {
        bind_dn: slapd.service_dn(),
        ca_certificates: ca.pem(),
        ..settings(&[format!(
            "ldaps://ｌｏｃａｌｈｏｓｔ:{}",
            slapd.tls_address().port()
        )])
    };
    let directory = directory(settings, slapd.service_password());
    let found = directory
        .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
        .await;
    assert!(found.unwrap().is_some());
}
