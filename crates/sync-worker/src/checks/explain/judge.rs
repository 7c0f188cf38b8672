//! The judgement of one entry, in its order: where it is, which searches find it, who it is, its account's state, its role,
//! its fields.

use rollcall_core::check::StageResult;
use rollcall_core::dialect::{AccountState, AccountStatus};
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::filter::Filter;
use rollcall_core::mapping::{self, Found, Tried};
use rollcall_core::person;
use rollcall_core::role::{RoleFinding, RuleAnswer};
use rollcall_core::user::User;
use rollcall_core::user_sync::{RoleCondition, Search, SearchScope};
use rollcall_proto::v1;
use rollcall_service::role::{Person, Rules};
use rollcall_service::scope::{filter_at, in_scope};

use super::clauses;
use super::explainer::Explainer;
use super::step::{Kind, cut, step};
use crate::run::Source;
use crate::run::lookups::absences::find_entries;

/// Values of a candidate that are shown, and how many characters of each.
const MAX_VALUES: usize = 10;
const MAX_VALUE_CHARS: usize = 200;

/// What was judged.
pub(super) struct Judged {
    pub(super) steps: Vec<v1::ExplanationStep>,
    /// Whether a search finds it; `None` if the directory did not say.
    pub(super) in_scope: Option<bool>,
    /// The entry may be a person.
    pub(super) is_somebody: bool,
    pub(super) role: RoleFinding,
}

/// Judges an entry. `user` is who has its id.
///
/// # Errors
/// What the store says.
pub(super) async fn judge(
    x: &Explainer<'_>,
    source: &Source,
    entry: &Entry,
    user: Option<&User>,
) -> Result<Judged, Error> {
    let mut steps = vec![step(
        Kind::Entry,
        StageResult::Pass,
        "",
        format!("The entry is {}.", entry.dn),
        "",
    )];
    let (searches, in_scope) = searches(x, source, entry).await;
    steps.extend(searches);
    let (identity, is_somebody) = identity(x, source, entry, user).await;
    steps.push(identity);
    let settings = &x.subject.settings;
    if !is_somebody {
        return Ok(Judged {
            steps,
            in_scope,
            is_somebody,
            role: RoleFinding::certain(&settings.role),
        });
    }
    steps.push(state(x, source, entry));
    let (role_steps, role) = role(x, source, entry).await;
    steps.extend(role_steps);
    let fields = source.reader.mapping().tried(entry);
    steps.extend(fields.iter().map(|(field, tried)| field_step(field, tried)));
    Ok(Judged {
        steps,
        in_scope,
        is_somebody,
        role,
    })
}

async fn searches(
    x: &Explainer<'_>,
    source: &Source,
    entry: &Entry,
) -> (Vec<v1::ExplanationStep>, Option<bool>) {
    let dn = Dn::given(&entry.dn);
    let (mut steps, mut any, mut all_told) = (Vec::new(), false, true);
    for search in &x.subject.settings.searches {
        let told = match filter_at(std::slice::from_ref(search), &dn) {
            None => step(
                Kind::Search,
                StageResult::Fail,
                &search.base_dn,
                format!("The entry does not lie {}.", place(search)),
                "Add a search whose base is above the entry, if it is meant to be taken.",
            ),
            Some(filter) => {
                let found = in_scope(&source.ldap, std::slice::from_ref(search), &entry.dn, x.end).await;
                match found {
                    Ok(true) => {
                        any = true;
                        step(
                            Kind::Search,
                            StageResult::Pass,
                            &search.base_dn,
                            format!("The search {} with the filter {filter} finds it.", place(search)),
                            "",
                        )
                    }
                    Ok(false) => {
                        let mut told = step(
                            Kind::Search,
                            StageResult::Fail,
                            &search.base_dn,
                            format!(
                                "The entry lies {}, and the filter {filter} leaves it out.",
                                place(search)
                            ),
                            "Look at the parts that are FALSE or UNDEFINED: change the entry, or the filter.",
                        );
                        told.clauses = clauses::answers(&source.ldap, &entry.dn, &filter, x.end).await;
                        told
                    }
                    Err(error) => {
                        all_told = false;
                        step(
                            Kind::Search,
                            StageResult::Skipped,
                            &search.base_dn,
                            format!("Whether it finds the entry could not be asked: {error}."),
                            "",
                        )
                    }
                }
            }
        };
        steps.push(told);
    }
    if any {
        // It is enough that one search finds it.
        for told in &mut steps {
            if told.outcome() == v1::CheckOutcome::Fail {
                told.set_outcome(v1::CheckOutcome::Pass);
                told.message += " Another search finds it.";
                told.hint.clear();
            }
        }
    }
    let in_scope = (any || all_told).then_some(any);
    (steps, in_scope)
}

