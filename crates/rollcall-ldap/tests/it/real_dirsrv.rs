//! Against 389 Directory Server.

use std::collections::BTreeSet;
use std::sync::OnceLock;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::dialect::{AccountState, AccountStatus, Dialect};
use rollcall_core::directory::DirectorySettings;
use rollcall_core::dn::Dn;
use rollcall_core::external_id::IdKind;
use rollcall_core::verdict::{InternalReason, PasswordNotice, PublicReason, Verdict};
use rollcall_ldap::{
    DirectoryConfig, LdapDirectory, LdapError, Privilege, ResultCode, SearchOutcome, SearchRequest,
    check_connection,
};
use rollcall_testkit::{Dirsrv, DirsrvPerson, TestCa, is_root_for};

use crate::dialects::{Kind, State};
use crate::setup::*;
use crate::verdicts::*;

struct Domain {
    ca: TestCa,
    server: Dirsrv,
}

/// One for all tests, each of which leaves alone what the others look at.
fn domain() -> Option<&'static Domain> {
    static DOMAIN: OnceLock<Option<Domain>> = OnceLock::new();
    let start = || {
        let ca = TestCa::new().unwrap();
        let server = Dirsrv::start(&ca).unwrap();
        Domain { ca, server }
    };
    DOMAIN
        .get_or_init(|| {
            let root = is_root_for("the LDAP layer against 389 Directory Server");
            root.unwrap().then(start)
        })
        .as_ref()
}

impl Domain {
    fn settings(&self) -> DirectorySettings {
        tls_settings(&self.server.tls_url(), &self.ca, &self.server.service())
    }

    fn directory(&self, settings: DirectorySettings) -> LdapDirectory {
        LdapDirectory::new(self.config(settings)).unwrap()
    }

    fn config(&self, settings: DirectorySettings) -> DirectoryConfig {
        DirectoryConfig {
            dialect: Some(Dialect::Dirsrv389),
            ..config(settings, &self.server.service().password)
        }
    }
}

/// For the suite of all kinds.
pub(crate) fn kind() -> Option<Kind> {
    use DirsrvPerson as P;
    use InternalReason::*;
    let domain = domain()?;
    let state = |person: P| {
        let day = PasswordNotice {
            expires_in: Some(Duration::from_secs(86_400)),
            grace_logins_left: None,
        };
        let right = match person {
            P::Aging => Verdict::Authenticated { notice: Some(day) },
            P::Normal => Verdict::Authenticated { notice: None },
            P::Disabled => silent(AccountDisabled),
            P::Locked => silent(AccountLocked),
            P::Aged => told(PublicReason::PasswordExpired, PasswordExpired),
            P::MustChange => told(PublicReason::PasswordMustChange, PasswordMustChange),
        };
        // The server says so whatever the password is, so neither proves it.
        let wrong = match person {
            P::Disabled => silent(AccountDisabled),
            P::Locked => silent(AccountLocked),
            _ => silent(InvalidCredentials),
        };
        State {
            account: domain.server.person(person),
            told: AccountState {
                status: match person {
                    P::Disabled => AccountStatus::Disabled,
                    P::Locked => AccountStatus::Locked,
                    _ => AccountStatus::NotSet,
                },
                password_expired: person == P::Aged,
                must_change_password: person == P::MustChange,
            },
            right,
            wrong,
        }
    };
    Some(Kind {
        dialect: Dialect::Dirsrv389,
        ca: &domain.ca,
        urls: [domain.server.tls_url(), domain.server.url()],
        base_dn: domain.server.base_dn().to_owned(),
        reader: domain.server.service(),
        writer: Some(domain.server.powerful()),
        login: "uid",
        people: "(objectClass=inetOrgPerson)",
        states: P::ALL.into_iter().map(state).collect(),
        entry: domain.server.person(P::Normal).dn,
        ids: &[IdKind::NsUniqueId, IdKind::EntryUuid],
        lockout: None,
        now: now(),
        search: Box::new(|arguments| domain.server.search(arguments).unwrap()),
    })
}

