use rollcall_core::field::TextField;
use rollcall_core::user::{StateReason, UserState};
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{
    self, ChangeType, IssueType, MissingUserPolicy, NewUserPolicy, RefreshOutcome, SyncRunState,
};
use rollcall_store::{PageRequest, UserFilter};
use rollcall_testkit::{Ldif, SambaDc, Slapd, TestCa, is_root_for};

use crate::company::{STAFF, TENANT, create_sync, create_tenant, staff, sync_of};
use crate::harness::{ADMIN, TestWorker, ok};
use crate::run_world::{BASE, World, dn, person, tenant, units};
use crate::runs::run_to_rest;

fn group(ldif: &mut Ldif, name: &str, members: &[&str]) {
    ldif.entry(&group_dn(name))
        .attribute("objectClass", "groupOfNames")
        .attribute("cn", name);
    for member in members {
        ldif.attribute("member", member);
    }
}

fn group_dn(name: &str) -> String {
    format!("cn={name},ou=Groups,{BASE}")
}

fn by_group(name: &str, role: &str) -> v1::RoleRule {
    v1::RoleRule {
        condition: Some(Condition::GroupDn(group_dn(name))),
        role: role.into(),
    }
}

fn by_filter(filter: &str, role: &str) -> v1::RoleRule {
    v1::RoleRule {
        condition: Some(Condition::Filter(filter.into())),
        role: role.into(),
    }
}

fn ruled(role_rules: Vec<v1::RoleRule>) -> v1::UserSync {
    v1::UserSync {
        role_rules,
        ..staff()
    }
}

