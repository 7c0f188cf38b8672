//! Against an Active Directory domain controller (Samba).

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::dialect::{AccountState, AccountStatus, Dialect, password_expire_time};
use rollcall_core::directory::{DirectorySettings, TransportSecurity};
use rollcall_core::external_id::IdKind;
use rollcall_core::verdict::{InternalReason, PasswordNotice, PublicReason, Verdict};
use rollcall_ldap::{
    DirectoryConfig, LdapDirectory, LdapError, Privilege, ResultClass, ResultCode, SearchOutcome,
    SearchRequest, Sid, check_connection,
};
use rollcall_testkit::{Ldif, SambaDc, SambaPerson, TestCa, is_root_for};

use crate::dialects::{Kind, State};
use crate::setup::*;
use crate::verdicts::*;

const AD: Dialect = Dialect::ActiveDirectory;

struct Domain {
    ca: TestCa,
    dc: SambaDc,
}

/// One for all tests, each of which leaves alone what the others look at.
fn domain() -> Option<&'static Domain> {
    static DOMAIN: OnceLock<Option<Domain>> = OnceLock::new();
    let start = || {
        let ca = TestCa::new().unwrap();
        let dc = SambaDc::start(&ca).unwrap();
        Domain { ca, dc }
    };
    DOMAIN
        .get_or_init(|| {
            let root = is_root_for("the LDAP layer against Samba");
            root.unwrap().then(start)
        })
        .as_ref()
}

impl Domain {
    fn settings(&self) -> DirectorySettings {
        tls_settings(&self.dc.tls_url(), &self.ca, &self.dc.service())
    }

    fn directory(&self, settings: DirectorySettings) -> LdapDirectory {
        LdapDirectory::new(self.config(settings)).unwrap()
    }

    fn config(&self, settings: DirectorySettings) -> DirectoryConfig {
        DirectoryConfig {
            dialect: Some(AD),
            ..config(settings, &self.dc.service().password)
        }
    }

    fn group(&self, name: &str) -> String {
        format!("CN={name},OU=Groups,{}", self.dc.base_dn())
    }
}

/// For the suite of all kinds.
pub(crate) fn kind() -> Option<Kind> {
    use InternalReason::*;
    use SambaPerson as P;
    let domain = domain()?;
    let state = |person: P| {
        let right = match person {
            P::Normal => Verdict::Authenticated { notice: None },
            P::Disabled => told(PublicReason::AccountDisabled, AccountDisabled),
            P::Expired => told(PublicReason::AccountExpired, AccountExpired),
            P::Aged => told(PublicReason::PasswordExpired, PasswordExpired),
            P::MustChange => told(PublicReason::PasswordMustChange, PasswordMustChange),
            P::Locked => silent(AccountLocked),
            P::OffHours => told(PublicReason::LogonRestricted, LogonHours),
            P::OffSite => told(PublicReason::LogonRestricted, LogonWorkstation),
        };
        let wrong = match person {
            P::Locked => silent(AccountLocked),
            _ => silent(InvalidCredentials),
        };
        State {
            account: domain.dc.person(person),
            told: AccountState {
                status: match person {
                    P::Disabled => AccountStatus::Disabled,
                    P::Expired => AccountStatus::Expired,
                    P::Locked => AccountStatus::Locked,
                    _ => AccountStatus::Enabled,
                },
                password_expired: matches!(person, P::Aged | P::MustChange),
                must_change_password: person == P::MustChange,
            },
            right,
            wrong,
        }
    };
    Some(Kind {
        dialect: AD,
        ca: &domain.ca,
        urls: [domain.dc.tls_url(), domain.dc.url()],
        base_dn: domain.dc.base_dn().to_owned(),
        reader: domain.dc.service(),
        writer: Some(domain.dc.powerful()),
        login: "sAMAccountName",
        // Without the crowd, which is looked at in larger pages, and without somebody whom another test adds.
        people: "(&(objectCategory=person)(objectClass=user)(!(sAMAccountName=crowd*))(!(sAMAccountName=hidden)))",
        states: P::ALL.into_iter().map(state).collect(),
        entry: domain.dc.person(P::Normal).dn,
        ids: &[IdKind::ObjectGuid],
        lockout: Some(5),
        now: now(),
        search: Box::new(|arguments| domain.dc.search(arguments).unwrap()),
    })
}

