//! What the model speaks of: users, user syncs, runs and what they do.

use std::collections::{BTreeMap, BTreeSet};

use super::guard;

/// Where a user stands, and why.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum State {
    Active,
    Deactivated(Why),
    Archived(Why),
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Why {
    Gone,
    OutOfScope,
    Disabled,
    Expired,
}

/// A user as the model has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct User {
    /// The entry's id, or the name that the test gave a LOCAL user.
    pub(crate) id: String,
    /// Which user sync owns it; none of a LOCAL user.
    pub(crate) sync: Option<usize>,
    pub(crate) dn: String,
    pub(crate) login: String,
    pub(crate) email: String,
    pub(crate) role: String,
    /// The other fields, by their names in the contract.
    pub(crate) fields: BTreeMap<&'static str, String>,
    pub(crate) state: State,
    pub(crate) owner: bool,
    pub(crate) linked: bool,
    /// The entry offers the login no more, and another enabled entry asks for it: nobody is bound by it.
    pub(crate) ambiguous: bool,
    /// The entry that asks for it, if it is one of another user sync: which, and its id.
    pub(crate) asked_by: Option<(usize, String)>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Missing {
    Ignore,
    Deactivate,
    Archive,
}

/// A user sync, as far as the life changes it.
#[derive(Debug, Clone)]
pub(crate) struct Sync {
    pub(crate) base: String,
    /// Whether the searches leave bosses out.
    pub(crate) without_bosses: bool,
    pub(crate) creates: bool,
    pub(crate) updates: bool,
    pub(crate) missing: Missing,
    pub(crate) renames: bool,
    pub(crate) overwrites_local: bool,
    /// Where `display_name` comes from, the best first.
    pub(crate) display_name: Vec<&'static str>,
    /// Roles by group, the first that holds wins; then by filter `employeeType`; else "user".
    pub(crate) groups: Vec<(String, &'static str)>,
    pub(crate) boss: Option<&'static str>,
}

/// How the directory answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pull {
    Complete,
    /// After the first so many entries of the tree's order.
    Partial(usize),
    Failed,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Event {
    Created,
    Updated,
    Deactivated,
    Archived,
    Reactivated,
    Transferred,
    Linked,
}

/// An issue: what, about whose entry, and what it names.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Issue {
    pub(crate) kind: &'static str,
    pub(crate) dn: String,
    /// The field of the contract's User.
    pub(crate) field: &'static str,
    /// The attribute that is at fault, or the candidate. Reading: where entries stand against each other, none is.
    pub(crate) attribute: String,
    /// The other entries that are concerned, of which it names one.
    pub(crate) others: BTreeSet<String>,
    /// The other user sync that is concerned.
    pub(crate) sync: Option<usize>,
}

impl Issue {
    pub(super) fn of(kind: &'static str, field: &'static str, attribute: &str) -> Self {
        Self {
            kind,
            field,
            attribute: attribute.to_owned(),
            ..Self::default()
        }
    }

    pub(super) fn at(self, dn: &str) -> Self {
        Self {
            dn: dn.to_owned(),
            ..self
        }
    }
}

/// One change of a plan.
#[derive(Debug, Clone)]
pub(crate) struct Change {
    pub(crate) event: Event,
    pub(crate) before: Option<User>,
    pub(crate) after: User,
}

/// What a run should say and do.
#[derive(Debug, Clone, Default)]
pub(crate) struct Run {
    pub(crate) state: &'static str,
    pub(crate) counts: BTreeMap<&'static str, i64>,
    pub(crate) issues: Vec<Issue>,
    pub(crate) holds: Vec<&'static str>,
    pub(crate) applied: Vec<Change>,
    /// What waits for somebody who looks at it.
    pub(crate) waiting: Vec<Change>,
    /// Somebody's login is ambiguous, as far as is known.
    pub(crate) ambiguous: bool,
}

impl Run {
    pub(super) fn issue(&mut self, kind: &'static str, dn: &str) {
        self.issues.push(Issue::of(kind, "", "").at(dn));
    }

    /// A hold never keeps a leaver: who loses access does so at once, if they are few enough by themselves. Reading: all
    /// else waits, harmless updates too, and whatever else changes for those who leave.
    pub(super) fn hold(&mut self, stated_may_go: bool) {
        // Reading: after an edit an absence may be the edit's doing, and waits; what an entry states does not.
        let edited = self.holds.contains(&"CONFIGURATION_CHANGED");
        let too_many = |hold: &str| ["REMOVALS", "MOST_USERS"].contains(&hold);
        let wait = match edited {
            true => !stated_may_go,
            false => self.holds.iter().any(|hold| too_many(hold)),
        };
        if wait {
            self.waiting = std::mem::take(&mut self.applied);
            return;
        }
        for change in std::mem::take(&mut self.applied) {
            let Some(before) = &change.before else {
                self.waiting.push(change);
                continue;
            };
            if (edited && !guard::is_stated(&change)) || !guard::sorts(&change).contains(&"REMOVALS") {
                self.waiting.push(change);
                continue;
            }
            let left = User {
                state: change.after.state,
                ..before.clone()
            };
            if left != change.after {
                self.count("updated");
                self.waiting.push(Change {
                    event: Event::Updated,
                    before: Some(left.clone()),
                    after: change.after.clone(),
                });
            }
            self.applied.push(Change {
                event: change.event,
                before: change.before.clone(),
                after: left,
            });
        }
    }

    pub(super) fn end(&self) -> &'static str {
        if self.issues.is_empty() {
            "SUCCEEDED"
        } else {
            "SUCCEEDED_WITH_ISSUES"
        }
    }

    pub(super) fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
}

/// What the change of a user is called; `None` if there is none.
pub(super) fn event(before: Option<&User>, after: &User) -> Option<Event> {
    let Some(before) = before else {
        return Some(Event::Created);
    };
    // Who asks for a login is no matter of the user.
    let same = User {
        asked_by: after.asked_by.clone(),
        ..before.clone()
    };
    if same == *after {
        return None;
    }
    Some(match (before.state, after.state) {
        _ if before.sync.is_none() => Event::Linked,
        _ if before.sync != after.sync => Event::Transferred,
        (State::Active, State::Deactivated(_)) => Event::Deactivated,
        // Reading: who was archived and is found disabled is deactivated again, and the event says so.
        (State::Archived(_), State::Deactivated(_)) => Event::Deactivated,
        (State::Active | State::Deactivated(_), State::Archived(_)) => Event::Archived,
        (State::Deactivated(_) | State::Archived(_), State::Active) => Event::Reactivated,
        _ => Event::Updated,
    })
}
