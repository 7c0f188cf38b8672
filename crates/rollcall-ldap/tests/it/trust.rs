//! Whom a directory trusts: certificates as people paste them, and as servers send them.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::check::{StageKind, StageResult};
use rollcall_core::directory::DirectorySettings;
use rollcall_core::secret::SecretBytes;
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{
    ConnectionCheck, LdapDirectory, LdapError, TlsFailure, check_connection, check_trust,
    client_certificate_end,
};
use rollcall_testkit::{Certificate, Operation, ScriptedLdap, Slapd, TestCa, ber};

use rustls::ServerConfig;

use crate::setup::*;
use crate::transport::{error_of, over_ldaps};

const HOST: [&str; 1] = ["127.0.0.1"];

fn slapd_with(certificate: Certificate) -> Slapd {
    Slapd::builder().certificate(certificate).start().unwrap()
}

/// A server that lets everybody in and has no entries.
async fn server_with(config: Arc<ServerConfig>) -> ScriptedLdap {
    let server = ScriptedLdap::tls_with(config, async |mut peer| {
        while let Some(request) = peer.receive().await? {
            let answer = match request.operation {
                Operation::Bind { .. } => ber::bind_response(request.id, 0, "", ""),
                _ => ber::search_done(request.id, 0, ""),
            };
            peer.send(&answer).await?;
        }
        Ok(())
    });
    server.await.unwrap()
}

/// What comes of a read with this trust.
async fn outcome(slapd: &Slapd, ca: &str) -> Result<(), LdapError> {
    let settings = over_ldaps(slapd, ca);
    assert_eq!(
        check_trust(&settings, None),
        Ok(()),
        "it is refused before it is stored: {ca}"
    );
    let directory = directory(settings, slapd.service_password());
    let found = directory
        .read_entry(&read("dc=example,dc=org", &["dc"]), in_seconds(10))
        .await;
    found.map(|entry| assert!(entry.is_some()))
}

/// Each trusts the server, whatever else is in it.
#[tokio::test]
async fn a_bundle_of_certificates_works_as_it_is_pasted() {
    let (ca, other) = (TestCa::new().unwrap(), TestCa::new().unwrap());
    let slapd = slapd_with(ca.server(&HOST).unwrap());
    let (own, other) = (ca.pem(), other.pem());
    for bundle in [
        format!("\u{feff}{own}"),
        format!("{other}\u{feff}{own}"),
        own.replace('\n', "\r\n"),
        own.replace('\n', "\r"),
        format!(
            "\u{feff}# the firm's own\r\n\r\nsubject=CN = CA\r\n{}",
            own.replace('\n', "\r\n")
        ),
        format!("{own}and one more, with text between:\n{other}the end"),
        format!("{other}{own}"),
        format!("{own}{own}"),
        own.trim_end().to_owned(),
        // As it stands in a YAML file.
        own.lines().map(|line| format!("    {line} \n")).collect(),
    ] {
        assert_eq!(outcome(&slapd, &bundle).await, Ok(()), "{bundle:?}");
    }
    assert_eq!(
        outcome(&slapd, &other).await,
        Err(LdapError::Tls(TlsFailure::UnknownIssuer))
    );
}

