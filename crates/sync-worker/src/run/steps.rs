//! A run, from top to bottom: permits, pull, absences, guard. Then the plan is applied and reported, or it waits for a
//! person. [`super::carry_out`] holds the lease around all of this.

use std::collections::HashMap;
use std::sync::Arc;

use chrono::{DateTime, Utc};
use rollcall_core::error::{Error, Reason};
use rollcall_core::external_id::ExternalId;
use rollcall_core::guard::{self, Verdict};
use rollcall_core::id::UserId;
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{PlanOutcome, PlanResult, Run, RunMode, RunState};
use rollcall_core::user_sync::UserSync;
use rollcall_metrics::{RunPhase, metrics};
use rollcall_service::pull::Pull;
use rollcall_service::roles::{self, Roles};
use rollcall_store::{Mailing, PullBegun, RunHandle};
use tokio::time::Instant;
use tracing::Instrument;

use super::admission::{admit, begin_pull};
use super::apply::{Applied, apply};
use super::end::ending;
use super::executor::{Executor, PROGRESS_INTERVAL, Phase};
use super::lookups::absences::{BATCH_IDS, Confirmed};
use super::lookups::relinking::relinked;
use super::planning::{Planning, Target, Written};
use super::source::{Source, source_of};
use super::stop::Stop;
use super::tally;

/// Whether the worker of a run still has its lease.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Lease {
    Held,
    /// It was given up in the transaction of the last write.
    GivenUp,
}

/// Carries a run on until it ends or waits.
///
/// # Errors
/// Why it stopped before.
pub(super) async fn work(x: &Executor, job: &RunHandle, phase: Phase) -> Result<Lease, Stop> {
    let (sync, may_work) = match phase {
        Phase::Pull => {
            let (begun, may_work) = begin_pull(x, job).await?;
            // On the heap, like the pull: all steps together would take much of a thread's stack.
            let planned = Box::pin(plan(x, job, &begun)).await;
            x.moved_on(job.id);
            match planned? {
                Planned::Ended => return Ok(Lease::GivenUp),
                Planned::Waits => return Ok(Lease::Held),
                Planned::ToApply => (begun.user_sync, may_work),
            }
        }
        Phase::Apply => {
            let may_work = admit(x, job).await?;
            (x.sync(job).await?, may_work)
        }
    };
    match timed(RunPhase::Apply, apply(x, job, &may_work)).await? {
        Applied::Leavers => ending::wait_for_release(x, job, &sync).await?,
        Applied::All => ending::succeed(x, job, &sync).await?,
    }
    Ok(Lease::Held)
}

/// What became of a plan.
enum Planned {
    /// There was nothing to apply, and the run has ended.
    Ended,
    /// A person decides.
    Waits,
    ToApply,
}

/// Measures a part of a run, even if the run ends in it.
async fn timed<T>(phase: RunPhase, part: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let span = tracing::info_span!(target: "rollcall_trace", "run.phase", phase = phase.as_str());
    let done = part.instrument(span).await;
    metrics().run_phase_seconds.took(phase, began.elapsed());
    done
}

/// From the directory to a finished plan, and to the end of a run that changes nothing.
async fn plan(x: &Executor, job: &RunHandle, begun: &PullBegun) -> Result<Planned, Stop> {
    let sync = &begun.user_sync;
    if sync.settings.disabled {
        return Err(Error::new(Reason::SyncDisabled, "the user sync was switched off").into());
    }
    let source = Box::pin(source_of(x, begun)).await?;
    let judged = Box::pin(read_and_judge(x, job, begun, &source)).await;
    // The run needs no connections any more, and others may need them.
    source.ldap.close_idle();
    let Judged { plan, written } = judged?;
    if plan.outcome == PlanOutcome::Apply && written.changes == 0 {
        let run = match written.issues {
            0 => begun.run.clone(),
            _ => x.store.run(&job.key, job.id).await?,
        };
        ending::succeed_unchanged(x, job, sync, (run, plan)).await?;
        return Ok(Planned::Ended);
    }
    let kept = keep(x, job, sync, plan).await?;
    match kept.state == RunState::Applying {
        true => Ok(Planned::ToApply),
        false => Ok(Planned::Waits),
    }
}