fn place(search: &Search) -> String {
    let base = &search.base_dn;
    match search.scope {
        SearchScope::Base => format!("at {base}"),
        SearchScope::OneLevel => format!("directly below {base}"),
        SearchScope::Subtree => format!("at or below {base}"),
    }
}

async fn identity(
    x: &Explainer<'_>,
    source: &Source,
    entry: &Entry,
    user: Option<&User>,
) -> (v1::ExplanationStep, bool) {
    let nobody =
        |message: String, hint: &str| (step(Kind::Identity, StageResult::Fail, "", message, hint), false);
    if let Some(what) = source.reader.not_a_person(entry) {
        let issue = person::issue(what, 1, &entry.dn);
        return nobody(format!("The entry is nobody: {}.", issue.text()), issue.hint());
    }
    let id = match source.reader.external_id(entry) {
        Ok(id) => id,
        Err(issue) => return nobody(format!("The entry is nobody: {}.", issue.text()), issue.hint()),
    };
    let shown = format!("{} {id}", id.kind().attribute());
    if let Ok(found) = find_entries(source, std::slice::from_ref(&id), &[]).await {
        let mut others: Vec<String> = found.into_iter().map(|(_, entry)| entry.dn).collect();
        others.retain(|dn| !rollcall_core::dn::is_same_dn(dn, &entry.dn));
        others.sort_unstable();
        others.dedup();
        if !others.is_empty() {
            let message = format!(
                "Several entries have {shown}: {} too. None of them is the person.",
                others.join(", ")
            );
            let hint = "Give each entry an identifier of its own, or choose another external_id_attribute.";
            return nobody(message, hint);
        }
    }
    let owner = user
        .and_then(|user| user.origin.as_ref())
        .map(|origin| &origin.user_sync);
    let told = match owner {
        None => step(
            Kind::Identity,
            StageResult::Pass,
            "",
            format!("The person is {shown}, who is no user yet."),
            "",
        ),
        Some(owner) if Some(owner) == x.subject.id() => step(
            Kind::Identity,
            StageResult::Pass,
            "",
            format!("The person is {shown}, who is a user of this user sync."),
            "",
        ),
        Some(owner) => step(
            Kind::Identity,
            StageResult::Warn,
            "",
            format!("The person is {shown}, who is a user of the user sync {owner}, which was first."),
            "Change the filters so that each account is found by one user sync only.",
        ),
    };
    (told, true)
}

fn state(x: &Explainer<'_>, source: &Source, entry: &Entry) -> v1::ExplanationStep {
    let (dialect, hidden) = (source.reader.dialect(), source.reader.hidden());
    let (state, unreadable) = dialect.read_state(entry, x.span.time, hidden);
    let evidence = dialect.state_evidence(entry, x.span.time, hidden);
    let says = |(attribute, value, own): &(&str, String, AccountState)| {
        let decides = own.status == state.status
            || (own.password_expired && state.password_expired)
            || (own.must_change_password && state.must_change_password);
        decides.then(|| format!("{attribute}: {}", cut(value, MAX_VALUE_CHARS)))
    };
    let evidence: Vec<String> = evidence.iter().filter_map(says).collect();
    let because = match evidence.is_empty() {
        true => String::new(),
        false => format!(" ({})", evidence.join("; ")),
    };
    let (result, what, hint) = match state.status {
        AccountStatus::Disabled => (
            StageResult::Fail,
            "is switched off in the directory",
            "Whoever administers the directory can enable the account.",
        ),
        AccountStatus::Expired => (
            StageResult::Fail,
            "is outside of its dates in the directory",
            "Whoever administers the directory can change when the account ends.",
        ),
        AccountStatus::Unreadable => (
            StageResult::Warn,
            "has a state that cannot be read",
            "Let the bind account read the attribute: a new person waits, and nobody comes back.",
        ),
        AccountStatus::Locked => (
            StageResult::Warn,
            "was locked in the directory after wrong passwords",
            "The lock ends by itself, or whoever administers the directory can lift it. Runs do not mind it.",
        ),
        AccountStatus::Enabled | AccountStatus::NotSet => (StageResult::Pass, "is enabled", ""),
    };
    let mut message = format!("The account {what}{because}.");
    if let Some(attribute) = unreadable {
        message += &format!(" It would stand in {attribute}.");
    }
    if state.must_change_password {
        message += " The password must be changed first.";
    } else if state.password_expired {
        message += " The password has expired.";
    }
    step(Kind::State, result, unreadable.unwrap_or_default(), message, hint)
}

