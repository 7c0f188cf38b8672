#![allow(clippy::unwrap_used)]
use super::*;

fn settings() -> DirectorySettings {
    DirectorySettings {
        display_name: "HQ".into(),
        bind_dn: "cn=rollcall,dc=example".into(),
        ..DirectorySettings::with_defaults(vec![HostUrl::parse("ldaps://dc1.example.com").unwrap()])
    }
}

fn fields(settings: &DirectorySettings) -> Vec<String> {
    settings
        .validate()
        .iter()
        .map(|violation| violation.field.clone())
        .collect()
}

#[test]
fn hosts_parse_and_print() {
    for (text, printed, port) in [
        ("ldap://dc1.example.com", "ldap://dc1.example.com", 389),
        ("LDAPS://DC1.Example.com./", "ldaps://dc1.example.com", 636),
        ("ldaps://10.0.0.1:3269", "ldaps://10.0.0.1:3269", 3269),
        ("ldap://[2001:db8::1]:1389", "ldap://[2001:db8::1]:1389", 1389),
        ("ldap://[2001:db8::1]", "ldap://[2001:db8::1]", 389),
        ("ldaps://münchen.example", "ldaps://münchen.example", 636),
    ] {
        let host = HostUrl::parse(text).unwrap();
        assert_eq!(host.to_string(), printed);
        assert_eq!(host.effective_port(None), port);
    }
}

#[test]
fn bad_hosts_say_why() {
    for (text, problem) in [
        ("dc1.example.com", HostProblem::Scheme),
        ("ldapi:///run/slapd", HostProblem::Scheme),
        ("https://example.com", HostProblem::Scheme),
        ("ldap://", HostProblem::Host),
        ("ldap:///", HostProblem::Host),
        ("ldap://[::1", HostProblem::Host),
        ("ldap://300.1.1.1", HostProblem::Host),
        ("ldap://a b", HostProblem::Extra),
        ("ldap://h:0", HostProblem::Port),
        ("ldap://h:99999", HostProblem::Port),
        ("ldap://[::1]389", HostProblem::Port),
        ("ldap://h/dc=example", HostProblem::Extra),
        ("ldap://user@h", HostProblem::Extra),
    ] {
        assert_eq!(HostUrl::parse(text), Err(problem), "{text}");
    }
}

#[test]
fn good_settings_pass() {
    assert_eq!(fields(&settings()), Vec::<String>::new());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut bad = settings();
    bad.display_name = String::new();
    bad.transport_security = TransportSecurity::Plaintext;
    bad.port = Some(0);
    bad.ca_certificates = "nonsense".into();
    bad.client_certificate = Some("-----BEGIN CERTIFICATE-----\n-----BEGIN PRIVATE KEY-----".into());
    bad.tls_server_name = Some("a b".into());
    bad.bind_dn = String::new();
    bad.connect_timeout = Duration::ZERO;
    bad.operation_timeout = Duration::from_secs(121);
    bad.page_size = 0;
    bad.external_id_attribute = Some("uid".into());
    bad.bind_password_max_age = Some(Duration::from_secs(86_399));
    bad.contact_addresses = vec!["admin@example.org".into(), "nobody".into()];
    let expected = [
        "display_name",
        "hosts[0]",
        "port",
        "transport_security",
        "ca_certificates",
        "client_certificate",
        "tls_server_name",
        "bind_password_max_age",
        "contact_addresses[1]",
        "bind_dn",
        "connect_timeout",
        "operation_timeout",
        "page_size",
        "external_id_attribute",
    ];
    assert_eq!(fields(&bad), expected);
}

#[test]
fn a_secret_identifies_nobody() {
    for attribute in ["unicodePwd", "2.5.4.35", "IPANTHASH"] {
        let bad = DirectorySettings {
            external_id_attribute: Some(attribute.into()),
            ..settings()
        };
        assert_eq!(fields(&bad), ["external_id_attribute"], "{attribute}");
    }
}

#[test]
fn a_stored_secret_never_travels_to_a_new_endpoint() {
    let old = settings();
    let changes: [fn(&mut DirectorySettings); 6] = [
        |s| s.hosts.push(HostUrl::parse("ldaps://dc2.example.com").unwrap()),
        |s| s.port = Some(1636),
        |s| s.transport_security = TransportSecurity::StartTls,
        |s| s.ca_certificates = "x".into(),
        |s| s.tls_server_name = Some("other".into()),
        |s| s.bind_dn = "cn=other".into(),
    ];
    for change in changes {
        let mut new = old.clone();
        change(&mut new);
        assert!(!old.has_same_endpoint(&new), "{new:?}");
    }
    let mut renamed = old.clone();
    renamed.display_name = "Other".into();
    renamed.page_size = 7;
    assert!(old.has_same_endpoint(&renamed));
}
