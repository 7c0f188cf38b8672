//! A check says before a run what the run would raise and why it would be held.

use std::collections::BTreeSet;

use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_proto::v1::{
    self, CheckOutcome, CheckStageKind, HoldRule, IssueType, SyncRunMode, SyncRunState,
};
use rollcall_testkit::Slapd;

use crate::company::{STAFF, TENANT, staff, sync_of};
use crate::harness::{ok, stages};
use crate::run_completeness::{CONFIG_DATABASE, reconfigure};
use crate::run_world::{BASE, World, dn, people, person, units};
use crate::runs::rest;

impl<D> World<D> {
    pub(crate) async fn check(&mut self, target: Target) -> v1::CheckUserSyncResponse {
        let request = v1::CheckUserSyncRequest {
            parent: TENANT.into(),
            target: Some(target),
            sample_size: 50,
        };
        ok(self.clients.user_syncs.check_user_sync(request)).await
    }

    /// A run of a user sync, whose issues about entries a check says before.
    pub(crate) async fn run_as_foretold(&mut self, sync: &str, mode: SyncRunMode) -> v1::SyncRun {
        let name = format!("{TENANT}/userSyncs/{sync}");
        let answer = self.check(Target::UserSync(name.clone())).await;
        let foretold = told(answer.samples.into_iter().flat_map(|sample| sample.issues));
        let request = v1::RunUserSyncRequest {
            name,
            mode: mode.into(),
            ..Default::default()
        };
        let run = ok(self.clients.user_syncs.run_user_sync(request)).await;
        let run = rest(&mut self.clients, &run.name).await;
        let issues = self.issues(&run).await.into_iter();
        let issues = told(issues.filter(|issue| !issue.dn.is_empty()));
        assert_eq!(foretold, issues, "a check of {sync} says what the run says");
        run
    }
}

/// What issues are about.
pub(crate) type Told = BTreeSet<(IssueType, String, String, String)>;

pub(crate) fn told(issues: impl IntoIterator<Item = v1::SyncIssue>) -> Told {
    let of = |issue: v1::SyncIssue| (issue.r#type(), issue.field, issue.dn, issue.other_dn);
    issues.into_iter().map(of).collect()
}

fn warned(answer: &v1::CheckUserSyncResponse, words: &str) -> bool {
    let report = answer.report.as_ref().unwrap();
    let found = stages(report, CheckStageKind::SearchFilter);
    let mut found = found
        .iter()
        .filter(|stage| stage.outcome() == CheckOutcome::Warn && !stage.hint.is_empty());
    found.any(|stage| stage.message.contains(words))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_filter_that_would_remove_most_people_is_told_before_the_run_is_held() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 12);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    let answer = world.check(Target::UserSync(STAFF.into())).await;
    assert!(!warned(&answer, "would be held"), "{answer:#?}");
    world.succeed().await;

    let narrow = sync_of(&format!("ou=Staff,{BASE}"), "(|(uid=p00)(uid=p01))");
    let draft = v1::UserSync {
        name: STAFF.into(),
        ..narrow.clone()
    };
    let says = |answer: &v1::CheckUserSyncResponse| {
        let all = [
            "10 users were not found",
            "A run would be held: more than half of the users, 10 of 12",
            "have left: 10 users of 12 would lose access",
            "have left: searches, mappings, role rules or the id attribute changed: 10 users would lose access",
        ];
        for words in all {
            assert!(warned(answer, words), "{words}: {:#?}", answer.report);
        }
    };
    says(&world.check(Target::Draft(draft)).await);
    world.update(narrow, &["searches"]).await;
    let events = world.events().await;
    says(&world.check(Target::UserSync(STAFF.into())).await);
    assert_eq!(
        (world.events().await, world.active().await),
        (events, 12),
        "a check changes nobody"
    );
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
    let rules: Vec<HoldRule> = run.hold_reasons.iter().map(v1::HoldReason::rule).collect();
    assert_eq!(
        rules,
        [
            HoldRule::Removals,
            HoldRule::MostUsers,
            HoldRule::ConfigurationChanged
        ]
    );
}

