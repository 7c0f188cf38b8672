//! Where users' entries were when this process last saw them. That is newer than what the last run says, and a moved
//! user's password goes to the old DN at most once.

use chrono::{DateTime, TimeDelta, Utc};
use quick_cache::sync::Cache;
use rollcall_core::id::UserId;

/// Users that are remembered. A user who is forgotten costs a search.
const CAPACITY: usize = 200_000;

/// DNs that this process has verified.
pub struct KnownDns(Cache<UserId, Seen>);

/// The DN of a user's entry, and when it was seen; no DN if the entry was not found.
type Seen = (Option<String>, DateTime<Utc>);

impl KnownDns {
    /// Notes where an entry is now.
    pub fn note(&self, user: UserId, dn: Option<&str>, now: DateTime<Utc>) {
        self.0.insert(user, (dn.map(str::to_owned), now));
    }

    /// The DN to bind to at once: what a run saw or what this process saw, whichever is newer, if it is recent enough.
    pub fn recent(
        &self,
        user: UserId,
        stored: &str,
        pulled: Option<DateTime<Utc>>,
        trust: TimeDelta,
        now: DateTime<Utc>,
    ) -> Option<String> {
        let is_recent = |time: DateTime<Utc>| now - time < trust;
        match self.0.get(&user) {
            Some((dn, seen)) if pulled.is_none_or(|pulled| pulled <= seen) => dn.filter(|_| is_recent(seen)),
            _ => pulled.is_some_and(is_recent).then(|| stored.to_owned()),
        }
    }
}

impl Default for KnownDns {
    fn default() -> Self {
        Self(Cache::new(CAPACITY))
    }
}

#[cfg(test)]
mod tests {
    use rollcall_core::id::Uuid;

    use super::*;

    #[test]
    fn the_newer_of_a_run_and_a_login_counts_while_it_is_recent() {
        let known = KnownDns::default();
        let user = UserId(Uuid::from_u128(1));
        let at = |hour: i64| DateTime::UNIX_EPOCH + TimeDelta::hours(hour);
        let recent = |pulled: Option<i64>, now| {
            known.recent(user, "stored", pulled.map(at), TimeDelta::hours(24), at(now))
        };
        assert_eq!(recent(None, 0), None);
        assert_eq!(recent(Some(0), 23).as_deref(), Some("stored"));
        assert_eq!(recent(Some(0), 24), None);
        known.note(user, Some("seen"), at(30));
        assert_eq!(recent(Some(0), 31).as_deref(), Some("seen"));
        assert_eq!(recent(None, 53).as_deref(), Some("seen"));
        assert_eq!(recent(Some(0), 54), None);
        assert_eq!(recent(Some(40), 54).as_deref(), Some("stored"));
        known.note(user, None, at(54));
        assert_eq!(recent(Some(40), 55), None);
        assert_eq!(recent(Some(54), 55), None);
        assert_eq!(recent(Some(55), 55).as_deref(), Some("stored"));
    }
}