/// Nothing that somebody takes for trusted is passed over without a word, and what is refused says what it is.
#[test]
fn what_cannot_be_used_is_refused_with_its_reason_before_anything_is_sent() {
    let ca = TestCa::new().unwrap();
    let pem = ca.pem();
    let middle = pem.len() / 2;
    let trust = |ca: &str| DirectorySettings {
        ca_certificates: ca.into(),
        ..settings(&["ldaps://127.0.0.1".to_owned()])
    };
    let crl = "-----BEGIN X509 CRL-----\nAAAA\n-----END X509 CRL-----\n";
    for (bundle, reason) in [
        ("not PEM".to_owned(), "there is no certificate in them"),
        (
            "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n".to_owned(),
            "block 1 is no X.509 certificate",
        ),
        (pem[..middle].to_owned(), "block 1 is cut or changed"),
        (
            format!("{pem}{}", pem.replace('M', "*")),
            "block 2 is cut or changed",
        ),
        (
            format!("{pem}{crl}"),
            "block 2 is of kind X509 CRL, not CERTIFICATE",
        ),
        (
            pem.replace("CERTIFICATE", "TRUSTED CERTIFICATE"),
            "of kind TRUSTED CERTIFICATE",
        ),
        (pem.replace('\n', "\\n"), "block 1 is cut or changed"),
        (pem.replace('\n', " "), "block 1 is cut or changed"),
        (
            format!("{pem}> {}", pem.replace('\n', "\n> ")),
            "has to stand on a line of its own",
        ),
    ] {
        let settings = trust(&bundle);
        let problem = check_trust(&settings, None).unwrap_err();
        assert!(problem.to_string().contains(reason), "{problem} {bundle}");
        let opened = LdapDirectory::new(config(settings, "x")).err();
        assert_eq!(opened, Some(LdapError::Misconfigured(problem)));
    }
    let client = ca.client("rollcall").unwrap();
    let other = ca.client("rollcall").unwrap();
    let with_key = |key: &str| {
        let settings = DirectorySettings {
            client_certificate: Some(format!("\u{feff}{}", client.certificate_pem)),
            ..trust(&pem)
        };
        check_trust(&settings, Some(&SecretBytes::new(key.as_bytes().to_vec())))
    };
    assert_eq!(with_key(&client.key_pem), Ok(()));
    for (key, reason) in [
        (other.key_pem.clone(), "the key belongs to another certificate"),
        (
            client.key_pem.replace("PRIVATE", "ENCRYPTED PRIVATE"),
            "the key is encrypted",
        ),
        (client.certificate_pem.clone(), "the key is not a PEM private key"),
    ] {
        let problem = with_key(&key).unwrap_err().to_string();
        assert!(problem.contains(reason), "{problem}");
        let secret = key.lines().nth(1).unwrap();
        assert!(!problem.contains(secret), "{problem}");
    }
    let named = DirectorySettings {
        tls_server_name: Some("-.-".into()),
        ..trust(&pem)
    };
    assert!(check_trust(&named, None).is_err());
}

/// The CA that issued the certificate is enough, whoever has issued the CA's, and whether the server sends it or not.
#[tokio::test]
async fn an_issuing_ca_alone_is_trusted() {
    let root = TestCa::new().unwrap();
    let key = root.client("key").unwrap().key_pem;
    let issuing = root.issuing(&key, 2100).unwrap();
    let leaf = issuing.server(&HOST).unwrap();
    for certificate in [leaf.clone(), leaf.clone().with_chain(&issuing.pem())] {
        let slapd = slapd_with(certificate);
        assert_eq!(outcome(&slapd, &issuing.pem()).await, Ok(()));
    }
    let slapd = slapd_with(leaf.clone().with_chain(&issuing.pem()));
    assert_eq!(outcome(&slapd, &root.pem()).await, Ok(()));
    // Nobody can tell who the issuer is that the server does not send.
    let slapd = slapd_with(leaf);
    assert_eq!(
        outcome(&slapd, &root.pem()).await,
        Err(LdapError::Tls(TlsFailure::UnknownIssuer))
    );
}

/// A CA's certificate that was renewed with the same key or a new one, beside the old one, in what the server sends and in
/// what is trusted.
#[tokio::test]
async fn an_expired_issuer_beside_the_renewed_one_does_no_harm() {
    let root = TestCa::new().unwrap();
    let key = |_| root.client("key").unwrap().key_pem;
    let (old_key, new_key) = (key(0), key(1));
    let expired = root.issuing(&old_key, 2001).unwrap();
    for renewed in [
        root.issuing(&old_key, 2100).unwrap(),
        root.issuing(&new_key, 2100).unwrap(),
    ] {
        let leaf = renewed.server(&HOST).unwrap();
        let both = [
            format!("{}{}", expired.pem(), renewed.pem()),
            format!("{}{}", renewed.pem(), expired.pem()),
        ];
        for sent in &both {
            // slapd sends no more than one issuer, the first.
            let server = server_with(leaf.clone().with_chain(sent).server_config().unwrap()).await;
            for trusted in [&root, &renewed] {
                let mut settings = settings(&[format!("ldaps://{}", server.address())]);
                settings.ca_certificates = trusted.pem();
                let found = directory(settings, "x")
                    .find("", SearchScope::Base, "(objectClass=*)", &[], 1, in_seconds(10))
                    .await;
                assert!(found.is_ok(), "{found:?}");
            }
        }
        let slapd = slapd_with(leaf);
        for trusted in &both {
            assert_eq!(outcome(&slapd, trusted).await, Ok(()));
        }
    }
    let slapd = slapd_with(expired.server(&HOST).unwrap().with_chain(&expired.pem()));
    let error = outcome(&slapd, &root.pem()).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "no TLS connection: the certificate of a CA that the server sent has expired on 2001-01-01"
    );
}