fn now() -> DateTime<Utc> {
    "2026-06-01T12:00:00Z".parse().unwrap()
}

/// The server computes it from the policy that holds for the account, and sends no control.
#[tokio::test]
async fn the_days_until_a_password_expires_are_told_when_they_are_few() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let account = domain.dc.person(SambaPerson::Normal);
    let request = read(&account.dn, AD.row().password_expiry);
    let entry = directory
        .read_entry(&request, in_seconds(20))
        .await
        .unwrap()
        .unwrap();
    let end = password_expire_time(&entry, None).unwrap();
    for (days, notice) in [(20, None), (3, Some(3)), (-1, None)] {
        let now = end - chrono::TimeDelta::days(days);
        let (verdict, _) = log_in(&directory, AD, &account, &account.password, now).await;
        let notice = notice.map(|days| PasswordNotice {
            expires_in: Some(Duration::from_secs(days * 86_400)),
            grace_logins_left: None,
        });
        assert_eq!(verdict, Verdict::Authenticated { notice }, "{days} days");
    }
}

/// What the server computes for the account that Rollcall binds as, by whatever name.
#[tokio::test]
async fn the_bind_accounts_own_password_expires_when_the_server_says() {
    let Some(domain) = domain() else { return };
    let reader = domain.dc.service();
    let computed = AD.row().password_expiry[0];
    let ldif = domain
        .dc
        .search(&["-b", &reader.dn, "-s", "base", computed])
        .unwrap();
    let ticks: i64 = values(&ldif, computed)[0].parse().unwrap();
    for name in [
        reader.dn.clone(),
        "reader@lab.test".to_owned(),
        "LAB\\reader".to_owned(),
    ] {
        let directory = domain.directory(DirectorySettings {
            bind_dn: name.clone(),
            ..domain.settings()
        });
        let end = directory
            .bind_password_expire_time(AD, in_seconds(20))
            .await
            .unwrap();
        // 100 nanoseconds since 1601.
        let expected = DateTime::from_timestamp(ticks / 10_000_000 - 11_644_473_600, 0);
        assert_eq!(
            end.map(|end| end.timestamp()),
            expected.map(|end| end.timestamp()),
            "{name}"
        );
    }
}

#[tokio::test]
async fn every_form_of_a_name_binds_but_the_bare_login() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let normal = domain.dc.person(SambaPerson::Normal);
    let guid = external_id(&directory, &normal.dn, IdKind::ObjectGuid).await;
    let packed: String = guid.bytes().iter().map(|byte| format!("{byte:02x}")).collect();
    for (name, code) in [
        (normal.dn.clone(), ResultCode::SUCCESS),
        (format!("<GUID={guid}>"), ResultCode::SUCCESS),
        (format!("<GUID={packed}>"), ResultCode::SUCCESS),
        ("normal@lab.test".to_owned(), ResultCode::SUCCESS),
        ("normal@LAB".to_owned(), ResultCode::SUCCESS),
        ("LAB\\normal".to_owned(), ResultCode::SUCCESS),
        ("normal".to_owned(), ResultCode::INVALID_CREDENTIALS),
        (
            format!("CN=Nobody,{}", domain.dc.base_dn()),
            ResultCode::INVALID_CREDENTIALS,
        ),
    ] {
        let secret = password(&normal.password);
        let answer = bind(&directory, &name, &secret, in_seconds(20)).await.unwrap();
        assert_eq!(answer.code, code, "{name}: {}", answer.diagnostic);
    }
}

