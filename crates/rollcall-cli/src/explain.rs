//! Why somebody is, or is not, a user.

use std::io::Write;

use clap::Args;
use rollcall_proto::v1::explain_user_request::{Person, Target};
use rollcall_proto::v1::login_forecast::Answer;
use rollcall_proto::v1::{
    CheckOutcome, ClauseAnswer, DenialReason, ExplainUserRequest, Explanation, ExplanationStep,
    ExplanationStepKind, LoginForecast, RunAction, RunForecast,
};

use crate::connect::Client;
use crate::failure::Failure;
use crate::resource::tenant_of;
use crate::show::{self, clean, name};
use crate::verdict::Verdict;

/// Whom to explain.
#[derive(Args)]
#[group(required = true, multiple = false)]
pub(crate) struct Whom {
    /// A login or an e-mail address, as it is typed at a login
    identifier: Option<String>,
    /// The distinguished name of an entry, as issues tell it
    #[arg(long)]
    dn: Option<String>,
    /// The identifier of an entry, such as its entryUUID
    #[arg(long)]
    external_id: Option<String>,
    /// A user, tenants/{tenant}/users/{user}, as the audit log tells it
    #[arg(long)]
    user: Option<String>,
}

/// Explains somebody, by one user sync or by all of a tenant.
pub(crate) async fn run(client: &Client, scope: String, whom: Whom) -> Result<Verdict, Failure> {
    let by_one = scope.contains("/userSyncs/");
    let parent = match by_one {
        true => tenant_of(&scope)?,
        false => scope.clone(),
    };
    let person = whom
        .identifier
        .map(Person::Identifier)
        .or(whom.dn.map(Person::Dn))
        .or(whom.external_id.map(Person::ExternalId))
        .or(whom.user.map(Person::User));
    let request = client.request(ExplainUserRequest {
        parent,
        target: by_one.then_some(Target::UserSync(scope)),
        person,
    });
    let answer = client.user_syncs().explain_user(request).await?.into_inner();
    let mut out = std::io::stdout().lock();
    for line in lines(&answer.explanations, answer.more) {
        writeln!(out, "{line}")?;
    }
    let lets_in = |explanation: &Explanation| {
        let login = explanation.login.as_ref().and_then(|login| login.answer.as_ref());
        matches!(login, Some(Answer::Authenticated(true)))
    };
    Ok(match answer.explanations.iter().any(lets_in) {
        true => Verdict::Well,
        false => Verdict::NeedsAttention,
    })
}

fn lines(explanations: &[Explanation], more: bool) -> Vec<String> {
    let mut lines = Vec::new();
    for (index, explanation) in explanations.iter().enumerate() {
        if index > 0 {
            lines.push(String::new());
        }
        lines.extend(explanation_lines(explanation));
    }
    if more {
        lines.push("There are more people of this name: ask for one by --external-id or --dn.".to_owned());
    }
    lines
}

fn explanation_lines(explanation: &Explanation) -> Vec<String> {
    let mut lines = Vec::new();
    let by = match explanation.user_sync.is_empty() {
        true => "a draft",
        false => &explanation.user_sync,
    };
    lines.push(format!("BY       {}", clean(by)));
    if !explanation.external_id.is_empty() {
        let (attribute, id) = (&explanation.external_id_attribute, &explanation.external_id);
        lines.push(format!("PERSON   {} {}", clean(attribute), clean(id)));
    }
    lines.push(match &explanation.user {
        Some(user) => {
            let state = name(user.state().as_str_name(), "USER_STATE_");
            let reason = name(user.state_reason().as_str_name(), "USER_STATE_REASON_");
            let reason = match reason {
                "UNSPECIFIED" => String::new(),
                reason => format!(" ({reason})"),
            };
            format!(
                "USER     {}  {}  {state}{reason}",
                clean(&user.name),
                clean(&user.login)
            )
        }
        None => "USER     none".to_owned(),
    });
    explanation
        .steps
        .iter()
        .for_each(|step| lines.extend(step_lines(step)));
    lines.extend(explanation.next_run.iter().flat_map(next_run_lines));
    lines.extend(explanation.login.as_ref().map(login_line));
    lines
}

fn step_lines(step: &ExplanationStep) -> Vec<String> {
    let outcome = CheckOutcome::try_from(step.outcome).unwrap_or_default();
    let kind = ExplanationStepKind::try_from(step.kind).unwrap_or_default();
    let mut line = format!(
        "{:<8} {:<10}",
        name(outcome.as_str_name(), "CHECK_OUTCOME_"),
        name(kind.as_str_name(), "EXPLANATION_STEP_KIND_")
    );
    line += &format!(" {}", clean(&step.message));
    let mut lines = vec![line];
    for clause in &step.clauses {
        let answer = ClauseAnswer::try_from(clause.answer).unwrap_or_default();
        let depth = usize::try_from(clause.depth).unwrap_or_default();
        let values = match clause.values.is_empty() {
            true => String::new(),
            false => format!("   (the entry has {})", clean(&clause.values.join(", "))),
        };
        lines.push(format!(
            "           {:<9} {}{}{values}",
            name(answer.as_str_name(), "CLAUSE_ANSWER_"),
            "  ".repeat(depth),
            clean(&clause.clause),
        ));
    }
    for candidate in step
        .candidates
        .iter()
        .filter(|candidate| !candidate.passed_over.is_empty())
    {
        lines.push(format!(
            "           {}: {}",
            clean(&candidate.candidate),
            clean(&candidate.passed_over)
        ));
    }
    if !step.hint.is_empty() {
        lines.push(format!("           -> {}", clean(&step.hint)));
    }
    lines
}

fn next_run_lines(forecast: &RunForecast) -> Vec<String> {
    let action = RunAction::try_from(forecast.action).unwrap_or_default();
    let mut lines = vec![format!(
        "NEXT RUN {:<10} {}",
        name(action.as_str_name(), "RUN_ACTION_"),
        clean(&forecast.message)
    )];
    lines.extend(
        forecast
            .issues
            .iter()
            .map(|issue| format!("         {}", show::issue(issue))),
    );
    lines
}

fn login_line(forecast: &LoginForecast) -> String {
    let answer = match &forecast.answer {
        Some(Answer::Authenticated(_)) => "AUTHENTICATED".to_owned(),
        Some(Answer::DenialReason(reason)) => {
            let reason = DenialReason::try_from(*reason).unwrap_or_default();
            name(reason.as_str_name(), "DENIAL_REASON_").to_owned()
        }
        Some(Answer::ErrorReason(reason)) => clean(reason),
        None => "UNKNOWN".to_owned(),
    };
    format!("LOGIN    {answer:<10} {}", clean(&forecast.message))
}
