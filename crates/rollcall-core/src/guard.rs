//! The guard: when a plan must wait for a person. The worst incidents of this field are mass removals after
//! an error or a slip in a filter; a plan that looks like one is held before anything is written.

use crate::user_sync::RemovalLimit;

/// Removals allowed in a rolling week if the limit says nothing.
pub const DEFAULT_MAX_COUNT: u32 = 5;
/// The same in per cent of the sync's users.
pub const DEFAULT_MAX_PERCENT: u32 = 10;
/// How far back removals count.
pub const REMOVAL_WINDOW: chrono::TimeDelta = chrono::TimeDelta::days(7);

/// What the guard looks at.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct GuardInput {
    /// Users of this sync that could log in before the run.
    pub active: u64,
    /// Of those, the ones whose entry a pull without gaps did not bring, before anything was confirmed.
    pub absent: u64,
    /// Users that would lose access by this plan, for whatever reason.
    pub removals: u64,
    /// Users of this sync that lost access by runs in the last week.
    pub recent_removals: u64,
    /// Users whose role would change.
    pub role_changes: u64,
    /// Users whose login would change.
    pub login_changes: u64,
    /// Users whose e-mail would change.
    pub email_changes: u64,
    /// Users that were found by login under another external id.
    pub relinked: u64,
    /// The searches, the mapping or the identity attribute changed since a run last applied.
    pub scope_changed: bool,
}

impl RemovalLimit {
    /// How many of `total` users may be removed. A zero in either part allows none; otherwise the larger of
    /// the two counts.
    pub fn allowed(&self, total: u64) -> u64 {
        if self.max_count == Some(0) || self.max_percent == Some(0) {
            return 0;
        }
        let count = u64::from(self.max_count.unwrap_or(DEFAULT_MAX_COUNT));
        let percent = u64::from(self.max_percent.unwrap_or(DEFAULT_MAX_PERCENT));
        count.max(total.saturating_mul(percent) / 100)
    }
}