/// A finished plan, and how much of it the store has.
struct Judged {
    plan: PlanResult,
    written: Written,
}

async fn read_and_judge(
    x: &Executor,
    job: &RunHandle,
    begun: &PullBegun,
    source: &Source,
) -> Result<Judged, Stop> {
    let time = x.clock.now();
    let (relinked, roles) = look_ahead(x, job, begun, source).await?;
    let pulling = Box::pin(pull(x, job, begun, source, (relinked, roles, time)));
    let (mut planning, mut pulled) = timed(RunPhase::Pull, pulling).await?;
    let removing = remove_absent(x, job, &mut planning, &mut pulled);
    let absent = timed(RunPhase::Absences, removing).await?;
    let judging = judge(x, job, begun, &mut planning, &pulled, (absent, time));
    let outcome = timed(RunPhase::Judge, judging).await?;
    Ok(Judged {
        plan: PlanResult {
            outcome,
            counts: planning.counts(pulled.search_result_references),
            complete: pulled.gaps.is_empty(),
        },
        written: planning.written(),
    })
}

/// What a pull has read.
struct Pulled {
    /// Why the pull is not complete; empty if it is.
    gaps: Vec<String>,
    search_result_references: u64,
}

/// What has to be known of all entries before the first is planned: which users get another entry, and whom each role
/// rule matches.
async fn look_ahead(
    x: &Executor,
    job: &RunHandle,
    begun: &PullBegun,
    source: &Source,
) -> Result<(HashMap<UserId, ExternalId>, Roles), Stop> {
    let relinked = match begun.run.mode {
        RunMode::Relink => relinked(x, job, &begun.user_sync, source).await?,
        RunMode::Apply | RunMode::Preview => HashMap::new(),
    };
    let settings = &begun.user_sync.settings;
    let trees = match settings.role_rules.is_empty() {
        true => Arc::default(),
        false => {
            let trees = source.naming_contexts().await;
            trees.map_err(|error| source.error(&error))?
        }
    };
    let roles = tokio::select! {
        roles = roles::evaluate(source.of_run(&trees), settings) => roles,
        stop = x.stopped(job) => return Err(stop),
    };
    Ok((relinked, roles))
}

/// Reads all entries and plans for each.
async fn pull<'a>(
    x: &'a Executor,
    job: &'a RunHandle,
    begun: &'a PullBegun,
    source: &'a Source,
    (relinked, roles, time): (HashMap<UserId, ExternalId>, Roles, DateTime<Utc>),
) -> Result<(Planning<'a>, Pulled), Stop> {
    let target = Target {
        store: &x.store,
        run: job,
        clock: &x.clock,
    };
    // The server begins to answer while the store is asked for the users.
    let attributes = source.reader.attributes();
    let mut pull = Pull::new(
        &source.ldap,
        &begun.user_sync.settings.searches,
        &attributes,
        source.max_entries,
    );
    let mut planning = Planning::begin(x, target, &begun.user_sync, source, roles, relinked, time).await?;
    // Not reported at once: the rate would be reckoned from the first few entries.
    let mut progress_due = Instant::now() + PROGRESS_INTERVAL;
    while let Some(entries) = pull.next_batch().await {
        planning.take(entries).await?;
        if progress_due <= Instant::now() {
            x.keep_going(job).await?;
            x.store.save_progress(job, &planning.counts(0)).await?;
            x.moved_on(job.id);
            progress_due = Instant::now() + PROGRESS_INTERVAL;
        }
    }
    planning.settle().await?;
    let pulled = pull.finish().await.map_err(|error| source.error(&error))?;
    planning.take_back_disputed().await?;
    let pulled = Pulled {
        gaps: pulled.gaps,
        search_result_references: pulled.search_result_references,
    };
    Ok((planning, pulled))
}

