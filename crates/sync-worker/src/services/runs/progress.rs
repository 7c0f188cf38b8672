//! WatchSyncRun: how far a run is, until it ends or waits.

use std::time::Duration;

use futures::stream;
use rollcall_core::error::{Error, Reason};
use rollcall_core::run::{Run, RunState};
use rollcall_proto::resource_name::RunName;
use rollcall_proto::{duration, v1};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until, timeout_at};

use super::{Runs, WatchStream};
use crate::run::Progress;
use crate::worker::Worker;
use rollcall_service::call::{Call, failed};

/// Shortest time between two messages.
const PACE: Duration = Duration::from_millis(500);
/// How often a run that another process may have is looked at.
const POLL: Duration = Duration::from_secs(1);
/// The rate is measured over at least this long.
const RATE_WINDOW: Duration = Duration::from_secs(3);

/// One call's view of a run.
struct Watching {
    worker: Worker,
    name: RunName,
    /// The number of users before: the best estimate of how many entries there are to pull.
    expected: u64,
    changes: watch::Receiver<Progress>,
    last: Option<Run>,
    sent: Instant,
    meter: Meter,
    over: bool,
}

/// Measures how fast a run goes.
#[derive(Default)]
struct Meter {
    /// State, time and work done at the beginning of the window, and of the window before it.
    marks: Option<(Mark, Mark)>,
}

#[derive(Clone, Copy)]
struct Mark {
    state: RunState,
    at: Instant,
    done: u64,
}

impl Meter {
    /// Work a second over the last seconds; `None` until it can be told.
    fn rate(&mut self, state: RunState, at: Instant, done: u64) -> Option<f64> {
        let now = Mark { state, at, done };
        let (old, young) = match self.marks {
            Some((old, young)) if old.state == state && old.done <= done => (old, young),
            _ => (now, now),
        };
        self.marks = Some(match at - young.at >= RATE_WINDOW {
            true => (young, now),
            false => (old, young),
        });
        let seconds = (at - old.at).as_secs_f64();
        // Counts are far below what a double holds exactly.
        (seconds > 0.0).then(|| (done - old.done) as f64 / seconds)
    }
}

impl Runs {
    pub(super) async fn watch(&self, call: Result<Call<RunName>, Error>) -> Result<WatchStream, Error> {
        let name = call?.request;
        let key = &name.user_sync;
        // Watched before the run is read, so that no change is missed in between.
        let changes = self.0.engine.watch(name.run);
        self.find(&name).await?;
        let watching = Watching {
            expected: self.0.store.count_users(&key.tenant, &key.user_sync).await?,
            worker: self.0.clone(),
            changes,
            last: None,
            sent: Instant::now(),
            meter: Meter::default(),
            over: false,
            name,
        };
        Ok(Box::pin(stream::unfold(watching, |mut watching| async move {
            let message = watching.next().await?;
            Some((message.map_err(|error| failed(&error)), watching))
        })))
    }
}

impl Watching {
    /// The next message; `None` once the run has ended or waits.
    async fn next(&mut self) -> Option<Result<v1::WatchSyncRunResponse, Error>> {
        while !self.over {
            match self.look().await {
                Ok(Some(message)) => return Some(Ok(message)),
                Ok(None) => {}
                Err(error) => {
                    self.over = true;
                    return Some(Err(error));
                }
            }
        }
        None
    }

    async fn look(&mut self) -> Result<Option<v1::WatchSyncRunResponse>, Error> {
        if self.last.is_some() {
            let stop = self.worker.stop.clone();
            let wait = async {
                // After the engine has forgotten the run it sends nothing more, so the run is read again after a while.
                let _ = timeout_at(Instant::now() + POLL, self.changes.changed()).await;
                sleep_until(self.sent + PACE).await;
            };
            if stop.run_until_cancelled(wait).await.is_none() {
                let message = "this replica is shutting down: call again";
                return Err(Error::new(Reason::ShuttingDown, message));
            }
        }
        let run = self.worker.store.run(&self.name.user_sync, self.name.run).await?;
        self.over = !run.state.is_working();
        if self.last.as_ref() == Some(&run) {
            return Ok(None);
        }
        self.sent = Instant::now();
        let progress = (!self.over).then(|| progress(&run, self.expected, &mut self.meter, self.sent));
        let message = v1::WatchSyncRunResponse {
            sync_run: Some((&run).into()),
            progress,
        };
        self.last = Some(run);
        Ok(Some(message))
    }
}

