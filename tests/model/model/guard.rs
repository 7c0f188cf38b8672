//! When a run waits for somebody: DESIGN.md 5.5.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, Event, State, User, Why};

/// What was applied, for the rolling window: when, by which user sync, of which sort.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log(Vec<(DateTime<Utc>, usize, &'static str)>);

/// Counts a change of this user sync's run, or of another one's user: that counts there.
pub(super) fn record(log: &mut Log, sync: usize, change: &Change, now: DateTime<Utc>) {
    let sync = change.after.sync.unwrap_or(sync);
    log.0
        .extend(sorts(change).into_iter().map(|sort| (now, sync, sort)));
}

impl Log {
    fn lately(&self, sync: usize, sort: &str, now: DateTime<Utc>) -> usize {
        let window = |(time, of, what): &&(DateTime<Utc>, usize, &'static str)| {
            *of == sync && *what == sort && *time > now - TimeDelta::days(7)
        };
        self.0.iter().filter(window).count()
    }

    /// Whether another user sync's run may still give another login to somebody of this one.
    pub(super) fn may_move(&self, sync: usize, users: &[User], now: DateTime<Utc>) -> bool {
        let own = users.iter().filter(|user| user.sync == Some(sync)).count();
        self.lately(sync, "LOGIN_CHANGES", now) < (own / 10).max(5)
    }
}

/// The sorts of changes that are more than is allowed. Reading: users of a sync are those who are ACTIVE before the run.
pub(super) fn holds(
    log: &Log,
    sync: usize,
    plan: &[Change],
    users: &[User],
    first: bool,
    now: DateTime<Utc>,
) -> Vec<&'static str> {
    let mut planned = BTreeMap::<&'static str, usize>::new();
    let own = plan.iter().filter(|change| change.after.sync == Some(sync));
    for sort in own.flat_map(sorts) {
        *planned.entry(sort).or_default() += 1;
    }
    let own = users.iter().filter(|user| user.sync == Some(sync));
    let active = own.filter(|user| user.state == State::Active).count();
    let mut holds = Vec::new();
    for (sort, count) in planned {
        let lately = log.lately(sync, sort, now);
        let limit = match sort {
            "GROWTH" => (active / 2).max(100),
            "LINKS" => 0,
            _ => (active / 10).max(5),
        };
        let free = first && matches!(sort, "GROWTH" | "LINKS");
        if count + lately > limit && !free {
            holds.push(sort);
        }
        // More than half of them, or the last one, always.
        if sort == "REMOVALS" && (count * 2 > active || count == active) {
            holds.push("MOST_USERS");
        }
    }
    holds
}

/// Whether an entry itself says that its person may not log in any more.
pub(super) fn is_stated(change: &Change) -> bool {
    use Why::{Disabled, Expired};
    let says_so = matches!(
        change.after.state,
        State::Deactivated(Disabled | Expired) | State::Archived(Disabled | Expired)
    );
    says_so && sorts(change).contains(&"REMOVALS")
}

/// Whether so many removals are few enough by themselves.
pub(super) fn may_remove(log: &Log, sync: usize, count: usize, users: &[User], now: DateTime<Utc>) -> bool {
    let own = users.iter().filter(|user| user.sync == Some(sync));
    let active = own.filter(|user| user.state == State::Active).count();
    count + log.lately(sync, "REMOVALS", now) <= (active / 10).max(5) && count * 2 <= active
}

/// What the guard counts a change as.
pub(super) fn sorts(change: &Change) -> Vec<&'static str> {
    let after = &change.after;
    let Some(before) = &change.before else {
        return vec!["GROWTH"];
    };
    let mut sorts = Vec::new();
    match change.event {
        Event::Transferred => sorts.push("TAKEOVERS"),
        Event::Linked => sorts.push("LINKS"),
        _ => {}
    }
    match (before.state, after.state) {
        (State::Active, State::Active) => {}
        (State::Active, _) => sorts.push("REMOVALS"),
        (_, State::Active) => sorts.push("RETURNS"),
        _ => {}
    }
    if before.role != after.role {
        sorts.push("ROLE_CHANGES");
    }
    if before.login != after.login {
        sorts.push("LOGIN_CHANGES");
    }
    if before.email != after.email {
        sorts.push("EMAIL_CHANGES");
    }
    for (name, value) in &before.fields {
        if !value.is_empty() && after.fields.get(name).is_some_and(String::is_empty) {
            sorts.push(name);
        }
    }
    sorts
}
