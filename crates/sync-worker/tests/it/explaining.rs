//! ExplainUser: who may ask, what it counts as, what is recorded, and odd questions. That it agrees with runs, checks and
//! logins is for the system tests.

use rollcall_core::error::Reason;
use rollcall_proto::v1::explain_user_request::{Person, Target};
use rollcall_proto::v1::login_forecast::Answer;
use rollcall_proto::v1::{self, CheckOutcome, DenialReason, ExplanationStepKind, RunAction};
use rollcall_runtime::clock::Clock;
use rollcall_testkit::Slapd;

use crate::company::{STAFF, TENANT, create_sync, staff, sync_of};
use crate::harness::{ACME, fails, ok, violations};
use crate::run_world::{BASE, World, directory_at, dn, person, units};

fn by(target: Option<Target>, person: Person) -> v1::ExplainUserRequest {
    v1::ExplainUserRequest {
        parent: TENANT.into(),
        target,
        person: Some(person),
    }
}

fn by_staff(person: Person) -> v1::ExplainUserRequest {
    by(Some(Target::UserSync(STAFF.into())), person)
}

async fn world() -> World {
    let mut ldif = units();
    for uid in ["ada", "bob"] {
        person(&mut ldif, "Staff", uid);
    }
    person(&mut ldif, "Guests", "guest");
    person(&mut ldif, "Staff", "large").attribute("description", "x".repeat(200_000));
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.apply().await;
    world
}

