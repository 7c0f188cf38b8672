//! The verdicts of OpenLDAP that need no more than its configuration. Those of its password policy are tested where
//! logins are.

use std::sync::OnceLock;

use rollcall_core::dialect::{AccountState, AccountStatus, Dialect};
use rollcall_core::external_id::IdKind;
use rollcall_core::verdict::{InternalReason, Verdict};
use rollcall_ldap::{LdapDirectory, ResultCode};
use rollcall_testkit::{Account, Ldif, Slapd, SlapdBuilder, TestCa};

use crate::dialects::{Kind, State};
use crate::setup::{self, *};
use crate::verdicts::silent;

const BASE: &str = "dc=example,dc=org";
const ADA: &str = "cn=ada,dc=example,dc=org";

fn ada(password: Option<&str>) -> String {
    let mut ldif = Ldif::new();
    let entry = ldif
        .entry(ADA)
        .attribute("objectClass", "person")
        .attribute("cn", "ada")
        .attribute("sn", "ada");
    if let Some(password) = password {
        entry.attribute("userPassword", password);
    }
    ldif.as_str().to_owned()
}

struct Domain {
    ca: TestCa,
    slapd: Slapd,
}

/// For the suite of all kinds: one server with the password policy overlay for all of its tests.
pub(crate) fn kind() -> Option<Kind> {
    static DOMAIN: OnceLock<Domain> = OnceLock::new();
    let domain = DOMAIN.get_or_init(|| {
        let ca = TestCa::new().unwrap();
        let policy = format!(
            "dn: ou=Policies,{BASE}\nobjectClass: organizationalUnit\nou: Policies\n\n\
             dn: {}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
             pwdLockout: TRUE\npwdMaxFailure: 50\n",
            SlapdBuilder::default_policy_dn(BASE)
        );
        let locked = "\ndn: cn=locked,dc=example,dc=org\nobjectClass: person\ncn: locked\nsn: locked\nuserPassword: right\n\
                      pwdAccountLockedTime: 000001010000Z\n";
        let slapd = Slapd::builder()
            .certificate(ca.loopback_server().unwrap())
            .ppolicy()
            .ldif(&policy)
            .ldif(&ada(Some("right")))
            .ldif(locked)
            .start()
            .unwrap();
        Domain { ca, slapd }
    });
    let state = |login: &str, status, right| State {
        account: Account {
            dn: format!("cn={login},{BASE}"),
            login: login.to_owned(),
            password: "right".to_owned(),
        },
        told: AccountState {
            status,
            ..AccountState::default()
        },
        right,
        wrong: match status {
            AccountStatus::Disabled => silent(InternalReason::AccountLocked),
            _ => silent(InternalReason::InvalidCredentials),
        },
    };
    Some(Kind {
        dialect: Dialect::OpenLdap,
        ca: &domain.ca,
        urls: [domain.slapd.tls_url(), domain.slapd.url()],
        base_dn: BASE.to_owned(),
        reader: Account {
            dn: domain.slapd.service_dn(),
            login: "service".to_owned(),
            password: domain.slapd.service_password().to_owned(),
        },
        writer: None,
        login: "cn",
        people: "(objectClass=person)",
        states: vec![
            state(
                "ada",
                AccountStatus::NotSet,
                Verdict::Authenticated { notice: None },
            ),
            state(
                "locked",
                AccountStatus::Disabled,
                silent(InternalReason::AccountLocked),
            ),
        ],
        entry: ADA.to_owned(),
        ids: &[IdKind::EntryUuid],
        lockout: Some(50),
        now: "2026-06-01T12:00:00Z".parse().unwrap(),
        search: Box::new(|arguments| domain.slapd.search(arguments).unwrap()),
    })
}

async fn bind(directory: &LdapDirectory, guess: &str) -> (ResultCode, Verdict) {
    let answer = setup::bind(directory, ADA, &password(guess), in_seconds(20))
        .await
        .unwrap();
    (
        answer.code,
        answer.verdict(Dialect::OpenLdap, AccountState::default(), None),
    )
}

