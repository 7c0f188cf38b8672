//! When a user sync runs by itself: at the times of its schedule, each a little delayed, so that not all start at once.

use std::time::Duration;

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::UserSyncKey;
use rollcall_core::schedule::{Schedule, jitter};
use rollcall_core::user_sync::UserSyncSettings;

/// When a user sync runs next by itself, as of `now`; `None` if it does not. It starts a little after its time, always
/// by the same part of `spread`.
pub(crate) fn next_run_time(
    key: &UserSyncKey,
    settings: &UserSyncSettings,
    spread: Duration,
    now: DateTime<Utc>,
) -> Option<DateTime<Utc>> {
    if settings.disabled || !settings.auto_sync {
        return None;
    }
    let late = TimeDelta::from_std(jitter(&key.to_string(), spread)).ok()?;
    let schedule = Schedule::parse(&settings.cron, &settings.time_zone).ok()?;
    Some(schedule.next_after(now - late)? + late)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};

    use super::*;

    const SPREAD: Duration = Duration::from_secs(3600);

    fn key() -> UserSyncKey {
        UserSyncKey {
            tenant: TenantId::parse("acme").unwrap(),
            user_sync: UserSyncId::parse("staff").unwrap(),
        }
    }

    fn nightly() -> UserSyncSettings {
        UserSyncSettings {
            auto_sync: true,
            ..UserSyncSettings::with_defaults(DirectoryId::parse("hq").unwrap())
        }
    }

    fn at(time: &str) -> DateTime<Utc> {
        time.parse().unwrap()
    }

    #[test]
    fn a_sync_runs_a_little_after_its_time_and_always_equally_late() {
        let first = next_run_time(&key(), &nightly(), SPREAD, at("2026-03-01T12:00:00Z")).unwrap();
        let late = first - at("2026-03-02T02:00:00Z");
        assert!(late > TimeDelta::zero() && late < TimeDelta::hours(1), "{late}");
        let second = next_run_time(&key(), &nightly(), SPREAD, first).unwrap();
        assert_eq!(second - first, TimeDelta::days(1));
    }

    #[test]
    fn looking_between_the_scheduled_time_and_the_start_does_not_skip_the_run() {
        let first = next_run_time(&key(), &nightly(), SPREAD, at("2026-03-01T12:00:00Z")).unwrap();
        let just_before = first - TimeDelta::seconds(1);
        assert_eq!(
            next_run_time(&key(), &nightly(), SPREAD, just_before),
            Some(first)
        );
    }

    #[test]
    fn what_is_switched_off_has_no_next_time() {
        let now = at("2026-03-01T12:00:00Z");
        let manual = UserSyncSettings {
            auto_sync: false,
            ..nightly()
        };
        assert_eq!(next_run_time(&key(), &manual, SPREAD, now), None);
        let disabled = UserSyncSettings {
            disabled: true,
            ..nightly()
        };
        assert_eq!(next_run_time(&key(), &disabled, SPREAD, now), None);
    }
}
