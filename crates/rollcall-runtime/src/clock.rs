//! The one place that asks what time it is. Everything else takes the time as a parameter.

use std::sync::Arc;

use chrono::{DateTime, Utc};
use parking_lot::Mutex;

/// Tells the time.
#[derive(Clone, Debug)]
pub enum Clock {
    /// The system's time.
    System,
    /// A time that stands still until it is set, for tests.
    Manual(ManualClock),
}

/// A time that stands still until it is set. Clones share it.
#[derive(Clone, Debug)]
pub struct ManualClock(Arc<Mutex<DateTime<Utc>>>);

impl Clock {
    /// The time now.
    #[expect(clippy::disallowed_methods, reason = "this is the one clock")]
    pub fn now(&self) -> DateTime<Utc> {
        match self {
            Clock::System => Utc::now(),
            Clock::Manual(manual) => manual.now(),
        }
    }
}

impl ManualClock {
    /// A clock that stands at `now`.
    pub fn new(now: DateTime<Utc>) -> Self {
        Self(Arc::new(Mutex::new(now)))
    }

    /// Moves the clock, forwards or backwards.
    pub fn set(&self, now: DateTime<Utc>) {
        *self.0.lock() = now;
    }

    fn now(&self) -> DateTime<Utc> {
        *self.0.lock()
    }
}