#[tokio::test]
async fn an_external_id_reads_as_the_server_writes_it_and_survives_a_move() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let outer = domain.group("outer");
    let id = external_id(&directory, &outer, IdKind::ObjectGuid).await;
    // The extended DN control (MS-ADTS 3.1.1.3.4.1.5) with flag 1 has the server write GUIDs as text.
    let extended_dn = "1.2.840.113556.1.4.529=::MAMCAQE=";
    let ldif = domain
        .dc
        .search(&["-b", &outer, "-s", "base", "-E", extended_dn, "1.1"])
        .unwrap();
    // 42 bytes: they end where a group of base64 ends, which it takes since the value begins with `<`.
    let mut begin = Ldif::new();
    begin.attribute("dn", format!("<GUID={id}"));
    assert!(
        ldif.starts_with(begin.as_str().trim_end()),
        "{id} is not in {ldif}"
    );

    let rename = "changetype: modrdn\nnewrdn: CN=outermost\ndeleteoldrdn: 1\n";
    domain
        .dc
        .modify(&format!(
            "dn: {outer}\n{rename}newsuperior: OU=Crowd,{}\n",
            domain.dc.base_dn()
        ))
        .unwrap();
    assert_eq!(
        directory.read_entry(&read(&outer, &["cn"]), in_seconds(20)).await,
        Ok(None)
    );
    let found = directory
        .find_by_external_id(&id, &[], &["cn".to_owned()], in_seconds(20))
        .await;
    let found = found.unwrap().unwrap();
    assert_eq!(found.dn, format!("CN=outermost,OU=Crowd,{}", domain.dc.base_dn()));
}

#[tokio::test]
async fn a_search_in_pages_finds_what_ldapsearch_finds() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(DirectorySettings {
        page_size: 100,
        ..domain.settings()
    });
    let base = domain.dc.base_dn();
    let filter = "(&(objectCategory=person)(objectClass=user))";
    let request = SearchRequest {
        filter: filter.to_owned(),
        ..everything(base, &["sAMAccountName", "objectGUID"])
    };
    let (entries, outcome) = pull(&directory, request).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    let ldif = domain.dc.search(&["-b", base, filter, "sAMAccountName"]).unwrap();
    let expected: BTreeSet<&str> = values(&ldif, "dn").into_iter().collect();
    let found: BTreeSet<&str> = entries.iter().map(|entry| entry.dn.as_str()).collect();
    assert_eq!(found, expected);
    assert_eq!(found.len(), entries.len());
    let logins: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.text("sAMAccountName"))
        .collect();
    assert_eq!(logins, values(&ldif, "sAMAccountName").into_iter().collect());
    assert!(logins.contains("normal") && logins.contains("crowd1599"));
    assert!(
        entries
            .iter()
            .all(|entry| entry.values("objectGUID")[0].len() == 16)
    );
    assert_eq!(u64::from(stats.pages), (stats.entries).div_ceil(100));
}

/// The names in these references do not even resolve: following one would end the search. Where the server is
/// known to be a domain controller, it is asked not to produce them.
#[tokio::test]
async fn references_at_the_root_of_the_domain_are_counted_or_not_even_made() {
    let Some(domain) = domain() else { return };
    let known = domain.directory(domain.settings());
    let unknown = directory(domain.settings(), &domain.dc.service().password);
    let request = |base: &str| SearchRequest {
        filter: "(sAMAccountName=normal)".to_owned(),
        ..everything(base, &["cn"])
    };
    let root = domain.dc.base_dn().to_owned();
    let people = format!("OU=People,{root}");
    for (directory, base, references) in [
        (&unknown, &root, true),
        (&unknown, &people, false),
        (&known, &root, false),
    ] {
        let (entries, outcome) = pull(directory, request(base)).await;
        let SearchOutcome::Complete(stats) = outcome else {
            panic!("{outcome:?}")
        };
        assert_eq!(entries.len(), 1);
        assert_eq!(
            stats.search_result_references > 0,
            references,
            "{base}: {stats:?}"
        );
    }
}

