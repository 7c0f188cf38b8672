//! What an admin is told.

mod transcripts;

use std::time::{Duration, Instant};

use chrono::{DateTime, Utc};
use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::user_sync::{Search, SearchScope};
use rollcall_ldap::{
    ConnectionCheck, Count, EgressPolicy, Lockout, SearchesCheck, SearchesToCheck, check_connection,
    check_searches,
};
use rollcall_testkit::{
    Account, Dirsrv, SambaDc, ScriptedLdap, Slapd, SlapdBuilder, TestCa, ber, hostile_people, is_root_for,
    people_ldif,
};
use tokio::net::TcpListener;

use crate::setup::*;

fn now() -> DateTime<Utc> {
    "2026-11-22T12:00:00Z".parse().unwrap()
}

async fn check(settings: DirectorySettings, password: &str) -> ConnectionCheck {
    check_connection(&config(settings, password), now(), Duration::from_secs(9)).await
}

fn stage(check: &ConnectionCheck, kind: StageKind) -> &Stage {
    check
        .report
        .stages
        .iter()
        .find(|stage| stage.kind == kind)
        .unwrap()
}

/// The one stage that failed, and that everything behind it was skipped.
fn failure(check: &ConnectionCheck) -> &Stage {
    let stages = &check.report.stages;
    let at = stages
        .iter()
        .position(|stage| stage.result == StageResult::Fail)
        .unwrap();
    assert!(
        stages[at + 1..]
            .iter()
            .all(|stage| stage.result == StageResult::Skipped),
        "{stages:#?}"
    );
    assert!(!stages[at].hint.is_empty());
    &stages[at]
}

#[tokio::test]
async fn a_good_server_passes_every_stage() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    let settings = DirectorySettings {
        bind_dn: slapd.service_dn(),
        ca_certificates: ca.pem(),
        ..settings(&[slapd.tls_url()])
    };
    let check = check(settings, slapd.service_password()).await;
    let results: Vec<_> = check
        .report
        .stages
        .iter()
        .map(|stage| (stage.kind, stage.result))
        .collect();
    let kinds = [
        StageKind::Parse,
        StageKind::EgressPolicy,
        StageKind::Dns,
        StageKind::Tcp,
        StageKind::Tls,
        StageKind::Bind,
        StageKind::RootDse,
    ];
    let mut expected: Vec<_> = kinds.iter().map(|kind| (*kind, StageResult::Pass)).collect();
    // The lockout, and what OpenLDAP does not tell.
    expected.push((StageKind::RootDse, StageResult::Pass));
    expected.push((StageKind::Privilege, StageResult::Skipped));
    assert_eq!(results, expected, "{:#?}", check.report);
    assert_eq!(check.root_dse().unwrap().dialect, Dialect::OpenLdap);
    assert_eq!(
        check.root_dse().unwrap().data_naming_contexts(),
        [slapd.base_dn()]
    );
    let tls = check.hosts[0].tls.as_ref().unwrap();
    assert_eq!(tls.version, "TLS 1.3");
    assert!(tls.chain[0].names.contains(&"127.0.0.1".to_owned()));
    assert!(
        stage(&check, StageKind::Tls)
            .message
            .contains("issued by CN=Rollcall test CA")
    );
}

#[tokio::test]
async fn each_tls_failure_says_what_to_do() {
    let ca = TestCa::new().unwrap();
    let cases = [
        (
            ca.expired_server(&["127.0.0.1"]).unwrap(),
            "expired on 2001-01-01",
            "Renew",
        ),
        (
            ca.server(&["dc1.example.com"]).unwrap(),
            "is for dc1.example.com",
            "one of the certificate's names",
        ),
        (
            TestCa::new().unwrap().loopback_server().unwrap(),
            "not signed by a trusted CA",
            "CA certificates",
        ),
    ];
    for (certificate, message, hint) in cases {
        let slapd = Slapd::builder().certificate(certificate).start().unwrap();
        let settings = DirectorySettings {
            bind_dn: slapd.service_dn(),
            ca_certificates: ca.pem(),
            ..settings(&[slapd.tls_url()])
        };
        let check = check(settings, slapd.service_password()).await;
        let failed = failure(&check);
        assert_eq!(failed.kind, StageKind::Tls);
        assert!(
            failed.message.contains(message) && failed.message.contains("valid from"),
            "{failed:?}"
        );
        assert!(failed.hint.contains(hint), "{failed:?}");
    }
}