/// `outer` has `middle`, which has `inner` and dan; `inner` has ada and, in a circle, `outer`.
fn nested() -> Ldif {
    let mut ldif = units();
    for uid in ["ada", "ben", "cem", "dan"] {
        person(&mut ldif, "Staff", uid);
        if uid == "ben" || uid == "ada" {
            ldif.attribute("employeeType", "boss");
        }
    }
    group(&mut ldif, "outer", &[&group_dn("middle")]);
    group(
        &mut ldif,
        "middle",
        &[&group_dn("inner"), "UID=DAN, OU=Staff,dc=example,dc=org"],
    );
    group(&mut ldif, "inner", &[&dn("Staff", "ada"), &group_dn("outer")]);
    ldif
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let owned = expected
        .iter()
        .map(|(login, role)| ((*login).to_owned(), (*role).to_owned()));
    owned.collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn the_first_matching_rule_gives_the_role_and_groups_in_groups_count() {
    let sync = ruled(vec![
        by_group("outer", "admin"),
        by_filter("(employeeType=boss)", "boss"),
    ]);
    let mut world = World::start(Slapd::builder().ldif(nested().as_str()), sync).await;
    world.succeed().await;
    let expected = [
        ("ada", "admin"),
        ("ben", "boss"),
        ("cem", "user"),
        ("dan", "admin"),
    ];
    assert_eq!(world.roles().await, pairs(&expected));
    for login in ["ada", "ben", "cem", "dan"] {
        let refreshed = world.refresh(login).await;
        assert_eq!(
            refreshed.outcome(),
            RefreshOutcome::Unchanged,
            "{login}: {refreshed:?}"
        );
    }

    let rules = vec![
        by_filter("(employeeType=boss)", "boss"),
        by_group("outer", "admin"),
    ];
    world.update(ruled(rules), &["role_rules"]).await;
    let held = world.apply().await;
    assert_eq!(held.state(), SyncRunState::Held, "{held:#?}");
    assert_eq!(world.release(&held).await.state(), SyncRunState::Succeeded);
    let expected = [
        ("ada", "boss"),
        ("ben", "boss"),
        ("cem", "user"),
        ("dan", "admin"),
    ];
    assert_eq!(world.roles().await, pairs(&expected));

    let leave = format!(
        "dn: {}\nchangetype: modify\nreplace: member\nmember: {}\n",
        group_dn("middle"),
        dn("Staff", "cem")
    );
    world.slapd.modify(&leave).unwrap();
    for (login, role) in [("cem", "admin"), ("dan", "user")] {
        let refreshed = world.refresh(login).await;
        assert_eq!(refreshed.outcome(), RefreshOutcome::Updated, "{login}");
        assert_eq!(refreshed.user.unwrap().role, role, "{login}");
    }
    let before = world.events().await;
    world.succeed().await;
    assert_eq!(
        world.events().await,
        before,
        "a run finds what the refreshes found"
    );
}

/// Everybody's primary group is `Domain Users`, which no `member` names and which is in the group `Users`: a run, a
/// refresh and a check agree on who is in them.
#[tokio::test(flavor = "multi_thread")]
async fn a_primary_group_of_active_directory_gives_its_role() {
    if !is_root_for("a Samba domain controller").unwrap() {
        return;
    }
    let ca = TestCa::new().unwrap();
    let dc = SambaDc::start(&ca).unwrap();
    let worker = TestWorker::start(&[]).await;
    let mut clients = worker.clients(ADMIN);
    create_tenant(&mut clients).await;
    let request = v1::CreateDirectoryRequest {
        parent: TENANT.into(),
        directory_id: "hq".into(),
        directory: Some(v1::Directory {
            display_name: "Head office".into(),
            hosts: vec![dc.tls_url()],
            ca_certificates: ca.pem(),
            bind_dn: dc.service().dn,
            bind_password: dc.service().password,
            ..v1::Directory::default()
        }),
        request_id: String::new(),
    };
    ok(clients.directories.create_directory(request)).await;
    let by_group = |dn: &str, role: &str| v1::RoleRule {
        condition: Some(Condition::GroupDn(format!("{dn},{}", dc.base_dn()))),
        role: role.into(),
    };
    let mut sync = sync_of(
        &format!("OU=People,{}", dc.base_dn()),
        "(&(objectCategory=person)(|(sAMAccountName=normal)(sAMAccountName=expired)))",
    );
    sync.field_mappings = Some(v1::FieldMappings {
        login: vec!["sAMAccountName".into()],
        display_name: vec!["cn".into()],
        ..v1::FieldMappings::default()
    });
    let outer = dc.search(&["-b", dc.base_dn(), "(cn=outer)", "1.1"]).unwrap();
    let outer = outer.lines().find_map(|line| line.strip_prefix("dn: ")).unwrap();
    let outer = outer.strip_suffix(&format!(",{}", dc.base_dn())).unwrap();
    sync.role_rules = vec![
        by_group("CN=Domain Admins,CN=Users", "admin"),
        by_group(outer, "nested"),
        by_group("CN=Users,CN=Builtin", "everybody"),
    ];
    create_sync(&mut clients, "staff", sync).await;

    let run = run_to_rest(&mut clients, v1::SyncRunMode::Apply).await;
    assert_eq!(run.state(), SyncRunState::Succeeded, "{run:#?}");
    let store = worker.store().await;
    let page = PageRequest::first(10);
    let users = store
        .list_users(&tenant(), &UserFilter::default(), &page)
        .await
        .unwrap()
        .items;
    let mut roles: Vec<_> = users
        .iter()
        .map(|user| (user.profile.login.as_str(), user.profile.role.as_str()))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [("expired", "everybody"), ("normal", "nested")]);
    for user in &users {
        let name = format!("{TENANT}/users/{}", user.id.0);
        let refreshed = ok(clients.user_syncs.refresh_user(v1::RefreshUserRequest { name })).await;
        assert_eq!(refreshed.outcome(), RefreshOutcome::Unchanged, "{refreshed:?}");
    }
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(v1::check_user_sync_request::Target::UserSync(STAFF.into())),
        ..v1::CheckUserSyncRequest::default()
    };
    let checked = ok(clients.user_syncs.check_user_sync(request)).await;
    let mut roles: Vec<_> = checked
        .samples
        .iter()
        .filter_map(|sample| sample.user.as_ref())
        .map(|user| (user.login.as_str(), user.role.as_str()))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [("expired", "everybody"), ("normal", "nested")]);
}

