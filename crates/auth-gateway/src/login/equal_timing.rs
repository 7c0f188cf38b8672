//! Refusals that need no directory take as long as those that do. Otherwise the time alone would tell an
//! unknown login from a wrong password.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use quick_cache::sync::Cache;
use rollcall_core::id::UserSyncKey;
use tokio::sync::Semaphore;
use tokio::time::Instant;

/// User syncs whose latencies are kept.
const CAPACITY: usize = 10_000;
/// Latencies kept of each.
const KEPT: usize = 64;
/// After this many refusals, delays are drawn from refusals alone.
const ENOUGH: usize = 8;
/// Range from which delays are drawn while nothing is known about a user sync, in microseconds: a directory at some
/// distance.
const UNKNOWN_MICROS: (u64, u64) = (2_000, 20_000);

/// A wait that misses its time by more than this is not the timer's fault, and is ignored.
const MAX_MISS_MICROS: i64 = 4_000;

/// How long recent logins took from the question to the directory's answer, by user sync: what is asked depends on the
/// sync's role rules, and how fast the answer comes on its directory.
pub struct EqualTiming {
    waiting: Semaphore,
    /// By how much a wait exceeds its time, in microseconds: timers tick every millisecond.
    overshoot: AtomicI64,
    recent: Cache<UserSyncKey, Arc<Mutex<Recent>>>,
}

#[derive(Default)]
struct Recent {
    /// For wrong passwords, which a refusal must look like. Many servers delay them.
    refused: VecDeque<Duration>,
    /// For right passwords, if there are not enough wrong ones.
    accepted: VecDeque<Duration>,
}

impl EqualTiming {
    /// At most `max_waiting` refusals wait at a time.
    pub fn new(max_waiting: usize) -> Self {
        Self {
            waiting: Semaphore::new(max_waiting.min(Semaphore::MAX_PERMITS)),
            overshoot: AtomicI64::new(0),
            recent: Cache::new(CAPACITY),
        }
    }

    /// Learns from an answer about a user of this sync.
    pub fn learn(&self, user_sync: &UserSyncKey, accepted: bool, latency: Duration) {
        let Ok(recent) = self
            .recent
            .get_or_insert_with(user_sync, || Ok::<_, Infallible>(Arc::default()));
        let mut recent = recent.lock();
        let ring = if accepted {
            &mut recent.accepted
        } else {
            &mut recent.refused
        };
        if ring.len() == KEPT {
            ring.pop_front();
        }
        ring.push_back(latency);
    }

    /// Waits until a login that began at `start` has taken as long as one might that a directory answers for this sync.
    /// If too many wait already, it does not wait.
    pub async fn wait(&self, user_sync: Option<&UserSyncKey>, start: Instant, random: u64) {
        let delay = self.draw(user_sync, random).saturating_sub(start.elapsed());
        if delay.is_zero() {
            return;
        }
        let Ok(_permit) = self.waiting.try_acquire() else {
            return;
        };
        let asleep = Instant::now();
        let known = self.overshoot.load(Ordering::Relaxed);
        tokio::time::sleep(delay.saturating_sub(Duration::from_micros(known.unsigned_abs()))).await;
        // A running mean, without the misses of a process that stood still for a moment.
        let missed = micros(asleep.elapsed()) - micros(delay);
        let learnt = known + missed.clamp(-MAX_MISS_MICROS, MAX_MISS_MICROS) / 8;
        self.overshoot
            .store(learnt.clamp(0, MAX_MISS_MICROS), Ordering::Relaxed);
    }

    fn draw(&self, user_sync: Option<&UserSyncKey>, random: u64) -> Duration {
        let recent = user_sync.and_then(|key| self.recent.get(key));
        let drawn = recent.and_then(|recent| recent.lock().draw(random));
        drawn.unwrap_or_else(|| {
            let (shortest, longest) = UNKNOWN_MICROS;
            Duration::from_micros(shortest + random % (longest - shortest))
        })
    }
}

impl Recent {
    fn draw(&self, random: u64) -> Option<Duration> {
        let ring = match self.refused.len() {
            ENOUGH.. => &self.refused,
            few if few >= self.accepted.len() => &self.refused,
            _ => &self.accepted,
        };
        let chosen = random.checked_rem(ring.len() as u64)?;
        ring.get(chosen as usize).copied()
    }
}

fn micros(time: Duration) -> i64 {
    i64::try_from(time.as_micros()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_core::id::{TenantId, UserSyncId};

    use super::*;

    fn staff() -> UserSyncKey {
        UserSyncKey {
            tenant: TenantId::parse("acme").unwrap(),
            user_sync: UserSyncId::parse("staff").unwrap(),
        }
    }

    #[test]
    fn delays_are_drawn_from_what_refusals_took() {
        let equal_timing = EqualTiming::new(1);
        for millis in 0..100 {
            equal_timing.learn(&staff(), false, Duration::from_millis(millis));
            equal_timing.learn(&staff(), true, Duration::from_secs(9));
        }
        for random in 0..1_000 {
            let delay = equal_timing.draw(Some(&staff()), random);
            assert!((36..100).contains(&delay.as_millis()), "{delay:?}");
        }
    }

    #[test]
    fn while_few_refusals_are_known_right_passwords_serve_too() {
        let equal_timing = EqualTiming::new(1);
        assert!(equal_timing.draw(Some(&staff()), 12_345) <= Duration::from_millis(20));
        for _ in 0..5 {
            equal_timing.learn(&staff(), true, Duration::from_secs(1));
        }
        equal_timing.learn(&staff(), false, Duration::from_secs(3));
        assert_eq!(equal_timing.draw(Some(&staff()), 7), Duration::from_secs(1));
    }

    #[tokio::test]
    async fn waits_are_right_on_average_although_timers_are_coarse() {
        let equal_timing = EqualTiming::new(1);
        let wanted = Duration::from_micros(4_300);
        equal_timing.learn(&staff(), false, wanted);
        let mut missed = Vec::new();
        for _ in 0..100 {
            let start = Instant::now();
            equal_timing.wait(Some(&staff()), Instant::now(), 0).await;
            missed.push(micros(start.elapsed()) - micros(wanted));
        }
        missed.drain(..40);
        missed.sort_unstable();
        let median = missed[missed.len() / 2];
        assert!(median.abs() < 800, "{median} microseconds too long: {missed:?}");
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_wait() {
        let equal_timing = EqualTiming::new(1);
        equal_timing.learn(&staff(), false, Duration::from_secs(5));
        let start = tokio::time::Instant::now();
        tokio::join!(
            async {
                equal_timing.wait(Some(&staff()), Instant::now(), 0).await;
                assert_eq!(start.elapsed(), Duration::from_secs(5));
            },
            async {
                equal_timing.wait(Some(&staff()), Instant::now(), 0).await;
                assert_eq!(start.elapsed(), Duration::ZERO);
            }
        );
    }
}