#[tokio::test]
async fn a_range_of_members_is_noticed_by_searches_and_completed_by_reads() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let crowd = domain.group("crowd");
    let first = "member;range=0-1499";
    let (entries, outcome) = pull(&directory, everything(&crowd, &[first])).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(stats.ranged_attributes, BTreeSet::from(["member".to_owned()]));
    assert_eq!(
        (entries[0].values(first).len(), entries[0].values("member").len()),
        (1500, 0)
    );

    let whole = directory
        .read_entry(&read(&crowd, &[first]), in_seconds(20))
        .await;
    let whole = whole.unwrap().unwrap();
    let members: BTreeSet<&str> = whole.texts("member").collect();
    let ldif = domain
        .dc
        .search(&["-b", &crowd, "-s", "base", "(objectClass=*)", "member"])
        .unwrap();
    assert_eq!(members, values(&ldif, "member").into_iter().collect());
    assert_eq!(members.len(), 1600);
}

#[tokio::test]
async fn nested_groups_are_found_by_the_rule_in_chain() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let middle = domain.group("middle");
    for (filter, found) in [
        (format!("(memberOf={middle})"), false),
        (format!("(memberOf:1.2.840.113556.1.4.1941:={middle})"), true),
    ] {
        let filter = rollcall_core::filter::Filter::parse(&format!("(&(sAMAccountName=normal){filter})"));
        let request = SearchRequest {
            filter: filter.unwrap().to_string(),
            ..everything(&format!("OU=People,{}", domain.dc.base_dn()), &["cn"])
        };
        let (entries, outcome) = pull(&directory, request).await;
        assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
        assert_eq!(!entries.is_empty(), found);
    }
}

/// Everybody's primary group is `Domain Users`, whose `member` names nobody; it is in the group `Users`.
#[tokio::test]
async fn primary_groups_and_nested_groups_have_their_members() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let base = domain.dc.base_dn();
    let naming_contexts = [base.to_owned()];
    let person = domain.dc.person(SambaPerson::Normal).dn;
    // `outer` is being moved by another test.
    for (group, expected) in [
        (format!("CN=Domain Users,CN=Users,{base}"), true),
        (format!("cn=domain users,cn=users,{base}"), true),
        (format!("CN=Users,CN=Builtin,{base}"), true),
        (format!("CN=Domain Admins,CN=Users,{base}"), false),
        (domain.group("inner"), true),
        (domain.group("middle"), true),
        (domain.group("crowd"), false),
    ] {
        let member = directory.is_in_chain(&person, &group, in_seconds(20));
        assert_eq!(member.await, Ok(expected), "{group}");
    }
    let entry = directory
        .read_entry(&read(&person, &Sid::ATTRIBUTES), in_seconds(20))
        .await;
    let primary = Sid::of_primary_group(&entry.unwrap().unwrap()).unwrap();
    assert_eq!(primary.relative_id(), Some(513));
    for (group, expected) in [
        (format!("CN=Users,CN=Builtin,{base}"), true),
        (domain.group("middle"), false),
    ] {
        let groups = directory
            .primary_groups(&group, &naming_contexts, in_seconds(20))
            .await
            .unwrap();
        assert!(!groups.is_empty());
        assert_eq!(groups.contains(&primary), expected, "{group}");
    }
}

