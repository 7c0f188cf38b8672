//! Explanation, check, preview, run and login agree about hundreds of people of every kind: each is asked about by the
//! explanation first, and then the others answer.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Context, Result, ensure};
use chrono::DateTime;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::check_user_sync_request::Target as Checked;
use rollcall_proto::v1::explain_user_request::{Person, Target};
use rollcall_proto::v1::login_forecast::Answer;
use rollcall_proto::v1::role_rule::Condition;
use rollcall_proto::v1::{self, ChangeType, IssueType, RunAction, SyncRunMode};
use rollcall_testkit::{Tree, TreeEntry, TreeLdap};
use system_tests::{number, sync_of};

use crate::one_judgement::{BASE, PASSWORD, SYNC, directory};
use crate::rollcall::{Backend, Rollcall, TENANT};

const PEOPLE: usize = 240;

/// Small numbers from a seed: the same people each time, and other people with another seed.
struct Chance(u64);

impl Chance {
    fn below(&mut self, end: usize) -> usize {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        usize::try_from((mixed ^ (mixed >> 31)) % end as u64).unwrap_or(0)
    }
}

/// What may be odd about somebody.
const KINDS: [&str; 17] = [
    "plain",
    "plain",
    "ended",
    "locked",
    "alias",
    "no id",
    "no login",
    "short login",
    "odd login",
    "bad mail",
    "shared mail",
    "shared login",
    "shared id",
    "shared id, locked",
    "outside",
    "filtered",
    "boss",
];

fn company() -> Tree {
    let mut tree = Tree::default();
    add(&mut tree, 1, BASE.to_owned(), &[("objectClass", "domain")]);
    add(
        &mut tree,
        2,
        format!("cn=reader,{BASE}"),
        &[("objectClass", "device")],
    );
    for (number, unit) in (3..).zip(["Staff", "Guests"]) {
        let attributes = [("objectClass", "organizationalUnit"), ("ou", unit)];
        add(&mut tree, number, format!("ou={unit},{BASE}"), &attributes);
    }
    tree
}

fn add(tree: &mut Tree, number: usize, dn: String, attributes: &[(&str, &str)]) {
    let mut entry = TreeEntry::new(dn, attributes);
    entry.set("entryUUID", &[uuid(number)]);
    entry.password = Some(PASSWORD.to_owned());
    tree.add(entry);
}

fn uuid(number: usize) -> String {
    format!("00000000-0000-4000-8000-{number:012x}")
}

/// The name that somebody's entry keeps, whatever its attributes become.
fn dn(number: usize, outside: bool) -> String {
    let unit = if outside { "Guests" } else { "Staff" };
    format!("employeeNumber={number},ou={unit},{BASE}")
}

/// Makes somebody's entry anew, of this kind.
fn person(tree: &mut Tree, number: usize, kind: &str, chance: &mut Chance) {
    let other = 100 + chance.below(PEOPLE);
    let uid = match kind {
        "short login" => "a".to_owned(),
        "odd login" => format!("p {number}\u{7}"),
        "shared login" => format!("person{}", other),
        _ => format!("person{number}"),
    };
    let mail = match kind {
        "bad mail" => "at home".to_owned(),
        "shared mail" => format!("person{other}@example.org"),
        _ => format!("person{number}@example.org"),
    };
    let class = if kind == "alias" { "alias" } else { "inetOrgPerson" };
    let of_type = if kind == "filtered" { "contractor" } else { "staff" };
    let mut attributes = vec![
        ("objectClass", class),
        ("cn", "Person"),
        ("sn", "Person"),
        ("mail", &mail),
        ("employeeType", of_type),
    ];
    if kind != "no login" {
        attributes.push(("uid", &uid));
    }
    match kind {
        "ended" => attributes.push(("pwdEndTime", "20200101000000Z")),
        "locked" | "shared id, locked" => attributes.push(("pwdAccountLockedTime", "000001010000Z")),
        "boss" => attributes.push(("title", "boss")),
        _ => {}
    }
    for outside in [false, true] {
        tree.delete(&dn(number, outside));
    }
    let name = dn(number, kind == "outside");
    add(tree, number, name.clone(), &attributes);
    match (kind, tree.entry_mut(&name)) {
        ("no id", Some(entry)) => entry.set::<&str>("entryUUID", &[]),
        ("shared id" | "shared id, locked", Some(entry)) => entry.set("entryUUID", &[uuid(other)]),
        _ => {}
    }
}

