//! What an admin reads about each entry that cannot be taken, or not whole: which, what is wrong, and what to do.

use std::collections::BTreeMap;

use rollcall_core::field::TextField;
use rollcall_core::id::{UserId, Uuid};
use rollcall_core::user::{Profile, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, SyncRunMode, SyncRunState};
use rollcall_runtime::clock::Clock;
use rollcall_store::{NewUser, Recorded};
use rollcall_testkit::{Ldif, Slapd};

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
    assert_eq!(users["huge"].profile.text(TextField::GivenName), None);
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

/// An admin who saw one of several addresses would mend the wrong one.
#[tokio::test(flavor = "multi_thread")]
async fn an_unusable_address_is_told_with_the_other_values_that_there_were() {
    let mut ldif = units();
    for (uid, mails) in [
        ("ada", ["ada at work", "ada@example.org"]),
        ("ben", ["ben at work", "ben at home"]),
    ] {
        ldif.entry(&dn("Staff", uid))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", uid)
            .attribute("cn", uid)
            .attribute("sn", uid);
        for mail in mails {
            ldif.attribute("mail", mail);
        }
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    let run = world.apply().await;
    let issues = world.issues(&run).await;
    assert_eq!(issues.len(), 1, "a usable one hides no other: {issues:#?}");
    assert_eq!(issues[0].r#type(), IssueType::EmailInvalid);
    let said = format!("{} {}", issues[0].value, issues[0].message);
    for value in ["ben at work", "ben at home"] {
        assert!(said.contains(value), "{said}");
    }
}

/// Nothing but the DN is different, and both the plan and the event say which it was.
#[tokio::test(flavor = "multi_thread")]
async fn a_move_that_changes_the_dn_alone_is_told_in_the_plan_and_in_the_event() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let everybody = sync_of(BASE, "(objectClass=inetOrgPerson)");
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), everybody).await;
    world.succeed().await;
    let before = world.events().await;
    let (from, to) = (dn("Staff", "ada"), dn("Guests", "ada"));
    let ldif = format!(
        "dn: {from}\nchangetype: modrdn\nnewrdn: uid=ada\ndeleteoldrdn: 0\nnewsuperior: ou=Guests,{BASE}\n"
    );
    world.slapd.modify(&ldif).unwrap();
    let run = world.succeed().await;
    let request = v1::ListSyncRunChangesRequest {
        parent: run.name.clone(),
        ..Default::default()
    };
    let changes = ok(world.clients.runs.list_sync_run_changes(request))
        .await
        .changes;
    assert_eq!(changes.len(), 1, "{changes:#?}");
    assert_eq!((changes[0].r#type(), &changes[0].dn), (ChangeType::Update, &to));
    let expected = v1::FieldChange {
        field: "dn".into(),
        old_value: Some(from.clone()),
        new_value: Some(to.clone()),
    };
    assert_eq!(changes[0].field_changes, [expected]);
    let events = world.events_after(before).await;
    assert_eq!(events.len(), 1, "{events:#?}");
    let told: Vec<_> = events[0].changes.iter().collect();
    assert_eq!(told.len(), 1, "{told:#?}");
    assert_eq!(
        (
            told[0].field.as_str(),
            told[0].old.as_deref(),
            told[0].new.as_deref()
        ),
        ("dn", Some(from.as_str()), Some(to.as_str()))
    );
}

/// The new entry is another person by its id. Where the former user stays, the issue says why the login is taken; where
/// it goes, the new one gets the login.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_taken_by_the_user_of_a_deleted_entry_of_the_same_name_says_so() {
    for (missing, stays) in [
        (v1::MissingUserPolicy::Ignore, true),
        (v1::MissingUserPolicy::Archive, false),
    ] {
        let mut ldif = units();
        for uid in ["ada", "ben", "cem", "dan"] {
            person(&mut ldif, "Staff", uid);
        }
        let sync = v1::UserSync {
            missing_users: missing.into(),
            ..staff()
        };
        let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
        world.succeed().await;
        let former = world.users().await["ada"].id;
        let name = dn("Staff", "ada");
        world
            .slapd
            .modify(&format!("dn: {name}\nchangetype: delete\n"))
            .unwrap();
        // The same name, as a directory writes it that pays no heed to case.
        let mut anew = Ldif::new();
        person(&mut anew, "STAFF", "Ada");
        world.slapd.add(anew.as_str()).unwrap();
        for night in 0..2 {
            let run = world.apply().await;
            let issues = world.issues(&run).await;
            if !stays {
                assert!(night == 0 || issues.is_empty(), "{issues:#?}");
                continue;
            }
            let taken: Vec<_> = issues
                .iter()
                .filter(|issue| issue.r#type() == IssueType::LoginTaken)
                .collect();
            assert_eq!(taken.len(), 1, "{issues:#?}");
            assert!(taken[0].message.contains("deleted and made anew"), "{issues:#?}");
            assert_eq!(world.users().await["ada"].id, former);
        }
        if !stays {
            let users = world.users().await;
            let user = users.values().find(|user| {
                user.profile.login.eq_ignore_ascii_case("ada") && user.state == UserState::Active
            });
            assert!(user.is_some_and(|user| user.id != former), "{users:#?}");
        }
    }
}
