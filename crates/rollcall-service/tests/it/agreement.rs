//! Asks for the role of everybody in both ways.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::{DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::id::DirectoryId;
use rollcall_core::identifier::LoginPolicy;
use rollcall_core::mapping::Mapping;
use rollcall_core::reader::EntryReader;
use rollcall_core::role::RoleFinding;
use rollcall_core::secret::Password;
use rollcall_core::user_sync::*;
use rollcall_ldap::{ConnectionLimit, DirectoryConfig, EgressPolicy, LdapDirectory, PoolLimits, Resolver};
use rollcall_service::pull::Pull;
use rollcall_service::role::{Person, RuleProblem, Rules};
use rollcall_service::roles::{self, RunSource};
use rollcall_testkit::{Slapd, TestCa};
use tokio::time::Instant;

/// Far more than the tests have.
const MAX_ENTRIES: u32 = 100_000;

/// A directory, and a user sync on it.
pub(crate) struct Sync {
    pub(crate) directory: LdapDirectory,
    pub(crate) dialect: Dialect,
    pub(crate) naming_contexts: Vec<String>,
    pub(crate) settings: UserSyncSettings,
}

/// What is known about everybody, by login.
pub(crate) type Findings = BTreeMap<String, RoleFinding>;

/// How a server is reached.
pub(crate) struct Access {
    pub(crate) url: String,
    pub(crate) ca: Option<TestCa>,
    pub(crate) bind_dn: String,
    pub(crate) bind_password: String,
}

impl Access {
    pub(crate) fn of_slapd(slapd: &Slapd) -> Self {
        Self {
            url: slapd.url(),
            ca: None,
            bind_dn: slapd.service_dn(),
            bind_password: slapd.service_password().to_owned(),
        }
    }

    pub(crate) fn settings(&self) -> DirectorySettings {
        let host = HostUrl::parse(&self.url).unwrap();
        let transport_security = match self.ca {
            Some(_) => TransportSecurity::Ldaps,
            None => TransportSecurity::Plaintext,
        };
        DirectorySettings {
            display_name: "Test".into(),
            transport_security,
            allow_plaintext: true,
            ca_certificates: self.ca.as_ref().map(TestCa::pem).unwrap_or_default(),
            bind_dn: self.bind_dn.clone(),
            connect_timeout: Duration::from_secs(5),
            operation_timeout: Duration::from_secs(60),
            ..DirectorySettings::with_defaults(vec![host])
        }
    }

    pub(crate) fn directory(&self) -> LdapDirectory {
        let settings = self.settings();
        let ports = vec![settings.hosts[0].effective_port(None)];
        let loopback = vec!["127.0.0.0/8".parse().unwrap()];
        LdapDirectory::new(DirectoryConfig {
            settings,
            bind_password: Arc::new(Password::new(self.bind_password.clone()).unwrap()),
            password_keeper: None,
            client_key: None,
            egress: Arc::new(EgressPolicy::new(loopback, ports)),
            resolver: Resolver::system(),
            limits: PoolLimits::default(),
            connections: ConnectionLimit::new(100),
            dialect: None,
        })
        .unwrap()
    }

    /// A user sync of everybody with `login` under `base`, with these rules.
    pub(crate) async fn sync(&self, base: &str, login: &str, role_rules: Vec<RoleRule>) -> Sync {
        let directory = self.directory();
        let root = directory.root_dse(in_seconds(20)).await.unwrap();
        Sync {
            directory,
            dialect: root.dialect,
            naming_contexts: root.data_naming_contexts(),
            settings: settings(base, login, role_rules),
        }
    }
}

impl Sync {
    fn reader(&self) -> EntryReader {
        EntryReader::new(
            self.dialect,
            None,
            Mapping::new(&self.settings, LoginPolicy::default()),
        )
    }

