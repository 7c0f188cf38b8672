//! Repeated wrong passwords. A telephone that keeps trying an old password would lock its owner out. So a password that
//! was wrong a moment ago is refused without asking the directory, and counts once.
//!
//! Only refusals are remembered here: a right password is proven by a bind, every time.

use std::collections::{HashSet, VecDeque};
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::Instant;

use crate::login::memory::keyed_hash::Fingerprint;

/// Passwords that are remembered. Beyond it the oldest is forgotten early.
const CAPACITY: usize = 100_000;

/// The wrong passwords of the last moments.
pub struct WrongPasswords {
    keep: Duration,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    known: HashSet<Fingerprint>,
    /// All are kept equally long, so the oldest ends first.
    order: VecDeque<(Instant, Fingerprint)>,
}

impl WrongPasswords {
    /// Remembers each password for `keep`; zero remembers nothing.
    pub fn new(keep: Duration) -> Self {
        Self {
            keep,
            inner: Mutex::default(),
        }
    }

    /// True if this password was wrong a moment ago.
    pub fn contains(&self, fingerprint: &Fingerprint, now: Instant) -> bool {
        let mut inner = self.inner.lock();
        inner.forget_before(now, self.keep);
        inner.known.contains(fingerprint)
    }

    /// Remembers a password that was proven wrong.
    pub fn remember(&self, fingerprint: Fingerprint, now: Instant) {
        let mut inner = self.inner.lock();
        inner.forget_before(now, self.keep);
        // The time runs from the first attempt: repetitions must not prolong it.
        if !self.keep.is_zero() && inner.known.insert(fingerprint) {
            inner.order.push_back((now, fingerprint));
        }
        if inner.order.len() > CAPACITY {
            inner.forget_oldest();
        }
    }
}

impl Inner {
    fn forget_before(&mut self, now: Instant, keep: Duration) {
        while self
            .order
            .front()
            .is_some_and(|(since, _)| now.saturating_duration_since(*since) >= keep)
        {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, oldest)) = self.order.pop_front() {
            self.known.remove(&oldest);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_wrong_password_is_remembered_from_the_first_time_and_no_longer() {
        let wrong_passwords = WrongPasswords::new(Duration::from_secs(60));
        let start = Instant::now();
        let at = |seconds| start + Duration::from_secs(seconds);
        assert!(!wrong_passwords.contains(&[1; 32], at(0)));
        wrong_passwords.remember([1; 32], at(0));
        wrong_passwords.remember([1; 32], at(50));
        assert!(wrong_passwords.contains(&[1; 32], at(59)));
        assert!(!wrong_passwords.contains(&[2; 32], at(59)));
        assert!(!wrong_passwords.contains(&[1; 32], at(60)));
    }

    #[test]
    fn memory_is_bounded() {
        let wrong_passwords = WrongPasswords::new(Duration::from_secs(60));
        let now = Instant::now();
        for number in 0..=CAPACITY as u64 {
            let mut fingerprint = [0; 32];
            fingerprint[..8].copy_from_slice(&number.to_be_bytes());
            wrong_passwords.remember(fingerprint, now);
        }
        assert!(!wrong_passwords.contains(&[0; 32], now));
        let inner = wrong_passwords.inner.lock();
        assert_eq!((inner.known.len(), inner.order.len()), (CAPACITY, CAPACITY));
    }

    #[test]
    fn nothing_is_remembered_when_it_is_switched_off() {
        let wrong_passwords = WrongPasswords::new(Duration::ZERO);
        let now = Instant::now();
        wrong_passwords.remember([1; 32], now);
        assert!(!wrong_passwords.contains(&[1; 32], now));
    }
}
