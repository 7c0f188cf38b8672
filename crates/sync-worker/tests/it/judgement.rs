//! One judgement: nobody keeps what they lost, and nobody loses by what another entry asks for.

use rollcall_core::event::EventType;
use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::{self, ChangeType, IssueType, LoginChangePolicy, MissingUserPolicy, SyncRunMode};
use rollcall_proto::v1::{SyncRunState, role_rule::Condition};
use rollcall_testkit::{Ldif, Slapd};

use crate::company::{staff, sync_of};
use crate::run_world::{BASE, World, dn, person, units};
use crate::runs::run_to_rest;

const DISABLE: &str = "add: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n";
const ENABLE: &str = "delete: pwdAccountLockedTime\n";
const DISABLED: (UserState, Option<StateReason>) =
    (UserState::Deactivated, Some(StateReason::DisabledInDirectory));
const ACTIVE: (UserState, Option<StateReason>) = (UserState::Active, None);

fn change(world: &World, uid: &str, lines: &str) {
    let ldif = format!("dn: {}\nchangetype: modify\n{lines}", dn("Staff", uid));
    world.slapd.modify(&ldif).unwrap();
}

fn add(world: &World, unit: &str, uid: &str) {
    let mut ldif = Ldif::new();
    person(&mut ldif, unit, uid);
    world.slapd.add(ldif.as_str()).unwrap();
}

/// Everybody, with the role `admin` for bosses. The server has its people in this order.
async fn world(people: &[&str]) -> World {
    let mut ldif = units();
    for uid in people {
        person(&mut ldif, "Staff", uid)
            .attribute("givenName", uid)
            .attribute("employeeType", if *uid == "ada" { "boss" } else { "clerk" });
    }
    let mut sync = sync_of(BASE, "(objectClass=inetOrgPerson)");
    sync.role_rules = vec![v1::RoleRule {
        condition: Some(Condition::Filter("(employeeType=boss)".into())),
        role: "admin".into(),
    }];
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let mut world = World::start(builder, sync).await;
    world.succeed().await;
    world
}

/// Fault 1: the change of a role is not dropped with the change of an address.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_asks_for_another_s_address_loses_the_role_all_the_same() {
    let mut world = world(&["bob", "ada", "eve"]).await;
    change(
        &world,
        "ada",
        "replace: mail\nmail: bob@example.org\n-\nreplace: employeeType\nemployeeType: clerk\n",
    );
    for night in 0..2 {
        let run = world.apply().await;
        let issues = world.issues(&run).await;
        assert_eq!(issues.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::DuplicateInDirectory);
        assert_eq!(issues[0].other_dn, dn("Staff", "bob"));
        let users = world.users().await;
        assert_eq!(users["ada"].profile.role, "user");
        assert_eq!(users["bob"].profile.email.as_deref(), Some("bob@example.org"));
    }
}

/// Fault 2: the victim has no conflict of her own. Who asks for what she has comes before her, or after.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_loses_access_whatever_another_entry_asks_for() {
    for thief in ["bob", "zoe"] {
        let mut world = world(&["bob", "ada", "zoe"]).await;
        let ada = world.users().await["ada"].id;
        change(
            &world,
            thief,
            "replace: mail\nmail: ada@example.org\n-\nadd: uid\nuid: ada\n",
        );
        change(&world, "ada", DISABLE);
        world.apply().await;
        assert_eq!(world.state("ada").await, DISABLED, "{thief}");
        assert_eq!(world.state(thief).await, ACTIVE, "by the own login");
        change(&world, "ada", ENABLE);
        world.apply().await;
        assert_eq!(world.state("ada").await, ACTIVE, "{thief}");
        assert_eq!(world.users().await["ada"].id, ada);
    }
}

/// Fault 2: the same person is back, on the night on which another entry asks for the login.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_restored_keeps_the_login_that_a_new_entry_asks_for() {
    let mut world = world(&["bob", "ada", "zoe"]).await;
    let ada = world.users().await["ada"].id;
    change(&world, "ada", DISABLE);
    world.succeed().await;
    assert_eq!(world.state("ada").await, DISABLED);
    add(&world, "Guests", "ada");
    change(&world, "ada", ENABLE);
    let run = world.apply().await;
    assert_eq!(world.state("ada").await, ACTIVE);
    assert_eq!(world.users().await["ada"].id, ada);
    let issues = world.issues(&run).await;
    for issue in &issues {
        assert_eq!(issue.r#type(), IssueType::DuplicateInDirectory);
        assert_eq!(
            (&issue.dn, &issue.other_dn),
            (&dn("Guests", "ada"), &dn("Staff", "ada"))
        );
    }
    assert!(!issues.is_empty());
}