#[tokio::test]
async fn ports_and_modes_that_do_not_fit_are_explained() {
    let ca = TestCa::new().unwrap();
    let slapd = Slapd::builder()
        .certificate(ca.loopback_server().unwrap())
        .start()
        .unwrap();
    let ldaps_on_plain = DirectorySettings {
        ca_certificates: ca.pem(),
        ..settings(&[format!("ldaps://{}", slapd.address())])
    };
    let check_of = async |settings| check(settings, slapd.service_password()).await;
    let report = check_of(ldaps_on_plain).await;
    let failed = failure(&report);
    assert_eq!(failed.kind, StageKind::Tls);
    assert_eq!(
        failed.message,
        "The server speaks plain LDAP on this port, not TLS."
    );
    assert!(failed.hint.contains("START_TLS"), "{failed:?}");
    let plain_on_ldaps = settings(&[format!("ldap://{}", slapd.tls_address())]);
    let start_tls_on_ldaps = DirectorySettings {
        transport_security: TransportSecurity::StartTls,
        ca_certificates: ca.pem(),
        ..plain_on_ldaps.clone()
    };
    for settings in [plain_on_ldaps, start_tls_on_ldaps] {
        let report = check_of(settings).await;
        let failed = failure(&report);
        assert_eq!(failed.kind, StageKind::Tls);
        assert_eq!(
            failed.message,
            "The server speaks TLS where plain LDAP was expected."
        );
        assert!(failed.hint.contains("LDAPS"), "{failed:?}");
    }
    assert!(slapd.binds().unwrap().is_empty(), "no password was sent");
}

/// Each kind of server has its own way of not understanding.
#[tokio::test]
async fn wrong_ports_of_samba_and_389_are_recognised_too() {
    if !is_root_for("a Samba domain controller and a 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    for (plain, tls) in [
        (dc.address(), dc.tls_address()),
        (server.address(), server.tls_address()),
    ] {
        let message = async |url: String, transport_security| {
            let settings = DirectorySettings {
                transport_security,
                ca_certificates: ca.pem(),
                ..settings(&[url])
            };
            let report = check(settings, "x").await;
            (failure(&report).kind, failure(&report).message.clone())
        };
        let no_tls = "The server speaks plain LDAP on this port, not TLS.".to_owned();
        let on_plain = message(format!("ldaps://{plain}"), TransportSecurity::Ldaps).await;
        assert_eq!(on_plain, (StageKind::Tls, no_tls), "{plain}");
        let wants_tls = "The server speaks TLS where plain LDAP was expected.".to_owned();
        for transport in [TransportSecurity::Plaintext, TransportSecurity::StartTls] {
            let on_tls = message(format!("ldap://{tls}"), transport).await;
            assert_eq!(on_tls, (StageKind::Tls, wants_tls.clone()), "{tls} {transport:?}");
        }
    }
}

#[tokio::test]
async fn a_wrong_bind_password_fails_the_bind_stage() {
    let slapd = Slapd::builder().start().unwrap();
    let check = check(slapd_settings(&slapd), "wrong").await;
    let failed = failure(&check);
    assert_eq!(failed.kind, StageKind::Bind);
    assert_eq!(
        failed.message,
        "The service account's bind was refused with result 49 (invalidCredentials)."
    );
    assert!(failed.hint.contains("bind password"));
}

/// Hosts replicate one tree: the second refusal of the same password would count as the second wrong one.
#[tokio::test]
async fn a_check_sends_a_wrong_password_to_one_of_several_hosts() {
    let slapd = Slapd::builder().start().unwrap();
    let port = slapd.address().port();
    let hosts = ["127.0.0.1", "localhost"].map(|host| format!("ldap://{host}:{port}"));
    let settings = DirectorySettings {
        bind_dn: slapd.service_dn(),
        ..settings(&hosts)
    };
    let check = check(settings, "wrong").await;
    let failed = check
        .report
        .stages
        .iter()
        .filter(|stage| stage.kind == StageKind::Bind && stage.result == StageResult::Fail);
    let mut messages: Vec<_> = failed.map(|stage| stage.message.clone()).collect();
    messages.sort();
    assert_eq!(messages.len(), 2, "{messages:?}");
    assert!(
        messages[0].starts_with("The bind account was refused at another host."),
        "{messages:?}"
    );
    assert!(
        messages[1].starts_with("The service account's bind was refused"),
        "{messages:?}"
    );
    assert_eq!(slapd.bind_count(&slapd.service_dn()).unwrap(), 1);
}

