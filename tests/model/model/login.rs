//! Logins and single refreshes: DESIGN.md 4, as far as they change users or depend on them.

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use super::{Change, Event, Missing, Model, Pull, Run, State, Sync, User, Why, entries_of, is_below};

/// What a login is answered, and what the audit log says of it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The user with this id, and this login by now; or the reason of the denial.
    pub(crate) outcome: Result<(String, String), &'static str>,
    /// The precise reason.
    pub(crate) reason: &'static str,
}

/// Refused, without telling why.
fn refused(reason: &'static str) -> Answer {
    Answer {
        outcome: Err("INVALID_CREDENTIALS"),
        reason,
    }
}

/// Whether what somebody holds is what is typed.
fn is_same(held: &str, typed: &str) -> bool {
    !held.is_empty() && held.to_lowercase() == typed.to_lowercase()
}

impl Model {
    /// The user whose login or e-mail address this is.
    pub(crate) fn named(&self, typed: &str) -> Option<&User> {
        let mut holders = self
            .users
            .iter()
            .filter(|user| !matches!(user.state, State::Archived(_)));
        holders.find(|user| is_same(&user.login, typed) || is_same(&user.email, typed))
    }

    /// Somebody types this. Changes what a refresh then changes, which comes back as a run.
    pub(crate) fn login(
        &mut self,
        typed: &str,
        password: &str,
        syncs: &[Sync],
        tree: &Tree,
        now: DateTime<Utc>,
    ) -> (Answer, Run) {
        let denied = |reason| (refused(reason), Run::default());
        let Some(user) = self.named(typed).cloned() else {
            return denied("UNKNOWN_LOGIN");
        };
        let Some(number) = user.sync else {
            let answer = Answer {
                outcome: Err("LOCAL_USER"),
                reason: "LOCAL_USER",
            };
            return (answer, Run::default());
        };
        // Whom the directory disabled is tried all the same, so that what is mended at nine works at nine.
        let may_try = matches!(
            user.state,
            State::Active | State::Deactivated(Why::Disabled | Why::Expired)
        );
        if !may_try {
            return denied("DEACTIVATED");
        }
        if is_same(&user.login, typed) && user.ambiguous {
            return denied("AMBIGUOUS_LOGIN");
        }
        let in_force = self.in_force.get(&number).unwrap_or(&syncs[number]);
        let below =
            |entry: &&TreeEntry| is_of(entry, &user) && is_below(in_force, entry) && tree.is_shown(&entry.dn);
        let entries: Vec<&TreeEntry> = tree.entries().iter().filter(below).collect();
        let entry = match entries.as_slice() {
            [] => return denied("ENTRY_NOT_FOUND"),
            [entry] => *entry,
            // Reading: nobody can tell which of them is the person, so nobody's password is tried.
            _ => return denied("EXTERNAL_ID_SHARED"),
        };
        // Who is outside the edited searches is refused too.
        let in_scope = |sync: &Sync| entries_of(sync, tree).iter().any(|found| is_of(found, &user));
        if !in_scope(in_force) || !in_scope(&syncs[number]) {
            return denied("ENTRY_OUT_OF_SCOPE");
        }
        // OpenLDAP enforces the state, and refuses without a word.
        let stamp = now.format("%Y%m%d%H%M%SZ").to_string();
        let bound = entry.password.as_deref() == Some(password)
            && entry.values("pwdAccountLockedTime").is_empty()
            && entry.text("pwdEndTime").is_none_or(|end| end > stamp.as_str());
        if !bound {
            return denied("INVALID_CREDENTIALS");
        }
        let run = self.refresh(&user.id, syncs, tree, now);
        let after = self.users.iter().find(|after| after.id == user.id);
        let answer = match after.filter(|after| after.state == State::Active) {
            Some(after) => Answer {
                outcome: Ok((after.id.clone(), after.login.clone())),
                reason: "AUTHENTICATED",
            },
            None => refused("DEACTIVATED"),
        };
        (answer, run)
    }

    fn in_draft(&self, user: &User, edited: &Sync, tree: &Tree) -> bool {
        entries_of(edited, tree).iter().any(|entry| is_of(entry, user))
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
        let mut run = if found.is_empty() && elsewhere && self.in_draft(&user, &syncs[number], tree) {
            // An edit would find them, which a run has to try first.
            Run::default()
        } else if !found.is_empty() {
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