fn user_sync() -> v1::UserSync {
    let mut sync = sync_of(&format!("{TENANT}/directories/hq"), &format!("ou=Staff,{BASE}"));
    sync.searches[0].filter =
        "(&(|(objectClass=inetOrgPerson)(objectClass=alias))(employeeType=staff))".to_owned();
    sync.missing_users = v1::MissingUserPolicy::Deactivate.into();
    sync.login_changes = v1::LoginChangePolicy::Allow.into();
    sync.role_rules = vec![v1::RoleRule {
        condition: Some(Condition::Filter("(title=boss)".to_owned())),
        role: "boss".to_owned(),
    }];
    sync
}

async fn start(server: &TreeLdap) -> Result<Rollcall> {
    let now = DateTime::from_timestamp(1_790_000_000, 0).context("no time")?;
    let rollcall = Rollcall::start_with(
        Backend::Sqlite,
        server.address().port(),
        now,
        &[("checks.per_minute", "1000"), ("checks.timeout", "60s")],
    )
    .await?;
    rollcall.create(directory(server), user_sync()).await?;
    Ok(rollcall)
}

async fn explain(rollcall: &Rollcall, dn: &str) -> Result<v1::Explanation> {
    let request = v1::ExplainUserRequest {
        parent: TENANT.to_owned(),
        target: Some(Target::UserSync(SYNC.to_owned())),
        person: Some(Person::Dn(dn.to_owned())),
    };
    let answer = rollcall.user_syncs().explain_user(request).await?.into_inner();
    ensure!(answer.explanations.len() == 1, "{answer:#?}");
    answer.explanations.into_iter().next().context("nothing")
}

fn sentences(explanation: &v1::Explanation) -> Vec<&str> {
    explanation
        .steps
        .iter()
        .map(|step| step.message.as_str())
        .collect()
}

type Issues = BTreeSet<(IssueType, String)>;

