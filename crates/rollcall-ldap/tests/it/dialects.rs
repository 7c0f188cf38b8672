//! What each kind of server has to show, on a real server of the kind and in transcripts: one suite. A kind joins it by one
//! line in `kinds!`, which says what starts a server, and whose transcripts are its.

mod transcripts;

use std::collections::BTreeSet;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::dialect::{AccountState, Dialect};
use rollcall_core::directory::DirectorySettings;
use rollcall_core::external_id::IdKind;
use rollcall_core::verdict::Verdict;
use rollcall_ldap::{
    DirectoryConfig, LdapDirectory, LdapError, Privilege, SearchOutcome, SearchRequest, TlsFailure,
    check_connection,
};
use rollcall_testkit::{Account, TestCa};

use crate::setup::*;
use crate::verdicts::*;
use crate::{real_dirsrv, real_samba, real_slapd};

const LIMIT: Duration = Duration::from_secs(20);

type Ldapsearch = Box<dyn Fn(&[&str]) -> String>;

/// A real server of one kind, and what is known of it.
pub(crate) struct Kind {
    pub(crate) dialect: Dialect,
    pub(crate) ca: &'static TestCa,
    /// With TLS from the first byte, and with StartTLS.
    pub(crate) urls: [String; 2],
    pub(crate) base_dn: String,
    /// Reads and writes nothing.
    pub(crate) reader: Account,
    /// May write; `None` where nobody can tell what an account may do.
    pub(crate) writer: Option<Account>,
    /// The attribute of logins, and a filter for everybody.
    pub(crate) login: &'static str,
    pub(crate) people: &'static str,
    pub(crate) states: Vec<State>,
    /// An entry that is there while the tests run, and its ids.
    pub(crate) entry: String,
    pub(crate) ids: &'static [IdKind],
    /// Failed binds after which the server locks an account; `None` where it does not say.
    pub(crate) lockout: Option<u32>,
    /// The time by which accounts expire.
    pub(crate) now: DateTime<Utc>,
    /// What `ldapsearch` prints.
    pub(crate) search: Ldapsearch,
}

/// Somebody whose account is in some state.
pub(crate) struct State {
    pub(crate) account: Account,
    /// What the entry tells.
    pub(crate) told: AccountState,
    /// With the right password.
    pub(crate) right: Verdict,
    /// With a wrong one.
    pub(crate) wrong: Verdict,
}

impl Kind {
    fn settings(&self, url: &str) -> DirectorySettings {
        tls_settings(url, self.ca, &self.reader)
    }

    fn config(&self, settings: DirectorySettings) -> DirectoryConfig {
        DirectoryConfig {
            dialect: Some(self.dialect),
            ..config(settings, &self.reader.password)
        }
    }

    fn directory(&self, settings: DirectorySettings) -> LdapDirectory {
        LdapDirectory::new(self.config(settings)).unwrap()
    }
}

macro_rules! kinds {
    ($($name:ident: $dialect:ident, $transcripts:literal, $kind:path;)*) => {
        const TRIED: &[Dialect] = &[$(Dialect::$dialect,)*];

        $(mod $name {
            use super::*;

            #[tokio::test]
            async fn transcripts_are_of_their_kind() {
                transcripts::are_of_their_kind(Dialect::$dialect, $transcripts).await;
            }

            #[tokio::test]
            async fn the_check_passes_by_either_way_of_tls_and_strangers_do_not() {
                if let Some(kind) = $kind() {
                    check_passes(&kind).await;
                }
            }

            #[tokio::test]
            async fn every_state_of_an_account_gets_its_verdict() {
                if let Some(kind) = $kind() {
                    states_get_their_verdicts(&kind).await;
                }
            }

            #[tokio::test]
            async fn a_search_in_pages_finds_what_ldapsearch_finds() {
                if let Some(kind) = $kind() {
                    pages_hold_everybody(&kind).await;
                }
            }

            #[tokio::test]
            async fn an_entry_is_found_by_each_of_its_ids() {
                if let Some(kind) = $kind() {
                    ids_find_their_entry(&kind).await;
                }
            }

            #[tokio::test]
            async fn the_rights_of_the_bind_account_and_the_lockout_are_told() {
                if let Some(kind) = $kind() {
                    rights_are_told(&kind).await;
                }
            }
        })*
    };
}

kinds! {
    active_directory: ActiveDirectory, "samba", real_samba::kind;
    open_ldap: OpenLdap, "openldap", real_slapd::kind;
    dirsrv_389: Dirsrv389, "dirsrv", real_dirsrv::kind;
}

/// The generic kind is what is left: no server is of it.
#[test]
fn every_kind_of_server_is_tried() {
    for dialect in Dialect::ALL.iter().filter(|kind| **kind != Dialect::Generic) {
        assert!(
            TRIED.contains(dialect),
            "{dialect:?} needs a line in kinds! in dialects.rs"
        );
    }
}

