//! What the soft lock is for a directory's users: the deployment's rules, what the directory's admin set on
//! top of them, and what the server itself does to accounts. How attempts are counted is in `soft_lock/counter.rs`.

mod counter;

use std::time::Duration;

use chrono::TimeDelta;

pub use self::counter::{Settlement, Slot, SoftLockCounter, SoftLockPolicy, SoftLockSubject};
use crate::violation::Violations;
use crate::vocabulary::vocabulary;

/// Most wrong passwords that a limit may allow.
pub const MAX_LIMIT: u32 = 1_000;
/// Longest window and longest lock.
pub const MAX_DURATION: Duration = Duration::from_secs(7 * 86_400);
/// How much longer than a directory failures are remembered here: clocks differ.
const MARGIN: Duration = Duration::from_secs(300);

vocabulary! {
    /// Whether the soft lock refuses, or only tells what it would refuse.
    pub closed enum SoftLockMode {
        /// Attempts beyond the limit are refused.
        Enforce = "ENFORCE",
        /// Attempts beyond the limit are logged and go on.
        Log = "LOG",
    }
}

/// What a directory's admin set. What is `None` is as the deployment has it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct SoftLock {
    /// Wrong passwords after which logins are refused: 1 to [`MAX_LIMIT`].
    pub limit: Option<u32>,
    /// They are forgotten so long after the last one: 1 s to [`MAX_DURATION`].
    pub window: Option<Duration>,
    /// Logins are refused so long after the last one: 1 s to [`MAX_DURATION`], at least the window.
    pub duration: Option<Duration>,
    /// Whether logins are refused at all.
    pub mode: Option<SoftLockMode>,
}

/// What a directory itself does to accounts, as far as it is known.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct DirectoryLockout {
    /// Failed binds after which it locks an account.
    pub threshold: Option<u32>,
    /// Time after which it forgets failed binds.
    pub window: Option<Duration>,
}

/// The deployment's rules.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftLockDefaults {
    /// Limit while it is not known after how many wrong passwords a directory locks accounts itself.
    pub limit: u32,
    /// The most that the limit is when that is known.
    pub max_limit: u32,
    /// Window.
    pub window: Duration,
    /// Length of the lock.
    pub duration: Duration,
    /// Whether logins are refused.
    pub mode: SoftLockMode,
}

/// The rules for a directory's users.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct SoftLockRules {
    /// How attempts are counted.
    pub policy: SoftLockPolicy,
    /// The most failures of one user that may reach the directory, from all addresses together; `None` if its threshold is
    /// not known.
    pub ceiling: Option<u32>,
    /// Whether they are refused.
    pub mode: SoftLockMode,
}

impl SoftLock {
    /// All mistakes, with the paths of `SoftLock`'s fields.
    pub fn validate(&self) -> Violations {
        let mut found = Violations::new();
        let in_range = |time: Option<Duration>| {
            time.is_none_or(|time| (Duration::from_secs(1)..=MAX_DURATION).contains(&time))
        };
        found.require(
            self.limit.is_none_or(|limit| (1..=MAX_LIMIT).contains(&limit)),
            "limit",
            "must be from 1 to 1,000 wrong passwords",
        );
        found.require(in_range(self.window), "window", "must be from 1 s to 7 days");
        found.require(in_range(self.duration), "duration", "must be from 1 s to 7 days");
        let is_shorter = self
            .duration
            .zip(self.window)
            .is_some_and(|(lock, window)| lock < window);
        found.require(!is_shorter, "duration", "must not be shorter than the window");
        found
    }

    /// The limit, if the directory with this threshold makes it a lower one.
    pub(crate) fn is_clamped_by(&self, threshold: Option<u32>) -> bool {
        self.limit
            .zip(highest_limit(threshold))
            .is_some_and(|(limit, highest)| limit > highest)
    }
}

impl SoftLockDefaults {
    /// The rules for the users of a directory of which this is known.
    pub fn rules(&self, own: &SoftLock, directory: DirectoryLockout) -> SoftLockRules {
        let highest = highest_limit(directory.threshold);
        let limit = match (own.limit, highest) {
            (Some(own), highest) => own.min(highest.unwrap_or(u32::MAX)),
            // One attempt is left for addresses that are known to be the user's, if the directory's threshold leaves
            // any.
            (None, Some(highest)) => highest.saturating_sub(1).max(1).min(self.max_limit),
            (None, None) => self.limit,
        };
        // Failures that the directory still remembers count there, so they count here.
        let remembered = highest
            .and(directory.window)
            .map(|window| window.saturating_add(MARGIN));
        let window = own.window.unwrap_or(self.window);
        let window = window.max(remembered.unwrap_or_default()).min(MAX_DURATION);
        // A lock that ends before the failures are forgotten would begin anew at once.
        let lock = own.duration.unwrap_or(self.duration).max(window);
        SoftLockRules {
            policy: SoftLockPolicy {
                limit,
                window: delta(window),
                lock: delta(lock),
                fixed: false,
            },
            ceiling: highest,
            mode: own.mode.unwrap_or(self.mode),
        }
    }
}