/// The lock of the locked account runs by the machine's clock, and lasts an hour.
fn now() -> DateTime<Utc> {
    #[expect(
        clippy::disallowed_methods,
        reason = "the server sets times by the machine's clock"
    )]
    std::time::SystemTime::now().into()
}

#[tokio::test]
async fn an_entry_without_a_password_lets_nobody_in() {
    let Some(domain) = domain() else { return };
    let dn = format!("cn=passwordless,{}", domain.server.base_dn());
    let person = "changetype: add\nobjectClass: person\ncn: passwordless\nsn: passwordless\n";
    domain.server.modify(&format!("dn: {dn}\n{person}")).unwrap();
    let directory = domain.directory(domain.settings());
    let guess = password("right");
    let answer = bind(&directory, &dn, &guess, in_seconds(20));
    let answer = answer.await.unwrap();
    assert_eq!(answer.code, ResultCode::INVALID_CREDENTIALS);
    let verdict = answer.verdict(Dialect::Dirsrv389, AccountState::default(), None);
    assert_eq!(verdict, silent(InternalReason::InvalidCredentials));
}

#[tokio::test]
async fn external_ids_read_as_the_server_writes_them_and_survive_a_move() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let base = domain.server.base_dn();
    let mut dn = format!("cn=outer,ou=Groups,{base}");
    for (kind, renamed) in [(IdKind::NsUniqueId, "outermost"), (IdKind::EntryUuid, "outer")] {
        let id = external_id(&directory, &dn, kind.clone()).await;
        let attribute = kind.attribute();
        let ldif = domain
            .server
            .search(&["-b", &dn, "-s", "base", "(objectClass=*)", attribute])
            .unwrap();
        let shown = ldif
            .lines()
            .find_map(|line| line.split_once(": ").filter(|(name, _)| *name != "dn"));
        assert_eq!(id.to_string(), shown.unwrap().1, "{ldif}");

        let rename = "changetype: modrdn\ndeleteoldrdn: 1\n"
            .replace("delete", &format!("newrdn: cn={renamed}\ndelete"));
        domain.server.modify(&format!("dn: {dn}\n{rename}")).unwrap();
        let bases = ["ou=nowhere,dc=example,dc=org".to_owned(), base.to_owned()];
        let found = directory
            .find_by_external_id(&id, &bases, &["cn".to_owned()], in_seconds(20))
            .await;
        dn = format!("cn={renamed},ou=Groups,{base}");
        assert_eq!(found.unwrap().unwrap().dn, dn);
    }
}

#[tokio::test]
async fn a_search_in_pages_finds_what_ldapsearch_finds() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(DirectorySettings {
        page_size: 2,
        ..domain.settings()
    });
    let base = domain.server.base_dn();
    let request = SearchRequest {
        filter: "(objectClass=inetOrgPerson)".to_owned(),
        ..everything(base, &["uid", "mail"])
    };
    let (entries, outcome) = pull(&directory, request).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    assert_eq!(
        (stats.entries, stats.pages, stats.search_result_references),
        (6, 3, 0)
    );
    let ldif = domain
        .server
        .search(&["-b", base, "(objectClass=inetOrgPerson)", "uid"])
        .unwrap();
    let found: BTreeSet<&str> = entries.iter().map(|entry| entry.dn.as_str()).collect();
    assert_eq!(found, values(&ldif, "dn").into_iter().collect());
    let logins: BTreeSet<&str> = entries.iter().filter_map(|entry| entry.text("uid")).collect();
    assert_eq!(logins, values(&ldif, "uid").into_iter().collect());
    // Commas in names come back as \2C here and as \, from Active Directory: the same DN.
    let normal = domain.server.person(DirsrvPerson::Normal).dn;
    let otherwise = Dn::parse(&normal.replace("\\2C", "\\,")).unwrap();
    assert!(
        entries
            .iter()
            .any(|entry| entry.dn.contains("\\2C") && Dn::parse(&entry.dn).unwrap() == otherwise)
    );
}