fn issues(issues: &[v1::SyncIssue]) -> Issues {
    issues
        .iter()
        .map(|issue| (issue.r#type(), issue.field.clone()))
        .collect()
}

/// What a plan does about each entry, as an explanation names it.
async fn plan(rollcall: &Rollcall, run: &v1::SyncRun) -> Result<BTreeMap<String, Vec<RunAction>>> {
    let request = v1::ListSyncRunChangesRequest {
        parent: run.name.clone(),
        page_size: 1000,
        ..v1::ListSyncRunChangesRequest::default()
    };
    let changes = rollcall
        .runs()
        .list_sync_run_changes(request)
        .await?
        .into_inner()
        .changes;
    let mut plan: BTreeMap<String, Vec<RunAction>> = BTreeMap::new();
    for change in changes {
        let action = match change.r#type() {
            ChangeType::Create => RunAction::Create,
            ChangeType::Update => RunAction::Update,
            ChangeType::Reactivate => RunAction::Reactivate,
            ChangeType::Deactivate => RunAction::Deactivate,
            ChangeType::Archive => RunAction::Archive,
            ChangeType::Link => RunAction::Link,
            ChangeType::Transfer => RunAction::Transfer,
            ChangeType::Relink => RunAction::Relink,
            ChangeType::Unspecified => RunAction::Unspecified,
        };
        // Somebody may leave whose entry was made anew.
        plan.entry(change.dn.clone()).or_default().push(action);
    }
    Ok(plan)
}

/// What a login answers to the right password.
async fn login(rollcall: &Rollcall, login: &str) -> Result<Answer> {
    let request = v1::AuthenticateRequest {
        tenant: TENANT.to_owned(),
        login: login.to_owned(),
        password: PASSWORD.to_owned(),
        ..v1::AuthenticateRequest::default()
    };
    let answer = rollcall.auth().authenticate(request).await?.into_inner();
    Ok(match answer.outcome.context("no outcome")? {
        Outcome::Authenticated(_) => Answer::Authenticated(true),
        Outcome::Denial(denial) => Answer::DenialReason(denial.reason),
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn explanation_check_preview_run_and_login_agree_about_people_of_every_kind() -> Result<()> {
    let mut chance = Chance(number(crate::SEED)?.unwrap_or(7));
    let server = TreeLdap::start(company()).await?;
    let rollcall = start(&server).await?;
    let numbers = 100..100 + PEOPLE;
    // On the first night all are new; on the second some of them became something else, and some left.
    for night in 0..2 {
        server.edit(|tree| {
            for number in numbers.clone() {
                let kind = match (night, chance.below(3)) {
                    (0, 0) | (1, 0 | 1) => "plain",
                    _ => KINDS[chance.below(KINDS.len())],
                };
                if night == 0 || chance.below(2) == 0 {
                    person(tree, number, kind, &mut chance);
                }
            }
        });
        let names: Vec<String> = server.edit(|tree| {
            let people = tree
                .entries()
                .iter()
                .filter(|entry| entry.dn.starts_with("employeeNumber"));
            people.map(|entry| entry.dn.clone()).collect()
        });
        let mut explained = BTreeMap::new();
        for name in &names {
            explained.insert(name.clone(), explain(&rollcall, name).await?);
        }

        let request = v1::CheckUserSyncRequest {
            parent: TENANT.to_owned(),
            target: Some(Checked::UserSync(SYNC.to_owned())),
            sample_size: 100,
        };
        let checked = rollcall.user_syncs().check_user_sync(request).await?.into_inner();
        let mut differences: Vec<String> = Vec::new();
        for sample in &checked.samples {
            let told = explained.get(&sample.dn).and_then(|told| told.next_run.as_ref());
            let Some(told) = told else { continue };
            let user = |user: Option<&v1::User>| {
                user.map(|user| (user.login.clone(), user.email.clone(), user.state))
            };
            let (told_user, checked_user) = (user(told.user.as_ref()), user(sample.user.as_ref()));
            // A check does not foretell what becomes of people who have no entry of their own any more.
            let leaves = matches!(told.action(), RunAction::Deactivate) && checked_user.is_none();
            if (told_user != checked_user && !leaves) || issues(&told.issues) != issues(&sample.issues) {
                differences.push(format!("check of {}: {told:?} and {sample:?}", sample.dn));
            }
        }

        let preview = rollcall.run(SYNC, SyncRunMode::Preview).await?;
        let planned = plan(&rollcall, &preview).await?;
        let mut raised: BTreeMap<String, Vec<v1::SyncIssue>> = BTreeMap::new();
        for issue in rollcall.issues(&preview.name).await? {
            raised.entry(issue.dn.clone()).or_default().push(issue);
        }
        for (name, explanation) in &explained {
            let told = explanation.next_run.as_ref().context("no forecast")?;
            let planned_of = |dn: &str| planned.get(dn).cloned().unwrap_or_default();
            let actions = planned_of(name);
            let agrees = match told.action() {
                RunAction::None | RunAction::Keep => {
                    // Whoever had an entry of this name may leave.
                    actions.iter().all(|action| *action == RunAction::Deactivate)
                }
                // The plan knows who left by the name that the entry had.
                RunAction::Deactivate => {
                    let of_user = explanation
                        .user
                        .as_ref()
                        .map(|user| planned_of(&user.dn))
                        .unwrap_or_default();
                    actions
                        .iter()
                        .chain(&of_user)
                        .any(|action| *action == RunAction::Deactivate)
                }
                told => actions.contains(&told),
            };
            if !agrees {
                differences.push(format!(
                    "preview of {name}: {actions:?} and {told:?} {:?}",
                    sentences(explanation)
                ));
            }
            let in_scope = raised.get(name).map_or(Issues::new(), |raised| issues(raised));
            let is_whole_run = |(kind, _): &(IssueType, String)| *kind == IssueType::NotAPerson;
            let raised: Issues = in_scope
                .into_iter()
                .filter(|issue| !is_whole_run(issue))
                .collect();
            let said: Issues = issues(&told.issues)
                .into_iter()
                .filter(|issue| !is_whole_run(issue))
                .collect();
            if raised != said {
                differences.push(format!("issues of {name}: {raised:?} and {said:?}"));
            }
        }

        for (name, explanation) in &explained {
            let Some(user) = &explanation.user else { continue };
            let told = explanation.login.as_ref().and_then(|login| login.answer.clone());
            let answer = login(&rollcall, &user.login).await?;
            if told.as_ref() != Some(&answer) {
                differences.push(format!(
                    "login of {name}: {answer:?} and {:?} {:?} {:?}",
                    explanation.login,
                    user,
                    sentences(explanation)
                ));
            }
        }
        let heads: Vec<&str> = differences
            .iter()
            .filter_map(|told| told.split(':').next())
            .collect();
        assert!(
            differences.is_empty(),
            "night {night}: {heads:?}, the first ones {:#?}",
            &differences[differences.len().saturating_sub(4)..]
        );
        let run = rollcall.run(SYNC, SyncRunMode::Apply).await?;
        if run.state() == v1::SyncRunState::Held {
            let request = v1::ApplySyncRunRequest {
                name: run.name.clone(),
            };
            rollcall.apply(request).await?;
            rollcall.rest(&run.name).await?;
        }
    }
    Ok(())
}