#[tokio::test]
async fn a_bind_without_tls_is_a_mistake_of_the_configuration_and_no_wrong_password() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(DirectorySettings {
        transport_security: TransportSecurity::Plaintext,
        allow_plaintext: true,
        ..tls_settings(&domain.dc.url(), &domain.ca, &domain.dc.service())
    });
    let normal = domain.dc.person(SambaPerson::Normal);
    for guess in [normal.password.as_str(), "wrong"] {
        let answer = bind(&directory, &normal.dn, &password(guess), in_seconds(20)).await;
        let refused = answer.unwrap_err();
        assert_eq!(refused.error, LdapError::BindRefused(ResultCode(8)));
        assert!(
            refused.unsent,
            "the service account is refused before anybody's password is sent"
        );
    }
    let service = directory
        .read_entry(&read("", &[]), in_seconds(20))
        .await
        .unwrap_err();
    assert_eq!(service, LdapError::BindRefused(ResultCode(8)));
    assert_eq!(ResultCode(8).class(), ResultClass::Configuration);
}

#[tokio::test]
async fn the_rights_of_the_bind_account_and_the_lockout_are_told() {
    let Some(domain) = domain() else { return };
    let limit = std::time::Duration::from_secs(20);
    let (service, powerful) = (domain.dc.service(), domain.dc.powerful());
    for (account, name) in [
        (&service, &service.dn),
        (&powerful, &powerful.dn),
        (&powerful, &"powerful@lab.test".to_owned()),
        (&powerful, &"LAB\\powerful".to_owned()),
        (&powerful, &"powerful@LAB".to_owned()),
        (&service, &"LAB\\reader".to_owned()),
    ] {
        let settings = DirectorySettings {
            bind_dn: name.clone(),
            ..domain.settings()
        };
        let check = check_connection(&config(settings, &account.password), now(), limit).await;
        match check.privilege.unwrap() {
            Privilege::ReadOnly { objects } => {
                assert_eq!(account.login, "reader");
                assert!(objects > 10, "{objects}");
            }
            Privilege::TooPowerful { evidence } => {
                assert_eq!(account.login, "powerful", "{evidence:#?}");
                let member = "it is a member of Domain Admins".to_owned();
                assert!(evidence.contains(&member), "{evidence:#?}");
                let writes = |text: &String| text.starts_with("it can write ");
                assert!(evidence.iter().any(writes), "{evidence:#?}");
            }
            Privilege::Unknown => panic!("the rights of {name} are unknown"),
        }
        let lockout = check.lockout.unwrap();
        assert_eq!((lockout.threshold, lockout.window.unwrap().as_secs()), (5, 1800));
    }
}

/// Everybody has an accountExpires.
#[tokio::test]
async fn a_hidden_state_is_one_that_nobody_shows() {
    let Some(domain) = domain() else { return };
    let dn = domain.group("hidden").replace("OU=Groups", "OU=People");
    let user = "changetype: add\nobjectClass: user\nsAMAccountName: hidden\n";
    domain.dc.modify(&format!("dn: {dn}\n{user}")).unwrap();
    let by = domain.dc.powerful();
    // Takes the right to read accountExpires (by its schemaIDGUID) from everybody who has logged in.
    let hide = "(OD;;RP;bf967915-0de6-11d0-a285-00aa003049e2;;AU)";
    let done = std::process::Command::new("samba-tool")
        .args(["dsacl", "set", "--objectdn", &dn, "--sddl", hide])
        .args(["-H", &domain.dc.tls_url(), "--simple-bind-dn", &by.dn])
        .args(["--password", &by.password])
        .args(["--option", "tls verify peer = no_check"])
        .output()
        .unwrap();
    assert!(done.status.success(), "{done:?}");
    let directory = domain.directory(domain.settings());
    let of = async |dns: &[String]| {
        let found = directory.hidden_state(AD, dns, in_seconds(20)).await;
        found.unwrap()
    };
    let shown = domain.dc.person(SambaPerson::Normal).dn;
    assert_eq!(of(std::slice::from_ref(&shown)).await, Some(vec![]));
    assert_eq!(of(&[shown, dn.clone()]).await, Some(vec![]));
    assert_eq!(of(&[dn]).await, Some(vec!["accountExpires"]));
}