#[tokio::test]
async fn an_entry_without_a_password_lets_nobody_in() {
    let slapd = Slapd::builder().ldif(&ada(None)).start().unwrap();
    let (code, verdict) = bind(&on_slapd(&slapd), "right").await;
    // And nobody can tell it from a wrong one.
    assert_eq!(code, ResultCode::INVALID_CREDENTIALS);
    assert_eq!(verdict, silent(InternalReason::InvalidCredentials));
}

#[tokio::test]
async fn a_lock_that_is_not_told_is_a_wrong_password() {
    let policy = format!(
        "dn: ou=Policies,{BASE}\nobjectClass: organizationalUnit\nou: Policies\n\n\
         dn: {}\nobjectClass: device\nobjectClass: pwdPolicy\ncn: default\npwdAttribute: userPassword\n\
         pwdLockout: TRUE\npwdMaxFailure: 2\n",
        SlapdBuilder::default_policy_dn(BASE)
    );
    let overlay = format!(
        "overlay ppolicy\nppolicy_default \"{}\"",
        SlapdBuilder::default_policy_dn(BASE)
    );
    let slapd = Slapd::builder()
        .global_config("moduleload ppolicy")
        .database_config(&overlay)
        .ldif(&policy)
        .ldif(&ada(Some("right")))
        .start()
        .unwrap();
    let directory = on_slapd(&slapd);
    for guess in ["wrong", "wrong again", "right"] {
        let (code, verdict) = bind(&directory, guess).await;
        assert_eq!(code, ResultCode::INVALID_CREDENTIALS, "{guess}");
        assert_eq!(verdict, silent(InternalReason::InvalidCredentials), "{guess}");
    }
}

/// What may not be searched for makes a filter neither true nor false.
#[tokio::test]
async fn a_hidden_state_is_found_by_filters() {
    let hide = |who: &str| {
        format!("access to dn.exact=\"cn={who},{BASE}\" attrs=pwdAccountLockedTime,pwdEndTime by * none")
    };
    let mut people = ada(None);
    for name in ["ben", "cem"] {
        people += &format!("\ndn: cn={name},{BASE}\nobjectClass: person\ncn: {name}\nsn: {name}\n");
    }
    let locked = "userPassword: x\npwdAccountLockedTime: 000001010000Z\n";
    people += locked;
    people += &format!("\ndn: cn=dan,{BASE}\nobjectClass: person\ncn: dan\nsn: dan\n{locked}");
    let builder = || Slapd::builder().ldif(&people);
    // Dan's may be searched for.
    let searched = hide("dan").replace("none", "search");
    let rules = format!("{}\n{searched}", hide("ben"));
    let slapd = builder().ppolicy().first_access(&rules).start().unwrap();
    let directory = on_slapd(&slapd);
    let of = async |directory: &LdapDirectory, names: &[&str]| {
        let dns: Vec<String> = names.iter().map(|name| format!("cn={name},{BASE}")).collect();
        let found = directory
            .hidden_state(Dialect::OpenLdap, &dns, in_seconds(20))
            .await;
        found.unwrap()
    };
    assert_eq!(
        of(&directory, &["ada", "cem"]).await,
        Some(vec![]),
        "absent, and present"
    );
    assert_eq!(
        of(&directory, &["ada", "ben"]).await,
        Some(vec!["pwdAccountLockedTime", "pwdEndTime"])
    );
    assert_eq!(of(&directory, &["dan"]).await, Some(vec!["pwdAccountLockedTime"]));
    assert_eq!(of(&directory, &["nobody"]).await, None);
}

#[tokio::test]
async fn a_state_that_the_server_does_not_know_is_not_hidden() {
    let slapd = Slapd::builder().ldif(&ada(None)).start().unwrap();
    let (directory, dns) = (on_slapd(&slapd), [ADA.to_owned()]);
    let found = directory.hidden_state(Dialect::OpenLdap, &dns, in_seconds(20));
    assert_eq!(found.await.unwrap(), Some(vec![]));
}
