//! Logins and single refreshes: DESIGN.md 4, as far as they change users or depend on them.

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use super::{Change, Event, Missing, Model, Pull, Run, State, Sync, User, Why, entries_of};

/// What a login is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The user with this id, and this login by now.
    Authenticated(String, String),
    Denied(&'static str),
}

impl Model {
    /// Somebody types this. Changes what a refresh then changes, which comes back as a run.
    pub(crate) fn login(
        &mut self,
        typed: &str,
        password: &str,
        syncs: &[Sync],
        tree: &Tree,
        now: DateTime<Utc>,
    ) -> (Answer, Run) {
        let denied = (Answer::Denied("INVALID_CREDENTIALS"), Run::default());
        let same = |held: &str| !held.is_empty() && held.to_lowercase() == typed.to_lowercase();
        let known = self.users.iter().find(|user| {
            !matches!(user.state, State::Archived(_)) && (same(&user.login) || same(&user.email))
        });
        let Some(user) = known.cloned() else { return denied };
        let Some(number) = user.sync else {
            return (Answer::Denied("LOCAL_USER"), Run::default());
        };
        // Whom the directory disabled is tried all the same, so that what is mended at nine works at nine.
        let may_try = matches!(
            user.state,
            State::Active | State::Deactivated(Why::Disabled | Why::Expired)
        );
        let ambiguous = same(&user.login) && user.ambiguous;
        let entry = tree.entries().iter().find(|entry| is_of(entry, &user));
        let Some(entry) = entry.filter(|_| may_try && !ambiguous) else {
            return denied;
        };
        let in_scope = |sync: &Sync| entries_of(sync, tree).iter().any(|found| is_of(found, &user));
        let stamp = now.format("%Y%m%d%H%M%SZ").to_string();
        let bound = entry.password.as_deref() == Some(password)
            && entry.values("pwdAccountLockedTime").is_empty()
            && entry.text("pwdEndTime").is_none_or(|end| end > stamp.as_str());
        // Who is outside the edited searches is refused too.
        if !bound || !in_scope(&syncs[number]) {
            return denied;
        }
        let run = self.refresh(&user.id, syncs, tree, now);
        let after = self.users.iter().find(|after| after.id == user.id);
        match after.filter(|after| after.state == State::Active) {
            Some(after) => (Answer::Authenticated(after.id.clone(), after.login.clone()), run),
            None => (denied.0, run),
        }
    }

    /// One user's entry is read anew.
    pub(crate) fn refresh(&mut self, id: &str, syncs: &[Sync], tree: &Tree, now: DateTime<Utc>) -> Run {
        let known = self.users.iter().find(|user| user.id == id);
        let Some(user) = known.cloned() else {
            return Run::default();
        };
        let Some(number) = user.sync else {
            return Run::default();
        };
        let mut in_force = syncs.to_vec();
        if let Some(sync) = self.in_force.get(&number) {
            in_force[number] = sync.clone();
        }
        let found = entries_of(&in_force[number], tree).into_iter();
        let found: Vec<&TreeEntry> = found.filter(|entry| is_of(entry, &user)).collect();
        let elsewhere = tree.entries().iter().any(|entry| is_of(entry, &user));
        let mut run = if !found.is_empty() {
            self.judge_all(number, &in_force, tree, Pull::Complete, &found, &[], false, now)
        } else if elsewhere {
            leaves(&user, in_force[number].missing)
        } else {
            // Reading: that an entry is gone is for a run to confirm.
            Run::default()
        };
        run.waiting.clear();
        self.apply(number, &run.applied, now);
        run
    }
}

/// What was read and proven out of scope gets what `missing_users` says.
fn leaves(user: &User, missing: Missing) -> Run {
    let mut after = user.clone();
    let (state, event) = match (missing, user.state) {
        (Missing::Ignore, _) => return Run::default(),
        (_, State::Deactivated(Why::Gone | Why::OutOfScope) | State::Archived(_)) => {
            return Run::default();
        }
        (Missing::Archive, _) => (State::Archived(Why::OutOfScope), Event::Archived),
        (Missing::Deactivate, State::Active) => (State::Deactivated(Why::OutOfScope), Event::Deactivated),
        (Missing::Deactivate, _) => (State::Deactivated(Why::OutOfScope), Event::Updated),
    };
    after.state = state;
    Run {
        applied: vec![Change {
            event,
            before: Some(user.clone()),
            after,
        }],
        ..Run::default()
    }
}

pub(super) fn is_of(entry: &TreeEntry, user: &User) -> bool {
    entry.text("entryUUID") == Some(user.id.as_str())
}