async fn check_passes(kind: &Kind) {
    for url in &kind.urls {
        let settings = kind.settings(url);
        let check = check_connection(&kind.config(settings.clone()), kind.now, LIMIT).await;
        let root = check.root_dse().unwrap();
        assert_eq!(root.dialect, kind.dialect, "{url}");
        let failed = check.report.stages.iter().filter(|stage| match stage.kind {
            // Nobody can tell what an account may do on some kinds.
            StageKind::Privilege if kind.writer.is_none() => stage.result == StageResult::Fail,
            _ => stage.result != StageResult::Pass,
        });
        assert_eq!(failed.collect::<Vec<_>>(), Vec::<&Stage>::new(), "{url}");

        let distrusted = kind.directory(DirectorySettings {
            ca_certificates: TestCa::new().unwrap().pem(),
            ..settings
        });
        let refused = distrusted.read_entry(&read("", &[]), in_seconds(20)).await;
        assert_eq!(refused, Err(LdapError::Tls(TlsFailure::UnknownIssuer)), "{url}");
    }
}

async fn states_get_their_verdicts(kind: &Kind) {
    let directory = kind.directory(kind.settings(&kind.urls[0]));
    for state in &kind.states {
        let login = &state.account.login;
        for (guess, expected) in [
            (state.account.password.as_str(), state.right),
            ("wrong", state.wrong),
        ] {
            let (verdict, told) = log_in(&directory, kind.dialect, &state.account, guess, kind.now).await;
            // How long a password is good for runs by the server's clock: only that it is told is compared.
            let verdict = match (verdict, expected) {
                (
                    Verdict::Authenticated { notice: Some(told) },
                    Verdict::Authenticated { notice: Some(most) },
                ) if told.expires_in <= most.expires_in => expected,
                (verdict, _) => verdict,
            };
            assert_eq!(verdict, expected, "{login}, {guess:?}");
            assert_eq!(told, state.told, "{login}");
        }
    }
}

async fn pages_hold_everybody(kind: &Kind) {
    let directory = kind.directory(DirectorySettings {
        page_size: 2,
        ..kind.settings(&kind.urls[0])
    });
    let request = SearchRequest {
        filter: kind.people.to_owned(),
        ..everything(&kind.base_dn, &[kind.login])
    };
    let (entries, outcome) = pull(&directory, request).await;
    let SearchOutcome::Complete(stats) = outcome else {
        panic!("{outcome:?}")
    };
    // Some servers end with an empty page.
    let pages = stats.entries.div_ceil(2);
    assert!((pages..=pages + 1).contains(&u64::from(stats.pages)), "{stats:?}");
    let ldif = (kind.search)(&["-b", &kind.base_dn, kind.people, kind.login]);
    let found: BTreeSet<&str> = entries.iter().map(|entry| entry.dn.as_str()).collect();
    assert_eq!(found, values(&ldif, "dn").into_iter().collect());
    assert_eq!(found.len(), entries.len());
    let logins: BTreeSet<&str> = entries
        .iter()
        .filter_map(|entry| entry.text(kind.login))
        .collect();
    assert_eq!(logins, values(&ldif, kind.login).into_iter().collect());
}

async fn ids_find_their_entry(kind: &Kind) {
    let directory = kind.directory(kind.settings(&kind.urls[0]));
    let known = kind.dialect.external_id_kinds().iter();
    let shown: Vec<&IdKind> = known.filter(|known| kind.ids.contains(known)).collect();
    assert_eq!(
        shown,
        kind.ids.iter().collect::<Vec<_>>(),
        "the best one comes first"
    );
    for id_kind in kind.ids {
        let id = external_id(&directory, &kind.entry, id_kind.clone()).await;
        let found = directory
            .find_by_external_id(
                &id,
                std::slice::from_ref(&kind.base_dn),
                &["cn".to_owned()],
                in_seconds(20),
            )
            .await;
        assert_eq!(found.unwrap().unwrap().dn, kind.entry, "{id_kind:?}");
    }
}

async fn rights_are_told(kind: &Kind) {
    let mut accounts = vec![&kind.reader];
    accounts.extend(&kind.writer);
    for account in accounts {
        let settings = DirectorySettings {
            bind_dn: account.dn.clone(),
            ..kind.settings(&kind.urls[0])
        };
        let check = check_connection(&config(settings, &account.password), kind.now, LIMIT).await;
        let login = &account.login;
        match check.privilege.unwrap() {
            Privilege::ReadOnly { objects } => assert!(*login == kind.reader.login && objects > 0, "{login}"),
            Privilege::TooPowerful { evidence } => {
                assert_ne!(*login, kind.reader.login, "{evidence:#?}");
                assert!(
                    evidence.iter().any(|text| text.starts_with("it can write ")),
                    "{evidence:#?}"
                );
            }
            Privilege::Unknown => assert!(kind.writer.is_none(), "{login}"),
        }
        assert_eq!(check.lockout.map(|lockout| lockout.threshold), kind.lockout);
    }
}