#[tokio::test]
async fn a_server_that_wants_tls_for_binds_says_so() {
    let server = ScriptedLdap::plain(|mut peer| async move {
        let bind = next(&mut peer).await?;
        peer.send(&ber::bind_response(bind.id, 13, "", "confidentiality required"))
            .await?;
        peer.closed().await
    })
    .await
    .unwrap();
    let check = check(settings(&[format!("ldap://{}", server.address())]), "x").await;
    let failed = failure(&check);
    assert_eq!(failed.kind, StageKind::Bind);
    assert!(failed.hint.contains("START_TLS"), "{failed:?}");
}

#[tokio::test]
async fn every_host_is_checked_and_a_black_hole_does_not_hold_the_check_up() {
    let slapd = Slapd::builder().start().unwrap();
    let hole = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut settings = slapd_settings(&slapd);
    settings.hosts.insert(
        0,
        HostUrl::parse(&format!("ldap://{}", hole.local_addr().unwrap())).unwrap(),
    );
    settings.operation_timeout = Duration::from_secs(60);
    let config = config(settings, slapd.service_password());
    let before = Instant::now();
    let check = check_connection(&config, now(), Duration::from_secs(2)).await;
    assert!(before.elapsed() < Duration::from_secs(4));
    let failed: Vec<_> = check
        .report
        .stages
        .iter()
        .filter(|stage| stage.result == StageResult::Fail)
        .collect();
    assert_eq!(failed.len(), 1);
    assert_eq!(
        (failed[0].kind, failed[0].subject.as_str()),
        (StageKind::Bind, &*check.hosts[0].host.to_string())
    );
    assert!(check.hosts[0].root_dse.is_none() && check.hosts[1].root_dse.is_some());
}

/// A check must not tell what is where in the operator's network.
#[tokio::test]
async fn a_check_is_no_network_scanner() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let open = listener.local_addr().unwrap().port();
    let closed = std::net::TcpListener::bind("127.0.0.1:0")
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let told = async |host: &str, port: u16| {
        let mut config = config(settings(&[format!("ldap://{host}:{port}")]), "x");
        config.egress = EgressPolicy::new(Vec::new(), vec![open, closed]).into();
        let check = check_connection(&config, now(), Duration::from_secs(9)).await;
        let failed = failure(&check).clone();
        (failed.kind, failed.message, failed.hint)
    };
    let by_address = told("127.0.0.1", open).await;
    assert_eq!(by_address.0, StageKind::EgressPolicy);
    for (host, port) in [
        ("127.0.0.1", closed),
        ("10.255.255.1", open),
        ("[::1]", open),
        ("127.0.0.1", 22),
    ] {
        assert_eq!(told(host, port).await, by_address, "{host}:{port}");
    }
    let by_name = told("localhost", open).await;
    assert_eq!(by_name.0, StageKind::Dns);
    assert_eq!(told("localhost", closed).await, by_name);
    assert_eq!(told("no-such-host.invalid", open).await, by_name);
}

#[tokio::test]
async fn mistakes_in_the_settings_come_all_at_once_and_nothing_is_tried() {
    let mut settings = settings(&["ldap://127.0.0.1:1".to_owned()]);
    settings.transport_security = TransportSecurity::Ldaps;
    settings.page_size = 0;
    settings.ca_certificates = "not PEM".into();
    let check = check(settings, "x").await;
    let failed = failure(&check);
    assert_eq!(failed.kind, StageKind::Parse);
    for field in ["hosts[0]", "page_size", "ca_certificates"] {
        assert!(failed.message.contains(field), "{failed:?}");
    }
}

async fn searches(slapd: &Slapd, filters: &[(&str, &str)], attributes: &[&str]) -> SearchesCheck {
    let searches: Vec<Search> = filters
        .iter()
        .map(|(base, filter)| Search {
            base_dn: (*base).into(),
            scope: SearchScope::Subtree,
            filter: (*filter).into(),
        })
        .collect();
    let attributes: Vec<String> = attributes.iter().map(|name| (*name).to_owned()).collect();
    let wanted = SearchesToCheck {
        searches: &searches,
        attributes: &attributes,
        sample: 5,
        count_limit: 100,
    };
    check_searches(&on_slapd(slapd), wanted, in_seconds(9), |_, _| ()).await
}

