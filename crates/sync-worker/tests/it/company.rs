//! A company with a directory, and what a new customer sends to use it.

use rollcall_proto::v1;
use rollcall_testkit::{Ldif, Slapd, TestCa};

use crate::harness::{Clients, ok};

pub const TENANT: &str = "tenants/acme";
pub const DIRECTORY: &str = "tenants/acme/directories/hq";
pub const STAFF: &str = "tenants/acme/userSyncs/staff";

/// A running directory with three people, a group, and a second unit.
pub struct Company {
    pub slapd: Slapd,
    pub ca: TestCa,
}

impl Company {
    /// Ada and Ben in `ou=Staff`, Cem (without mail) in `ou=Guests`, the group of admins with Ada, and that of
    /// leaders with the admins.
    pub fn start() -> Self {
        let ca = TestCa::new().unwrap();
        let mut ldif = Ldif::new();
        for unit in ["Staff", "Guests", "Groups"] {
            ldif.entry(&format!("ou={unit},dc=example,dc=org"))
                .attribute("objectClass", "organizationalUnit")
                .attribute("ou", unit);
        }
        for (unit, uid, given, family, mail) in [
            ("Staff", "ada", "Ada", "Lovelace", Some("ada@example.org")),
            ("Staff", "ben", "Ben", "Müller", Some("ben@example.org")),
            ("Guests", "cem", "Cem", "Yılmaz", None),
        ] {
            ldif.entry(&format!("uid={uid},ou={unit},dc=example,dc=org"))
                .attribute("objectClass", "inetOrgPerson")
                .attribute("uid", uid)
                .attribute("cn", format!("{given} {family}"))
                .attribute("givenName", given)
                .attribute("sn", family);
            if let Some(mail) = mail {
                ldif.attribute("mail", mail);
            }
        }
        ldif.entry("cn=admins,ou=Groups,dc=example,dc=org")
            .attribute("objectClass", "groupOfNames")
            .attribute("cn", "admins")
            .attribute("member", "uid=ada,ou=Staff,dc=example,dc=org");
        ldif.entry("cn=leaders,ou=Groups,dc=example,dc=org")
            .attribute("objectClass", "groupOfNames")
            .attribute("cn", "leaders")
            .attribute("member", "cn=admins,ou=Groups,dc=example,dc=org");
        let certificate = ca.loopback_server().unwrap();
        let slapd = Slapd::builder()
            .certificate(certificate)
            .ldif(ldif.as_str())
            .start()
            .unwrap();
        Self { slapd, ca }
    }

    /// The ports that the worker has to reach.
    pub fn ports(&self) -> [u16; 2] {
        [self.slapd.address().port(), self.slapd.tls_address().port()]
    }

    /// The directory as the customer's admin enters it.
    pub fn directory(&self) -> v1::Directory {
        v1::Directory {
            display_name: "Head office".into(),
            hosts: vec![self.slapd.tls_url()],
            ca_certificates: self.ca.pem(),
            bind_dn: self.slapd.service_dn(),
            bind_password: self.slapd.service_password().into(),
            ..v1::Directory::default()
        }
    }

    /// Creates the tenant and the directory.
    pub async fn set_up(&self, clients: &mut Clients) {
        create_tenant(clients).await;
        let request = v1::CreateDirectoryRequest {
            parent: TENANT.into(),
            directory_id: "hq".into(),
            directory: Some(self.directory()),
            request_id: String::new(),
        };
        ok(clients.directories.create_directory(request)).await;
    }

    /// Creates the tenant, the directory and the user sync of the staff.
    pub async fn set_up_sync(&self, clients: &mut Clients) {
        self.set_up(clients).await;
        create_sync(clients, "staff", staff()).await;
    }
}

impl Company {
    /// Creates another tenant, "globex", with the same directory and this user sync as "staff".
    pub async fn set_up_other(&self, clients: &mut Clients, user_sync: v1::UserSync) {
        let tenant = v1::CreateTenantRequest {
            tenant_id: "globex".into(),
            tenant: Some(v1::Tenant {
                display_name: "Globex".into(),
                user_sync_enabled: true,
                ..v1::Tenant::default()
            }),
            request_id: String::new(),
        };
        ok(clients.tenants.create_tenant(tenant)).await;
        let directory = v1::CreateDirectoryRequest {
            parent: "tenants/globex".into(),
            directory_id: "hq".into(),
            directory: Some(self.directory()),
            request_id: String::new(),
        };
        ok(clients.directories.create_directory(directory)).await;
        let sync = v1::CreateUserSyncRequest {
            parent: "tenants/globex".into(),
            user_sync_id: "staff".into(),
            user_sync: Some(v1::UserSync {
                directory: "tenants/globex/directories/hq".into(),
                ..user_sync
            }),
            request_id: String::new(),
        };
        ok(clients.user_syncs.create_user_sync(sync)).await;
    }
}

/// Creates the tenant "acme" with the add-on.
pub async fn create_tenant(clients: &mut Clients) {
    let tenant = v1::Tenant {
        display_name: "Acme".into(),
        user_sync_enabled: true,
        ..v1::Tenant::default()
    };
    let request = v1::CreateTenantRequest {
        tenant_id: "acme".into(),
        tenant: Some(tenant),
        request_id: String::new(),
    };
    ok(clients.tenants.create_tenant(request)).await;
}

/// Creates a user sync of the tenant "acme".
pub async fn create_sync(clients: &mut Clients, id: &str, user_sync: v1::UserSync) -> v1::UserSync {
    let request = v1::CreateUserSyncRequest {
        parent: TENANT.into(),
        user_sync_id: id.into(),
        user_sync: Some(user_sync),
        request_id: String::new(),
    };
    ok(clients.user_syncs.create_user_sync(request)).await
}

/// The user sync of everybody in `ou=Staff`.
pub fn staff() -> v1::UserSync {
    sync_of("ou=Staff,dc=example,dc=org", "(objectClass=inetOrgPerson)")
}

/// A user sync of what this filter finds under this base.
pub fn sync_of(base_dn: &str, filter: &str) -> v1::UserSync {
    v1::UserSync {
        display_name: "Staff".into(),
        directory: DIRECTORY.into(),
        searches: vec![v1::UserSearch {
            base_dn: base_dn.into(),
            filter: filter.into(),
            ..v1::UserSearch::default()
        }],
        role: "user".into(),
        field_mappings: Some(v1::FieldMappings {
            login: vec!["uid".into()],
            email: vec!["mail".into()],
            display_name: vec!["cn".into(), "{givenName} {sn}".into()],
            ..v1::FieldMappings::default()
        }),
        missing_users: v1::MissingUserPolicy::Deactivate.into(),
        ..v1::UserSync::default()
    }
}
