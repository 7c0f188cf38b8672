//! What an admin reads about each entry that cannot be taken, or not whole: which, what is wrong, and what to do.

use std::collections::BTreeMap;

use rollcall_core::id::{UserId, Uuid};
use rollcall_core::user::Profile;
use rollcall_proto::v1::{self, IssueType, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_store::{NewUser, Recorded};
use rollcall_testkit::Slapd;

use crate::company::{Company, staff, sync_of};
use crate::harness::{ADMIN, TestWorker, ok};
use crate::run_world::{BASE, World, dn, person, tenant, units};
use crate::runs::rest;

#[tokio::test(flavor = "multi_thread")]
async fn every_bad_entry_is_named_with_what_is_wrong_and_what_to_do() {
    let mut ldif = units();
    let long = "l".repeat(129);
    let megabyte = "x".repeat(1 << 20);
    person(&mut ldif, "Staff", "ab");
    person(&mut ldif, "Staff", &long);
    person(&mut ldif, "Staff", "o'hara");
    person(&mut ldif, "Staff", "local");
    person(&mut ldif, "Staff", "owner");
    person(&mut ldif, "Staff", "same");
    person(&mut ldif, "Guests", "same");
    // The rest of the person is fine, so the field is left out.
    ldif.entry(&dn("Staff", "badmail"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "badmail")
        .attribute("cn", "badmail")
        .attribute("sn", "badmail")
        .attribute("mail", "no address");
    ldif.entry(&dn("Staff", "taken"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "taken")
        .attribute("cn", "taken")
        .attribute("sn", "taken")
        .attribute("mail", "post@example.org");
    person(&mut ldif, "Staff", "huge").attribute("displayName", &megabyte);
    ldif.entry(&format!("cn=nothing,ou=Staff,{BASE}"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("cn", "nothing")
        .attribute("sn", "nothing");
    person(&mut ldif, "Staff", "fine");
    let mut sync = sync_of(BASE, "(objectClass=inetOrgPerson)");
    if let Some(mappings) = &mut sync.field_mappings {
        mappings.given_name = vec!["displayName".into()];
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    world.create_local("local", false).await;
    world.create_local("owner", true).await;
    let post = NewUser {
        id: UserId(Uuid::from_u128(99)),
        profile: Profile {
            login: "post-office".into(),
            email: Some("post@example.org".into()),
            role: "local".into(),
            ..Profile::default()
        },
        owner: false,
    };
    world
        .store
        .create_local_user(&tenant(), post, Recorded::by_nobody(chrono::Utc::now()))
        .await
        .unwrap();

    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    let issues = world.issues(&run).await;
    let found: BTreeMap<(IssueType, &str), &v1::SyncIssue> = issues
        .iter()
        .map(|issue| ((issue.r#type(), issue.dn.as_str()), issue))
        .collect();
    let nothing = format!("cn=nothing,ou=Staff,{BASE}");
    let expected = [
        (IssueType::LoginTooShort, dn("Staff", "ab"), "ab"),
        (IssueType::LoginTooLong, dn("Staff", &long), long.as_str()),
        (IssueType::LoginIllegalCharacters, dn("Staff", "o'hara"), "o'hara"),
        (IssueType::LoginTaken, dn("Staff", "local"), "local"),
        (IssueType::OwnerProtected, dn("Staff", "owner"), "owner"),
        (IssueType::EmailInvalid, dn("Staff", "badmail"), "no address"),
        (IssueType::EmailInvalid, dn("Staff", &long), long.as_str()),
        (IssueType::EmailTaken, dn("Staff", "taken"), "post@example.org"),
        (IssueType::ValueTooLong, dn("Staff", "huge"), "xxx"),
        (IssueType::MissingRequiredField, nothing, ""),
    ];
    for (kind, dn, value) in &expected {
        let issue = found
            .get(&(*kind, dn.as_str()))
            .unwrap_or_else(|| panic!("{kind:?} of {dn} in {issues:#?}"));
        assert!(
            issue.value.starts_with(value) && issue.value.chars().count() <= 200,
            "{issue:?}"
        );
        assert!(!issue.field.is_empty() && !issue.message.is_empty() && !issue.hint.is_empty());
    }
    // What two entries ask for is neither's, and each issue names the other entry.
    let twice: Vec<_> = issues
        .iter()
        .filter(|issue| issue.r#type() == IssueType::DuplicateInDirectory)
        .map(|issue| (issue.value.as_str(), issue.dn.clone(), issue.other_dn.clone()))
        .collect();
    let (guest, same) = (dn("Guests", "same"), dn("Staff", "same"));
    for one in [(guest.clone(), same.clone()), (same, guest)] {
        let issue = ("same", one.0, one.1);
        assert!(twice.contains(&issue), "{issue:?} in {twice:?}");
    }
    assert_eq!(issues.len(), expected.len() + twice.len(), "{issues:#?}");
    assert_eq!(twice.len(), 2, "{twice:?}");
    assert_eq!(run.counts.unwrap().issues, issues.len() as i64);
    let users = world.users().await;
    for (login, email) in [
        ("fine", true),
        ("badmail", false),
        ("huge", true),
        ("taken", false),
    ] {
        assert_eq!(users[login].profile.email.is_some(), email, "{login}");
    }
    assert_eq!(users["huge"].profile.given_name, None);
    assert_eq!(users.len(), 4 + 3, "{users:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_login_of_another_tenant_is_taken_where_logins_are_unique_everywhere_and_nobody_learns_whose() {
    let company = Company::start();
    let settings = [("users.identifier_uniqueness", "global")];
    let worker = TestWorker::start_with(&company.ports(), &settings, Clock::System).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    company.set_up_other(&mut clients, staff()).await;
    for (tenant, created, taken) in [("acme", 2, 0), ("globex", 0, 2)] {
        let run = v1::RunUserSyncRequest {
            name: format!("tenants/{tenant}/userSyncs/staff"),
            mode: SyncRunMode::Apply.into(),
            ..Default::default()
        };
        let started = ok(clients.user_syncs.run_user_sync(run)).await;
        let ended = rest(&mut clients, &started.name).await;
        assert_eq!(ended.counts.unwrap().created, created, "{ended:#?}");
        let list = v1::ListSyncRunIssuesRequest {
            parent: ended.name,
            ..Default::default()
        };
        let issues = ok(clients.runs.list_sync_run_issues(list)).await.issues;
        assert_eq!(issues.len(), taken, "{issues:#?}");
        for issue in issues {
            assert_eq!(issue.r#type(), IssueType::LoginTaken);
            let told = format!("{issue:?}").to_lowercase();
            assert!(!told.contains("acme"), "{told}");
        }
    }
}