/// A tree that the server does not have: nobody can tell whether the group is gone. Ada and dan are in it for all that
/// is known, and so may eve be, who waits; fay is matched by a rule before.
#[tokio::test(flavor = "multi_thread")]
async fn of_a_rule_that_cannot_be_evaluated_roles_stay_and_new_people_wait() {
    let sync = ruled(vec![
        by_filter("(employeeType=boss)", "boss"),
        by_group("outer", "admin"),
    ]);
    let mut world = World::start(Slapd::builder().ldif(nested().as_str()), sync).await;
    world.succeed().await;
    let roles = world.roles().await;
    let unreadable = v1::RoleRule {
        condition: Some(Condition::GroupDn("cn=outer,dc=elsewhere".into())),
        role: "admin".into(),
    };
    let rules = ruled(vec![by_filter("(employeeType=boss)", "boss"), unreadable]);
    world.update(rules, &["role_rules"]).await;
    let mut new = Ldif::new();
    person(&mut new, "Staff", "eve");
    person(&mut new, "Staff", "fay").attribute("employeeType", "boss");
    world.slapd.add(new.as_str()).unwrap();
    let change = format!(
        "dn: {}\nchangetype: modify\nreplace: mail\nmail: new@example.org\n",
        dn("Staff", "dan")
    );
    world.slapd.modify(&change).unwrap();

    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    let expected: Vec<_> = roles.into_iter().chain(pairs(&[("fay", "boss")])).collect();
    assert_eq!(world.roles().await, expected);
    let users = world.users().await;
    assert_eq!(users["dan"].profile.email.as_deref(), Some("new@example.org"));
    let issues = world.issues(&run).await;
    let of_the_run: Vec<_> = issues.iter().filter(|issue| issue.dn.is_empty()).collect();
    let [issue] = of_the_run.as_slice() else {
        panic!("{issues:#?}")
    };
    assert_eq!(issue.r#type(), IssueType::RoleRuleFailed);
    let said = "role rule 2 (group cn=outer,dc=elsewhere) could not be evaluated";
    assert!(issue.message.starts_with(said), "{issue:?}");
    assert!(issue.message.contains("1 new user waits"), "{issue:?}");
    assert!(issue.message.contains("2 users keep their role"), "{issue:?}");
    let problems = world.problems().await;
    assert!(
        problems.iter().any(|problem| problem.contains(&said[1..])),
        "{problems:?}"
    );

    // A role that no answer gives is lost, for the base role. Such a change of rules waits for a person, and no login
    // carries it out before.
    let unreadable = v1::RoleRule {
        condition: Some(Condition::GroupDn("cn=outer,dc=elsewhere".into())),
        role: "other".into(),
    };
    world.update(ruled(vec![unreadable]), &["role_rules"]).await;
    assert_eq!(world.refresh("dan").await.user.unwrap().role, "admin");
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
    let run = world.release(&run).await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    assert_eq!(world.users().await["dan"].profile.role, "user");
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_in_a_group_that_is_gone_and_the_run_says_so() {
    let sync = ruled(vec![by_group("outer", "admin")]);
    let mut world = World::start(Slapd::builder().ldif(nested().as_str()), sync).await;
    world.succeed().await;
    world.slapd.delete(&group_dn("outer")).unwrap();
    let mut new = Ldif::new();
    person(&mut new, "Staff", "eve");
    world.slapd.add(new.as_str()).unwrap();
    let refreshed = world.refresh("dan").await;
    assert_eq!(refreshed.outcome(), RefreshOutcome::Updated);
    assert_eq!(refreshed.user.unwrap().role, "user");

    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::SucceededWithIssues, "{run:#?}");
    let expected = [
        ("ada", "user"),
        ("ben", "user"),
        ("cem", "user"),
        ("dan", "user"),
        ("eve", "user"),
    ];
    assert_eq!(world.roles().await, pairs(&expected));
    let issues = world.issues(&run).await;
    let [issue] = issues.as_slice() else {
        panic!("{issues:#?}")
    };
    assert_eq!(issue.r#type(), IssueType::RoleGroupMissing);
    assert!(issue.message.contains(&group_dn("outer")), "{issue:?}");
    assert!(issue.message.contains("1 user loses the role"), "{issue:?}");
    let problems = world.problems().await;
    assert!(
        problems
            .iter()
            .any(|problem| problem.contains(&group_dn("outer"))),
        "{problems:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_group_that_names_its_members_by_uid_gives_its_role() {
    let mut ldif = nested();
    ldif.entry(&group_dn("posix"))
        .attribute("objectClass", "posixGroup")
        .attribute("cn", "posix")
        .attribute("gidNumber", "1")
        .attribute("memberUid", "ada");
    let builder = Slapd::builder()
        .global_config("include /etc/ldap/schema/nis.schema")
        .ldif(ldif.as_str());
    let mut world = World::start(builder, ruled(vec![by_group("posix", "admin")])).await;
    world.succeed().await;
    let expected = [
        ("ada", "admin"),
        ("ben", "user"),
        ("cem", "user"),
        ("dan", "user"),
    ];
    assert_eq!(world.roles().await, pairs(&expected));
    assert_eq!(world.refresh("ada").await.outcome(), RefreshOutcome::Unchanged);
}

#[tokio::test(flavor = "multi_thread")]
async fn new_existing_and_missing_users_follow_their_policies() {
    let mut ldif = nested();
    for uid in ["eve", "fay"] {
        person(&mut ldif, "Staff", uid);
    }
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    let quiet = v1::UserSync {
        new_users: NewUserPolicy::Ignore.into(),
        ..staff()
    };
    world.update(quiet, &["new_users"]).await;
    let run = world.succeed().await;
    assert_eq!(run.counts.unwrap().ignored, 6);
    assert!(world.users().await.is_empty());
    world.update(staff(), &["new_users"]).await;
    world.succeed().await;
    assert_eq!(world.active().await, 6);

    let frozen = v1::UserSync {
        existing_users: v1::ExistingUserPolicy::Ignore.into(),
        ..staff()
    };
    world.update(frozen, &["existing_users"]).await;
    let rename = format!(
        "dn: {}\nchangetype: modify\nreplace: cn\ncn: Ada L\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&rename).unwrap();
    world.succeed().await;
    assert_eq!(
        world.users().await["ada"].profile.text(TextField::DisplayName),
        Some("ada")
    );
    world.update(staff(), &["existing_users"]).await;
    world.succeed().await;
    assert_eq!(
        world.users().await["ada"].profile.text(TextField::DisplayName),
        Some("Ada L")
    );

    for (policy, uid, state) in [
        (MissingUserPolicy::Ignore, "ben", UserState::Active),
        (MissingUserPolicy::Deactivate, "ben", UserState::Deactivated),
        (MissingUserPolicy::Archive, "cem", UserState::Archived),
    ] {
        let sync = v1::UserSync {
            missing_users: policy.into(),
            ..staff()
        };
        world.update(sync, &["missing_users"]).await;
        // Already gone in the second round.
        let _ = world.slapd.delete(&dn("Staff", uid));
        world.succeed().await;
        assert_eq!(world.state(uid).await.0, state, "{policy:?}");
    }
    assert_eq!(
        world.state("ben").await.0,
        UserState::Archived,
        "whoever was deactivated is archived too"
    );
    let mut back = Ldif::new();
    person(&mut back, "Staff", "cem");
    world.slapd.add(back.as_str()).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        run.counts.unwrap().created,
        1,
        "another entry is another person, though the login is the same"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn local_users_are_linked_only_when_asked_and_the_owner_never() {
    let mut world = World::start(Slapd::builder().ldif(nested().as_str()), staff()).await;
    world.create_local("ADA", false).await;
    world.create_local("ben", true).await;
    let run = world.apply().await;
    let mut issues = world.issue_types(&run).await;
    issues.sort_unstable();
    assert_eq!(issues, [IssueType::LoginTaken, IssueType::OwnerProtected]);
    assert_eq!(world.users().await["ADA"].profile.role, "local");

    let sync = v1::UserSync {
        overwrite_local_users: true,
        ..staff()
    };
    world.update(sync, &["overwrite_local_users"]).await;
    let run = world.apply().await;
    // Whoever may write a uid would become any LOCAL user by it: a person has to look.
    assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
    assert_eq!(run.hold_reasons[0].rule(), v1::HoldRule::Links);
    assert_eq!(world.users().await["ADA"].profile.role, "local");
    let run = world.release(&run).await;
    assert_eq!(world.issue_types(&run).await, [IssueType::OwnerProtected]);
    assert_eq!(world.changes(&run).await, [("ada".to_owned(), ChangeType::Link)]);
    let users = world.users().await;
    assert_eq!(users["ada"].profile.role, "user");
    assert!(users["ada"].origin.as_ref().is_some_and(|origin| origin.linked));
    assert!(users["ben"].owner && users["ben"].origin.is_none());
    assert_eq!(users["ben"].profile.role, "local");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_changed_login_is_kept_back_unless_allowed() {
    let mut world = World::start(Slapd::builder().ldif(nested().as_str()), staff()).await;
    world.succeed().await;
    let id = world.users().await["ada"].id;
    let rename = format!(
        "dn: {}\nchangetype: modrdn\nnewrdn: uid=ada.l\ndeleteoldrdn: 1\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&rename).unwrap();
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginChangeRejected]);
    let kept = &world.users().await["ada"];
    assert_eq!(kept.id, id);
    assert_eq!(kept.origin.as_ref().unwrap().dn, dn("Staff", "ada.l"));
    let allowed = v1::UserSync {
        login_changes: v1::LoginChangePolicy::Allow.into(),
        ..staff()
    };
    world.update(allowed, &["login_changes"]).await;
    world.succeed().await;
    assert_eq!(world.users().await["ada.l"].id, id);
}

#[tokio::test(flavor = "multi_thread")]
async fn accounts_that_are_disabled_or_expired_in_the_directory_may_not_log_in() {
    let mut ldif = nested();
    for (uid, attribute, value) in [
        ("off", "pwdAccountLockedTime", "000001010000Z"),
        ("locked", "pwdAccountLockedTime", "20200101000000Z"),
        ("past", "pwdEndTime", "20200101000000Z"),
        ("future", "pwdStartTime", "29990101000000Z"),
    ] {
        person(&mut ldif, "Staff", uid)
            .attribute("userPassword", "x")
            .attribute(attribute, value);
    }
    let builder = Slapd::builder().ppolicy().ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let deactivated = |reason| (UserState::Deactivated, Some(reason));
    for (login, expected) in [
        ("off", deactivated(StateReason::DisabledInDirectory)),
        ("locked", (UserState::Active, None)),
        ("past", deactivated(StateReason::ExpiredInDirectory)),
        ("future", deactivated(StateReason::ExpiredInDirectory)),
        ("ada", (UserState::Active, None)),
    ] {
        assert_eq!(world.state(login).await, expected, "{login}");
    }
    let disable = format!(
        "dn: {}\nchangetype: modify\nadd: pwdAccountLockedTime\npwdAccountLockedTime: 000001010000Z\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&disable).unwrap();
    let run = world.succeed().await;
    assert_eq!(
        world.changes(&run).await,
        [("ada".to_owned(), ChangeType::Deactivate)]
    );
    assert_eq!(
        world.state("ada").await,
        deactivated(StateReason::DisabledInDirectory)
    );
    let enable = format!(
        "dn: {}\nchangetype: modify\ndelete: pwdAccountLockedTime\n",
        dn("Staff", "ada")
    );
    world.slapd.modify(&enable).unwrap();
    world.succeed().await;
    assert_eq!(world.state("ada").await, (UserState::Active, None));
}

/// The directory that the quickstart loads: its README counts 8 disabled employees.
#[tokio::test(flavor = "multi_thread")]
async fn the_disabled_employees_of_the_sample_company_arrive_deactivated() {
    let people = include_str!("../../../../deploy/company/company.ldif");
    let (_, below_the_suffix) = people.split_once("o: Aurora Instruments\n").unwrap();
    let builder = Slapd::builder()
        .base_dn("dc=aurora,dc=example")
        .ppolicy()
        .ldif(below_the_suffix);
    let sync = sync_of("ou=People,dc=aurora,dc=example", "(objectClass=inetOrgPerson)");
    let mut world = World::start(builder, sync).await;
    world.apply().await;
    let users = world.users().await;
    let off = users.values().filter(|user| user.state == UserState::Deactivated);
    let reasons: Vec<_> = off.map(|user| user.state_reason).collect();
    assert_eq!(reasons, [Some(StateReason::DisabledInDirectory); 8]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_two_searches_find_is_one_user_or_one_issue() {
    let mut ldif = nested();
    person(&mut ldif, "Staff", "x");
    let mut sync = staff();
    sync.searches.push(v1::UserSearch {
        base_dn: BASE.into(),
        filter: "(objectClass=inetOrgPerson)".into(),
        ..Default::default()
    });
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    let run = world.apply().await;
    assert_eq!(world.issue_types(&run).await, [IssueType::LoginTooShort]);
    assert_eq!(world.users().await.len(), 4);
}
