//! Role rules, tried on the sampled entries one by one as at a login.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::check::{Stage, StageKind, StageResult};
use rollcall_core::filter::{Filter, Undefined};
use rollcall_core::role::{RoleFinding, RuleAnswer};
use rollcall_core::schema::Schema;
use rollcall_core::user_sync::{RoleCondition, RoleRule, UserSyncSettings};
use rollcall_core::wording::counted;
use rollcall_service::role::{Person, RuleProblem, RuleProblemKind, Rules};
use tokio::time::Instant;

/// What is known about the role of each sampled entry, by DN.
pub(in crate::checks) struct Roles {
    by_dn: BTreeMap<String, RoleFinding>,
    otherwise: RoleFinding,
    has_no_rules: bool,
}

impl Roles {
    /// What is known of one entry alone.
    pub(in crate::checks) fn of_one(dn: &str, finding: RoleFinding, settings: &UserSyncSettings) -> Self {
        Self {
            by_dn: [(dn.to_owned(), finding)].into(),
            otherwise: RoleFinding::of(&settings.role, &settings.role_rules, &[]),
            has_no_rules: settings.role_rules.is_empty(),
        }
    }

    /// The same if the rules were tried on it, or there are none.
    pub(super) fn known(&self, dn: &str) -> Option<&RoleFinding> {
        let tried = self.by_dn.get(dn);
        tried.or_else(|| self.has_no_rules.then_some(&self.otherwise))
    }

    /// What is known about the role of the entry at `dn`.
    pub(super) fn of(&self, dn: &str) -> &RoleFinding {
        self.by_dn.get(dn).unwrap_or(&self.otherwise)
    }
}

/// One stage for each rule, and the role that the first matching rule gives.
pub(super) async fn check(
    rules: &Rules<'_>,
    settings: &UserSyncSettings,
    schema: &Schema,
    dns: Vec<String>,
    deadline: Instant,
) -> (Vec<Stage>, Roles) {
    let people: Vec<Person<'_>> = dns.iter().map(|dn| Person::at(dn)).collect();
    let mut answers = vec![Vec::new(); dns.len()];
    let mut stages = Vec::new();
    for (index, rule) in settings.role_rules.iter().enumerate() {
        let began = Instant::now();
        let mut problem = rules.problem(index, deadline).await;
        for (person, answers) in people.iter().zip(&mut answers) {
            let answer = match &problem {
                // The server cannot evaluate the rule, so another entry would give no answer either.
                Some(problem) if problem.kind == RuleProblemKind::Unevaluated => RuleAnswer::Unknown,
                _ => {
                    let (answer, found) = rules.answer(index, person, deadline).await;
                    problem = problem.or(found);
                    answer
                }
            };
            answers.push(answer);
        }
        let matching = answers
            .iter()
            .filter(|answers| answers.last() == Some(&RuleAnswer::Matches));
        let judged = judge(rule, problem.as_ref(), matching.count(), dns.len());
        let (result, message, hint) = match (unknown_to(schema, rule), judged) {
            (Some((unknown, hint)), (StageResult::Pass | StageResult::Warn, message, _)) => {
                (StageResult::Warn, format!("{message} {unknown}"), hint)
            }
            (_, (result, message, hint)) => (result, message, hint.to_owned()),
        };
        stages.push(Stage {
            kind: StageKind::RoleRules,
            subject: subject(rule).to_owned(),
            result,
            duration: began.elapsed(),
            message,
            hint,
        });
    }
    if stages.is_empty() {
        stages.push(Stage {
            kind: StageKind::RoleRules,
            subject: String::new(),
            result: StageResult::Pass,
            duration: Duration::ZERO,
            message: format!("There are no rules: everybody gets the role {}.", settings.role),
            hint: String::new(),
        });
    }
    let finding = |answers: &Vec<RuleAnswer>| RoleFinding::of(&settings.role, &settings.role_rules, answers);
    let findings: Vec<RoleFinding> = answers.iter().map(finding).collect();
    say_who_waits(&mut stages, &findings);
    let roles = Roles {
        by_dn: dns.into_iter().zip(findings).collect(),
        otherwise: RoleFinding::of(&settings.role, &settings.role_rules, &[]),
        has_no_rules: settings.role_rules.is_empty(),
    };
    (stages, roles)
}

/// Adds to the stage of each rule without an answer how many of the sample it matters for.
fn say_who_waits(stages: &mut [Stage], findings: &[RoleFinding]) {
    for (index, stage) in stages.iter_mut().enumerate() {
        let waits =
            |finding: &&RoleFinding| finding.for_new().is_none() && finding.unevaluated().contains(&index);
        let waiting = findings.iter().filter(waits).count();
        if stage.result == StageResult::Fail && waiting > 0 {
            let sampled = counted(findings.len() as u64, "sampled entry", "sampled entries");
            stage.message +=
                &format!(" The role of {waiting} of {sampled} depends on it: whoever of them is new waits.");
        }
    }
}

/// What the server does not know in a rule's filter, and what that means.
fn unknown_to(schema: &Schema, rule: &RoleRule) -> Option<(String, String)> {
    match &rule.condition {
        RoleCondition::Filter(filter) => {
            Undefined::of(&Filter::parse(filter).ok()?, schema).message_and_hint()
        }
        RoleCondition::GroupDn(_) => None,
    }
}

fn judge(
    rule: &RoleRule,
    problem: Option<&RuleProblem>,
    matching: usize,
    sampled: usize,
) -> (StageResult, String, &'static str) {
    match problem {
        Some(problem) if problem.kind == RuleProblemKind::GroupMissing => (
            StageResult::Fail,
            format!("{}.", capitalised(&problem.message)),
            "Name the group that has taken its place, or remove the rule. Whoever has the role by this rule loses it.",
        ),
        Some(problem) => (
            StageResult::Fail,
            format!("{}.", capitalised(&problem.message)),
            "While a rule cannot be evaluated, users keep a role that they may still have, and new users whose role \
             depends on it wait.",
        ),
        None if matching == 0 && sampled > 0 => (
            StageResult::Warn,
            match sampled {
                1 => format!(
                    "The one sampled entry does not match, so it does not get the role {}.",
                    rule.role
                ),
                _ => format!(
                    "None of the {sampled} sampled entries matches, so none of them gets the role {}.",
                    rule.role
                ),
            },
            "That may be right for a small group. A condition on an attribute that the server does not know, or \
             that the bind account may not read, never matches.",
        ),
        None => (
            StageResult::Pass,
            match (matching, sampled) {
                (_, 0) => "There is no entry to try the rule on.".to_owned(),
                (1, _) => format!(
                    "1 of {} matches.",
                    counted(sampled as u64, "sampled entry", "sampled entries")
                ),
                _ => format!("{matching} of {sampled} sampled entries match."),
            },
            "",
        ),
    }
}

fn capitalised(sentence: &str) -> String {
    let mut letters = sentence.chars();
    letters
        .next()
        .map_or_else(String::new, |first| first.to_uppercase().chain(letters).collect())
}

fn subject(rule: &RoleRule) -> &str {
    match &rule.condition {
        RoleCondition::Filter(text) | RoleCondition::GroupDn(text) => text,
    }
}
