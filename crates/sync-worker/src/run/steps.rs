//! A run, from top to bottom: permits, pull, absences, guard; then the plan is applied and the run told, or it waits for a
//! person. What holds the lease around all of this is [`super::carry_out`].

use std::collections::HashMap;

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
use rollcall_store::{Mailing, RunHandle};
use tokio::time::Instant;
use tracing::Instrument;

use super::admission::{MayPull, admit_to_apply, admit_to_pull};
use super::apply::{Applied, apply};
use super::end::ending;
use super::executor::{Executor, PROGRESS_INTERVAL, Phase};
use super::lookups::absences::{BATCH_IDS, Confirmed};
use super::lookups::relinking::relinked;
use super::planning::{Planning, Target};
use super::source::{Source, source_of};
use super::stop::Stop;
use super::tally;

/// Carries a run on until it rests.
///
/// # Errors
/// Why it stopped before.
pub(super) async fn work(x: &Executor, job: &RunHandle, phase: Phase) -> Result<(), Stop> {
    let (state, sync, may_apply) = match phase {
        Phase::Pull => {
            let may_pull = admit_to_pull(x, job).await?;
            // On the heap, as the pull: all steps together are a large part of a thread's stack.
            let planned = Box::pin(plan(x, job, &may_pull)).await;
            let may_apply = may_pull.planned().await;
            x.moved_on(job.id);
            let (run, sync) = planned?;
            (run.state, sync, may_apply)
        }
        Phase::Apply => {
            let may_apply = admit_to_apply(x, job).await?;
            (RunState::Applying, x.sync(job).await?, may_apply)
        }
    };
    if state != RunState::Applying {
        return Ok(());
    }
    match timed(RunPhase::Apply, apply(x, job, &may_apply)).await? {
        Applied::Leavers => ending::wait_for_release(x, job, &sync).await,
        Applied::All => ending::succeed(x, job, &sync).await,
    }
}

/// Measures a part of a run, which may be the last.
async fn timed<T>(phase: RunPhase, part: impl Future<Output = T>) -> T {
    let began = Instant::now();
    let span = tracing::info_span!(target: "rollcall_trace", "run.phase", phase = phase.as_str());
    let done = part.instrument(span).await;
    metrics().run_phase_seconds.took(phase, began.elapsed());
    done
}

/// From the directory to a finished plan.
async fn plan(x: &Executor, job: &RunHandle, may_pull: &MayPull) -> Result<(Run, UserSync), Stop> {
    let begun = begin(x, job, may_pull).await?;
    let source = Box::pin(source_of(x, &begun.sync)).await?;
    let result = Box::pin(read_and_judge(x, job, &begun, &source)).await;
    // Nobody needs them before the next night, and others may.
    source.ldap.close_idle();
    Ok((keep(x, job, &begun.sync, result?).await?, begun.sync))
}

async fn read_and_judge(
    x: &Executor,
    job: &RunHandle,
    begun: &Begun,
    source: &Source,
) -> Result<PlanResult, Stop> {
    let (relinked, roles) = look_ahead(x, job, begun, source).await?;
    let pulling = Box::pin(pull(x, job, begun, source, relinked, roles));
    let (mut planning, mut pulled) = timed(RunPhase::Pull, pulling).await?;
    let removing = remove_absent(x, job, &mut planning, &mut pulled);
    let absent = timed(RunPhase::Absences, removing).await?;
    let judging = judge(x, job, begun, &mut planning, &pulled, absent);
    let outcome = timed(RunPhase::Judge, judging).await?;
    Ok(PlanResult {
        outcome,
        counts: planning.counts(pulled.search_result_references),
        complete: pulled.gaps.is_empty(),
    })
}

/// A run that has begun to pull, and the sync as the run takes it: an edit from here on supersedes the run.
struct Begun {
    mode: RunMode,
    time: DateTime<Utc>,
    sync: UserSync,
}

/// What a pull did not bring.
struct Pulled {
    /// Why it is not complete; empty if it is.
    gaps: Vec<String>,
    search_result_references: u64,
}

async fn begin(x: &Executor, job: &RunHandle, _: &MayPull) -> Result<Begun, Stop> {
    let run = x.store.begin_pull(job).await?;
    x.moved_on(job.id);
    let time = x.clock.now();
    let sync = x.sync(job).await?;
    if sync.settings.disabled {
        return Err(Error::new(Reason::SyncDisabled, "the user sync was switched off").into());
    }
    Ok(Begun {
        mode: run.mode,
        time,
        sync,
    })
}