fn progress(run: &Run, expected: u64, meter: &mut Meter, now: Instant) -> v1::SyncRunProgress {
    let (done, total) = match run.state == RunState::Applying {
        true => (run.counts.applied, run.counts.changes()),
        false => (run.counts.entries, expected.max(run.counts.entries)),
    };
    let rate = meter.rate(run.state, now, done);
    let left = rate
        .filter(|rate| *rate > 0.0)
        .map(|rate| (total - done.min(total)) as f64 / rate);
    // A pull may find more entries than there were users, so it never says "zero seconds left".
    let left = left.filter(|_| total > done);
    v1::SyncRunProgress {
        done: i64::try_from(done).unwrap_or(i64::MAX),
        total: i64::try_from(if run.state == RunState::Applying {
            total
        } else {
            expected
        })
        .unwrap_or(i64::MAX),
        per_second: rate.unwrap_or(0.0),
        estimated_remaining: left
            .and_then(|left| Duration::try_from_secs_f64(left).ok())
            .map(duration),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeMap;

    use chrono::DateTime;
    use rollcall_core::audit::AskedBy;
    use rollcall_core::id::{RunId, TenantId, UserSyncId, UserSyncKey, Uuid};
    use rollcall_core::revision::Revision;
    use rollcall_core::run::{RunCounts, RunMode, RunTrigger};

    use super::*;

    #[test]
    fn the_rate_is_that_of_the_last_seconds_in_this_state() {
        let start = Instant::now();
        let after = |seconds| start + Duration::from_secs(seconds);
        let mut meter = Meter::default();
        assert_eq!(meter.rate(RunState::Pulling, start, 0), None);
        assert_eq!(meter.rate(RunState::Pulling, after(2), 200), Some(100.0));
        assert_eq!(meter.rate(RunState::Pulling, after(4), 400), Some(100.0));
        // A new window: what was slow before does not count for ever.
        meter.rate(RunState::Pulling, after(10), 400);
        assert_eq!(meter.rate(RunState::Pulling, after(14), 400), Some(0.0));
        assert_eq!(meter.rate(RunState::Applying, after(15), 10), None);
        assert_eq!(meter.rate(RunState::Applying, after(16), 30), Some(20.0));
    }

    fn run(state: RunState, counts: RunCounts) -> Run {
        Run {
            user_sync: UserSyncKey {
                tenant: TenantId::parse("acme").unwrap(),
                user_sync: UserSyncId::parse("staff").unwrap(),
            },
            id: RunId(Uuid::nil()),
            state,
            mode: RunMode::Apply,
            trigger: RunTrigger::Call,
            asked_by: AskedBy::default(),
            release: None,
            cancellation: None,
            counts,
            issue_counts: BTreeMap::new(),
            hold_reasons: Vec::new(),
            failure: None,
            complete: true,
            user_sync_revision: Revision::FIRST,
            directory_revision: Revision::FIRST,
            create_time: DateTime::UNIX_EPOCH,
            plan_time: None,
            end_time: None,
            expire_time: None,
            mails_withheld: 0,
        }
    }

    #[test]
    fn what_is_left_follows_from_the_rate_and_is_not_told_where_nobody_knows() {
        let start = Instant::now();
        let mut meter = Meter::default();
        let applying = |applied| {
            let counts = RunCounts {
                created: 100,
                applied,
                ..RunCounts::default()
            };
            run(RunState::Applying, counts)
        };
        let begun = progress(&applying(0), 7, &mut meter, start);
        assert_eq!((begun.done, begun.total, begun.per_second), (0, 100, 0.0));
        assert_eq!(begun.estimated_remaining, None);
        let later = progress(&applying(40), 7, &mut meter, start + Duration::from_secs(2));
        assert_eq!((later.done, later.per_second), (40, 20.0));
        assert_eq!(later.estimated_remaining, Some(duration(Duration::from_secs(3))));

        let pulling = |entries| {
            let counts = RunCounts {
                entries,
                ..RunCounts::default()
            };
            run(RunState::Pulling, counts)
        };
        let mut meter = Meter::default();
        progress(&pulling(0), 10, &mut meter, start);
        let more = progress(&pulling(20), 10, &mut meter, start + Duration::from_secs(1));
        assert_eq!((more.done, more.total, more.per_second), (20, 10, 20.0));
        assert_eq!(more.estimated_remaining, None, "there are more than last time");
    }

    #[test]
    fn a_pull_that_begins_anew_is_measured_anew() {
        let start = Instant::now();
        let mut meter = Meter::default();
        meter.rate(RunState::Pulling, start, 500);
        assert_eq!(
            meter.rate(RunState::Pulling, start + Duration::from_secs(1), 10),
            None
        );
    }
}