/// Plans the removal of users who have provably left. Returns how many users who could log in are missing: the guard
/// looks at all absences, whether or not they are confirmed. If it holds the plan for their number, the plan has the
/// confirmed ones, since a person may release it.
async fn remove_absent(
    x: &Executor,
    job: &RunHandle,
    planning: &mut Planning<'_>,
    pulled: &mut Pulled,
) -> Result<u64, Stop> {
    let mut absent_active = 0;
    if pulled.gaps.is_empty() {
        let confirmed = confirm_absences(x, job, planning).await?;
        absent_active = planning.absent_active().saturating_sub(confirmed.excused);
        let unconfirmed = confirmed.issue();
        match confirmed.gap(planning.active()) {
            Some(gap) => {
                pulled.gaps.push(gap);
                absent_active = 0;
            }
            None => planning.add_removals(confirmed.removals).await?,
        }
        planning.add_unconfirmed(unconfirmed);
    }
    x.expect_running()?;
    for gap in &pulled.gaps {
        planning.add_issue(IssueKind::PullIncomplete, gap);
    }
    Ok(absent_active)
}

/// Asks the directory, batch by batch, about the users whom the pull did not bring.
async fn confirm_absences(x: &Executor, job: &RunHandle, planning: &Planning<'_>) -> Result<Confirmed, Stop> {
    let absent = planning.absent();
    let mut confirmed = Confirmed::default();
    let mut batches = absent.chunks(BATCH_IDS);
    for batch in batches.by_ref() {
        x.keep_going(job).await?;
        // A server that does not answer is not asked again: each batch would wait for it.
        if !planning.confirm(batch, &mut confirmed).await? {
            break;
        }
    }
    confirmed.unknown += batches.map(|batch| batch.len() as u64).sum::<u64>();
    Ok(confirmed)
}

/// Finishes the plan and has the guard look at it. Returns what becomes of it.
async fn judge(
    x: &Executor,
    job: &RunHandle,
    begun: &PullBegun,
    planning: &mut Planning<'_>,
    pulled: &Pulled,
    (absent_active, time): (u64, DateTime<Utc>),
) -> Result<PlanOutcome, Stop> {
    let settings = &begun.user_sync.settings;
    let (tenant, user_sync, since) = (&job.key.tenant, &job.key.user_sync, time - guard::WINDOW);
    let recent = x.store.recent_changes(tenant, user_sync, since).await?;
    let room = (!pulled.gaps.is_empty()).then(|| {
        let input = planning.guard_input(&recent, 0);
        input.room_for_creations(&settings.growth_limit)
    });
    planning.finish(room).await?;
    let input = planning.guard_input(&recent, absent_active);
    let Verdict { reasons, leavers } = guard::judge(&input, &settings.removal_limit, &settings.growth_limit);
    Ok(match (begun.run.mode, reasons.is_empty()) {
        (RunMode::Preview, _) | (RunMode::Relink, true) => PlanOutcome::Planned,
        (RunMode::Relink, false) => PlanOutcome::Held(reasons),
        (RunMode::Apply, false) => match planning.put_leavers_first(leavers).await? {
            0 => PlanOutcome::Held(reasons),
            chunks => PlanOutcome::HeldAfter(reasons, chunks),
        },
        (RunMode::Apply, true) => PlanOutcome::Apply,
    })
}

/// Writes what becomes of the plan, with the mails about it.
async fn keep(x: &Executor, job: &RunHandle, sync: &UserSync, result: PlanResult) -> Result<Run, Stop> {
    let now = x.clock.now();
    let mailing = match &result.outcome {
        PlanOutcome::Held(_) => {
            // Checked before the user sync's health says that it is held.
            if !x.store.is_plan_current(&job.key, job.id).await? {
                return Err(Stop::Superseded);
            }
            let run = x.store.run(&job.key, job.id).await?;
            ending::announce_hold(x, job, sync, run.with_plan(&result, now)).await?
        }
        PlanOutcome::Planned | PlanOutcome::Apply | PlanOutcome::HeldAfter(..) => Mailing::default(),
    };
    let run = x.store.finish_plan(job, result, &mailing, now).await?;
    tally::of_plan(&run);
    Ok(run)
}
