//! One Rollcall for all programs: tenants whose directories answer, deny, are away or misconfigured.

use std::path::PathBuf;
use std::sync::Arc;

use anyhow::{Context, Result};
use rollcall_proto::v1::{self, SyncRunMode};
use rollcall_store::{Keyring, Store, StoreOptions};
use rollcall_testkit::{
    Ldif, LostBind, Proxy, SambaDc, Slapd, TestCa, Tree, TreeEntry, TreeLdap, is_root_for,
};
use system_tests::{Backend, System, directory_of, sync_of};

use crate::language::Language;

pub(crate) const BASE: &str = "dc=example,dc=org";
/// Enough users of this size to fill more than a client takes in one message.
pub(crate) const LARGE_USERS: usize = 100;
const LARGE_FIELDS: usize = 50;
const LARGE_VALUE: usize = 1000;
/// Name, permissions, tenants, and the SHA-256 of "token of the NAME". The hasty one may call once a second.
const CALLERS: &str = r#"
[[callers]]
name = "product"
token_sha256 = "2029dec607fbe5bc6ba429a5ff6103214465d37b7c26d8da7117eb6f5f8a30f2"
permissions = ["authenticate", "users.read", "users.write"]
tenants = ["*"]
[[callers]]
name = "reader"
token_sha256 = "e851021739bdc2ea5ed81d5295577a80364cdf77bea03c40fe84f159710c52ac"
permissions = ["users.read"]
tenants = ["*"]
[[callers]]
name = "stranger"
token_sha256 = "2755142433089e0689debf3b0e5184c0782c253b4cd37b0e0d2b05d18290ec8d"
permissions = ["authenticate"]
tenants = ["elsewhere"]
[[callers]]
name = "hasty"
token_sha256 = "c3cf0e7b64605b1bfd5b9826086791d8a46c170401e1af9f332f24c90f563951"
permissions = ["authenticate"]
tenants = ["*"]
requests_per_second = 1
burst = 1
"#;

pub(crate) struct World {
    pub(crate) ca: TestCa,
    pub(crate) slapd: Slapd,
    /// `None` where the test does not run as root.
    pub(crate) samba: Option<SambaDc>,
    pub(crate) held: Arc<TreeLdap>,
    pub(crate) system: System,
    pub(crate) expired_cursor: String,
}

impl World {
    pub(crate) async fn start() -> Result<Self> {
        let ca = TestCa::new()?;
        let builder = Slapd::builder()
            .certificate(ca.loopback_server()?)
            .ppolicy()
            .ldif(&people()?);
        let slapd = tokio::task::spawn_blocking(move || builder.start()).await??;
        let samba = if is_root_for("the denials that only Active Directory gives")? {
            Some(SambaDc::start(&ca)?)
        } else {
            None
        };
        let held = Arc::new(TreeLdap::start(held_tree()).await?);
        let away = Proxy::start(slapd.tls_address()).await?;
        let ports = [
            slapd.tls_address().port(),
            held.address().port(),
            away.address().port(),
            636,
        ];
        let system = System::start(Backend::Postgres, &ports).await?;
        let mut world = Self {
            ca,
            slapd,
            samba,
            held,
            system,
            expired_cursor: String::new(),
        };
        world.write_gateway_config()?;
        world.forget_events().await?;
        world.fill().await?;
        world.break_some(away).await?;
        Ok(world)
    }

    /// What a gateway for the programs is configured with: TLS, callers, and a worker that cannot be reached.
    pub(crate) fn gateway_config(&self) -> PathBuf {
        self.system.config("clients")
    }