async fn role(x: &Explainer<'_>, source: &Source, entry: &Entry) -> (Vec<v1::ExplanationStep>, RoleFinding) {
    let settings = &x.subject.settings;
    // The check that opened the directory has asked for them already.
    let trees = source.naming_contexts().await.unwrap_or_default();
    let rules = Rules::new(&source.ldap, source.reader.dialect(), &trees, settings);
    let at = Person::at(&entry.dn);
    let (mut steps, mut answers) = (Vec::new(), Vec::new());
    for (index, rule) in settings.role_rules.iter().enumerate() {
        let (answer, problem) = rules.answer(index, &at, x.end).await;
        answers.push(answer);
        let number = index + 1;
        let (subject, filter) = match &rule.condition {
            RoleCondition::Filter(text) => (text, Filter::parse(text).ok()),
            RoleCondition::GroupDn(text) => (text, None),
        };
        let mut told = match (answer, problem) {
            (_, Some(problem)) => step(
                Kind::Role,
                StageResult::Warn,
                subject,
                format!(
                    "R{}.",
                    problem.message.strip_prefix('r').unwrap_or(&problem.message)
                ),
                "While a rule cannot be evaluated, users keep a role that they may still have, and new users whose role \
                 depends on it wait.",
            ),
            (RuleAnswer::Matches, None) => step(
                Kind::Role,
                StageResult::Pass,
                subject,
                format!("Role rule {number} matches and gives the role {}.", rule.role),
                "",
            ),
            (RuleAnswer::DoesNot | RuleAnswer::Unknown, None) => step(
                Kind::Role,
                StageResult::Pass,
                subject,
                format!("Role rule {number}, for the role {}, does not match.", rule.role),
                "",
            ),
        };
        if let (RuleAnswer::DoesNot, Some(filter)) = (answer, &filter) {
            told.clauses = clauses::answers(&source.ldap, &entry.dn, filter, x.end).await;
        }
        steps.push(told);
        if answer == RuleAnswer::Matches {
            break;
        }
    }
    let finding = RoleFinding::of(&settings.role, &settings.role_rules, &answers);
    let possible: Vec<&str> = finding.possible().collect();
    let message = match finding.for_new() {
        Some(role) => format!("The role is {role}."),
        None => format!("The role is one of {}.", possible.join(", ")),
    };
    let result = match finding.for_new() {
        Some(_) => StageResult::Pass,
        None => StageResult::Warn,
    };
    steps.push(step(Kind::Role, result, "role", message, ""));
    (steps, finding)
}

fn field_step(field: &str, tried: &[Tried]) -> v1::ExplanationStep {
    let taken = tried.iter().position(|tried| tried.found.is_taken());
    let candidates = tried.iter().enumerate();
    let candidates: Vec<v1::FieldCandidate> = candidates
        .map(|(index, tried)| candidate(tried, index, taken))
        .collect();
    let value = taken.and_then(|index| match &tried[index].found {
        Found::Values(values) => values.iter().find_map(|(_, usable)| usable.as_ref().ok()),
        Found::Nothing | Found::Unreadable(_) => None,
    });
    let (result, message) = match (value, tried.is_empty()) {
        (Some(value), _) => (
            StageResult::Pass,
            format!("The entry offers {:?} for {field}.", cut(value, MAX_VALUE_CHARS)),
        ),
        (None, true) => (StageResult::Pass, format!("Nothing is mapped to {field}.")),
        (None, false) if field == "login" => (
            StageResult::Fail,
            "The entry offers no login, so it cannot become a user.".to_owned(),
        ),
        (None, false) => (
            StageResult::Pass,
            format!("The entry offers nothing for {field}."),
        ),
    };
    let mut told = step(Kind::Field, result, field, message, "");
    told.candidates = candidates;
    told
}

fn candidate(tried: &Tried, index: usize, taken: Option<usize>) -> v1::FieldCandidate {
    let chosen = taken == Some(index);
    let mut passed_over: Vec<String> = Vec::new();
    let values = match &tried.found {
        Found::Nothing => {
            passed_over.push("the entry has nothing for it".to_owned());
            Vec::new()
        }
        Found::Unreadable(attribute) => {
            passed_over.push(format!("{attribute} is not UTF-8"));
            Vec::new()
        }
        Found::Values(values) => {
            let problems = values.iter().filter_map(|(value, usable)| {
                let problem = *usable.as_ref().err()?;
                Some(format!(
                    "{:?}: {}",
                    cut(value, MAX_VALUE_CHARS),
                    mapping::message(problem)
                ))
            });
            passed_over.extend(problems.take(MAX_VALUES));
            let shown = values.iter().take(MAX_VALUES);
            shown.map(|(value, _)| cut(value, MAX_VALUE_CHARS)).collect()
        }
    };
    if taken.is_some_and(|taken| taken < index) {
        passed_over = vec!["an earlier candidate has a value".to_owned()];
    }
    v1::FieldCandidate {
        candidate: tried.candidate.clone(),
        values,
        chosen,
        passed_over: passed_over.join("; "),
    }
}
