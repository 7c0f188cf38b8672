//! Small directories with what is right about them: each is checked, synced twice and compared.

mod served;

use std::collections::BTreeMap;

use rollcall_core::error::Reason;
use rollcall_core::field::TextField;
use rollcall_core::user::Profile;
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{CheckOutcome, IssueType};
use rollcall_testkit::Slapd;

use crate::company::{DIRECTORY, STAFF, TENANT};
use crate::harness::{fails, mask, ok, violations};
use crate::run_world::World;

/// Attributes of Active Directory that slapd does not know by itself, and `posixGroup`.
const SCHEMA: &str = "include /etc/ldap/schema/nis.schema
attributetype ( 1.2.840.113556.1.4.146 NAME 'objectSid' SYNTAX 1.3.6.1.4.1.1466.115.121.1.40 SINGLE-VALUE )
attributetype ( 1.2.840.113556.1.4.656 NAME 'userPrincipalName' EQUALITY caseIgnoreMatch
  SYNTAX 1.3.6.1.4.1.1466.115.121.1.15 SINGLE-VALUE )";

/// A user sync of all people, with these candidates for each field.
fn people(mappings: &[(&str, &[&str])]) -> v1::UserSync {
    let mut fields = v1::FieldMappings::default();
    for (field, candidates) in mappings {
        let candidates: Vec<String> = candidates.iter().map(ToString::to_string).collect();
        match *field {
            "login" => fields.login = candidates,
            "email" => fields.email = candidates,
            "display_name" => fields.display_name = candidates,
            "given_name" => fields.given_name = candidates,
            "family_name" => fields.family_name = candidates,
            "phone_number" => fields.phone_number = candidates,
            custom => {
                fields
                    .custom
                    .insert(custom.to_owned(), v1::FieldCandidates { candidates });
            }
        }
    }
    v1::UserSync {
        display_name: "People".into(),
        directory: DIRECTORY.into(),
        searches: vec![v1::UserSearch {
            base_dn: "dc=t".into(),
            filter: "(objectClass=inetOrgPerson)".into(),
            ..v1::UserSearch::default()
        }],
        role: "user".into(),
        field_mappings: Some(fields),
        missing_users: v1::MissingUserPolicy::Deactivate.into(),
        ..v1::UserSync::default()
    }
}

async fn start(ldif: &str, sync: v1::UserSync) -> World {
    let builder = Slapd::builder().base_dn("dc=t").global_config(SCHEMA).ldif(ldif);
    World::start(builder, sync).await
}

/// Type, field, DN and the other entry's DN of an issue.
type Told = (IssueType, String, String, String);