/// Fault 2: not the first that comes wins, on any night.
#[tokio::test(flavor = "multi_thread")]
async fn a_login_that_two_new_people_claim_is_neither_s_on_later_nights_too() {
    let mut world = world(&["bob", "ada", "zoe"]).await;
    add(&world, "Guests", "new");
    add(&world, "Staff", "new");
    for _ in 0..2 {
        let run = world.apply().await;
        assert_eq!(
            world.issue_types(&run).await,
            [IssueType::DuplicateInDirectory; 2],
            "{run:#?}"
        );
        assert!(!world.users().await.contains_key("new"));
    }
    world.slapd.delete(&dn("Guests", "new")).unwrap();
    world.succeed().await;
    assert_eq!(world.state("new").await, ACTIVE);
}

/// Fault 3: the usual ways to offboard somebody take the access, whatever they make of the login.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_is_disabled_loses_access_with_a_login_that_cannot_be_used() {
    let mut world = world(&["bob", "ada", "zoe", "eve"]).await;
    let by_given_name = v1::UserSync {
        field_mappings: Some(v1::FieldMappings {
            login: vec!["givenName".into()],
            ..staff().field_mappings.unwrap()
        }),
        ..sync_of(BASE, "(objectClass=inetOrgPerson)")
    };
    world.update(by_given_name, &["field_mappings"]).await;
    world.succeed().await;
    let renamed = "replace: givenName\ngivenName: zz$ada\n-\nreplace: employeeType\nemployeeType: gone\n-\n";
    change(&world, "ada", &format!("{renamed}{DISABLE}"));
    change(&world, "bob", &format!("delete: givenName\n-\n{DISABLE}"));
    let position = world.events().await;
    let run = world.apply().await;
    let mut types = world.issue_types(&run).await;
    types.sort_unstable();
    assert_eq!(
        types,
        [IssueType::LoginIllegalCharacters, IssueType::MissingRequiredField]
    );
    assert_eq!(world.state("ada").await, DISABLED);
    assert_eq!(world.state("bob").await, DISABLED);
    assert_eq!(world.users().await["ada"].profile.role, "user");
    // The product ends their sessions by these.
    let events = world.events_after(position).await;
    let types: Vec<EventType> = events.iter().map(|event| event.event_type).collect();
    assert_eq!(types, [EventType::Deactivated; 2], "{events:#?}");
}

/// Fault 7: who holds no login has none that could be kept.
#[tokio::test(flavor = "multi_thread")]
async fn whoever_returns_under_another_login_gets_it_where_logins_are_kept() {
    let mut ldif = units();
    for uid in ["ada", "bob", "eve"] {
        person(&mut ldif, "Staff", uid).attribute("givenName", uid);
    }
    let mut sync = v1::UserSync {
        missing_users: MissingUserPolicy::Archive.into(),
        ..staff()
    };
    sync.field_mappings.as_mut().unwrap().login = vec!["givenName".into()];
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    world.succeed().await;
    let ada = world.users().await["ada"].id;
    let moved = |from: &str, to: &str| {
        format!(
            "dn: {}\nchangetype: modrdn\nnewrdn: uid=ada\ndeleteoldrdn: 0\nnewsuperior: ou={to},{BASE}\n",
            dn(from, "ada")
        )
    };
    world.slapd.modify(&moved("Staff", "Guests")).unwrap();
    world.succeed().await;
    let mut hire = Ldif::new();
    person(&mut hire, "Staff", "hire").attribute("givenName", "ada");
    world.slapd.add(hire.as_str()).unwrap();
    world.succeed().await;
    world.slapd.modify(&moved("Guests", "Staff")).unwrap();
    change(&world, "ada", "replace: givenName\ngivenName: ada2\n");

    let shown = run_to_rest(&mut world.clients, SyncRunMode::Preview).await;
    let expected = [("ada2".to_owned(), ChangeType::Reactivate)];
    assert_eq!(world.changes(&shown).await, expected);
    let run = world.succeed().await;
    assert_eq!(world.changes(&run).await, expected);
    let users = world.users().await;
    assert_eq!((users["ada2"].id, users["ada2"].state), (ada, UserState::Active));
    assert_ne!(users["ada"].id, ada);
    assert_eq!(world.succeed().await.counts.unwrap().unchanged, 4);
}