/// Why the plan must wait, a sentence each. Empty: it may be applied.
pub fn hold_reasons(input: &GuardInput, limit: &RemovalLimit) -> Vec<String> {
    let allowed = limit.allowed(input.active);
    let mut reasons = Vec::new();
    let with_recent = input.removals + input.recent_removals;
    // With nothing to remove, earlier removals are no reason to hold: the plan cannot make it worse.
    if input.removals > 0 && with_recent > allowed {
        let recent = match input.recent_removals {
            0 => String::new(),
            recent => format!(" after {recent} in the last 7 days"),
        };
        reasons.push(format!(
            "it would take access away from {} of {} users{recent}; the limit is {allowed}",
            input.removals, input.active
        ));
    }
    let lost = input.absent.max(input.removals);
    if input.active > 0 && lost >= input.active {
        reasons.push(format!(
            "none of the {} users of this sync would remain",
            input.active
        ));
    } else if lost > input.active / 2 {
        reasons.push(format!(
            "more than half of the users, {lost} of {}, are missing or would lose access",
            input.active
        ));
    }
    for (changed, what) in [
        (input.role_changes, "role"),
        (input.login_changes, "login"),
        (input.email_changes, "e-mail address"),
    ] {
        if changed > allowed {
            reasons.push(format!(
                "the {what} of {changed} of {} users would change; the limit is {allowed}",
                input.active
            ));
        }
    }
    if input.relinked > 0 {
        reasons.push(format!(
            "{} users were found by login under another identifier; compare the old and the new distinguished name \
             of each, since a login may be somebody else's by now",
            input.relinked
        ));
    }
    // Absences that could not be confirmed remove nobody. Held for them, the run that takes the new scope would be
    // held each time, for as long as the directory does not answer.
    if input.scope_changed && input.removals > 0 {
        reasons.push(format!(
            "searches or mappings changed, and {} users of this sync are not among the results any more",
            lost
        ));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn held(input: GuardInput) -> bool {
        !hold_reasons(&input, &RemovalLimit::default()).is_empty()
    }

    #[test]
    fn small_changes_pass() {
        let base = GuardInput {
            active: 200,
            ..GuardInput::default()
        };
        assert!(!held(base));
        assert!(!held(GuardInput {
            removals: 20,
            absent: 20,
            ..base
        }));
        assert!(!held(GuardInput {
            active: 12,
            removals: 5,
            absent: 5,
            ..base
        }));
        assert!(!held(GuardInput {
            role_changes: 20,
            login_changes: 20,
            email_changes: 20,
            ..base
        }));
        assert!(!held(GuardInput {
            scope_changed: true,
            ..base
        }));
        assert!(
            !held(GuardInput {
                scope_changed: true,
                absent: 1,
                ..base
            }),
            "an absence in doubt"
        );
    }

    #[test]
    fn what_looks_like_an_accident_is_held() {
        let base = GuardInput {
            active: 200,
            ..GuardInput::default()
        };
        for input in [
            GuardInput { removals: 21, ..base },
            GuardInput {
                removals: 1,
                recent_removals: 20,
                ..base
            },
            GuardInput { absent: 101, ..base },
            GuardInput { absent: 200, ..base },
            GuardInput {
                active: 1,
                absent: 1,
                ..base
            },
            GuardInput {
                active: 4,
                removals: 3,
                ..base
            },
            GuardInput { relinked: 1, ..base },
            GuardInput {
                role_changes: 21,
                ..base
            },
            GuardInput {
                login_changes: 21,
                ..base
            },
            GuardInput {
                email_changes: 21,
                ..base
            },
            GuardInput {
                scope_changed: true,
                removals: 1,
                ..base
            },
        ] {
            assert!(held(input), "{input:?}");
        }
    }

    #[test]
    fn earlier_removals_alone_hold_nothing() {
        assert!(!held(GuardInput {
            active: 200,
            recent_removals: 50,
            ..GuardInput::default()
        }));
    }

    #[test]
    fn the_limit_is_the_larger_part_and_zero_allows_none() {
        let limit = |max_count, max_percent| RemovalLimit {
            max_count,
            max_percent,
        };
        assert_eq!(limit(None, None).allowed(10), 5);
        assert_eq!(limit(None, None).allowed(1000), 100);
        assert_eq!(limit(Some(7), Some(1)).allowed(1000), 10);
        assert_eq!(limit(Some(0), None).allowed(1000), 0);
        assert_eq!(limit(None, Some(0)).allowed(1000), 0);
    }

    proptest! {
        #[test]
        fn an_emptied_set_never_passes(active in 1u64..1_000_000, count in any::<u32>(), percent in 0u32..=100) {
            let limit = RemovalLimit { max_count: Some(count), max_percent: Some(percent) };
            let input = GuardInput { active, absent: active, removals: active, ..GuardInput::default() };
            prop_assert!(!hold_reasons(&input, &limit).is_empty());
        }

        #[test]
        fn more_removals_never_release_a_held_plan(
            active in 0u64..10_000, removals in 0u64..10_000, more in 0u64..10_000, recent in 0u64..10_000
        ) {
            let input = GuardInput { active, removals, recent_removals: recent, ..GuardInput::default() };
            let worse = GuardInput { removals: removals + more, ..input };
            let limit = RemovalLimit::default();
            if !hold_reasons(&input, &limit).is_empty() {
                prop_assert!(!hold_reasons(&worse, &limit).is_empty());
            }
        }

        /// Night after night, however the losses are spread: what goes by itself within any seven days is within
        /// the limit, and a small loss passes once the earlier ones are a week old.
        #[test]
        fn no_week_takes_more_than_the_limit(
            people in 1u64..500,
            nights in prop::collection::vec((0i64..5, 0u64..60), 1..60),
        ) {
            let limit = RemovalLimit::default();
            let week = REMOVAL_WINDOW.num_days();
            let (mut day, mut active) = (0, people);
            let mut gone: Vec<(i64, u64)> = Vec::new();
            for (pause, loss) in nights {
                day += pause;
                let loss = loss.min(active);
                let recent = gone.iter().filter(|(when, _)| *when >= day - week).map(|(_, count)| count).sum();
                let input = GuardInput {
                    active,
                    absent: loss,
                    removals: loss,
                    recent_removals: recent,
                    ..GuardInput::default()
                };
                let held = held(input);
                if recent == 0 && loss <= limit.allowed(active) && loss <= active / 2 {
                    prop_assert!(!held || active == loss, "{:?}", input);
                }
                if !held {
                    active -= loss;
                    gone.push((day, loss));
                }
            }
            for (first, _) in &gone {
                let days = *first..=*first + week;
                let within: u64 = gone.iter().filter(|(day, _)| days.contains(day)).map(|(_, count)| count).sum();
                prop_assert!(within <= limit.allowed(people), "{} of {} from day {}", within, people, first);
            }
        }
    }
}