fn result_of(check: &SearchesCheck, kind: StageKind, word: &str) -> StageResult {
    let matching = check
        .stages
        .iter()
        .find(|stage| stage.kind == kind && (stage.subject.contains(word) || stage.message.contains(word)));
    matching
        .unwrap_or_else(|| panic!("no {kind:?} about {word}: {:#?}", check.stages))
        .result
}

#[tokio::test]
async fn good_searches_pass_with_counts_coverage_and_a_sample() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(150), base))
        .start()
        .unwrap();
    let check = searches(
        &slapd,
        &[(base, "(uid=u0*)"), (base, "(uid=*)")],
        &["uid", "mail", "title"],
    )
    .await;
    assert_eq!(
        check.counts[0],
        Some(Count {
            entries: 10,
            exact: true
        })
    );
    assert_eq!(
        check.counts[1],
        Some(Count {
            entries: 100,
            exact: false
        })
    );
    assert_eq!(check.samples.iter().map(Vec::len).collect::<Vec<_>>(), [5, 5]);
    assert!(
        check.stages.iter().all(|stage| stage.result != StageResult::Fail),
        "{:#?}",
        check.stages
    );
}

#[tokio::test]
async fn searches_that_find_nothing_say_why() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(10), base))
        .start()
        .unwrap();
    let filters = [
        ("ou=gone,dc=example,dc=org", "(uid=*)"),
        (base, "(sAMAccountName=*)"),
        (base, "(uid=nobody)"),
        (base, "(uid=*"),
    ];
    let check = searches(&slapd, &filters, &["sAMAccountName"]).await;
    assert_eq!(
        result_of(&check, StageKind::SearchBase, "ou=gone"),
        StageResult::Fail
    );
    assert_eq!(
        result_of(&check, StageKind::SearchFilter, "sAMAccountName"),
        StageResult::Warn
    );
    assert_eq!(
        result_of(&check, StageKind::SearchFilter, "matches no entry"),
        StageResult::Warn
    );
    assert_eq!(
        result_of(&check, StageKind::SearchFilter, "is not valid"),
        StageResult::Fail
    );
    assert_eq!(check.counts[3], None);
    assert_eq!(
        check.counts[2],
        Some(Count {
            entries: 0,
            exact: true
        })
    );
}

#[tokio::test]
async fn a_filter_that_takes_everything_is_flagged_and_one_for_people_is_not() {
    let base = "dc=example,dc=org";
    let slapd = Slapd::builder()
        .ldif(&people_ldif(&hostile_people(150), base))
        .start()
        .unwrap();
    let odd = [
        "(objectClass=*)",
        "(|(objectClass=*)(uid=u0*))",
        "(!(uid=nobody))",
    ];
    let right = [
        "(objectClass=person)",
        "(uid=*)",
        "(&(objectClass=*)\n  (mail=*))",
    ];
    for (filters, word, expected) in [
        (odd, "every entry under the base", StageResult::Warn),
        (right, "The filter matches", StageResult::Pass),
    ] {
        for filter in filters {
            let check = searches(&slapd, &[(base, filter)], &["uid"]).await;
            assert_eq!(
                result_of(&check, StageKind::SearchFilter, word),
                expected,
                "{filter}"
            );
        }
    }
}

