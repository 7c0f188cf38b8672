//! How long a refused bind password is not sent again: each try may count towards the lockout of the account.

use std::time::Duration;

use tokio::time::Instant;

/// After the first refusal.
const FIRST: Duration = Duration::from_secs(60);
/// After many. A directory may get its old password back, and nobody tells.
const LONGEST: Duration = Duration::from_secs(15 * 60);

/// Until when a refusal is remembered.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct RefusalMemory {
    until: Instant,
    length: Duration,
}

impl RefusalMemory {
    /// Of a refusal now. `before` is that of the same password's last one: each is remembered twice as long as the one before.
    pub(crate) fn after(before: Option<Self>, now: Instant) -> Self {
        let length = match before {
            None => FIRST,
            // Sent before the other one was answered.
            Some(before) if before.holds(now) => before.length,
            Some(before) => (before.length * 2).min(LONGEST),
        };
        Self {
            until: now + length,
            length,
        }
    }

    pub(crate) fn holds(self, now: Instant) -> bool {
        now < self.until
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory whose password is wrong, and logins all the time: so many binds in the half hour in which servers count.
    #[test]
    fn a_password_that_stays_wrong_is_sent_ever_more_rarely() {
        let start = Instant::now();
        let (mut memory, mut minutes) = (RefusalMemory::after(None, start), vec![0]);
        for second in 1..=2 * 60 * 60 {
            let now = start + Duration::from_secs(second);
            if !memory.holds(now) {
                memory = RefusalMemory::after(Some(memory), now);
                minutes.push(second / 60);
            }
        }
        assert_eq!(minutes, [0, 1, 3, 7, 15, 30, 45, 60, 75, 90, 105, 120]);
    }

    #[test]
    fn refusals_at_once_count_as_one() {
        let now = Instant::now();
        let first = RefusalMemory::after(None, now);
        assert_eq!(RefusalMemory::after(Some(first), now), first);
    }
}