    /// As a run finds out.
    pub(crate) async fn in_a_run(&self) -> (Findings, Vec<RuleProblem>) {
        let reader = self.reader();
        let source = RunSource {
            directory: &self.directory,
            reader: &reader,
            naming_contexts: &self.naming_contexts,
            timeout: Duration::from_secs(60),
            max_entries: MAX_ENTRIES,
        };
        let roles = roles::evaluate(source, &self.settings).await;
        let mut findings = Findings::new();
        let mut pull = Pull::new(
            &self.directory,
            &self.settings.searches,
            &reader.attributes(),
            MAX_ENTRIES,
        );
        while let Some(entries) = pull.next_batch().await {
            for entry in entries {
                let id = reader.external_id(&entry).unwrap();
                let login = entry.text(&self.settings.field_mappings.login[0]).unwrap();
                findings.insert(login.to_owned(), roles.of(&id, &entry.dn).clone());
            }
        }
        pull.finish().await.unwrap();
        (findings, roles.problems().to_vec())
    }

    /// As a login of the person at this DN finds out.
    pub(crate) async fn at_a_login(&self, dn: &str) -> (RoleFinding, Vec<RuleProblem>) {
        let rules = Rules::new(
            &self.directory,
            self.dialect,
            &self.naming_contexts,
            &self.settings,
        );
        rules.role(&Person::at(dn), in_seconds(60)).await
    }

    /// As logins find out.
    pub(crate) async fn at_logins(&self) -> (Findings, Vec<RuleProblem>) {
        let reader = self.reader();
        let mut people = BTreeMap::new();
        let mut pull = Pull::new(
            &self.directory,
            &self.settings.searches,
            &reader.attributes(),
            MAX_ENTRIES,
        );
        while let Some(entries) = pull.next_batch().await {
            let login = |entry: &rollcall_core::entry::Entry| {
                entry
                    .text(&self.settings.field_mappings.login[0])
                    .unwrap()
                    .to_owned()
            };
            people.extend(entries.into_iter().map(|entry| (login(&entry), entry.dn)));
        }
        pull.finish().await.unwrap();
        let (mut findings, mut all_problems) = (Findings::new(), Vec::new());
        for (login, dn) in people.into_iter() {
            let (finding, problems) = self.at_a_login(&dn).await;
            findings.insert(login, finding);
            all_problems.extend(
                problems
                    .into_iter()
                    .filter(|new| !all_problems.contains(new))
                    .collect::<Vec<_>>(),
            );
        }
        (findings, all_problems)
    }

    /// What both say, which must be the same.
    pub(crate) async fn agreed(&self) -> (Findings, Vec<RuleProblem>) {
        let (run, problems) = self.in_a_run().await;
        let (login, _) = self.at_logins().await;
        assert_eq!(run, login, "a run and a login disagree: {problems:?}");
        (run, problems)
    }
}

/// The role of everybody whose role is certain, else `?`.
pub(crate) fn roles_of(findings: &Findings) -> Vec<(&str, &str)> {
    findings
        .iter()
        .map(|(login, finding)| (login.as_str(), finding.for_new().unwrap_or("?")))
        .collect()
}

pub(crate) fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) fn by_group(dn: &str, role: &str) -> RoleRule {
    RoleRule {
        condition: RoleCondition::GroupDn(dn.to_owned()),
        role: role.to_owned(),
    }
}

pub(crate) fn by_filter(filter: &str, role: &str) -> RoleRule {
    RoleRule {
        condition: RoleCondition::Filter(filter.to_owned()),
        role: role.to_owned(),
    }
}

fn settings(base: &str, login: &str, role_rules: Vec<RoleRule>) -> UserSyncSettings {
    UserSyncSettings {
        display_name: "Staff".into(),
        searches: vec![Search {
            base_dn: base.to_owned(),
            scope: SearchScope::Subtree,
            filter: format!("({login}=*)"),
        }],
        role: "user".into(),
        role_rules,
        field_mappings: FieldMappings {
            login: vec![login.to_owned()],
            ..FieldMappings::default()
        },
        missing_users: MissingUsers::Deactivate,
        ..UserSyncSettings::with_defaults(DirectoryId::parse("hq").unwrap())
    }
}
