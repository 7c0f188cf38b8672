//! When a run waits for somebody: DESIGN.md 5.5.

use std::collections::BTreeMap;

use chrono::{DateTime, TimeDelta, Utc};

use super::{Change, Event, State, User};

/// What was applied, for the rolling window: when, by which user sync, of which sort.
#[derive(Debug, Default, Clone)]
pub(crate) struct Log(Vec<(DateTime<Utc>, usize, &'static str)>);

pub(super) fn record(log: &mut Log, sync: usize, change: &Change, now: DateTime<Utc>) {
    log.0
        .extend(sorts(change).into_iter().map(|sort| (now, sync, sort)));
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
    for sort in plan.iter().flat_map(sorts) {
        *planned.entry(sort).or_default() += 1;
    }
    let own = users.iter().filter(|user| user.sync == Some(sync));
    let active = own.filter(|user| user.state == State::Active).count();
    let mut holds = Vec::new();
    for (sort, count) in planned {
        let window = |(time, of, what): &&(DateTime<Utc>, usize, &'static str)| {
            *of == sync && *what == sort && *time > now - TimeDelta::days(7)
        };
        let lately = log.0.iter().filter(window).count();
        let (limit, always) = match sort {
            "created" => ((active / 2).max(100), first),
            "linked" => (0, first),
            // Above half of a set, and all of it, always.
            "removals" if count * 2 > active => (0, false),
            _ => ((active / 10).max(5), false),
        };
        if count + lately > limit && !always {
            holds.push(sort);
        }
    }
    holds
}

/// What the guard counts a change as.
pub(super) fn sorts(change: &Change) -> Vec<&'static str> {
    let after = &change.after;
    let Some(before) = &change.before else {
        return vec!["created"];
    };
    let mut sorts = Vec::new();
    match change.event {
        Event::Transferred => sorts.push("takeovers"),
        Event::Linked => sorts.push("linked"),
        _ => {}
    }
    match (before.state, after.state) {
        (State::Active, State::Active) => {}
        (State::Active, _) => sorts.push("removals"),
        (_, State::Active) => sorts.push("returns"),
        _ => {}
    }
    if before.role != after.role {
        sorts.push("roles");
    }
    if before.login != after.login {
        sorts.push("logins");
    }
    if before.email != after.email {
        sorts.push("e-mail addresses");
    }
    for (name, value) in &before.fields {
        if !value.is_empty() && after.fields.get(name).is_some_and(String::is_empty) {
            sorts.push(name);
        }
    }
    sorts
}