/// Names of attributes as they stand in the schemas of the other servers.
#[tokio::test]
async fn unknown_attributes_of_a_filter_are_named_on_samba_and_389() {
    if !is_root_for("a Samba domain controller and a 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    for (url, base, account) in [
        (dc.tls_url(), dc.base_dn(), dc.service()),
        (server.tls_url(), server.base_dn(), server.service()),
    ] {
        let settings = DirectorySettings {
            bind_dn: account.dn.clone(),
            ca_certificates: ca.pem(),
            ..settings(std::slice::from_ref(&url))
        };
        let searched = [
            "(mail=*)",
            "(&(givenName=*)(!(extensionAttribut1=x))(objectClass=persn))",
        ]
        .map(|filter| Search {
            base_dn: base.into(),
            scope: SearchScope::Subtree,
            filter: filter.into(),
        });
        let wanted = SearchesToCheck {
            searches: &searched,
            attributes: &["displayName".to_owned(), "displayNam".to_owned()],
            sample: 1,
            count_limit: 10,
        };
        let check = check_searches(
            &directory(settings, &account.password),
            wanted,
            in_seconds(20),
            |_, _| (),
        )
        .await;
        let unknown: Vec<&Stage> = check
            .stages
            .iter()
            .filter(|stage| stage.message.contains("does not know"))
            .collect();
        let [unknown] = unknown.as_slice() else {
            panic!("{url}: {:#?}", check.stages)
        };
        assert!(
            unknown
                .message
                .contains("attributes of the filter: extensionAttribut1.")
                && unknown.message.contains("classes of the filter: persn."),
            "{unknown:#?}"
        );
        assert!(unknown.hint.contains("4.5.1.7"), "{unknown:#?}");
        let schema = &check.schema;
        assert!(schema.defines("displayName") && !schema.defines("displayNam"));
        assert_eq!(
            schema.canonical("2.5.4.3;x;lang-de"),
            schema.canonical("CN;lang-de;X")
        );
        assert_eq!(schema.is_binary("jpegPhoto"), Some(true), "{url}");
        assert_eq!(schema.is_binary("cn"), Some(false), "{url}");
        // Active Directory has one name for each attribute; it calls another one streetAddress.
        let is_389 = schema.defines("nsUniqueId");
        assert_eq!(
            schema.canonical("surname") == schema.canonical("sn"),
            is_389,
            "{url}"
        );
        assert_eq!(
            schema.canonical("streetAddress") == schema.canonical("street"),
            is_389,
            "{url}"
        );
        let id = if is_389 { "nsUniqueId" } else { "objectGUID" };
        assert_eq!(schema.is_kept_by_server(id), Some(true), "{url}");
    }
}

#[tokio::test]
async fn the_lockout_of_a_password_policy_is_read() {
    let base = "dc=example,dc=org";
    let policy = format!(
        "dn: ou=Policies,{base}\nobjectClass: organizationalUnit\nou: Policies\n\n\
         dn: {}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
         pwdLockout: TRUE\npwdMaxFailure: 7\npwdFailureCountInterval: 1800\n",
        SlapdBuilder::default_policy_dn(base)
    );
    let slapd = Slapd::builder().ppolicy().ldif(&policy).start().unwrap();
    let check = check(slapd_settings(&slapd), slapd.service_password()).await;
    let expected = Lockout {
        threshold: 7,
        window: Some(Duration::from_secs(1800)),
    };
    assert_eq!(check.lockout, Some(expected));
    let told = check
        .report
        .stages
        .iter()
        .any(|stage| stage.message.contains("7 wrong passwords within 30 minutes"));
    assert!(told, "{:#?}", check.report);
}

async fn check_as(url: &str, ca: &TestCa, account: &Account) -> ConnectionCheck {
    let settings = DirectorySettings {
        bind_dn: account.dn.clone(),
        ca_certificates: ca.pem(),
        ..settings(&[url.to_owned()])
    };
    check(settings, &account.password).await
}

fn evidence(check: &ConnectionCheck) -> String {
    let privilege = stage(check, StageKind::Privilege);
    assert_eq!(privilege.result, StageResult::Warn, "{:#?}", check.report);
    privilege.message.clone()
}

#[tokio::test]
async fn samba_tells_a_reader_from_an_administrator() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let reader = check_as(&dc.tls_url(), &ca, &dc.service()).await;
    assert_eq!(reader.root_dse().unwrap().dialect, Dialect::ActiveDirectory);
    assert_eq!(reader.lockout.unwrap().threshold, 5);
    assert_eq!(
        stage(&reader, StageKind::Privilege).result,
        StageResult::Pass,
        "{:#?}",
        reader.report
    );
    let powerful = evidence(&check_as(&dc.tls_url(), &ca, &dc.powerful()).await);
    assert!(powerful.contains("a member of Domain Admins"), "{powerful}");
    assert!(powerful.contains("it can write"), "{powerful}");
}

