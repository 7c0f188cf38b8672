use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::{CheckOutcome, CheckStageKind};
use rollcall_testkit::{Slapd, SlapdBuilder};

use crate::company::{Company, STAFF, TENANT, staff, sync_of};
use crate::harness::{ADMIN, Clients, TestWorker, description, fails, ok, stage, stages, violations};
use crate::run_world::{BASE, World, dn, person, units};

async fn check(clients: &mut Clients, user_sync: v1::UserSync) -> v1::CheckUserSyncResponse {
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(user_sync)),
        sample_size: 0,
    };
    ok(clients.user_syncs.check_user_sync(request)).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_good_user_sync_passes_and_shows_what_would_become_of_the_entries() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up_sync(&mut clients).await;
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::UserSync(STAFF.into())),
        sample_size: 0,
    };
    let answer = ok(clients.user_syncs.check_user_sync(request)).await;
    let report = answer.report.unwrap();
    for kind in [
        CheckStageKind::Bind,
        CheckStageKind::SearchBase,
        CheckStageKind::SearchFilter,
        CheckStageKind::Paging,
        CheckStageKind::ExternalId,
        CheckStageKind::Overlaps,
    ] {
        let stage = stage(&report, kind);
        assert_eq!(stage.outcome(), CheckOutcome::Pass, "{stage:?}");
    }
    assert!(
        stage(&report, CheckStageKind::SearchFilter)
            .message
            .contains("2 entries"),
        "{report:#?}"
    );
    let mapped: Vec<_> = stages(&report, CheckStageKind::FieldMappings)
        .iter()
        .map(|stage| stage.subject.as_str())
        .collect();
    // Each field with its candidates, as the admin wrote them.
    assert_eq!(mapped, ["uid", "mail", "cn, {givenName} {sn}"]);

    let mut samples = answer.samples;
    samples.sort_by(|a, b| a.dn.cmp(&b.dn));
    let ben = samples[1].user.as_ref().unwrap();
    assert_eq!(samples.len(), 2);
    assert_eq!(
        (
            ben.login.as_str(),
            ben.email.as_str(),
            ben.display_name.as_str(),
            ben.role.as_str()
        ),
        ("ben", "ben@example.org", "Ben Müller", "user")
    );
    assert_eq!(
        (ben.name.as_str(), ben.external_id.len(), ben.state()),
        ("", 36, v1::UserState::Active)
    );
    assert!(samples[1].issues.is_empty());
}

