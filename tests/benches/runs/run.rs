//! One run, watched as an admin's page would.

use std::time::{Duration, Instant, SystemTime};

use anyhow::{Context, Result, ensure};
use rollcall_proto::v1::{self, SyncRunState};
use system_tests::System;

/// A run that was watched to its end.
pub(crate) struct Watched {
    /// From the run's creation to its end, as the run says: updates come up to half a second later.
    pub(crate) time: Duration,
    /// Of that, until its plan was complete.
    pub(crate) planned: Duration,
    /// Messages that came.
    pub(crate) updates: usize,
    /// The longest time between two of them.
    pub(crate) longest_silence: Duration,
    /// How far the estimates of the time left were off in the middle half of each phase, as the median share of the
    /// phase. `None` if there were none.
    pub(crate) estimate_error: Option<f64>,
    pub(crate) counts: v1::SyncRunCounts,
}

struct Estimate {
    state: SyncRunState,
    at: Duration,
    left: Duration,
}

/// Starts a run of a tenant's sync and follows it until it has ended.
pub(crate) async fn watched(system: &System, tenant: &str) -> Result<Watched> {
    let started = Instant::now();
    let request = v1::RunUserSyncRequest {
        name: format!("{tenant}/userSyncs/staff"),
        mode: v1::SyncRunMode::Apply.into(),
        ..v1::RunUserSyncRequest::default()
    };
    let run = system
        .user_syncs()
        .await?
        .run_user_sync(request)
        .await?
        .into_inner();
    let request = v1::WatchSyncRunRequest { name: run.name };
    let mut updates = system.runs().await?.watch_sync_run(request).await?.into_inner();
    let (mut count, mut longest_silence, mut last_at) = (0, Duration::ZERO, started.elapsed());
    let mut phases: Vec<(SyncRunState, Duration)> = Vec::new();
    let mut estimates = Vec::new();
    let mut last = None;
    while let Some(update) = updates.message().await? {
        let at = started.elapsed();
        longest_silence = longest_silence.max(at.saturating_sub(last_at));
        last_at = at;
        count += 1;
        let run = update.sync_run.context("an update without the run")?;
        if phases.last().is_none_or(|(state, _)| *state != run.state()) {
            phases.push((run.state(), at));
        }
        if let Some(left) = update.progress.and_then(|progress| progress.estimated_remaining) {
            estimates.push(Estimate {
                state: run.state(),
                at,
                left: left.try_into()?,
            });
        }
        last = Some(run);
    }
    let run = last.context("the run was never reported")?;
    ensure!(
        run.state() == SyncRunState::Succeeded,
        "the run ended {:?}",
        run.state()
    );
    let after_creation = |time: Option<prost_types::Timestamp>| -> Result<Duration> {
        let (begin, end) = run.create_time.zip(time).context("the run has no times")?;
        let (begin, end) = (SystemTime::try_from(begin)?, SystemTime::try_from(end)?);
        Ok(end.duration_since(begin)?)
    };
    Ok(Watched {
        time: after_creation(run.end_time)?,
        planned: after_creation(run.plan_time)?,
        updates: count,
        longest_silence,
        estimate_error: estimate_error(&phases, &estimates),
        counts: run.counts.unwrap_or_default(),
    })
}

fn estimate_error(phases: &[(SyncRunState, Duration)], estimates: &[Estimate]) -> Option<f64> {
    let mut errors = Vec::new();
    for phase in phases.windows(2) {
        let [(state, begin), (_, end)] = phase else {
            continue;
        };
        let length = (*end - *begin).as_secs_f64();
        for estimate in estimates.iter().filter(|estimate| estimate.state == *state) {
            let place = estimate.at.saturating_sub(*begin).as_secs_f64() / length;
            if (0.25..=0.75).contains(&place) {
                let said = (estimate.at + estimate.left).as_secs_f64();
                errors.push((said - end.as_secs_f64()).abs() / length);
            }
        }
    }
    (!errors.is_empty()).then(|| system_tests::bench::median(&errors))
}