/// What has to be known of all entries before the first is planned: who is another entry than before, and whom each role
/// rule matches.
async fn look_ahead(
    x: &Executor,
    job: &RunHandle,
    begun: &Begun,
    source: &Source,
) -> Result<(HashMap<UserId, ExternalId>, Roles), Stop> {
    let relinked = match begun.mode {
        RunMode::Relink => relinked(x, job, &begun.sync, source).await?,
        RunMode::Apply | RunMode::Preview => HashMap::new(),
    };
    let roles = tokio::select! {
        roles = roles::evaluate(source.of_run(), &begun.sync.settings) => roles,
        stop = x.stopped(job) => return Err(stop),
    };
    Ok((relinked, roles))
}

/// Reads all entries and plans for each.
async fn pull<'a>(
    x: &'a Executor,
    job: &'a RunHandle,
    begun: &'a Begun,
    source: &'a Source,
    relinked: HashMap<UserId, ExternalId>,
    roles: Roles,
) -> Result<(Planning<'a>, Pulled), Stop> {
    let target = Target {
        store: &x.store,
        run: job,
        clock: &x.clock,
    };
    // The server begins while it is asked who the users are.
    let attributes = source.reader.attributes();
    let mut pull = Pull::new(
        &source.ldap,
        &begun.sync.settings.searches,
        &attributes,
        source.max_entries,
    );
    let mut planning = Planning::begin(x, target, &begun.sync, source, roles, relinked, begun.time).await?;
    // Told at once, the first few entries would look like all that half a second brings.
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

/// Plans the removal of those who are provably not there any more. Returns how many are missing who could log in: the guard
/// looks at all absences, whatever becomes of them; a plan that it holds for their number has the confirmed ones, since a
/// person may release it.
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
    x.keep_going(job).await?;
    for gap in &pulled.gaps {
        planning.add_issue(IssueKind::PullIncomplete, gap);
    }
    Ok(absent_active)
}

/// Asks the directory, batch by batch, about those whom the pull did not bring.
async fn confirm_absences(x: &Executor, job: &RunHandle, planning: &Planning<'_>) -> Result<Confirmed, Stop> {
    let absent = planning.absent();
    let mut confirmed = Confirmed::default();
    let mut batches = absent.chunks(BATCH_IDS);
    for batch in batches.by_ref() {
        x.keep_going(job).await?;
        // A server that does not answer would be waited for as often as there are batches.
        if !planning.confirm(batch, &mut confirmed).await? {
            break;
        }
    }
    confirmed.unknown += batches.map(|batch| batch.len() as u64).sum::<u64>();
    Ok(confirmed)
}

/// Finishes the plan and has the guard look at it: what becomes of it?
async fn judge(
    x: &Executor,
    job: &RunHandle,
    begun: &Begun,
    planning: &mut Planning<'_>,
    pulled: &Pulled,
    absent_active: u64,
) -> Result<PlanOutcome, Stop> {
    let settings = &begun.sync.settings;
    let (tenant, user_sync, since) = (&job.key.tenant, &job.key.user_sync, begun.time - guard::WINDOW);
    let recent = x.store.recent_changes(tenant, user_sync, since).await?;
    let room = (!pulled.gaps.is_empty()).then(|| {
        let input = planning.guard_input(&recent, 0);
        input.room_for_creations(&settings.growth_limit)
    });
    planning.finish(room).await?;
    let input = planning.guard_input(&recent, absent_active);
    let Verdict { reasons, leavers } = guard::judge(&input, &settings.removal_limit, &settings.growth_limit);
    Ok(match (begun.mode, reasons.is_empty()) {
        (RunMode::Preview, _) | (RunMode::Relink, true) => PlanOutcome::Planned,
        (RunMode::Relink, false) => PlanOutcome::Held(reasons),
        (RunMode::Apply, false) => match planning.put_leavers_first(leavers).await? {
            0 => PlanOutcome::Held(reasons),
            chunks => PlanOutcome::HeldAfter(reasons, chunks),
        },
        (RunMode::Apply, true) => PlanOutcome::Apply,
    })
}

/// Writes what becomes of the plan, with the mails that say so.
async fn keep(x: &Executor, job: &RunHandle, sync: &UserSync, result: PlanResult) -> Result<Run, Stop> {
    if !x.store.is_plan_current(&job.key, job.id).await? {
        return Err(Stop::Superseded);
    }
    let now = x.clock.now();
    let mailing = match &result.outcome {
        PlanOutcome::Held(_) => {
            let run = x.store.run(&job.key, job.id).await?;
            ending::announce_hold(x, job, sync, run.with_plan(&result, now)).await?
        }
        PlanOutcome::Planned | PlanOutcome::Apply | PlanOutcome::HeldAfter(..) => Mailing::default(),
    };
    let run = x.store.finish_plan(job, result, &mailing, now).await?;
    tally::of_plan(&run);
    Ok(run)
}
