//! One run from a worker's side: the lease kept alive around the work, and an end for every way it can go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::error::{Error, Reason};
use rollcall_core::guard::{self, REMOVAL_WINDOW};
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{
    PLAN_LIFETIME, Run, RunMode, RunState, RunTrigger, health_after, health_interrupted,
};
use rollcall_store::{LeaseToken, PlanOutcome, PlanResult, RunEnd, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument;

use super::absences::{BATCH_IDS, Confirmed};
use super::planning::{Planning, Target};
use super::pull::Pull;
use super::stop::Stop;
use super::{Inner, Phase};

/// How often a pull says how far it is, and asks whether it shall go on: a transaction each time.
pub(super) const PROGRESS_INTERVAL: Duration = Duration::from_millis(500);
/// How long a plan may fail to be applied. What was applied stays; the next run sees to the rest.
const APPLY_PATIENCE: TimeDelta = TimeDelta::hours(1);

impl Inner {
    /// Carries a run on until it rests, the lease is lost or the process ends.
    pub(super) async fn carry_out(
        self: Arc<Self>,
        key: UserSyncKey,
        id: RunId,
        lease: LeaseToken,
        phase: Phase,
    ) {
        let span = tracing::info_span!("run", run.id = %id, user_sync = %key);
        let (inner, work_key, work_lease) = (self.clone(), key.clone(), lease.clone());
        // In a task of its own, so that a panic ends this run and nothing else.
        let mut work =
            tokio::spawn(async move { inner.work(&work_key, id, &work_lease, phase).await }.instrument(span));
        let mut heartbeat = tokio::time::interval(self.limits.lease_ttl / 3);
        heartbeat.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let stopped = loop {
            tokio::select! {
                finished = &mut work => break finished,
                _ = heartbeat.tick() => {}
            }
            match self.store.heartbeat_lease(&lease, self.limits.lease_ttl).await {
                Ok(()) => {}
                Err(StoreError::LeaseLost) => {
                    tracing::warn!(run.id = %id, "the lease is lost; another worker has the run");
                    work.abort();
                    self.moved_on(id);
                    return;
                }
                // Writes fail as well while the store is away; the lease decides who goes on afterwards.
                Err(error) => tracing::warn!(run.id = %id, error = %error, "the lease could not be renewed"),
            }
        };
        let stop = match stopped {
            Ok(Ok(())) => None,
            Ok(Err(stop)) => Some(stop),
            Err(error) => Some(Stop::Failed(
                Error::new(Reason::Internal, "the run broke").caused_by(error),
            )),
        };
        if let Some(stop) = stop {
            self.end_early(&key, id, &lease, stop).await;
        }
        if let Err(error) = self.store.release_lease(&lease).await {
            tracing::debug!(run.id = %id, error = %error, "the lease ends by itself");
        }
        self.moved_on(id);
    }

    async fn work(&self, key: &UserSyncKey, id: RunId, lease: &LeaseToken, phase: Phase) -> Result<(), Stop> {
        if phase == Phase::Pull {
            let sync = self.store.user_sync(&key.tenant, &key.user_sync).await?;
            let turn = self.turn(key, id, &sync.settings.directory).await?;
            let planned = match self.place(key, id).await {
                Ok(place) => self.plan(key, id, lease).await.map(|run| (run, place)),
                Err(stop) => Err(stop),
            };
            turn.end().await;
            let (run, _place) = planned?;
            self.moved_on(id);
            return match run.state {
                RunState::Applying => self.apply(key, id, lease).await,
                _ => Ok(()),
            };
        }
        let _place = self.place(key, id).await?;
        self.apply(key, id, lease).await
    }

    async fn plan(&self, key: &UserSyncKey, id: RunId, lease: &LeaseToken) -> Result<Run, Stop> {
        let run = self.store.begin_pull(lease, key, id).await?;
        self.moved_on(id);
        let started = self.clock.now();
        let sync = self.store.user_sync(&key.tenant, &key.user_sync).await?;
        let settings = &sync.settings;
        if settings.disabled {
            return Err(Error::new(Reason::SyncDisabled, "the user sync was switched off").into());
        }
        let source = self.source_of(&sync).await?;
        let relinked = match run.mode {
            RunMode::Relink => self.relinked(key, id, &sync, &source).await?,
            RunMode::Apply | RunMode::Preview => HashMap::new(),
        };
        let roles = self.roles(key, id, settings, &source).await?;
        let target = Target {
            store: &self.store,
            lease,
            key,
            run: id,
            clock: &self.clock,
        };
        let (roles, rule_issue) = match roles {
            Ok(roles) => (Some(roles), None),
            Err(issue) => (None, Some(issue)),
        };
        // The server begins while it is asked who the users are.
        let attributes = source.reader.attributes();
        let mut pull = Pull::new(&source.ldap, &settings.searches, &attributes);
        let mut planning = Planning::begin(target, &sync, &source, roles, relinked, started).await?;
        if let Some(issue) = rule_issue {
            planning.add_issue(issue.kind, issue.message);
        }
        // Told at once, the first few entries would look like all that half a second brings.
        let mut progress_due = Instant::now() + PROGRESS_INTERVAL;
        while let Some(entries) = pull.next_batch().await {
            planning.take(entries).await?;
            if progress_due <= Instant::now() {
                self.keep_going(key, id).await?;
                self.store
                    .save_progress(lease, key, id, &planning.counts(0))
                    .await?;
                self.moved_on(id);
                progress_due = Instant::now() + PROGRESS_INTERVAL;
            }
        }
        planning.settle().await?;
        let pulled = pull.finish().await.map_err(|error| source.error(&error))?;
        planning.take_back_disputed().await?;
        let mut gaps = pulled.gaps;
        gaps.extend(planning.unidentified());
        // The guard looks at all absences, whatever becomes of them; a plan that it holds for their number has the
        // confirmed ones, since a person may release it.
        let absent_active = if gaps.is_empty() {
            planning.absent_active()
        } else {
            0
        };
        if gaps.is_empty() {
            let absent = planning.absent();
            let mut confirmed = Confirmed::default();
            for batch in absent.chunks(BATCH_IDS) {
                self.keep_going(key, id).await?;
                planning.confirm(batch, &mut confirmed).await?;
                // Nobody is removed then, whatever could be said of the others; and a server that does not answer
                // would be waited for as often as there are batches.
                if confirmed.doubt.is_some() {
                    break;
                }
            }
            match confirmed.doubt {
                None => planning.add_removals(confirmed.removals).await?,
                doubt => gaps.extend(doubt),
            }
        }
        self.keep_going(key, id).await?;
        for gap in &gaps {
            planning.add_issue(IssueKind::PullIncomplete, gap);
        }
        planning.finish().await?;

        let recent = self
            .store
            .recent_removals(&key.tenant, &key.user_sync, started - REMOVAL_WINDOW)
            .await?;
        let input = planning.guard_input(recent, absent_active);
        let reasons = guard::hold_reasons(&input, &settings.removal_limit);
        let outcome = match (run.mode, reasons.is_empty()) {
            (RunMode::Preview, _) => PlanOutcome::Planned,
            (RunMode::Relink, true) => PlanOutcome::Planned,
            (RunMode::Apply | RunMode::Relink, false) => PlanOutcome::Held(reasons.clone()),
            (RunMode::Apply, true) => PlanOutcome::Apply,
        };
        if !self.store.is_plan_current(key, id).await? {
            return Err(Stop::Superseded);
        }
        if matches!(outcome, PlanOutcome::Held(_)) {
            // First, since nobody takes a held run over that could make up for it.
            self.store
                .set_health(lease, key, &health_after(RunState::Held, 0, None, &reasons))
                .await?;
        }
        let result = PlanResult {
            outcome,
            counts: planning.counts(pulled.referrals),
            complete: gaps.is_empty(),
        };
        let now = self.clock.now();
        let held = |run: &mut Run| {
            run.hold_reasons.clone_from(&reasons);
            (run.state, run.counts, run.complete) = (RunState::Held, result.counts, result.complete);
            (run.plan_time, run.expire_time) = (Some(now), Some(now + PLAN_LIFETIME));
        };
        let mails = match result.outcome {
            PlanOutcome::Held(_) => self.reports.about(&sync, id, held).await,
            PlanOutcome::Planned | PlanOutcome::Apply => Vec::new(),
        };
        Ok(self
            .store
            .finish_plan(lease, key, id, result, &mails, now)
            .await?)
    }

    /// Half a plan is no end: whoever takes the run over goes on after the last chunk. But what fails for so long will not
    /// work by itself, and keeps all later runs waiting. Also true if it cannot be told now.
    async fn is_carried_on(&self, key: &UserSyncKey, id: RunId) -> bool {
        match self.store.run(key, id).await {
            Ok(run) => {
                let began = run.plan_time.unwrap_or(run.create_time);
                run.state == RunState::Applying && self.clock.now() - began < APPLY_PATIENCE
            }
            Err(_) => true,
        }
    }

    async fn end_early(&self, key: &UserSyncKey, id: RunId, lease: &LeaseToken, stop: Stop) {
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
            Stop::Failed(error) if self.is_carried_on(key, id).await => {
                tracing::error!(run.id = %id, reason = error.reason.as_str(), error = %chain(&error), "a run broke off while it was applied; it will be carried on");
                let health = health_interrupted(&error.message);
                if let Err(error) = self.store.set_health(lease, key, &health).await {
                    tracing::warn!(run.id = %id, error = %error, "the health of a user sync could not be written");
                }
                return;
            }
            Stop::Failed(error) => {
                tracing::warn!(run.id = %id, reason = error.reason.as_str(), error = %chain(&error), "a run failed");
                (RunState::Failed, Some(error.message))
            }
        };
        let Ok(sync) = self.store.user_sync(&key.tenant, &key.user_sync).await else {
            return;
        };
        let now = self.clock.now();
        let ending = |run: &mut Run| {
            run.failure.clone_from(&failure);
            (run.state, run.end_time) = (state, Some(now));
        };
        let mails = self.reports.about(&sync, id, ending).await;
        let health = match state {
            RunState::Failed => health_after(state, 0, failure.as_deref(), &[]),
            // A run that somebody stopped says nothing new about the sync.
            _ => sync.health,
        };
        let end = RunEnd {
            state,
            failure,
            health,
            applied_scope_revision: None,
            complete_pull_time: None,
        };
        if let Err(error) = self.store.end_run(lease, key, id, end, &mails, now).await {
            tracing::warn!(run.id = %id, error = %error, "the end of a run could not be written; it will be taken over");
            return;
        }
        if state == RunState::Superseded
            && let Err(error) = self.make_due_again(key, id).await
        {
            tracing::warn!(run.id = %id, error = %error, "a nightly run was superseded, and the next one is as scheduled");
        }
    }

    async fn make_due_again(&self, key: &UserSyncKey, id: RunId) -> Result<(), StoreError> {
        let run = self.store.run(key, id).await?;
        match run.trigger {
            RunTrigger::Schedule => self.run_again(key).await,
            RunTrigger::Call => Ok(()),
        }
    }

    /// Makes a user sync due at once, if it runs by itself: whoever changes it at night must not cost it the night's run.
    pub(super) async fn run_again(&self, key: &UserSyncKey) -> Result<(), StoreError> {
        let (tenant, user_sync, now) = (&key.tenant, &key.user_sync, self.clock.now());
        let sync = self.store.user_sync(tenant, user_sync).await?;
        if sync.next_run_time.is_some() {
            self.store
                .set_next_run_time(tenant, user_sync, sync.next_run_time, Some(now))
                .await?;
        }
        Ok(())
    }
}

/// An error with what caused it, for the log.
fn chain(error: &Error) -> String {
    let mut text = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        text.push_str(": ");
        text.push_str(&cause.to_string());
        source = cause.source();
    }
    text
}