    fn write_gateway_config(&self) -> Result<()> {
        let (certificate, key) = self
            .ca
            .loopback_server()?
            .write_to(self.system.files.path(), "gateway")?;
        let plain = std::fs::read_to_string(self.system.config("gateway"))?;
        let (plain, _worker) = plain.split_once("[worker]").context("no worker")?;
        let secure = format!(
            "[server]\ntls_certificate_file = \"{}\"\ntls_key_file = \"{}\"\n",
            certificate.display(),
            key.display()
        );
        let config = plain
            .replace("[server]\n", &secure)
            .replace("[store]\n", "[store]\nmax_connections = 4\n");
        let more = "[worker]\nendpoint = \"http://127.0.0.1:1\"\n[events]\npoll_interval = \"50ms\"\n";
        std::fs::write(self.gateway_config(), format!("{config}{more}{CALLERS}"))?;
        Ok(())
    }

    /// The tenant `archive`, whose first event is kept no longer.
    async fn forget_events(&mut self) -> Result<()> {
        self.tenant("archive", &[]).await?;
        let mut users = self.system.users().await?;
        for number in 1..=Language::ALL.len() {
            users
                .create_user(local("archive", &format!("kept{number}"), 0))
                .await?;
        }
        let events = v1::ListUserEventsRequest {
            parent: "tenants/archive".to_owned(),
            ..v1::ListUserEventsRequest::default()
        };
        let events = users.list_user_events(events).await?.into_inner().events;
        self.expired_cursor = events.first().context("no event")?.cursor.clone();
        let database = self.system.database.as_ref().context("no database")?;
        let keys = std::fs::read_to_string(self.system.files.path().join("keys"))?;
        let store = Store::open(database.url(), Keyring::parse(&keys)?, StoreOptions::default()).await?;
        let tomorrow = chrono::Utc::now() + chrono::TimeDelta::days(1);
        store.delete_old_events(tomorrow, 2).await?;
        Ok(())
    }

    async fn fill(&self) -> Result<()> {
        self.tenant("large", &[]).await?;
        let mut users = self.system.users().await?;
        for number in 0..LARGE_USERS {
            let user = local("large", &format!("large{number}"), LARGE_FIELDS);
            users.create_user(user).await?;
        }
        for language in Language::ALL {
            self.tenant(language.id(), &[]).await?;
        }
        let everybody = |tenant: &str| sync_of(&format!("tenants/{tenant}/directories/hq"), &people_dn());
        self.tenant("acme", &["example.org"]).await?;
        let mut staff = everybody("acme");
        staff.role_rules = vec![v1::RoleRule {
            role: "admin".to_owned(),
            condition: Some(v1::role_rule::Condition::Filter(
                "(employeeType=admin)".to_owned(),
            )),
        }];
        self.sync("acme", directory_of(&self.slapd, &self.ca), staff)
            .await?;
        for language in Language::ALL {
            let demoted = format!(
                "dn: {}\nchangetype: modify\ndelete: employeeType\n",
                dn(&login(language, "demoted"))
            );
            self.slapd.modify(&demoted)?;
        }
        let directory = v1::Directory {
            display_name: "Held".to_owned(),
            hosts: vec![self.held.url()],
            transport_security: v1::TransportSecurity::Plaintext.into(),
            allow_plaintext: true,
            bind_dn: format!("cn=reader,{BASE}"),
            bind_password: "reads".to_owned(),
            ..v1::Directory::default()
        };
        self.tenant("held", &[]).await?;
        self.sync("held", directory, everybody("held")).await?;
        for language in Language::ALL {
            for (who, how) in [
                ("held", LostBind::Silent),
                ("twice", LostBind::Silent),
                ("careful", LostBind::Silent),
                ("lost", LostBind::Closed),
            ] {
                self.held.lose_binds(&dn(&login(language, who)), how);
            }
        }
        if let Some(samba) = &self.samba {
            let directory = v1::Directory {
                display_name: "Forest".to_owned(),
                hosts: vec![samba.tls_url()],
                transport_security: v1::TransportSecurity::Ldaps.into(),
                ca_certificates: self.ca.pem(),
                bind_dn: samba.service().dn,
                bind_password: samba.service().password,
                ..v1::Directory::default()
            };
            let mut sync = sync_of(
                "tenants/forest/directories/hq",
                &format!("OU=People,{}", samba.base_dn()),
            );
            sync.searches[0].filter = "(&(objectCategory=person)(objectClass=user))".to_owned();
            if let Some(mappings) = &mut sync.field_mappings {
                mappings.login = vec!["sAMAccountName".to_owned()];
            }
            self.tenant("forest", &[]).await?;
            self.sync("forest", directory, sync).await?;
        }
        Ok(())
    }

