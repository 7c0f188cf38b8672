//! How wrong passwords are counted, and how many may reach a directory.
//!
//! A slot is reserved before a bind and settled after it, so that parallel guesses cannot overshoot. A slot whose
//! outcome is unknown stays reserved until the window ends. Directories count failures until some time has passed since
//! the last one, and so does this: windows of fixed length would let through two limits around their border.

use chrono::{DateTime, TimeDelta, Utc};

use crate::id::UserId;

/// How far a clock may go back without anybody having set it. Counters are kept by the database's clock; another server
/// that takes its place has a clock of its own.
const MAX_SKEW: TimeDelta = TimeDelta::minutes(1);
/// An address from which a user logged in counts as theirs for this long.
const KNOWN_FOR: TimeDelta = TimeDelta::days(7);
/// A slot that was taken no longer ago may belong to an attempt that goes on. A bind takes less, if the directory is well.
const UNDER_WAY: TimeDelta = TimeDelta::seconds(5);

/// What is counted together.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub enum SoftLockSubject {
    /// A known user, whatever was typed.
    User(UserId),
    /// A known user at an address from which they logged in lately: the keyed hash of both. Strangers' guesses do not
    /// count here, so they do not shut the user out.
    UserAt(UserId, String),
    /// A login that names nobody: its keyed hash.
    UnknownLogin(String),
    /// An end user's address.
    Client(String),
}

/// How many failures are too many.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftLockPolicy {
    /// Failures, known and reserved, within a window.
    pub limit: u32,
    /// Failures are forgotten so long after the last one. Longer than the directory's own window: it counts
    /// from the last one too, so a count that begins anew here has begun anew there.
    pub window: TimeDelta,
    /// Once the limit is reached, attempts are refused for so long after the last one. At least the window.
    pub lock: TimeDelta,
    /// The window ends this long after its first attempt, not its last. For an address that many people share: somebody
    /// there always logs in, so mistakes would never be forgotten, and no directory counts by address.
    pub fixed: bool,
}

/// Failures of one subject.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftLockCounter {
    /// When the first failure was reserved.
    pub window_start: DateTime<Utc>,
    /// When the last slot was reserved.
    pub last_time: DateTime<Utc>,
    /// Failures that are known.
    pub failures: u32,
    /// Attempts whose outcome is not known, or not yet.
    pub reserved: u32,
    /// When a password was last right, of a user at an address.
    pub proven_time: Option<DateTime<Utc>>,
}

/// A reserved slot. Belongs to the window in which it was taken.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Slot {
    /// The window.
    pub window_start: DateTime<Utc>,
}

/// How an attempt ended, as far as the soft lock is concerned.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Settlement {
    /// The password was right: earlier failures are forgotten.
    Success,
    /// The password was wrong, or the directory counted the attempt.
    Failure,
    /// Nothing reached the directory: the slot is given back.
    NotSent,
    /// It may have reached the directory: the slot stays taken.
    Unknown,
}

impl Settlement {
    /// What it is for one of the attempt's subjects. A success forgets the user's failures, but only gives back the
    /// client's slot: otherwise somebody who guesses at others' passwords could clear the count by logging in as
    /// themselves.
    pub fn of(self, subject: &SoftLockSubject) -> Self {
        match (self, subject) {
            (Self::Success, SoftLockSubject::Client(_)) => Self::NotSent,
            _ => self,
        }
    }
}

impl SoftLockPolicy {
    /// Takes a slot, or says how long to wait. `shared` is the slot of an earlier attempt with the same password whose
    /// outcome is unknown. While that slot counts, it serves for this attempt too.
    pub fn reserve(
        &self,
        state: Option<SoftLockCounter>,
        shared: Option<Slot>,
        now: DateTime<Utc>,
    ) -> Result<(SoftLockCounter, Slot), TimeDelta> {
        let fresh = SoftLockCounter {
            proven_time: state.and_then(|state| state.proven_time),
            ..SoftLockCounter::new(now)
        };
        let mut state = match state {
            Some(state) if now < self.end(&state.no_later_than(now)) => state.no_later_than(now),
            _ => fresh,
        };
        let is_shared =
            state.reserved > 0 && shared.is_some_and(|slot| slot.window_start == state.window_start);
        if !is_shared {
            if self.is_reached(&state) {
                return Err(self.end(&state) - now);
            }
            state.reserved += 1;
        }
        state.last_time = state.last_time.max(now);
        Ok((
            state,
            Slot {
                window_start: state.window_start,
            },
        ))
    }