/// The most wrong passwords that can be let through without the directory locking the account.
fn highest_limit(threshold: Option<u32>) -> Option<u32> {
    threshold
        .filter(|threshold| *threshold > 0)
        .map(|threshold| (threshold - 1).max(1))
}

fn delta(time: Duration) -> TimeDelta {
    TimeDelta::from_std(time.min(MAX_DURATION)).unwrap_or(TimeDelta::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    const DEFAULTS: SoftLockDefaults = SoftLockDefaults {
        limit: 3,
        max_limit: 10,
        window: Duration::from_secs(2_100),
        duration: Duration::from_secs(2_100),
        mode: SoftLockMode::Enforce,
    };

    fn knowing(threshold: Option<u32>, window: Option<u64>) -> DirectoryLockout {
        DirectoryLockout {
            threshold,
            window: window.map(Duration::from_secs),
        }
    }

    fn own(limit: u32) -> SoftLock {
        SoftLock {
            limit: Some(limit),
            ..SoftLock::default()
        }
    }

    #[test]
    fn the_limit_lies_below_the_directory_s_own_threshold_whatever_is_set() {
        for (own, threshold, limit) in [
            (SoftLock::default(), None, 3),
            (SoftLock::default(), Some(0), 3),
            (SoftLock::default(), Some(5), 3),
            (SoftLock::default(), Some(3), 1),
            (SoftLock::default(), Some(2), 1),
            (SoftLock::default(), Some(1), 1),
            (SoftLock::default(), Some(1_000), 10),
            (own(20), None, 20),
            (own(20), Some(0), 20),
            (own(20), Some(5), 4),
            (own(2), Some(5), 2),
            (own(20), Some(1), 1),
        ] {
            assert_eq!(
                DEFAULTS.rules(&own, knowing(threshold, None)).policy.limit,
                limit,
                "{own:?} {threshold:?}"
            );
        }
        assert!(own(5).is_clamped_by(Some(5)) && !own(4).is_clamped_by(Some(5)));
        assert!(!own(5).is_clamped_by(None) && !own(5).is_clamped_by(Some(0)));
    }

    #[test]
    fn a_lock_lasts_at_least_as_long_as_failures_are_remembered() {
        let seconds = |window, duration| SoftLock {
            window: Some(Duration::from_secs(window)),
            duration,
            ..SoftLock::default()
        };
        let rules = DEFAULTS.rules(&seconds(5_000, None), knowing(None, None));
        assert_eq!(rules.policy.lock, TimeDelta::seconds(5_000));
        let rules = DEFAULTS.rules(&seconds(60, Some(Duration::from_secs(90))), knowing(None, None));
        assert_eq!(
            (rules.policy.window, rules.policy.lock),
            (TimeDelta::seconds(60), TimeDelta::seconds(90))
        );
        assert_eq!(
            DEFAULTS
                .rules(&seconds(60, None), knowing(None, None))
                .policy
                .lock,
            TimeDelta::seconds(2_100)
        );
    }

    #[test]
    fn failures_are_remembered_for_longer_than_the_directory_remembers_them() {
        let short = SoftLock {
            window: Some(Duration::from_secs(60)),
            ..SoftLock::default()
        };
        for (own, threshold, window, remembered) in [
            (SoftLock::default(), Some(5), Some(1_800), 2_100),
            (SoftLock::default(), Some(5), Some(7_200), 7_500),
            (short, Some(5), Some(1_800), 2_100),
            (SoftLock::default(), Some(0), Some(7_200), 2_100),
            (SoftLock::default(), Some(5), None, 2_100),
            (SoftLock::default(), Some(5), Some(u64::MAX), 604_800),
        ] {
            let policy = DEFAULTS.rules(&own, knowing(threshold, window)).policy;
            assert_eq!(policy.window, TimeDelta::seconds(remembered), "{window:?}");
            assert!(policy.lock >= policy.window);
        }
    }

    #[test]
    fn every_mistake_is_told() {
        let wrong = SoftLock {
            limit: Some(0),
            window: Some(Duration::ZERO),
            duration: Some(MAX_DURATION + Duration::from_secs(1)),
            mode: None,
        };
        let fields = |lock: SoftLock| -> Vec<String> {
            lock.validate()
                .iter()
                .map(|violation| violation.field.clone())
                .collect()
        };
        assert_eq!(fields(wrong), ["limit", "window", "duration"]);
        let short = SoftLock {
            window: Some(Duration::from_secs(60)),
            duration: Some(Duration::from_secs(59)),
            ..own(1_001)
        };
        assert_eq!(fields(short), ["limit", "duration"]);
        assert!(fields(SoftLock::default()).is_empty());
    }
}