/// An ordinary client refuses an answer above 4 MiB, and an admin would see nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn a_sample_of_the_largest_people_is_no_larger_than_a_client_takes() {
    const PEOPLE: usize = 40;
    let mut ldif = units();
    for number in 0..PEOPLE {
        let uid = format!("person{number}");
        ldif.entry(&dn("Staff", &uid))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", &uid)
            .attribute("cn", &uid)
            .attribute("sn", &uid)
            .attribute("description", "\u{1F600}".repeat(1024));
    }
    let mut user_sync = sync_of(BASE, "(objectClass=inetOrgPerson)");
    let candidates = vec!["description".to_owned()];
    user_sync.field_mappings.as_mut().unwrap().custom = (0..50)
        .map(|field| {
            (
                format!("field{field}"),
                v1::FieldCandidates {
                    candidates: candidates.clone(),
                },
            )
        })
        .collect();
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), user_sync.clone()).await;
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(user_sync)),
        sample_size: 100,
    };
    let answer = ok(world.clients.user_syncs.check_user_sync(request)).await;
    assert!(
        (5..20).contains(&answer.samples.len()),
        "{} samples",
        answer.samples.len()
    );
    for sample in &answer.samples {
        assert_eq!(sample.user.as_ref().unwrap().custom.len(), 50);
    }
    let report = answer.report.unwrap();
    let filter = stage(&report, CheckStageKind::SearchFilter);
    assert!(filter.message.contains("40 entries"), "{filter:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unknown_attribute_shows_in_a_mapping_and_in_a_filter() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let mut user_sync = sync_of(
        "ou=Staff,dc=example,dc=org",
        "(|(objectClass=inetOrgPerson)(sAMAccountName=x))",
    );
    user_sync.field_mappings.as_mut().unwrap().phone_number = vec!["noSuchAttribute".into()];
    let report = check(&mut clients, user_sync).await.report.unwrap();
    assert_eq!(report.outcome(), CheckOutcome::Warn, "{report:#?}");
    let filter = stage(&report, CheckStageKind::SearchFilter);
    assert_eq!(filter.outcome(), CheckOutcome::Warn);
    assert!(filter.message.contains("sAMAccountName"), "{filter:?}");
    let mappings = stages(&report, CheckStageKind::FieldMappings);
    let unknown = mappings
        .iter()
        .find(|stage| stage.subject == "noSuchAttribute")
        .unwrap();
    assert_eq!(unknown.outcome(), CheckOutcome::Warn, "{unknown:?}");
    assert!(
        unknown.message.contains("does not know noSuchAttribute"),
        "{unknown:?}"
    );
    let known = mappings.iter().find(|stage| stage.subject == "uid").unwrap();
    assert_eq!(known.outcome(), CheckOutcome::Pass, "{known:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_does_not_parse_says_where() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(sync_of(
            "ou=Staff,dc=example,dc=org",
            "(&(uid=a)(mail=b)",
        ))),
        sample_size: 0,
    };
    let status = fails(Reason::InvalidField, clients.user_syncs.check_user_sync(request)).await;
    assert_eq!(violations(&status), ["draft.searches[0].filter"]);
    let text = description(&status, "draft.searches[0].filter");
    assert!(text.contains("column"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_base_that_is_not_there_fails_and_the_other_search_is_still_looked_at() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let mut user_sync = sync_of("ou=Nowhere,dc=example,dc=org", "(uid=*)");
    user_sync.searches.extend(staff().searches);
    let answer = check(&mut clients, user_sync).await;
    let report = answer.report.unwrap();
    let outcomes: Vec<_> = stages(&report, CheckStageKind::SearchBase)
        .iter()
        .map(|stage| stage.outcome())
        .collect();
    assert_eq!(outcomes, [CheckOutcome::Fail, CheckOutcome::Pass], "{report:#?}");
    assert_eq!(answer.samples.len(), 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn role_rules_are_tried_on_the_sample() {
    use v1::role_rule::Condition;
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let rule = |condition: Condition, role: &str| v1::RoleRule {
        condition: Some(condition),
        role: role.into(),
    };
    let user_sync = v1::UserSync {
        role_rules: vec![
            rule(
                // By way of the group of admins.
                Condition::GroupDn("cn=leaders,ou=Groups,dc=example,dc=org".into()),
                "leader",
            ),
            rule(Condition::Filter("(sn=Müller)".into()), "miller"),
            rule(Condition::Filter("(sn=Nobody)".into()), "nobody"),
            rule(
                Condition::GroupDn("cn=none,ou=Groups,dc=example,dc=org".into()),
                "none",
            ),
        ],
        ..staff()
    };
    let answer = check(&mut clients, user_sync).await;
    let report = answer.report.unwrap();
    let outcomes: Vec<_> = stages(&report, CheckStageKind::RoleRules)
        .iter()
        .map(|stage| stage.outcome())
        .collect();
    let (pass, warn, fail) = (CheckOutcome::Pass, CheckOutcome::Warn, CheckOutcome::Fail);
    assert_eq!(outcomes, [pass, pass, warn, fail], "{report:#?}");
    let mut roles: Vec<_> = answer
        .samples
        .into_iter()
        .map(|sample| sample.user.unwrap())
        .map(|user| format!("{} {}", user.login, user.role))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, ["ada leader", "ben miller"]);
}

/// Ada's role does not depend on the rule without an answer. Ben's does: he is no user before it has one.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_rule_without_an_answer_fails_by_name_and_the_sample_shows_who_waits() {
    use v1::role_rule::Condition;
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let rule = |condition: Condition, role: &str| v1::RoleRule {
        condition: Some(condition),
        role: role.into(),
    };
    let unreadable = "cn=admins,dc=elsewhere";
    let user_sync = v1::UserSync {
        role_rules: vec![
            rule(Condition::Filter("(uid=ada)".into()), "first"),
            rule(Condition::GroupDn(unreadable.into()), "admin"),
        ],
        ..staff()
    };
    let answer = check(&mut clients, user_sync).await;
    let report = answer.report.unwrap();
    let stages = stages(&report, CheckStageKind::RoleRules);
    assert_eq!(stages[0].outcome(), CheckOutcome::Pass);
    assert_eq!(stages[1].outcome(), CheckOutcome::Fail);
    let message = &stages[1].message;
    assert!(
        message.contains("Role rule 2") && message.contains(unreadable),
        "{message}"
    );
    assert!(message.contains("1 of 2 sampled entries"), "{message}");
    let shown = |uid: &str| {
        answer
            .samples
            .iter()
            .find(|sample| sample.dn.starts_with(uid))
            .unwrap()
    };
    assert_eq!(shown("uid=ada").user.as_ref().unwrap().role, "first");
    let ben = shown("uid=ben");
    assert_eq!(ben.user, None);
    assert_eq!(ben.issues[0].r#type(), v1::IssueType::RoleRuleFailed);
}

/// Such rules have no answer for anybody, so that the check fails by name though there is nobody to try them on; and
/// what a server does not know of a rule's filter is named though the rest of it matches.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_that_can_have_no_answer_fails_by_name_whatever_the_sample() {
    use v1::role_rule::Condition;
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let group = |name: &str| format!("cn={name},ou=Groups,{BASE}");
    ldif.entry(&group("dynamic"))
        .attribute("objectClass", "groupOfURLs")
        .attribute("cn", "dynamic")
        .attribute("memberURL", format!("ldap:///ou=Staff,{BASE}??sub?(uid=ada)"))
        .entry(&group("secret"))
        .attribute("objectClass", "groupOfNames")
        .attribute("cn", "secret")
        .attribute("member", group("dynamic"));
    let hide = format!(
        "access to dn.exact=\"{}\" attrs=member by * none",
        group("secret")
    );
    let builder = || {
        Slapd::builder()
            .global_config("include /etc/ldap/schema/dyngroup.schema")
            .first_access(&hide)
            .ldif(ldif.as_str())
    };
    let rule = |condition: Condition, role: &str| v1::RoleRule {
        condition: Some(condition),
        role: role.into(),
    };
    let mut sync = staff();
    sync.role_rules = vec![
        rule(Condition::GroupDn(group("dynamic")), "admin"),
        rule(Condition::GroupDn(group("secret")), "admin"),
        rule(
            Condition::Filter("(|(uid=ada)(!(objectClass=persn)))".into()),
            "boss",
        ),
    ];
    let mut nobody = sync.clone();
    nobody.searches[0].filter = "(uid=nobody)".into();
    let mut world = World::start(builder(), sync.clone()).await;
    for draft in [sync.clone(), nobody] {
        let report = check(&mut world.clients, draft).await.report.unwrap();
        let rules = stages(&report, CheckStageKind::RoleRules);
        for (stage, name, why) in [
            (&rules[0], "dynamic", "names its members by a search"),
            (&rules[1], "secret", "may not read the group's members"),
        ] {
            assert_eq!(stage.outcome(), CheckOutcome::Fail, "{stage:?}");
            assert_eq!(stage.subject, group(name));
            assert!(
                stage.message.contains(&group(name)) && stage.message.contains(why),
                "{stage:?}"
            );
        }
        assert_eq!(rules[2].outcome(), CheckOutcome::Warn, "{:?}", rules[2]);
        assert!(
            rules[2].message.contains("persn") && rules[2].hint.contains("4.5.1.7"),
            "{:?}",
            rules[2]
        );
    }
    // And the run says so, with who waits, in its issue and in the health of the sync.
    let run = world.apply().await;
    let issues = world.issues(&run).await;
    let of_the_run: Vec<_> = issues.iter().filter(|issue| issue.dn.is_empty()).collect();
    assert_eq!(of_the_run.len(), 2, "{issues:#?}");
    let problems = world.problems().await;
    for (issue, name) in of_the_run.iter().zip(["dynamic", "secret"]) {
        assert_eq!(issue.r#type(), v1::IssueType::RoleRuleFailed);
        assert!(issue.message.contains(&group(name)), "{issue:?}");
        assert!(issue.message.ends_with("; 1 new user waits"), "{issue:?}");
        assert!(
            problems.iter().any(|problem| problem.contains(&group(name))),
            "{problems:?}"
        );
    }
    // Where the server shows them, all is well.
    let mut expanding = World::start(
        builder().dynlist(),
        v1::UserSync {
            role_rules: sync.role_rules[..1].to_vec(),
            ..sync
        },
    )
    .await;
    let report = check(&mut expanding.clients, staff_with(&group("dynamic")))
        .await
        .report
        .unwrap();
    let rule = stage(&report, CheckStageKind::RoleRules);
    assert_eq!(
        (rule.outcome(), rule.message.as_str()),
        (CheckOutcome::Pass, "1 of 1 sampled entry matches.")
    );
    expanding.succeed().await;
    assert_eq!(expanding.roles().await, [("ada".to_owned(), "admin".to_owned())]);
}

/// The staff, of whom the members of this group are administrators.
fn staff_with(group: &str) -> v1::UserSync {
    v1::UserSync {
        role_rules: vec![v1::RoleRule {
            condition: Some(v1::role_rule::Condition::GroupDn(group.into())),
            role: "admin".into(),
        }],
        ..staff()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_that_cannot_be_a_user_is_shown_with_its_issue() {
    let company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    let mut user_sync = sync_of("ou=Guests,dc=example,dc=org", "(uid=*)");
    user_sync.field_mappings.as_mut().unwrap().login = vec!["mail".into()];
    let answer = check(&mut clients, user_sync).await;
    let [sample] = answer.samples.as_slice() else {
        panic!("{:?}", answer.samples)
    };
    assert!(sample.user.is_none() && sample.dn.starts_with("uid=cem,"));
    assert_eq!(sample.issues[0].r#type(), v1::IssueType::MissingRequiredField);
    assert!(!sample.issues[0].hint.is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_unreachable_directory_skips_all_that_follows() {
    let mut company = Company::start();
    let worker = TestWorker::start(&company.ports()).await;
    let mut clients = worker.clients(ADMIN);
    company.set_up(&mut clients).await;
    company.slapd.stop();
    let answer = check(&mut clients, staff()).await;
    let report = answer.report.unwrap();
    assert_eq!(stage(&report, CheckStageKind::Tcp).outcome(), CheckOutcome::Fail);
    assert_eq!(
        stage(&report, CheckStageKind::SearchBase).outcome(),
        CheckOutcome::Skipped
    );
    assert!(answer.samples.is_empty());
}

/// A server without TLS that holds these entries and is set up so.
async fn on(entries: &str, configure: impl FnOnce(SlapdBuilder) -> SlapdBuilder) -> World {
    World::start(configure(Slapd::builder().ldif(entries)), staff()).await
}

fn mapped(login: &str, display_name: &[&str]) -> v1::UserSync {
    let mut sync = sync_of(BASE, "(uid=*)");
    sync.field_mappings = Some(v1::FieldMappings {
        login: vec![login.into()],
        display_name: display_name.iter().map(|name| (*name).to_owned()).collect(),
        ..v1::FieldMappings::default()
    });
    sync
}

#[tokio::test(flavor = "multi_thread")]
async fn other_names_of_attributes_pass_and_a_server_that_hides_its_schema_is_quoted() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let sync = || mapped("UserID", &["{surname}"]);
    let mut world = on(ldif.as_str(), |builder| builder).await;
    let report = check(&mut world.clients, sync()).await.report.unwrap();
    for field in ["UserID", "{surname}"] {
        assert_eq!(
            mapping(&report, field).outcome(),
            CheckOutcome::Pass,
            "{report:#?}"
        );
    }
    let hide = |builder: SlapdBuilder| builder.global_config("access to dn.base=\"cn=Subschema\" by * none");
    let mut world = on(ldif.as_str(), hide).await;
    let report = check(&mut world.clients, sync()).await.report.unwrap();
    for (field, asked, name) in [("UserID", "UserID", "uid"), ("{surname}", "surname", "sn")] {
        let stage = mapping(&report, field);
        assert_eq!(stage.outcome(), CheckOutcome::Fail, "{stage:?}");
        assert!(
            stage
                .message
                .contains(&format!("answers {name} when it is asked for {asked}")),
            "{stage:?}"
        );
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_supertype_an_attribute_of_bytes_and_a_login_that_nobody_has_fail() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let mut world = on(ldif.as_str(), |builder| builder).await;
    // In OpenLDAP's schema, and in no list of ours.
    let mut sync = mapped("employeeNumber", &["name"]);
    sync.field_mappings.as_mut().unwrap().given_name = vec!["personalSignature".into()];
    let report = check(&mut world.clients, sync).await.report.unwrap();
    for (field, words) in [
        ("employeeNumber", "login: 0 %"),
        ("name", "name is what several attributes have in common"),
        ("personalSignature", "personalSignature holds bytes"),
    ] {
        let stage = mapping(&report, field);
        assert_eq!(stage.outcome(), CheckOutcome::Fail, "{stage:?}");
        assert!(stage.message.contains(words), "{stage:?}");
    }
    let mut bytes = mapped("uid", &["cn"]);
    bytes.field_mappings.as_mut().unwrap().given_name = vec!["userPKCS12".into()];
    let request = v1::CheckUserSyncRequest {
        parent: TENANT.into(),
        target: Some(Target::Draft(bytes)),
        sample_size: 0,
    };
    let refused = fails(
        Reason::InvalidField,
        world.clients.user_syncs.check_user_sync(request),
    )
    .await;
    assert_eq!(violations(&refused), ["draft.field_mappings.given_name[0]"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_run_would_raise_is_said_before_it() {
    let mut ldif = units();
    for uid in ["ada", "ben"] {
        person(&mut ldif, "Staff", uid);
    }
    // The same address and login as ada's, and an alias.
    ldif.entry(&format!("cn=second,ou=Guests,{BASE}"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("uid", "ada")
        .attribute("cn", "second")
        .attribute("sn", "second");
    ldif.entry(&format!("uid=zoe,ou=Guests,{BASE}"))
        .attribute("objectClass", "alias")
        .attribute("objectClass", "extensibleObject")
        .attribute("aliasedObjectName", format!("uid=ben,ou=Staff,{BASE}"))
        .attribute("uid", "zoe");
    let mut world = on(ldif.as_str(), |builder| builder).await;
    let filter = "(&(uid=*)(!(objectClass=computr)))";
    let answer = check(&mut world.clients, sync_of(BASE, "(uid=*)")).await;
    let report = answer.report.unwrap();
    let said = |word: &str| report.stages.iter().any(|stage| stage.message.contains(word));
    assert!(
        said("with \"ada\"") && said("cn=second,ou=Guests") && said("alias of another entry"),
        "{report:#?}"
    );
    let sample = |dn: &str| {
        answer
            .samples
            .iter()
            .find(|sample| sample.dn.starts_with(dn))
            .unwrap()
    };
    assert_eq!(sample("uid=zoe").issues[0].r#type(), v1::IssueType::NotAPerson);
    assert!(sample("uid=zoe").user.is_none());
    for dn in ["cn=second", "uid=ada"] {
        let issues = &sample(dn).issues;
        assert_eq!(
            issues[0].r#type(),
            v1::IssueType::DuplicateInDirectory,
            "{issues:#?}"
        );
    }
    assert!(sample("uid=ben").issues.is_empty());

    // The NOT of what the server does not know matches nothing: so says the check, and so does a run.
    let report = check(&mut world.clients, sync_of(BASE, filter))
        .await
        .report
        .unwrap();
    let undefined = stage(&report, CheckStageKind::SearchFilter);
    assert!(
        undefined.message.contains("computr") && undefined.hint.contains("4.5.1.7"),
        "{undefined:?}"
    );
    world.update(sync_of(BASE, filter), &["searches"]).await;
    assert_eq!(world.succeed().await.counts.unwrap().entries, 0);

    // A base with nothing but aliases.
    let report = check(&mut world.clients, sync_of(BASE, "(objectClass=alias)"))
        .await
        .report
        .unwrap();
    let failed = stages(&report, CheckStageKind::SearchFilter);
    assert!(
        failed.iter().any(|stage| stage.outcome() == CheckOutcome::Fail),
        "{report:#?}"
    );
}

/// The stage about a field.
fn mapping(report: &v1::CheckReport, subject: &str) -> v1::CheckStage {
    let found = stages(report, CheckStageKind::FieldMappings).into_iter();
    let mut found = found.filter(|stage| stage.subject == subject);
    found
        .next()
        .unwrap_or_else(|| panic!("nothing about {subject}: {report:#?}"))
        .clone()
}