#[tokio::test]
async fn membership_comes_through_all_levels() {
    let Some(domain) = domain() else { return };
    let directory = domain.directory(domain.settings());
    let normal = domain.server.person(DirsrvPerson::Normal).dn;
    let entry = directory
        .read_entry(&read(&normal, &["memberOf"]), in_seconds(20))
        .await;
    let entry = entry.unwrap().unwrap();
    // `outer` is being renamed by another test.
    assert_eq!(entry.values("memberOf").len(), 3);
    let naming_contexts = [domain.server.base_dn().to_owned()];
    for (group, directly) in [("inner", true), ("middle", false)] {
        let dn = format!("cn={group},ou=Groups,{}", domain.server.base_dn());
        assert!(entry.texts("memberOf").any(|member_of| member_of == dn), "{dn}");
        let above = directory.groups_above(&normal, &[], &naming_contexts, in_seconds(20));
        assert!(
            above.await.unwrap().groups.contains(&Dn::parse(&dn).unwrap()),
            "{dn}"
        );
        let itself = [normal.clone()];
        let member = directory.names_a_member(&dn, &itself, &[], in_seconds(20));
        assert_eq!(member.await, Ok(directly), "{dn}");
    }
}

#[tokio::test]
async fn the_rights_of_the_bind_account_are_told() {
    let Some(domain) = domain() else { return };
    let limit = Duration::from_secs(20);
    for account in [domain.server.service(), domain.server.powerful()] {
        let settings = DirectorySettings {
            bind_dn: account.dn.clone(),
            ..domain.settings()
        };
        let check = check_connection(&config(settings, &account.password), now(), limit).await;
        match check.privilege.unwrap() {
            Privilege::ReadOnly { objects } => {
                assert_eq!(account.login, "reader");
                assert!(objects > 5, "{objects}");
            }
            Privilege::TooPowerful { evidence } => {
                assert_eq!(account.login, "powerful", "{evidence:#?}");
                for right in ["it can add entries below ", "it can delete ", "it can write "] {
                    assert!(
                        evidence.iter().any(|text| text.starts_with(right)),
                        "{evidence:#?}"
                    );
                }
            }
            Privilege::Unknown => panic!("the rights of {} are unknown", account.dn),
        }
    }
}

/// Matrix case 57: a paged search of a base that is gone succeeds without entries there, a plain one does not.
#[tokio::test]
async fn a_base_that_is_gone_fails_the_search() {
    let Some(domain) = domain() else { return };
    let gone = format!("ou=Gone,{}", domain.server.base_dn());
    let (_, outcome) = pull(&domain.directory(domain.settings()), everything(&gone, &["1.1"])).await;
    let error = LdapError::SearchRefused(ResultCode::NO_SUCH_OBJECT);
    assert_eq!(outcome, SearchOutcome::Failed { error });
}

/// What may not be searched for makes a filter neither true nor false.
#[tokio::test]
async fn a_hidden_state_is_found_by_filters() {
    let Some(domain) = domain() else { return };
    let base = domain.server.base_dn();
    let person = "changetype: add\nobjectClass: person\ncn: hidden\nsn: hidden\n";
    let deny = format!(
        "aci: (targetattr=\"nsAccountLock\")(version 3.0; acl \"hide\"; deny (read,search,compare) userdn=\"ldap:///{}\";)\n",
        domain.server.service().dn
    );
    let hidden = format!("cn=hidden,{base}");
    domain
        .server
        .modify(&format!("dn: {hidden}\n{person}{deny}"))
        .unwrap();
    let directory = domain.directory(domain.settings());
    let shown = domain.server.person(DirsrvPerson::Normal).dn;
    let of = async |dns: &[String]| {
        let found = directory
            .hidden_state(Dialect::Dirsrv389, dns, in_seconds(20))
            .await;
        found.unwrap()
    };
    assert_eq!(of(&[shown.clone(), hidden]).await, Some(vec!["nsAccountLock"]));
    assert_eq!(of(&[shown]).await, Some(vec![]));
    assert_eq!(of(&[]).await, None);
    assert_eq!(of(&[format!("cn=nobody,{base}")]).await, None);
}