    /// Whether a subject without a slot may get one soon: attempts that may still go on, in any process, hold what the known
    /// failures leave.
    pub fn may_come_free(&self, state: &SoftLockCounter, now: DateTime<Utc>) -> bool {
        state.failures < self.limit && state.reserved > 0 && now - state.last_time < UNDER_WAY
    }

    /// When the failures are forgotten, if none is added.
    fn end(&self, state: &SoftLockCounter) -> DateTime<Utc> {
        let (since, time) = match (self.is_reached(state), self.fixed) {
            (true, _) => (state.last_time, self.lock),
            (false, true) => (state.window_start, self.window),
            (false, false) => (state.last_time, self.window),
        };
        since.checked_add_signed(time).unwrap_or(DateTime::<Utc>::MAX_UTC)
    }

    fn is_reached(&self, state: &SoftLockCounter) -> bool {
        state.failures.saturating_add(state.reserved) >= self.limit
    }
}

impl SoftLockCounter {
    /// A state without failures.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self {
            window_start: now,
            last_time: now,
            failures: 0,
            reserved: 0,
            proven_time: None,
        }
    }

    /// Moves times that lie in the future back to now. Attempts arrive a little out of order; a time further ahead was
    /// written by a wrong clock that was set back since. No failure is forgotten for it. The caller must save the
    /// result: otherwise the time would move on with the clock for ever.
    pub fn no_later_than(self, now: DateTime<Utc>) -> Self {
        let clamped = |time: DateTime<Utc>| match time - MAX_SKEW > now {
            true => now,
            false => time,
        };
        Self {
            window_start: clamped(self.window_start),
            last_time: clamped(self.last_time),
            ..self
        }
    }

    /// Whether the user logged in from this address lately.
    pub fn is_known(&self, now: DateTime<Utc>) -> bool {
        self.proven_time.is_some_and(|time| now - time < KNOWN_FOR)
    }

    /// The state after the attempt that holds `slot` ended. A slot of an earlier window changes nothing but
    /// a failure, which counts in this one.
    pub fn settle(mut self, slot: Slot, settlement: Settlement) -> Self {
        let own = slot.window_start == self.window_start;
        if own && settlement != Settlement::Unknown {
            self.reserved = self.reserved.saturating_sub(1);
        }
        match settlement {
            Settlement::Success => self.failures = 0,
            Settlement::Failure => self.failures = self.failures.saturating_add(1),
            Settlement::NotSent | Settlement::Unknown => {}
        }
        self
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const POLICY: SoftLockPolicy = SoftLockPolicy {
        limit: 3,
        window: TimeDelta::minutes(15),
        lock: TimeDelta::minutes(20),
        fixed: false,
    };

    fn at(minute: i64) -> DateTime<Utc> {
        DateTime::UNIX_EPOCH + TimeDelta::minutes(minute)
    }

    #[test]
    fn a_success_clears_the_user_s_count_and_not_the_client_s() {
        let client = SoftLockSubject::Client("192.0.2.7".into());
        let login = SoftLockSubject::UnknownLogin("hash".into());
        assert_eq!(Settlement::Success.of(&client), Settlement::NotSent);
        assert_eq!(Settlement::Success.of(&login), Settlement::Success);
        assert_eq!(Settlement::Failure.of(&client), Settlement::Failure);
        assert_eq!(Settlement::Unknown.of(&client), Settlement::Unknown);
    }

    #[test]
    fn parallel_guesses_cannot_overshoot() {
        let mut state = None;
        for _ in 0..3 {
            state = Some(POLICY.reserve(state, None, at(0)).unwrap().0);
        }
        assert_eq!(POLICY.reserve(state, None, at(1)), Err(TimeDelta::minutes(19)));
    }

    #[test]
    fn a_slot_may_come_free_while_attempts_go_on_and_not_once_all_have_failed() {
        let mut reserved = SoftLockCounter::new(at(0));
        reserved.reserved = 3;
        let second = |second| at(0) + TimeDelta::seconds(second);
        assert!(POLICY.may_come_free(&reserved, second(1)));
        assert!(!POLICY.may_come_free(&reserved, second(5)));
        let mixed = SoftLockCounter {
            failures: 2,
            reserved: 1,
            ..reserved
        };
        assert!(POLICY.may_come_free(&mixed, second(1)));
        for failures in [3, 4] {
            let failed = SoftLockCounter { failures, ..mixed };
            assert!(!POLICY.may_come_free(&failed, second(1)));
        }
        let failed = SoftLockCounter {
            failures: 3,
            reserved: 0,
            ..reserved
        };
        assert!(!POLICY.may_come_free(&failed, second(1)));
    }

    #[test]
    fn failures_lock_until_so_long_after_the_last_one() {
        let mut state = None;
        for minute in 0..3 {
            let (reserved, slot) = POLICY.reserve(state, None, at(minute)).unwrap();
            state = Some(reserved.settle(slot, Settlement::Failure));
        }
        assert_eq!(POLICY.reserve(state, None, at(10)), Err(TimeDelta::minutes(12)));
        assert!(POLICY.reserve(state, None, at(21)).is_err());
        let (state, _) = POLICY.reserve(state, None, at(22)).unwrap();
        assert_eq!((state.failures, state.reserved), (0, 1));
    }

    #[test]
    fn failures_add_up_as_long_as_the_directory_may_add_them_up() {
        let failed = |state, minute| {
            let (reserved, slot) = POLICY.reserve(state, None, at(minute)).unwrap();
            Some(reserved.settle(slot, Settlement::Failure))
        };
        // The window of the first is over, and the second is remembered all the same.
        let state = failed(failed(failed(None, 0), 14), 28);
        assert!(POLICY.reserve(state, None, at(29)).is_err());
        let state = failed(failed(failed(None, 0), 14), 29);
        assert_eq!(state.unwrap().failures, 1);
    }

    #[test]
    fn a_busy_address_is_not_locked_by_the_mistakes_of_a_whole_day() {
        let client = SoftLockPolicy {
            fixed: true,
            ..POLICY
        };
        let mut state = None;
        for hour in 0..24 {
            let (reserved, slot) = client.reserve(state, None, at(hour * 60)).unwrap();
            state = Some(reserved.settle(slot, Settlement::Failure));
            for minute in (5..60).step_by(5) {
                let (reserved, slot) = client.reserve(state, None, at(hour * 60 + minute)).unwrap();
                state = Some(reserved.settle(slot, Settlement::NotSent));
            }
        }
        // Three within a window are too many all the same, for so long after the last one.
        let mut state = None;
        for minute in [0, 7, 14] {
            let (reserved, slot) = client.reserve(state, None, at(minute)).unwrap();
            state = Some(reserved.settle(slot, Settlement::Failure));
        }
        assert_eq!(client.reserve(state, None, at(20)), Err(TimeDelta::minutes(14)));
    }

    #[test]
    fn a_right_password_forgets_failures_but_not_other_attempts_under_way() {
        let (state, first) = POLICY.reserve(None, None, at(0)).unwrap();
        let state = state.settle(first, Settlement::Failure);
        let (state, second) = POLICY.reserve(Some(state), None, at(0)).unwrap();
        let (state, _third) = POLICY.reserve(Some(state), None, at(0)).unwrap();
        let state = state.settle(second, Settlement::Success);
        assert_eq!((state.failures, state.reserved), (0, 1));
    }

    #[test]
    fn an_unknown_outcome_keeps_its_slot_and_an_unsent_one_gives_it_back() {
        let (state, slot) = POLICY.reserve(None, None, at(0)).unwrap();
        assert_eq!(state.settle(slot, Settlement::Unknown).reserved, 1);
        assert_eq!(
            state.settle(slot, Settlement::NotSent),
            SoftLockCounter { reserved: 0, ..state }
        );
    }

    #[test]
    fn a_late_failure_counts_in_the_next_window() {
        let (_, old) = POLICY.reserve(None, None, at(0)).unwrap();
        let (state, _) = POLICY.reserve(None, None, at(20)).unwrap();
        let state = state.settle(old, Settlement::Failure);
        assert_eq!((state.failures, state.reserved), (1, 1));
    }

    #[test]
    fn an_attempt_that_arrives_out_of_order_begins_no_new_window() {
        let (state, _) = POLICY.reserve(None, None, at(10)).unwrap();
        let earlier = at(10) - TimeDelta::milliseconds(3);
        let (state, _) = POLICY.reserve(Some(state), None, earlier).unwrap();
        assert_eq!((state.window_start, state.reserved), (at(10), 2));
    }

    #[test]
    fn a_clock_set_back_does_not_lock_for_longer() {
        let state = SoftLockCounter {
            failures: 3,
            ..SoftLockCounter::new(at(1000))
        };
        assert_eq!(POLICY.reserve(Some(state), None, at(0)), Err(POLICY.lock));
    }

    #[test]
    fn failures_that_a_clock_ahead_wrote_are_not_forgotten() {
        let mut state = None;
        for failure in 0..3 {
            let minute = if failure == 1 { 60 } else { 0 };
            let (reserved, slot) = SoftLockPolicy {
                lock: TimeDelta::hours(2),
                window: TimeDelta::hours(2),
                ..POLICY
            }
            .reserve(state, None, at(minute))
            .unwrap();
            state = Some(reserved.settle(slot, Settlement::Failure));
        }
        assert_eq!(state.unwrap().failures, 3);
        let ahead = SoftLockCounter {
            failures: 2,
            ..SoftLockCounter::new(at(60))
        };
        let (state, _) = POLICY.reserve(Some(ahead), None, at(0)).unwrap();
        assert_eq!((state.failures, state.reserved), (2, 1));
        assert!(POLICY.reserve(Some(state), None, at(1)).is_err());
    }

    #[test]
    fn attempts_of_unknown_outcome_with_one_password_share_a_slot() {
        let one = SoftLockPolicy { limit: 1, ..POLICY };
        let (state, slot) = one.reserve(None, None, at(0)).unwrap();
        let state = state.settle(slot, Settlement::Unknown);
        assert!(one.reserve(Some(state), None, at(1)).is_err());
        let (state, again) = one.reserve(Some(state), Some(slot), at(1)).unwrap();
        assert_eq!((state.reserved, state.last_time, again), (1, at(1), slot));
        let state = state.settle(again, Settlement::Failure);
        assert_eq!((state.failures, state.reserved), (1, 0));
        // Once it is settled, or its window is over, it is nobody's.
        assert!(one.reserve(Some(state), Some(slot), at(2)).is_err());
        let (state, later) = one.reserve(Some(state), Some(slot), at(60)).unwrap();
        assert_eq!((state.reserved, later.window_start), (1, at(60)));
    }

    #[test]
    fn an_address_stays_the_user_s_for_a_while_after_the_last_right_password() {
        let state = SoftLockCounter::new(at(0));
        assert!(!state.is_known(at(0)));
        let state = SoftLockCounter {
            proven_time: Some(at(0)),
            ..state
        };
        let (state, _) = POLICY.reserve(Some(state), None, at(60 * 24 * 6)).unwrap();
        assert!(state.is_known(at(60 * 24 * 6)) && !state.is_known(at(60 * 24 * 7)));
    }
}