/// Also one that calls itself a CA's, for its own name alone.
#[tokio::test]
async fn a_self_signed_certificate_can_be_trusted_itself() {
    let stranger = TestCa::new().unwrap().pem();
    for make in [Certificate::self_signed, Certificate::self_signed_authority] {
        let certificate = make(&HOST).unwrap();
        let trusted = certificate.certificate_pem.clone();
        let slapd = slapd_with(certificate);
        assert_eq!(outcome(&slapd, &trusted).await, Ok(()));
        assert_eq!(outcome(&slapd, &format!("{stranger}{trusted}")).await, Ok(()));
        let untrusted = outcome(&slapd, &stranger).await;
        assert_eq!(untrusted, Err(LdapError::Tls(TlsFailure::SelfSignedWithoutName)));
        let elsewhere = make(&["dc2.example.com"]).unwrap();
        let trusted = elsewhere.certificate_pem.clone();
        let error = outcome(&slapd_with(elsewhere), &trusted).await;
        assert!(
            matches!(error, Err(LdapError::Tls(TlsFailure::WrongName { .. }))),
            "{error:?}"
        );
    }
}

/// A server that is told which host is wanted and shows its own certificate all the same has no other.
#[tokio::test]
async fn a_self_signed_certificate_for_a_wanted_name_is_no_stopgap() {
    let slapd = slapd_with(Certificate::self_signed(&["dc1.example.com"]).unwrap());
    let mut settings = over_ldaps(&slapd, &TestCa::new().unwrap().pem());
    settings.tls_server_name = Some("dc1.example.com".into());
    let error = error_of(&directory(settings, slapd.service_password())).await;
    assert_eq!(error, LdapError::Tls(TlsFailure::SelfSigned));
}

fn tls_stage(check: &ConnectionCheck) -> (StageResult, &str) {
    let stage = check
        .report
        .stages
        .iter()
        .find(|stage| stage.kind == StageKind::Tls);
    let stage = stage.unwrap();
    (stage.result, &stage.hint)
}

/// Clients that name no host are shown a stopgap; the hint says how to name one, and that helps.
#[tokio::test]
async fn a_stopgap_certificate_is_recognised_and_the_hint_helps() {
    let ca = TestCa::new().unwrap();
    let stopgap = Certificate::self_signed(&["no-sni.invalid"]).unwrap();
    let named = ca.server(&["dc1.example.com"]).unwrap();
    let server = server_with(named.server_config_or(&stopgap).unwrap()).await;
    let mut settings = settings(&[format!("ldaps://{}", server.address())]);
    settings.ca_certificates = ca.pem();
    let check = async |settings: &DirectorySettings| {
        let config = config(settings.clone(), "service password");
        check_connection(&config, DateTime::UNIX_EPOCH, Duration::from_secs(5)).await
    };
    let unnamed = check(&settings).await;
    let (result, hint) = tls_stage(&unnamed);
    assert_eq!(result, StageResult::Fail);
    assert!(hint.contains("tls_server_name"), "{hint}");
    settings.tls_server_name = Some("dc1.example.com".into());
    assert_eq!(tls_stage(&check(&settings).await).0, StageResult::Pass);
}

/// A server that demands a certificate turns away one that has ended.
#[tokio::test]
async fn a_check_warns_of_a_client_certificate_that_ends() {
    let ca = TestCa::new().unwrap();
    let client = ca.client("rollcall").unwrap();
    let end = client_certificate_end(&client.certificate_pem).unwrap();
    let mut config = config(settings(&["ldaps://127.0.0.1:1".to_owned()]), "x");
    config.settings.ca_certificates = ca.pem();
    config.client_key = Some(SecretBytes::new(client.key_pem.into_bytes()));
    config.settings.client_certificate = Some(client.certificate_pem);
    let at = async |now: DateTime<Utc>| {
        let check = check_connection(&config, now, Duration::from_secs(5)).await;
        let mut stages = check.report.stages.into_iter();
        let stage = stages.find(|stage| stage.message.contains("client certificate"));
        stage.map(|stage| (stage.result, stage.message)).unwrap()
    };
    let days = chrono::TimeDelta::days;
    assert_eq!(at(end - days(31)).await.0, StageResult::Pass);
    let (result, message) = at(end - days(29)).await;
    assert_eq!(result, StageResult::Warn);
    assert_eq!(message, "The client certificate expires on 2100-01-01.");
    let (result, message) = at(end).await;
    assert_eq!(result, StageResult::Warn);
    assert_eq!(message, "The client certificate has expired on 2100-01-01.");
}