    /// Tenants whose directories served once and do so no more.
    async fn break_some(&self, away: Proxy) -> Result<()> {
        let good = || directory_of(&self.slapd, &self.ca);
        for tenant in ["off", "away", "misconfigured", "unconfirmed"] {
            let mut directory = good();
            if tenant == "away" {
                directory.hosts = vec![format!("ldaps://{}", away.address())];
            }
            let mut some = sync_of(&format!("tenants/{tenant}/directories/hq"), &people_dn());
            some.searches[0].filter = "(uid=go-right)".to_owned();
            self.tenant(tenant, &[]).await?;
            self.sync(tenant, directory, some).await?;
        }
        drop(away);
        let mut changes = Vec::new();
        let mut wrong = good();
        "tenants/misconfigured/directories/hq".clone_into(&mut wrong.name);
        "not the password".clone_into(&mut wrong.bind_password);
        changes.push((wrong, "bind_password"));
        let mut moved = good();
        "tenants/unconfirmed/directories/hq".clone_into(&mut moved.name);
        moved.hosts = vec![format!("ldaps://localhost:{}", self.slapd.tls_address().port())];
        changes.push((moved, "hosts,bind_password"));
        for (directory, fields) in changes {
            let request = v1::UpdateDirectoryRequest {
                directory: Some(directory),
                update_mask: Some(mask(fields)),
                ..v1::UpdateDirectoryRequest::default()
            };
            self.system.directories().await?.update_directory(request).await?;
        }
        let request = v1::UpdateTenantRequest {
            tenant: Some(v1::Tenant {
                name: "tenants/off".to_owned(),
                ..v1::Tenant::default()
            }),
            update_mask: Some(mask("user_sync_enabled")),
        };
        self.system.tenants().await?.update_tenant(request).await?;
        Ok(())
    }

    async fn tenant(&self, id: &str, domains: &[&str]) -> Result<()> {
        let request = v1::CreateTenantRequest {
            tenant: Some(v1::Tenant {
                display_name: id.to_owned(),
                user_sync_enabled: true,
                verified_domains: domains.iter().map(|domain| (*domain).to_owned()).collect(),
                ..v1::Tenant::default()
            }),
            tenant_id: id.to_owned(),
            request_id: String::new(),
        };
        self.system.tenants().await?.create_tenant(request).await?;
        Ok(())
    }

    /// Gives a tenant its directory and its people.
    async fn sync(&self, tenant: &str, directory: v1::Directory, user_sync: v1::UserSync) -> Result<()> {
        let request = v1::CreateDirectoryRequest {
            parent: format!("tenants/{tenant}"),
            directory_id: "hq".to_owned(),
            request_id: String::new(),
            directory: Some(directory),
        };
        self.system.directories().await?.create_directory(request).await?;
        let request = v1::CreateUserSyncRequest {
            parent: format!("tenants/{tenant}"),
            user_sync_id: "staff".to_owned(),
            request_id: String::new(),
            user_sync: Some(user_sync),
        };
        self.system.user_syncs().await?.create_user_sync(request).await?;
        let run = self
            .system
            .run(&format!("tenants/{tenant}/userSyncs/staff"), SyncRunMode::Apply)
            .await?;
        anyhow::ensure!(run.state() == v1::SyncRunState::Succeeded, "{run:#?}");
        Ok(())
    }
}

/// The login of a program's own person.
pub(crate) fn login(language: Language, who: &str) -> String {
    format!("{}-{who}", language.id())
}