#[tokio::test]
async fn dirsrv_tells_a_reader_from_an_administrator() {
    if !is_root_for("a 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    let reader = check_as(&server.tls_url(), &ca, &server.service()).await;
    assert_eq!(reader.root_dse().unwrap().dialect, Dialect::Dirsrv389);
    assert_eq!(
        stage(&reader, StageKind::Privilege).result,
        StageResult::Pass,
        "{:#?}",
        reader.report
    );
    let powerful = evidence(&check_as(&server.tls_url(), &ca, &server.powerful()).await);
    assert!(powerful.contains("it can write"), "{powerful}");
}

#[tokio::test]
async fn openldap_shows_a_root_dn_and_nothing_of_a_reader() {
    let ca = TestCa::new().unwrap();
    let start = |more: &str| {
        let slapd = Slapd::builder().certificate(ca.loopback_server().unwrap());
        slapd.global_config(more).start().unwrap()
    };
    let account = |dn: String, password: &str| Account {
        dn,
        password: password.to_owned(),
        login: String::new(),
    };
    let slapd = start("");
    let reader = account(slapd.service_dn(), slapd.service_password());
    let checked = check_as(&slapd.tls_url(), &ca, &reader).await;
    let told = stage(&checked, StageKind::Privilege);
    assert_eq!(told.result, StageResult::Skipped);
    assert!(
        told.message.starts_with("Unknown") && !told.hint.is_empty(),
        "{told:?}"
    );
    let admin = account(slapd.admin_dn(), slapd.admin_password());
    let found = evidence(&check_as(&slapd.tls_url(), &ca, &admin).await);
    let hash = "it sees passwords' hashes, as that of cn=rollcall,ou=Services,dc=example,dc=org";
    assert!(
        found.contains(hash) && found.contains("no entry of its own"),
        "{found}"
    );

    let open = "database config\naccess to * by users read";
    let slapd = start(open);
    let reader = account(slapd.service_dn(), slapd.service_password());
    let found = evidence(&check_as(&slapd.tls_url(), &ca, &reader).await);
    assert!(
        found.contains("cn=config") && !found.contains("hashes"),
        "{found}"
    );
    let admin = account(slapd.admin_dn(), slapd.admin_password());
    let found = evidence(&check_as(&slapd.tls_url(), &ca, &admin).await);
    assert!(found.contains("it is the root DN"), "{found}");
}

/// Samba holds policies for single accounts where Active Directory does, and shows them to administrators alone.
#[tokio::test]
async fn a_stricter_policy_for_single_accounts_counts_where_it_can_be_read() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    dc.modify(&format!(
        "dn: CN=Strict,CN=Password Settings Container,CN=System,{}\nchangetype: add\n\
         objectClass: msDS-PasswordSettings\nmsDS-PasswordSettingsPrecedence: 10\n\
         msDS-PasswordReversibleEncryptionEnabled: FALSE\nmsDS-PasswordHistoryLength: 0\n\
         msDS-PasswordComplexityEnabled: FALSE\nmsDS-MinimumPasswordLength: 7\n\
         msDS-MinimumPasswordAge: 0\nmsDS-MaximumPasswordAge: -36288000000000\n\
         msDS-LockoutThreshold: 3\nmsDS-LockoutObservationWindow: -36000000000\n\
         msDS-LockoutDuration: -36000000000\n",
        dc.base_dn()
    ))
    .unwrap();
    let lockout = async |account| check_as(&dc.tls_url(), &ca, &account).await.lockout.unwrap();
    let strict = lockout(dc.powerful()).await;
    assert_eq!(
        (strict.threshold, strict.window),
        (3, Some(Duration::from_secs(3600)))
    );
    let domain = lockout(dc.service()).await;
    assert_eq!((domain.threshold, domain.window.unwrap().as_secs()), (5, 1800));
}

#[tokio::test]
async fn dirsrv_shows_its_lockout_to_who_may_read_cn_config() {
    if !is_root_for("a 389 Directory Server").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let server = Dirsrv::start(&ca).unwrap();
    let reader = server.service();
    let hidden = check_as(&server.tls_url(), &ca, &reader).await;
    assert_eq!(hidden.lockout, None);
    let stages = &hidden.report.stages;
    assert!(
        stages.iter().any(|stage| stage.hint.contains("ACI on cn=config")),
        "{stages:#?}"
    );
    let rights = "(targetattr=\"objectClass || passwordLockout || passwordMaxFailure || \
                  passwordResetFailureCount\")(version 3.0; acl \"lockout\"; allow (read,search)";
    server
        .modify(&format!(
            "dn: cn=config\nchangetype: modify\nadd: aci\naci: {rights} userdn=\"ldap:///{}\";)\n",
            reader.dn
        ))
        .unwrap();
    let shown = check_as(&server.tls_url(), &ca, &reader).await;
    assert_eq!(shown.lockout.unwrap().threshold, 5, "{:#?}", shown.report);
    assert_eq!(stage(&shown, StageKind::Privilege).result, StageResult::Pass);
}
