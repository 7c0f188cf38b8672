//! Counters of logins under way in memory, for PostgreSQL: what this process wrote a moment ago need not be read again, since the
//! statement that writes compares it with what is there.
//!
//! A counter is kept from a login's reservation to its end. Beyond that only while nobody else changes the counters that are
//! kept: other replicas do, and what is kept of them costs a round trip each time it turns out to be old.

use std::collections::{BTreeSet, HashMap};
use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::throttle::ThrottleState;
use tokio::time::Instant;

use crate::login::soft_lock::rows::Key;

/// Most counters that are kept. At this many all are forgotten, so those of logins that never ended are too.
const CAPACITY: usize = 30_000;
/// How long nothing is kept beyond a login's end once a counter turned out to be old.
const DISTRUST: Duration = Duration::from_secs(10);
/// A connection that nobody used for longer than this may be lost. Only a read finds that out without harm.
const IDLE: Duration = Duration::from_millis(500);

/// What is known without asking.
#[derive(Default)]
pub(super) struct Recent {
    counters: HashMap<Key, ThrottleState>,
    /// The database's time, and when it was read.
    clock: Option<(DateTime<Utc>, Instant)>,
    distrusted_until: Option<Instant>,
}

impl Recent {
    /// These counters and the database's time. `None` if one of them is not known, or the connection may be lost.
    pub(super) fn find(
        &self,
        keys: &BTreeSet<Key>,
        now: Instant,
    ) -> Option<(HashMap<Key, ThrottleState>, DateTime<Utc>)> {
        let (time, read) = self.clock?;
        let passed = now.saturating_duration_since(read);
        if passed > IDLE || keys.is_empty() {
            return None;
        }
        let known = keys
            .iter()
            .map(|key| Some((key.clone(), *self.counters.get(key)?)));
        let counters = known.collect::<Option<_>>()?;
        let passed = i64::try_from(passed.as_micros()).ok()?;
        Some((counters, time + TimeDelta::microseconds(passed)))
    }

    /// Keeps counters as they were written, but for those of `ended` logins if others change them too.
    pub(super) fn keep<'s>(
        &mut self,
        written: impl Iterator<Item = (&'s Key, &'s ThrottleState)>,
        ended: &BTreeSet<Key>,
        now: Instant,
    ) {
        let is_trusted = self.distrusted_until.is_none_or(|until| until <= now);
        if self.counters.len() >= CAPACITY {
            self.counters.clear();
        }
        for (key, state) in written {
            match is_trusted || !ended.contains(key) {
                true => self.counters.insert(key.clone(), *state),
                false => self.counters.remove(key),
            };
        }
    }

    /// The database's time is this now.
    pub(super) fn set_clock(&mut self, time: DateTime<Utc>, now: Instant) {
        self.clock = Some((time, now));
    }

    /// What is kept was old.
    pub(super) fn distrust(&mut self, now: Instant) {
        self.counters.clear();
        self.distrusted_until = Some(now + DISTRUST);
    }

    /// Forgets counters that were written another way.
    pub(super) fn forget(&mut self, keys: impl Iterator<Item = Key>) {
        for key in keys {
            self.counters.remove(&key);
        }
    }

    /// Forgets everything, since the connection is gone.
    pub(super) fn forget_all(&mut self) {
        self.counters.clear();
        self.clock = None;
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn key(name: &str) -> Key {
        ("acme".to_owned(), name.to_owned())
    }

    fn known(recent: &Recent, names: &[&str], now: Instant) -> Option<DateTime<Utc>> {
        let keys = names.iter().map(|name| key(name)).collect();
        let (counters, time) = recent.find(&keys, now)?;
        assert_eq!(counters.len(), names.len());
        Some(time)
    }

    fn kept(recent: &mut Recent, name: &str, is_end: bool, now: Instant) {
        let (key, state) = (key(name), ThrottleState::new(DateTime::UNIX_EPOCH));
        let ended = is_end.then(|| key.clone()).into_iter().collect();
        recent.keep([(&key, &state)].into_iter(), &ended, now);
    }

    #[test]
    fn time_goes_on_and_a_connection_that_was_idle_is_not_relied_on() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        kept(&mut recent, "a", false, now);
        assert!(known(&recent, &["a"], now).is_none(), "nobody told the time");
        recent.set_clock(DateTime::UNIX_EPOCH, now);
        let passed = Duration::new(0, 1_234_567);
        assert_eq!(
            known(&recent, &["a"], now + passed),
            Some(DateTime::UNIX_EPOCH + TimeDelta::microseconds(1_234)),
            "the database counts in microseconds"
        );
        assert!(known(&recent, &["a", "b"], now).is_none());
        assert!(known(&recent, &[], now).is_none());
        assert!(known(&recent, &["a"], now + IDLE + passed).is_none());
        recent.forget([key("a")].into_iter());
        assert!(known(&recent, &["a"], now).is_none());
    }

    #[test]
    fn what_others_change_is_kept_no_longer_than_a_login_takes() {
        let (mut recent, now) = (Recent::default(), Instant::now());
        recent.set_clock(DateTime::UNIX_EPOCH, now);
        kept(&mut recent, "a", true, now);
        assert!(known(&recent, &["a"], now).is_some());
        recent.distrust(now);
        assert!(known(&recent, &["a"], now).is_none());
        kept(&mut recent, "a", false, now);
        assert!(known(&recent, &["a"], now).is_some());
        kept(&mut recent, "a", true, now);
        assert!(known(&recent, &["a"], now).is_none());
        kept(&mut recent, "a", true, now + DISTRUST);
        assert!(known(&recent, &["a"], now).is_some());
    }
}