pub(crate) fn password(login: &str) -> String {
    format!("password of {login}")
}

pub(crate) fn people_dn() -> String {
    format!("ou=People,{BASE}")
}

pub(crate) fn dn(login: &str) -> String {
    format!("uid={login},{}", people_dn())
}

fn mask(fields: &str) -> prost_types::FieldMask {
    prost_types::FieldMask {
        paths: fields.split(',').map(str::to_owned).collect(),
    }
}

/// A LOCAL user with this many custom fields.
fn local(tenant: &str, login: &str, fields: usize) -> v1::CreateUserRequest {
    let field = |number| (format!("field{number}"), "x".repeat(LARGE_VALUE));
    v1::CreateUserRequest {
        parent: format!("tenants/{tenant}"),
        request_id: String::new(),
        user: Some(v1::User {
            login: login.to_owned(),
            role: "user".to_owned(),
            custom: (0..fields).map(field).collect(),
            ..v1::User::default()
        }),
    }
}

/// Every program has its own people, so that their failed attempts are their own.
fn people() -> Result<String> {
    let mut ldif = Ldif::new();
    for unit in ["People", "Policies"] {
        ldif.entry(&format!("ou={unit},{BASE}"))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", unit);
    }
    for (policy, rule, value) in [
        ("default", "pwdMaxAge", "0"),
        ("aging", "pwdMaxAge", "3600"),
        ("changing", "pwdMustChange", "TRUE"),
    ] {
        ldif.entry(&format!("cn={policy},ou=Policies,{BASE}"))
            .attribute("objectClass", "device")
            .attribute("objectClass", "pwdPolicy")
            .attribute("cn", policy)
            .attribute("pwdAttribute", "userPassword")
            .attribute(rule, value);
    }
    for language in Language::ALL {
        for who in [
            "right", "wrong", "guessed", "demoted", "aged", "changing", "once", "hurried", "framed",
        ] {
            let login = login(language, who);
            let entry = ldif.entry(&dn(&login));
            for (name, value) in [("uid", &login), ("cn", &login), ("sn", &login)] {
                entry.attribute(name, value);
            }
            entry
                .attribute("objectClass", "inetOrgPerson")
                .attribute("mail", format!("{login}@example.org"))
                .attribute("userPassword", password(&login));
            let policy = |name: &str| format!("cn={name},ou=Policies,{BASE}");
            match who {
                "demoted" => drop(entry.attribute("employeeType", "admin")),
                "aged" => drop(
                    entry
                        .attribute("pwdPolicySubentry", policy("aging"))
                        .attribute("pwdChangedTime", "20200101000000Z"),
                ),
                "changing" => drop(
                    entry
                        .attribute("pwdPolicySubentry", policy("changing"))
                        .attribute("pwdReset", "TRUE"),
                ),
                _ => {}
            }
        }
    }
    Ok(ldif.as_str().to_owned())
}

fn held_tree() -> Tree {
    let mut tree = Tree::default();
    tree.add(TreeEntry::new(BASE, &[("objectClass", "domain")]));
    tree.add(TreeEntry::new(
        people_dn(),
        &[("objectClass", "organizationalUnit")],
    ));
    let mut reader = TreeEntry::new(format!("cn=reader,{BASE}"), &[("objectClass", "person")]);
    reader.password = Some("reads".to_owned());
    tree.add(reader);
    let logins = Language::ALL
        .into_iter()
        .flat_map(|language| ["held", "twice", "careful", "lost"].map(|who| login(language, who)));
    for (number, login) in logins.enumerate() {
        let id = format!("00000000-0000-4000-8000-{number:012}");
        let attributes = [
            ("objectClass", "inetOrgPerson"),
            ("uid", &login),
            ("entryUUID", &id),
            ("mail", &format!("{login}@example.org")),
        ];
        let mut person = TreeEntry::new(dn(&login), &attributes);
        person.password = Some(password(&login));
        tree.add(person);
    }
    tree
}