fn told(issues: &[v1::SyncIssue]) -> Vec<Told> {
    let mut told: Vec<Told> = issues
        .iter()
        .map(|issue| {
            let issue = issue.clone();
            (issue.r#type(), issue.field, issue.dn, issue.other_dn)
        })
        .collect();
    told.sort();
    told
}

impl<D> World<D> {
    async fn checked(&mut self) -> v1::CheckUserSyncResponse {
        let request = v1::CheckUserSyncRequest {
            parent: TENANT.into(),
            target: Some(Target::UserSync(STAFF.into())),
            sample_size: 0,
        };
        ok(self.clients.user_syncs.check_user_sync(request)).await
    }

    /// The check has nothing that fails, a run has these issues, and so has the next, which changes nobody.
    async fn settle(&mut self, issues: &[Told]) -> BTreeMap<String, Profile> {
        let report = self.checked().await.report.unwrap();
        let failed: Vec<_> = report
            .stages
            .iter()
            .filter(|stage| stage.outcome() == CheckOutcome::Fail)
            .collect();
        assert!(failed.is_empty(), "{failed:#?}");
        self.run_with(issues).await;
        let events = self.events().await;
        self.run_with(issues).await;
        assert_eq!(self.events().await, events, "the second run changed somebody");
        self.profiles().await
    }

    async fn run_with(&mut self, issues: &[Told]) {
        let run = self.apply().await;
        let found = self.issues(&run).await;
        assert_eq!(told(&found), issues, "{found:#?}");
    }

    async fn profiles(&self) -> BTreeMap<String, Profile> {
        let users = self.users().await.into_iter();
        users.map(|(login, user)| (login, user.profile)).collect()
    }
}

async fn every_name_fills_the_field(mappings: &[(&str, &[&str])]) {
    let mut world = start(include_str!("cases/01-attribute-alias.ldif"), people(mappings)).await;
    let users = world.settle(&[]).await;
    let text = |text: &str| Some(text.to_owned());
    let amy = Profile {
        login: "amy1".into(),
        email: text("amy@example.com"),
        texts: [
            (TextField::DisplayName, "Amy One".to_owned()),
            (TextField::GivenName, "Amy".to_owned()),
            (TextField::FamilyName, "One".to_owned()),
        ]
        .into(),
        role: "user".into(),
        custom: [("street".to_owned(), "Main 1".to_owned())].into(),
        ..Profile::default()
    };
    assert_eq!(users, [("amy1".to_owned(), amy)].into());
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_other_names_of_an_attribute_fill_the_field() {
    every_name_fills_the_field(&[
        ("login", &["userid"]),
        ("email", &["rfc822Mailbox"]),
        ("display_name", &["commonName"]),
        ("given_name", &["gn"]),
        ("family_name", &["surname"]),
        ("street", &["streetAddress"]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_01_oids_fill_the_field() {
    every_name_fills_the_field(&[
        ("login", &["0.9.2342.19200300.100.1.1"]),
        ("email", &["0.9.2342.19200300.100.1.3"]),
        ("display_name", &["2.5.4.3"]),
        ("given_name", &["2.5.4.42"]),
        ("family_name", &["2.5.4.4"]),
        ("street", &["2.5.4.9"]),
    ])
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn case_02_further_values_change_nothing() {
    let sync = people(&[("login", &["uid"]), ("email", &["mail"])]);
    let mut world = start(include_str!("cases/02-second-uid-and-mail.ldif"), sync).await;
    let before = world.settle(&[]).await;
    assert_eq!(before["zoe"].email.as_deref(), Some("zoe@example.com"));
    let events = world.events().await;
    world
        .slapd
        .modify(include_str!("cases/02-second-uid-and-mail.after.ldif"))
        .unwrap();
    assert_eq!(world.settle(&[]).await, before);
    assert_eq!(world.events().await, events);
}

#[tokio::test(flavor = "multi_thread")]
async fn case_03_the_first_value_that_can_be_used_is_taken() {
    let sync = people(&[("login", &["uid"]), ("email", &["mail", "userPrincipalName"])]);
    let mut world = start(include_str!("cases/03-one-bad-mail-of-two.ldif"), sync).await;
    let users = world.settle(&[]).await;
    assert_eq!(users["bob1"].email.as_deref(), Some("bob@example.com"));
    assert_eq!(users["carl"].email.as_deref(), Some("carl@example.com"));
}

#[tokio::test(flavor = "multi_thread")]
async fn case_05_a_sid_is_text_and_bytes_are_refused() {
    let sync = people(&[("login", &["uid"]), ("sid", &["objectSid"])]);
    let mut world = start(
        include_str!("cases/05-binary-in-custom-fields.ldif"),
        sync.clone(),
    )
    .await;
    let users = world.settle(&[]).await;
    for (login, sid) in [
        ("anna", "S-1-5-21-3332504370-1206983947-1165150453-1109"),
        ("bert", "S-1-5-21-1094861636-555885348-825373492-1104"),
    ] {
        assert_eq!(users[login].custom["sid"], sid);
    }
    for attribute in ["jpegPhoto", "userCertificate;binary"] {
        let update = v1::UpdateUserSyncRequest {
            user_sync: Some(v1::UserSync {
                name: STAFF.into(),
                ..people(&[("login", &["uid"]), ("bytes", &[attribute])])
            }),
            update_mask: mask(&["field_mappings"]),
        };
        let update = world.clients.user_syncs.update_user_sync(update);
        let status = fails(Reason::InvalidField, update).await;
        assert_eq!(violations(&status), ["user_sync.field_mappings.custom[bytes][0]"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_06_values_longer_than_the_contract_are_not_taken() {
    let sync = people(&[
        ("login", &["uid"]),
        ("display_name", &["displayName", "cn"]),
        ("given_name", &["givenName"]),
        ("phone_number", &["telephoneNumber"]),
    ]);
    let mut world = start(
        include_str!("cases/06-values-longer-than-the-contract.ldif"),
        sync,
    )
    .await;
    let too_long = |field: &str| {
        let dn = "uid=long1,dc=t".to_owned();
        (IssueType::ValueTooLong, field.to_owned(), dn, String::new())
    };
    let users = world
        .settle(&[too_long("given_name"), too_long("phone_number")])
        .await;
    let long = &users["long1"];
    assert_eq!(long.text(TextField::DisplayName), Some("Long"));
    for field in [TextField::GivenName, TextField::PhoneNumber] {
        assert_eq!(long.text(field), None);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn case_07_nobody_gets_what_several_ask_for() {
    let sync = people(&[("login", &["uid"]), ("email", &["mail"])]);
    let mut world = start(include_str!("cases/07-shared-mail.ldif"), sync).await;
    let twice = |field: &str, dn: &str, other: &str| {
        (
            IssueType::DuplicateInDirectory,
            field.to_owned(),
            format!("{dn},dc=t"),
            format!("{other},dc=t"),
        )
    };
    let users = world
        .settle(&[
            twice("email", "uid=carl", "uid=bob1"),
            twice("login", "cn=x", "uid=bob1"),
            twice("login", "uid=bob1", "cn=x"),
        ])
        .await;
    assert_eq!(users.keys().collect::<Vec<_>>(), ["carl"]);
    assert_eq!(users["carl"].email, None);
    let answer = world.checked().await;
    let samples: Vec<_> = answer.samples.iter().flat_map(|sample| &sample.issues).collect();
    assert_eq!(samples.len(), 3, "the check says the same: {answer:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn case_08_members_by_uid_have_the_role_of_their_group() {
    let rule = |group: &str, role: &str| v1::RoleRule {
        condition: Some(Condition::GroupDn(group.into())),
        role: role.into(),
    };
    let sync = v1::UserSync {
        role_rules: vec![rule("cn=admins,dc=t", "admin"), rule("cn=staff,dc=t", "staff")],
        ..people(&[("login", &["uid"])])
    };
    let mut world = start(include_str!("cases/08-posixgroup-role-rule.ldif"), sync).await;
    let users = world.settle(&[]).await;
    assert_eq!(
        (users["amy1"].role.as_str(), users["ben2"].role.as_str()),
        ("admin", "staff")
    );
    let answer = world.checked().await;
    let mut roles: Vec<_> = answer
        .samples
        .into_iter()
        .filter_map(|sample| sample.user)
        .map(|user| (user.login, user.role))
        .collect();
    roles.sort();
    let expected = [("amy1", "admin"), ("ben2", "staff")];
    assert_eq!(
        roles,
        expected.map(|(login, role)| (login.to_owned(), role.to_owned()))
    );
}
