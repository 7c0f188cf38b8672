//! How a run ends or comes to wait: it succeeded, waits for a person, or was stopped. Each way updates the user sync's
//! health and writes the mails.

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::error::chain;
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{
    PlanResult, Run, RunState, RunTrigger, health_after, health_interrupted, health_without_hold,
};
use rollcall_core::user_sync::UserSync;
use rollcall_store::{Mailing, PageRequest, RunEnd, RunHandle, StoreError};

use crate::run::executor::Executor;
use crate::run::stop::Stop;
use crate::run::tally;

const NOBODY_REMOVED: &str = "The directory was not read completely, so users who are missing there were left as they \
                              are. The issues PULL_INCOMPLETE say why.";
/// Issues read from the store at a time.
const ISSUES_AT_ONCE: u32 = 1_000;
/// How long applying a plan may fail. What was applied stays; the next run does the rest.
const APPLY_PATIENCE: TimeDelta = TimeDelta::hours(1);

/// The whole plan is applied.
///
/// # Errors
/// Why it could not be written.
pub(crate) async fn succeed(x: &Executor, job: &RunHandle, sync: &UserSync) -> Result<(), Stop> {
    let run = x.store.run(&job.key, job.id).await?;
    let now = x.clock.now();
    let (end, mailing) = success(x, job, sync, &run, now).await?;
    let state = end.state;
    x.store.end_run(job, end, &mailing, now).await?;
    tally::of_changes(&run);
    tally::of_end(state);
    Ok(())
}

/// The plan has nothing to apply: the run ends at once, and its lease with it. `run` is the run before its plan was
/// complete.
///
/// # Errors
/// Why it could not be written.
pub(crate) async fn succeed_unchanged(
    x: &Executor,
    job: &RunHandle,
    sync: &UserSync,
    (run, plan): (Run, PlanResult),
) -> Result<(), Stop> {
    let now = x.clock.now();
    let run = run.with_plan(&plan, now).ok_or(StoreError::NotInState)?;
    let (end, mailing) = success(x, job, sync, &run, now).await?;
    let state = end.state;
    x.store.end_unchanged_run(job, plan, end, &mailing, now).await?;
    tally::of_plan(&run);
    tally::of_changes(&run);
    tally::of_end(state);
    Ok(())
}

/// The end of a run whose whole plan is applied, and the mails about it.
async fn success(
    x: &Executor,
    job: &RunHandle,
    sync: &UserSync,
    run: &Run,
    now: DateTime<Utc>,
) -> Result<(RunEnd, Mailing), Stop> {
    let issues: u64 = run.issue_counts.values().sum();
    let state = if issues == 0 {
        RunState::Succeeded
    } else {
        RunState::SucceededWithIssues
    };
    let ended = run.ended(state, None, now);
    // If the run cannot end in this state, the store will refuse as well.
    let mut health = health_after(ended.as_ref().unwrap_or(run), &sync.health);
    if !run.complete {
        health.problems.insert(0, NOBODY_REMOVED.to_owned());
    }
    health.problems.extend(role_problems(x, job, run).await?);
    let end = RunEnd {
        state,
        failure: None,
        health,
        // A pull with gaps does not show whom the present scope leaves out, so its scope does not count as applied.
        applied_scope_revision: (run.complete && sync.revision == run.user_sync_revision)
            .then_some(sync.scope_revision),
        complete_pull_time: run.complete.then_some(run.create_time),
    };
    Ok((end, x.reports.about(sync, ended).await))
}

/// The problems of a run's role rules, a sentence each.
async fn role_problems(x: &Executor, job: &RunHandle, run: &Run) -> Result<Vec<String>, Stop> {
    let mut problems = Vec::new();
    for kind in [IssueKind::RoleRuleFailed, IssueKind::RoleGroupMissing] {
        if !run.issue_counts.contains_key(&kind) {
            continue;
        }
        // Issues of the whole run are stored among those of its entries.
        let mut page = PageRequest::first(ISSUES_AT_ONCE);
        loop {
            let found = x.store.list_issues(&job.key, run.id, Some(kind), &page).await?;
            let of_the_run = found.items.into_iter().filter(|issue| issue.dn.is_empty());
            problems.extend(of_the_run.map(|issue| sentence(&issue.message)));
            match found.next {
                Some(next) => page.after = Some(next),
                None => break,
            }
        }
    }
    Ok(problems)
}

