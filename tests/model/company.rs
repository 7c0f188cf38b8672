//! A customer: its directory, its two user syncs, and how Rollcall is told of them.

use std::time::Duration;

use anyhow::Result;
use chrono::{DateTime, Utc};
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{self, LoginChangePolicy, MissingUserPolicy};
use rollcall_testkit::{Tree, TreeEntry, TreeLdap};

use crate::model::{Missing, Sync};
use crate::rollcall::{Backend, Rollcall, TENANT};

pub(crate) const BASE: &str = "dc=example,dc=org";
pub(crate) const ADMINS: &str = "cn=admins,ou=Groups,dc=example,dc=org";
/// Entries of a page.
pub(crate) const PAGE: usize = 10;
const PASSWORD: &str = "Password of the reader 1";
pub(crate) const SYNCS: [&str; 2] = ["employees", "contractors"];

/// The directory, both services, and what they were told.
pub(crate) struct Company {
    pub(crate) server: TreeLdap,
    pub(crate) rollcall: Rollcall,
    pub(crate) syncs: Vec<Sync>,
}

impl Company {
    pub(crate) async fn start(backend: Backend, syncs: Vec<Sync>, now: DateTime<Utc>) -> Result<Self> {
        let server = TreeLdap::start(empty_tree()).await?;
        let rollcall = Rollcall::start(backend, server.address().port(), now).await?;
        let tenant = v1::CreateTenantRequest {
            tenant_id: "acme".to_owned(),
            tenant: Some(v1::Tenant {
                display_name: "Acme".to_owned(),
                user_sync_enabled: true,
                ..v1::Tenant::default()
            }),
            request_id: String::new(),
        };
        rollcall.tenants().create_tenant(tenant).await?;
        let directory = v1::CreateDirectoryRequest {
            parent: TENANT.to_owned(),
            directory_id: "hq".to_owned(),
            directory: Some(v1::Directory {
                display_name: "Head office".to_owned(),
                hosts: vec![server.url()],
                transport_security: v1::TransportSecurity::Plaintext.into(),
                allow_plaintext: true,
                bind_dn: reader(),
                bind_password: PASSWORD.to_owned(),
                page_size: i32::try_from(PAGE)?,
                connect_timeout: Some(Duration::from_millis(500).try_into()?),
                ..v1::Directory::default()
            }),
            request_id: String::new(),
        };
        rollcall.directories().create_directory(directory).await?;
        for (name, sync) in SYNCS.iter().zip(&syncs) {
            let request = v1::CreateUserSyncRequest {
                parent: TENANT.to_owned(),
                user_sync_id: (*name).to_owned(),
                user_sync: Some(user_sync(name, sync)),
                request_id: String::new(),
            };
            rollcall.user_syncs().create_user_sync(request).await?;
        }
        Ok(Self {
            server,
            rollcall,
            syncs,
        })
    }

    /// Tells Rollcall of the changed settings of a user sync.
    pub(crate) async fn update(&self, number: usize) -> Result<()> {
        let request = v1::UpdateUserSyncRequest {
            user_sync: Some(user_sync(SYNCS[number], &self.syncs[number])),
            update_mask: Some(prost_types::FieldMask {
                paths: vec!["*".to_owned()],
            }),
        };
        self.rollcall.user_syncs().update_user_sync(request).await?;
        Ok(())
    }
}

/// `tenants/{tenant}/userSyncs/{user_sync}`.
pub(crate) fn sync_name(number: usize) -> String {
    format!("{TENANT}/userSyncs/{}", SYNCS[number])
}

pub(crate) fn unit(number: usize) -> String {
    let unit = ["Employees", "Contractors", "Elsewhere"][number];
    format!("ou={unit},{BASE}")
}

fn reader() -> String {
    format!("cn=reader,{BASE}")
}

fn empty_tree() -> Tree {
    let mut tree = Tree::default();
    tree.add(TreeEntry::new(
        BASE,
        &[("objectClass", "domain"), ("entryUUID", &uuid(1))],
    ));
    let mut account = TreeEntry::new(reader(), &[("objectClass", "device"), ("entryUUID", &uuid(2))]);
    account.password = Some(PASSWORD.to_owned());
    tree.add(account);
    let units = [unit(0), unit(1), unit(2), format!("ou=Groups,{BASE}")];
    for (number, unit) in units.into_iter().enumerate() {
        let id = uuid(3 + number);
        tree.add(TreeEntry::new(
            unit,
            &[("objectClass", "organizationalUnit"), ("entryUUID", &id)],
        ));
    }
    // A groupOfNames has a member, or its members may not be read.
    tree.add(TreeEntry::new(
        ADMINS,
        &[
            ("objectClass", "groupOfNames"),
            ("entryUUID", &uuid(9)),
            ("member", &reader()),
        ],
    ));
    tree
}

/// An id of the server's making.
pub(crate) fn uuid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

fn user_sync(name: &str, sync: &Sync) -> v1::UserSync {
    let candidates = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let groups = sync.groups.iter().map(|(group, role)| v1::RoleRule {
        condition: Some(Condition::GroupDn(group.clone())),
        role: (*role).to_owned(),
    });
    let boss = sync.boss.iter().map(|role| v1::RoleRule {
        condition: Some(Condition::Filter("(employeeType=boss)".to_owned())),
        role: (*role).to_owned(),
    });
    v1::UserSync {
        name: format!("{TENANT}/userSyncs/{name}"),
        display_name: name.to_owned(),
        directory: format!("{TENANT}/directories/hq"),
        searches: vec![v1::UserSearch {
            base_dn: sync.base.clone(),
            filter: match sync.without_bosses {
                true => "(&(objectClass=inetOrgPerson)(!(employeeType=boss)))".to_owned(),
                false => "(objectClass=inetOrgPerson)".to_owned(),
            },
            ..v1::UserSearch::default()
        }],
        role: "user".to_owned(),
        role_rules: groups.chain(boss).collect(),
        field_mappings: Some(v1::FieldMappings {
            login: candidates(&["uid"]),
            email: candidates(&["mail"]),
            display_name: candidates(&sync.display_name),
            given_name: candidates(&["givenName"]),
            family_name: candidates(&["sn"]),
            phone_number: candidates(&["telephoneNumber"]),
            custom: [(
                "badge".to_owned(),
                v1::FieldCandidates {
                    candidates: candidates(&["employeeNumber"]),
                },
            )]
            .into(),
        }),
        new_users: if sync.creates {
            v1::NewUserPolicy::Create.into()
        } else {
            v1::NewUserPolicy::Ignore.into()
        },
        existing_users: if sync.updates {
            v1::ExistingUserPolicy::Update.into()
        } else {
            v1::ExistingUserPolicy::Ignore.into()
        },
        missing_users: match sync.missing {
            Missing::Ignore => MissingUserPolicy::Ignore,
            Missing::Deactivate => MissingUserPolicy::Deactivate,
            Missing::Archive => MissingUserPolicy::Archive,
        }
        .into(),
        login_changes: if sync.renames {
            LoginChangePolicy::Allow.into()
        } else {
            LoginChangePolicy::Reject.into()
        },
        overwrite_local_users: sync.overwrites_local,
        ..v1::UserSync::default()
    }
}