/// Fault 22: in a first import a dead second account comes first.
#[tokio::test(flavor = "multi_thread")]
async fn a_disabled_account_has_nothing_that_a_living_one_asks_for() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada.old")
        .attribute("pwdAccountLockedTime", "000001010000Z")
        .attribute("userPassword", "x");
    ldif.entry(&dn("Staff", "ada"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "ada")
        .attribute("cn", "ada")
        .attribute("sn", "ada")
        .attribute("mail", "ada.old@example.org");
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    for night in 0..2 {
        let run = world.apply().await;
        let issues = world.issues(&run).await;
        assert_eq!(issues.len(), 1, "night {night}: {issues:#?}");
        assert_eq!(issues[0].r#type(), IssueType::DuplicateInDirectory);
        assert_eq!(issues[0].dn, dn("Staff", "ada.old"));
        let users = world.users().await;
        let address = users["ada"].profile.email.as_deref();
        assert_eq!(
            (users["ada"].state, address),
            (UserState::Active, Some("ada.old@example.org"))
        );
        assert_eq!(users["ada.old"].profile.email, None);
        assert_eq!(world.state("ada.old").await, DISABLED);
    }
}

/// Fault 22: a kept login that a new hire has now is nobody's, and says so, until the admin decides.
#[tokio::test(flavor = "multi_thread")]
async fn a_kept_login_that_a_new_hire_has_is_ambiguous_until_logins_follow() {
    let mut world = world(&["bob", "ada", "zoe"]).await;
    let ada = world.users().await["ada"].id;
    let rename = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=ada.l\ndeleteoldrdn: 1\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&rename).unwrap();
    change(&world, "ada.l", "replace: mail\nmail: ada.l@example.org\n");
    add(&world, "Staff", "ada");
    for _ in 0..2 {
        let run = world.apply().await;
        let types = world.issue_types(&run).await;
        assert!(types.contains(&IssueType::LoginAmbiguous), "{types:?}");
        let users = world.users().await;
        assert!(users["ada"].login_ambiguous && users["ada"].id == ada);
        assert_eq!(users.len(), 3, "the hire is nobody yet");
        let health = world.health().await;
        assert_eq!(health.state(), v1::HealthState::Error, "{health:?}");
        // Nothing changed, so that nobody is told anything.
        let before = world.events().await;
        world.refresh("ada").await;
        assert_eq!(world.events().await, before);
    }
    let allowed = v1::UserSync {
        login_changes: LoginChangePolicy::Allow.into(),
        ..v1::UserSync::default()
    };
    world.update(allowed, &["login_changes"]).await;
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    let users = world.users().await;
    assert_eq!(users["ada.l"].id, ada);
    assert!(!users["ada.l"].login_ambiguous);
    assert_eq!(users["ada"].state, UserState::Active);
}

/// It is an error too while a run waits for somebody, whether the run met it first or knew of it.
#[tokio::test(flavor = "multi_thread")]
async fn an_ambiguous_login_is_an_error_while_the_run_is_held() {
    let mut world = world(&["bob", "ada", "zoe"]).await;
    let rename = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=ada.l\ndeleteoldrdn: 1\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&rename).unwrap();
    add(&world, "Staff", "ada");
    let everybody = v1::RoleRule {
        condition: Some(v1::role_rule::Condition::Filter("(objectClass=*)".into())),
        role: "owner".into(),
    };
    let edited = v1::UserSync {
        role_rules: vec![everybody],
        ..v1::UserSync::default()
    };
    world.update(edited, &["role_rules"]).await;
    for _ in 0..2 {
        let run = world.apply().await;
        assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
        assert!(world.issue_types(&run).await.contains(&IssueType::LoginAmbiguous));
        let health = world.health().await;
        assert_eq!(health.state(), v1::HealthState::Error, "{health:?}");
        let problems = world.problems().await;
        assert!(
            problems.iter().any(|problem| problem.contains("LOGIN_AMBIGUOUS")),
            "{problems:?}"
        );
        assert!(
            problems.iter().any(|problem| problem.contains("held")),
            "{problems:?}"
        );
    }
}
