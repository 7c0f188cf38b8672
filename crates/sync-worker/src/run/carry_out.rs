//! One run from a worker's side: the lease kept alive around the work, and an end for every way it can go.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use chrono::TimeDelta;
use rollcall_core::error::{Error, Reason, chain};
use rollcall_core::guard::{self, Verdict};
use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{
    PLAN_LIFETIME, Run, RunMode, RunState, RunTrigger, health_after, health_interrupted,
};
use rollcall_core::user_sync::UserSync;
use rollcall_service::pull::Pull;
use rollcall_service::roles;
use rollcall_store::{LeaseToken, NewMail, PlanOutcome, PlanResult, RunEnd, StoreError};
use tokio::time::{Instant, MissedTickBehavior};
use tracing::Instrument;

use super::absences::{BATCH_IDS, Confirmed};
use super::planning::{Planning, Target};
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
        let roles = tokio::select! {
            roles = roles::evaluate(source.of_run(), settings) => roles,
            stop = self.stopped(key, id) => return Err(stop),
        };
        let target = Target {
            store: &self.store,
            lease,
            key,
            run: id,
            clock: &self.clock,
        };
        // The server begins while it is asked who the users are.
        let attributes = source.reader.attributes();
        let mut pull = Pull::new(&source.ldap, &settings.searches, &attributes, source.max_entries);
        let mut planning = Planning::begin(target, &sync, &source, roles, relinked, started).await?;
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
        // The guard looks at all absences, whatever becomes of them; a plan that it holds for their number has the
        // confirmed ones, since a person may release it.
        let mut absent_active = 0;
        if gaps.is_empty() {
            let confirmed = self.confirm_absences(key, id, &planning).await?;
            absent_active = planning.absent_active().saturating_sub(confirmed.excused);
            let unconfirmed = confirmed.issue();
            match confirmed.gap(planning.active()) {
                Some(gap) => {
                    gaps.push(gap);
                    absent_active = 0;
                }
                None => planning.add_removals(confirmed.removals).await?,
            }
            planning.add_unconfirmed(unconfirmed);
        }
        self.keep_going(key, id).await?;
        for gap in &gaps {
            planning.add_issue(IssueKind::PullIncomplete, gap);
        }
        let since = started - guard::WINDOW;
        let recent = self
            .store
            .recent_changes(&key.tenant, &key.user_sync, since)
            .await?;
        let room = (!gaps.is_empty()).then(|| {
            let input = planning.guard_input(&recent, 0);
            input.room_for_creations(&settings.growth_limit)
        });
        planning.finish(room).await?;

        let input = planning.guard_input(&recent, absent_active);
        let Verdict { reasons, leavers } =
            guard::judge(&input, &settings.removal_limit, &settings.growth_limit);
        let outcome = match (run.mode, reasons.is_empty()) {
            (RunMode::Preview, _) | (RunMode::Relink, true) => PlanOutcome::Planned,
            (RunMode::Relink, false) => PlanOutcome::Held(reasons),
            (RunMode::Apply, false) => match planning.put_leavers_first(leavers).await? {
                0 => PlanOutcome::Held(reasons),
                chunks => PlanOutcome::HeldAfter(reasons, chunks),
            },
            (RunMode::Apply, true) => PlanOutcome::Apply,
        };
        if !self.store.is_plan_current(key, id).await? {
            return Err(Stop::Superseded);
        }
        let result = PlanResult {
            outcome,
            counts: planning.counts(pulled.referrals),
            complete: gaps.is_empty(),
        };
        let now = self.clock.now();
        let mails = match &result.outcome {
            PlanOutcome::Held(reasons) => {
                let (counts, complete) = (result.counts, result.complete);
                let held = |run: &mut Run| {
                    run.hold_reasons.clone_from(reasons);
                    (run.counts, run.complete, run.plan_time) = (counts, complete, Some(now));
                };
                self.announce_hold(key, id, lease, &sync, held).await?
            }
            PlanOutcome::Planned | PlanOutcome::Apply | PlanOutcome::HeldAfter(..) => Vec::new(),
        };
        Ok(self
            .store
            .finish_plan(lease, key, id, result, &mails, now)
            .await?)
    }

    /// Waits until the run shall not go on: beside work that does not ask by itself.
    async fn stopped(&self, key: &UserSyncKey, id: RunId) -> Stop {
        loop {
            tokio::time::sleep(PROGRESS_INTERVAL).await;
            if let Err(stop) = self.keep_going(key, id).await {
                return stop;
            }
        }
    }

    /// Asks the directory, batch by batch, about those whom the pull did not bring.
    async fn confirm_absences(
        &self,
        key: &UserSyncKey,
        id: RunId,
        planning: &Planning<'_>,
    ) -> Result<Confirmed, Stop> {
        let absent = planning.absent();
        let mut confirmed = Confirmed::default();
        let mut batches = absent.chunks(BATCH_IDS);
        for batch in batches.by_ref() {
            self.keep_going(key, id).await?;
            // A server that does not answer would be waited for as often as there are batches.
            if !planning.confirm(batch, &mut confirmed).await? {
                break;
            }
        }
        confirmed.unknown += batches.map(|batch| batch.len() as u64).sum::<u64>();
        Ok(confirmed)
    }

    /// Tells the user sync that its run is held; returns the mails that say so. `become_held` makes the run what it will
    /// be. The health comes first, since nobody takes a held run over that could make up for it.
    pub(super) async fn announce_hold(
        &self,
        key: &UserSyncKey,
        id: RunId,
        lease: &LeaseToken,
        sync: &UserSync,
        become_held: impl FnOnce(&mut Run),
    ) -> Result<Vec<NewMail>, Stop> {
        let mut run = self.store.run(key, id).await?;
        become_held(&mut run);
        let health = health_after(RunState::Held, 0, None, &run.hold_reasons);
        self.store.set_health(lease, key, &health).await?;
        let expire_time = Some(self.clock.now() + PLAN_LIFETIME);
        let held = |shown: &mut Run| {
            *shown = Run {
                state: RunState::Held,
                expire_time,
                ..run
            };
        };
        Ok(self.reports.about(sync, id, held).await)
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