/// The leavers of a held plan are applied; the rest waits.
///
/// # Errors
/// Why it could not be written.
pub(crate) async fn wait_for_release(x: &Executor, job: &RunHandle, sync: &UserSync) -> Result<(), Stop> {
    let (run, now) = (x.store.run(&job.key, job.id).await?, x.clock.now());
    let mailing = announce_hold(x, job, sync, run.held(now)).await?;
    x.store.hold_run(job, &mailing, now).await?;
    tally::of_end(RunState::Held);
    Ok(())
}

/// Updates the health of the user sync whose run is about to be held, and returns the mails about it. `held` is the run
/// as it will be; `None` if it cannot be held, which the store will say too. The health is written first: no worker
/// takes over a held run, so nobody could make up for it.
///
/// # Errors
/// Why it could not be written.
pub(crate) async fn announce_hold(
    x: &Executor,
    job: &RunHandle,
    sync: &UserSync,
    held: Option<Run>,
) -> Result<Mailing, Stop> {
    if let Some(held) = &held {
        let health = health_after(held, &sync.health);
        x.store.set_health(&job.lease, &job.key, &health).await?;
    }
    Ok(x.reports.about(sync, held).await)
}

/// A step stopped the run. Its state tells the worker that goes on with it, if any does.
pub(crate) async fn end_early(x: &Executor, job: &RunHandle, stop: Stop) {
    let RunHandle { key, id, lease } = job;
    let (state, failure) = match stop {
        Stop::Draining => return,
        Stop::Cut(error) => {
            tracing::warn!(run.id = %id, error = %chain(&error), "a run is cut off from the store; it will be taken over");
            return;
        }
        Stop::Cancelled => (RunState::Cancelled, None),
        Stop::Superseded => (
            RunState::Superseded,
            Some("the configuration changed while the run was reading".to_owned()),
        ),
        Stop::Failed(error) if is_carried_on(x, job).await => {
            tracing::error!(run.id = %id, reason = error.reason.as_str(), error = %chain(&error), "a run broke off while it was applied; it will be carried on");
            let health = health_interrupted(&error.message);
            if let Err(error) = x.store.set_health(lease, key, &health).await {
                tracing::warn!(run.id = %id, error = %error, "the health of a user sync could not be written");
            }
            return;
        }
        Stop::Failed(error) => {
            tracing::warn!(run.id = %id, reason = error.reason.as_str(), error = %chain(&error), "a run failed");
            (RunState::Failed, Some(error.message))
        }
    };
    let Ok(sync) = x.sync(job).await else {
        return;
    };
    let now = x.clock.now();
    let run = match x.store.run(key, *id).await {
        Ok(run) => run,
        Err(error) => {
            tracing::warn!(run.id = %id, %error, "the end of a run could not be written; it will be taken over");
            return;
        }
    };
    let ended = run.ended(state, failure.clone(), now);
    let health = match (&ended, state) {
        (Some(ended), RunState::Failed) => health_after(ended, &sync.health),
        // A run that a person stopped says nothing new about the sync; and a released plan does not wait any more.
        _ => health_without_hold(&sync.health),
    };
    let mailing = x.reports.about(&sync, ended).await;
    let end = RunEnd {
        state,
        failure,
        health,
        applied_scope_revision: None,
        complete_pull_time: None,
    };
    if let Err(error) = x.store.end_run(job, end, &mailing, now).await {
        tracing::warn!(run.id = %id, error = %error, "the end of a run could not be written; it will be taken over");
        return;
    }
    tally::of_end(state);
    if state == RunState::Superseded
        && let Err(error) = make_due_again(x, job).await
    {
        tracing::warn!(run.id = %id, error = %error, "a nightly run was superseded, and the next one is as scheduled");
    }
}

/// Whether another worker carries on a half applied plan, from its last chunk. If applying has failed for too long, no
/// worker will: it would not work by itself, and it keeps all later runs waiting. Also true if this cannot be told now.
async fn is_carried_on(x: &Executor, job: &RunHandle) -> bool {
    match x.store.run(&job.key, job.id).await {
        Ok(run) => {
            let began = run.plan_time.unwrap_or(run.create_time);
            run.state == RunState::Applying && x.clock.now() - began < APPLY_PATIENCE
        }
        Err(_) => true,
    }
}

async fn make_due_again(x: &Executor, job: &RunHandle) -> Result<(), StoreError> {
    let run = x.store.run(&job.key, job.id).await?;
    match run.trigger {
        RunTrigger::Call => Ok(()),
        // A trigger that only a newer release knows may be nightly.
        RunTrigger::Schedule | RunTrigger::Due | RunTrigger::Newer(_) => x.run_again(&job.key).await,
    }
}

/// With a capital letter and a full stop.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str() + "."
}
