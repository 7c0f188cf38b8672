use rollcall_core::error::Reason;
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::{CheckOutcome, CheckStageKind};

use crate::company::{Company, STAFF, TENANT, staff, sync_of};
use crate::harness::{ADMIN, Clients, TestWorker, description, fails, ok, stage, stages, violations};

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
    assert_eq!(mapped, ["cn", "givenname", "mail", "sn", "uid"]);

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
    assert!(filter.message.contains("samaccountname"), "{filter:?}");
    let mappings = stages(&report, CheckStageKind::FieldMappings);
    let unknown = mappings
        .iter()
        .find(|stage| stage.subject == "nosuchattribute")
        .unwrap();
    assert_eq!(unknown.outcome(), CheckOutcome::Warn, "{unknown:?}");
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