/// The sample shows the issues and the users that the run then has, and the stages have each kind.
#[tokio::test(flavor = "multi_thread")]
async fn a_check_and_the_run_that_follows_say_the_same() {
    let mut ldif = units();
    for uid in ["ab", "o'hara", "local", "owner", "same", "fine"] {
        person(&mut ldif, "Staff", uid);
    }
    person(&mut ldif, "Guests", "same");
    let mails = [
        ("badmail", "no address"),
        ("login1", "fine"),
        ("mail1", "shared@example.org"),
        ("mail2", "shared@example.org"),
    ];
    for (uid, mail) in mails {
        ldif.entry(&dn("Staff", uid))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", uid)
            .attribute("cn", uid)
            .attribute("sn", uid)
            .attribute("mail", mail);
    }
    person(&mut ldif, "Staff", "long").attribute("displayName", "x".repeat(300));
    ldif.entry(&format!("cn=nothing,ou=Staff,{BASE}"))
        .attribute("objectClass", "inetOrgPerson")
        .attribute("cn", "nothing")
        .attribute("sn", "nothing");
    let mut sync = sync_of(BASE, "(objectClass=inetOrgPerson)");
    sync.field_mappings.as_mut().unwrap().given_name = vec!["displayName".into()];
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), sync).await;
    world.create_local("local", false).await;
    world.create_local("owner", true).await;

    // Before the first run and after it.
    for _ in 0..2 {
        let answer = world.check(Target::UserSync(STAFF.into())).await;
        let run = world.apply().await;
        let issues = told(world.issues(&run).await);
        assert!(issues.len() > 8, "{issues:#?}");
        let samples = answer.samples.iter();
        let foretold = told(samples.clone().flat_map(|sample| sample.issues.clone()));
        assert_eq!(foretold, issues);
        let kinds: BTreeSet<IssueType> = issues.iter().map(|issue| issue.0).collect();
        let report = answer.report.unwrap();
        for kind in kinds {
            let said = format!(
                "A run would raise {}.",
                kind.as_str_name().trim_start_matches("ISSUE_TYPE_")
            );
            // The stage of the login's own candidates says how many have none.
            let is_said = kind == IssueType::MissingRequiredField
                || report.stages.iter().any(|stage| stage.hint.starts_with(&said));
            assert!(is_said, "{said} {report:#?}");
        }
        let mut users: Vec<_> = samples
            .filter_map(|sample| sample.user.as_ref())
            .map(|user| (user.login.clone(), user.email.clone()))
            .collect();
        users.sort_unstable();
        let synced = world.users().await.into_values();
        let synced: Vec<_> = synced
            .filter(|user| user.origin.is_some())
            .map(|user| (user.profile.login, user.profile.email.unwrap_or_default()))
            .collect();
        assert_eq!(users, synced);
    }
}

/// Twenty would get another address: by the entries alone, whatever becomes of anybody absent.
#[tokio::test(flavor = "multi_thread")]
async fn a_mapping_that_would_change_most_addresses_is_told_before_the_run_is_held() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 20);
    let mut world = World::start(Slapd::builder().ldif(ldif.as_str()), staff()).await;
    world.succeed().await;
    let mut sync = staff();
    sync.field_mappings.as_mut().unwrap().email = vec!["{uid}@new.example.org".into()];
    world.update(sync, &["field_mappings"]).await;
    let answer = world.check(Target::UserSync(STAFF.into())).await;
    let words = "A run would be held: 20 users would get another e-mail address";
    assert!(warned(&answer, words), "{answer:#?}");
    assert!(!warned(&answer, "not found"), "{answer:#?}");
    let run = world.apply().await;
    assert_eq!(run.state(), SyncRunState::Held, "{run:#?}");
    assert_eq!(run.hold_reasons[0].rule(), HoldRule::EmailChanges);
}

/// People whose ids may not be read any more are there all the same. Whoever was deleted is not.
#[tokio::test(flavor = "multi_thread")]
async fn entries_without_their_ids_are_not_told_as_absences() {
    let mut ldif = units();
    people(&mut ldif, "Staff", 10);
    let builder = Slapd::builder()
        .global_config(CONFIG_DATABASE)
        .ldif(ldif.as_str());
    let mut world = World::start(builder, staff()).await;
    world.succeed().await;
    let rule = format!("{{0}}to dn.children=\"ou=Staff,{BASE}\" attrs=entryUUID by * none");
    reconfigure(&world, &format!("add: olcAccess\nolcAccess: {rule}\n"));
    let gone = format!("dn: {}\nchangetype: delete\n", dn("Staff", "p07"));
    world.slapd.modify(&gone).unwrap();
    let answer = world.check(Target::UserSync(STAFF.into())).await;
    assert!(warned(&answer, "1 user was not found"), "{answer:#?}");
    assert!(!warned(&answer, "A run would be held"), "{answer:#?}");
    let run = world.apply().await;
    assert_ne!(run.state(), SyncRunState::Held, "{run:#?}");
}