#[tokio::test(flavor = "multi_thread")]
async fn somebody_is_explained_by_name_login_id_and_user() {
    let mut world = world().await;
    let users = world.users().await;
    let ada = &users["ada"];
    let id = ada.origin.as_ref().unwrap().external_id.to_string();
    for person in [
        Person::Identifier("ADA".into()),
        Person::Identifier("ada@example.org".into()),
        Person::Dn(dn("Staff", "ada")),
        Person::ExternalId(id.clone()),
        Person::User(format!("{TENANT}/users/{}", ada.id)),
    ] {
        let answer = ok(world.clients.user_syncs.explain_user(by_staff(person))).await;
        let [explanation] = &answer.explanations[..] else {
            panic!("{answer:#?}")
        };
        assert_eq!(
            (
                explanation.dn.as_str(),
                explanation.external_id.as_str(),
                explanation.user_sync.as_str()
            ),
            (dn("Staff", "ada").as_str(), id.as_str(), STAFF)
        );
        assert_eq!(explanation.next_run.as_ref().unwrap().action(), RunAction::Keep);
        let login = explanation.login.as_ref().unwrap();
        assert_eq!(login.answer, Some(Answer::Authenticated(true)), "{login:?}");
        let failed = |step: &&v1::ExplanationStep| step.outcome() == CheckOutcome::Fail;
        assert_eq!(explanation.steps.iter().find(failed), None);
    }
    assert_eq!(
        world.users().await["ada"].revision,
        ada.revision,
        "it writes nothing"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_draft_explains_whom_it_would_take_and_its_mistakes_are_told() {
    let mut world = world().await;
    let guests = v1::UserSync {
        display_name: "Guests".into(),
        directory: format!("{TENANT}/directories/hq"),
        role: "guest".into(),
        ..sync_of(&format!("ou=Guests,{BASE}"), "(objectClass=inetOrgPerson)")
    };
    let name = dn("Guests", "guest");
    let stored = ok(world
        .clients
        .user_syncs
        .explain_user(by_staff(Person::Dn(name.clone()))))
    .await;
    let outside = &stored.explanations[0];
    let search = |step: &&v1::ExplanationStep| step.kind() == ExplanationStepKind::Search;
    assert_eq!(
        outside.steps.iter().find(search).unwrap().outcome(),
        CheckOutcome::Fail
    );
    assert_eq!(outside.next_run.as_ref().unwrap().action(), RunAction::None);
    let login = outside.login.as_ref().unwrap();
    assert_eq!(
        login.answer,
        Some(Answer::DenialReason(DenialReason::InvalidCredentials.into()))
    );

    let draft = by(Some(Target::Draft(guests.clone())), Person::Dn(name.clone()));
    let drafted = ok(world.clients.user_syncs.explain_user(draft)).await;
    let taken = &drafted.explanations[0];
    let forecast = taken.next_run.as_ref().unwrap();
    assert_eq!(
        (forecast.action(), taken.user_sync.as_str()),
        (RunAction::Create, ""),
        "{taken:#?}"
    );
    assert_eq!(forecast.user.as_ref().unwrap().login, "guest");

    let mut bad = guests;
    bad.searches[0].filter = "(&(uid=*)(userPassword>=M))".into();
    bad.role = String::new();
    let request = by(Some(Target::Draft(bad)), Person::Dn(name));
    let refused = world.clients.user_syncs.explain_user(request).await.unwrap_err();
    assert_eq!(violations(&refused), ["draft.searches[0].filter", "draft.role"]);
    let nobody = v1::ExplainUserRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    let refused = world.clients.user_syncs.explain_user(nobody).await.unwrap_err();
    assert_eq!(violations(&refused), ["person"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_of_one_name_and_every_user_sync_explains() {
    let mut world = world().await;
    create_sync(
        &mut world.clients,
        "everybody",
        sync_of(BASE, "(objectClass=inetOrgPerson)"),
    )
    .await;
    let request = by(None, Person::Identifier("ada".into()));
    let answer = ok(world.clients.user_syncs.explain_user(request)).await;
    let told: Vec<(&str, RunAction)> = answer
        .explanations
        .iter()
        .map(|explanation| {
            (
                explanation.user_sync.as_str(),
                explanation.next_run.as_ref().unwrap().action(),
            )
        })
        .collect();
    let everybody = format!("{TENANT}/userSyncs/everybody");
    assert_eq!(
        told,
        [(everybody.as_str(), RunAction::Keep), (STAFF, RunAction::Keep)]
    );
    let overlaps = answer.explanations[0].steps.iter().any(|step| {
        step.kind() == ExplanationStepKind::Identity && step.message.contains("the user sync staff")
    });
    assert!(overlaps, "{:#?}", answer.explanations[0]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_several_people_each_is_told_with_an_id_of_their_own() {
    let mut ldif = units();
    for uid in ["ada", "eve", "bob"] {
        person(&mut ldif, "Staff", uid);
    }
    let text = ldif
        .as_str()
        .replace("mail: eve@example.org", "mail: ada@example.org");
    let mut world = World::start(Slapd::builder().ldif(&text), staff()).await;
    world.apply().await;
    let request = by_staff(Person::Identifier("ada@example.org".into()));
    let answer = ok(world.clients.user_syncs.explain_user(request)).await;
    let mut told: Vec<(&str, &str)> = answer
        .explanations
        .iter()
        .map(|explanation| (explanation.dn.as_str(), explanation.external_id.as_str()))
        .collect();
    told.sort_unstable();
    let names: Vec<&str> = told.iter().map(|(dn, _)| *dn).collect();
    assert_eq!(names, [dn("Staff", "ada"), dn("Staff", "eve")]);
    assert!(!told[0].1.is_empty() && told[0].1 != told[1].1, "{told:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_entry_of_16_mib_is_answered_in_words_and_hinders_nobody() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    person(&mut ldif, "Staff", "huge").attribute("mail", format!("{}@example.org", "x".repeat(16 << 20)));
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    let request = by_staff(Person::Dn(dn("Staff", "huge")));
    let answer = ok(world.clients.user_syncs.explain_user(request)).await;
    let [explanation] = &answer.explanations[..] else {
        panic!("{answer:#?}")
    };
    let step = &explanation.steps[0];
    assert_eq!(step.outcome(), CheckOutcome::Skipped, "{step:?}");
    assert!(step.message.contains("larger than 8 MiB"), "{step:?}");
    assert!(!step.message.contains("protocol"), "{step:?}");
    assert_eq!(
        explanation.next_run.as_ref().unwrap().action(),
        RunAction::Unknown
    );
    let request = by_staff(Person::Dn(dn("Staff", "ada")));
    let answer = ok(world.clients.user_syncs.explain_user(request)).await;
    assert_eq!(answer.explanations.len(), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_is_recorded_without_what_was_typed_and_keeps_to_the_tenant() {
    let mut world = world().await;
    let mut acme = world.worker.clients(ACME);
    let typed = "hunter2 is my password";
    ok(acme
        .user_syncs
        .explain_user(by_staff(Person::Identifier(typed.into()))))
    .await;
    let request = v1::ListAuditEventsRequest {
        parent: TENANT.into(),
        ..Default::default()
    };
    let events = ok(world.clients.audit.list_audit_events(request))
        .await
        .audit_events;
    let explained = events.iter().any(|event| match &event.kind {
        Some(v1::audit_event::Kind::Change(change)) => {
            event.caller == ACME && change.method == "UserSyncService.ExplainUser"
        }
        _ => false,
    });
    assert!(explained, "{events:#?}");
    assert!(!format!("{events:?}").contains("hunter2"));

    let strange = v1::ExplainUserRequest {
        parent: "tenants/other".into(),
        ..by(None, Person::Identifier("ada".into()))
    };
    fails(Reason::TenantAccessDenied, acme.user_syncs.explain_user(strange)).await;
    let foreign = by(
        None,
        Person::User("tenants/other/users/00000000-0000-0000-0000-000000000001".into()),
    );
    let refused = acme.user_syncs.explain_user(foreign).await.unwrap_err();
    assert_eq!(violations(&refused), ["user"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn it_counts_as_a_check() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let builder = Slapd::builder().ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start().unwrap())
        .await
        .unwrap();
    let (directory, port) = (directory_at(slapd.url(), &slapd), slapd.address().port());
    let settings = [("checks.per_minute", "2")];
    let mut world = World::around_with(&settings, slapd, port, directory, staff(), Clock::System).await;
    for _ in 0..2 {
        let request = by_staff(Person::Identifier("ada".into()));
        ok(world.clients.user_syncs.explain_user(request)).await;
    }
    let request = by_staff(Person::Identifier("ada".into()));
    fails(
        Reason::ChecksRateLimited,
        world.clients.user_syncs.explain_user(request),
    )
    .await;
}

/// An ordinary client refuses an answer above 4 MiB, and an admin would see nothing at all.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_told_of_the_largest_filters_is_no_larger_than_a_client_takes() {
    let mut ldif = units();
    person(&mut ldif, "Staff", "ada");
    let builder = Slapd::builder().ldif(ldif.as_str());
    let slapd = tokio::task::spawn_blocking(move || builder.start().unwrap())
        .await
        .unwrap();
    let (directory, port) = (directory_at(slapd.url(), &slapd), slapd.address().port());
    let settings = [("checks.timeout", "1m")];
    let mut world = World::around_with(&settings, slapd, port, directory, staff(), Clock::System).await;
    // As deep and as long as they may be: each part is told with all of its own parts.
    let depth = 31;
    let value = "x".repeat(8_000);
    let filter = format!("{}(uid={value}){}", "(&".repeat(depth), ")".repeat(depth));
    let rule = v1::RoleRule {
        condition: Some(v1::role_rule::Condition::Filter(filter)),
        role: "admin".into(),
    };
    let draft = v1::UserSync {
        role_rules: vec![rule; 20],
        ..staff()
    };
    let request = by(Some(Target::Draft(draft)), Person::Dn(dn("Staff", "ada")));
    let answer = ok(world.clients.user_syncs.explain_user(request)).await;
    let [explanation] = &answer.explanations[..] else {
        panic!("{} explanations", answer.explanations.len())
    };
    let rules = explanation
        .steps
        .iter()
        .filter(|step| step.kind() == ExplanationStepKind::Role);
    let (whole, cut): (Vec<_>, Vec<_>) = rules
        .filter(|step| step.subject.starts_with("(&"))
        .partition(|step| !step.clauses.is_empty());
    assert!(!whole.is_empty(), "the first are told whole");
    assert!(
        cut.iter()
            .all(|step| step.message.contains("details are left out")),
        "{cut:#?}"
    );
    assert_eq!(whole.len() + cut.len(), 20);
}
