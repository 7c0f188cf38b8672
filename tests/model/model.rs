//! What Rollcall should hold: a page of plain code, written from DESIGN.md and the contract and from nothing else.
//!
//! It knows the whole tree and the whole past, so it needs no pages, no hashes and no store. Where DESIGN.md can be
//! read in two ways, a comment that begins with "Reading:" says which way it is read here.

mod claims;
mod guard;
mod judgement;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use self::claims::{Wishes, settle};
use self::guard::Log;
use self::judgement::{Judged, Standing};

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

/// An issue: what, about whose entry.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Issue {
    pub(crate) kind: &'static str,
    pub(crate) dn: String,
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
}

/// Everybody, and what the guard remembers.
#[derive(Debug, Default)]
pub(crate) struct Model {
    pub(crate) users: Vec<User>,
    log: Log,
    /// The user syncs that were applied in full at least once.
    imported: Vec<usize>,
}

impl Model {
    /// A run of a user sync that applies its plan, as far as the guard lets it.
    pub(crate) fn run(
        &mut self,
        number: usize,
        sync: &Sync,
        tree: &Tree,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        let mut run = self.plan(number, sync, tree, pull, now);
        if pull == Pull::Failed {
            run.state = "FAILED";
            return run;
        }
        let first = !self.imported.contains(&number);
        run.holds = guard::holds(&self.log, number, &run.applied, &self.users, first, now);
        if run.holds.is_empty() {
            run.state = if run.issues.is_empty() {
                "SUCCEEDED"
            } else {
                "SUCCEEDED_WITH_ISSUES"
            };
            if pull == Pull::Complete && first {
                self.imported.push(number);
            }
        } else {
            run.state = "HELD";
            // A hold never keeps a leaver. Reading: all that takes nobody's access away waits, harmless updates too.
            let spare = !run.holds.contains(&"removals");
            let leaves =
                |change: &Change| matches!(change.event, Event::Deactivated | Event::Archived) && spare;
            (run.applied, run.waiting) = run.applied.into_iter().partition(leaves);
        }
        self.apply(number, &run.applied, now);
        run
    }

    /// What a run would do, all of it in `applied`; changes nothing.
    pub(crate) fn plan(
        &self,
        number: usize,
        sync: &Sync,
        tree: &Tree,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        let mut run = Run::default();
        if pull == Pull::Failed {
            return run;
        }
        if pull != Pull::Complete {
            run.issue("PULL_INCOMPLETE", "");
        }
        let found = found(sync, tree, pull);
        let judged: Vec<Judged> = found
            .iter()
            .map(|entry| judgement::judge(sync, tree, entry, self.by_id(entry), now))
            .collect();

        // Whose is each entry?
        let mut wishes = Wishes::new(&self.users, number, sync);
        let mut taken = Vec::new();
        for judged in judged {
            let known = self.users.iter().position(|user| user.id == judged.id);
            match known.map(|at| &self.users[at]) {
                None if !sync.creates => {
                    run.count("ignored");
                    continue;
                }
                Some(user) if user.sync != Some(number) && !self.is_let_go(user, sync, tree) => {
                    run.issue("OVERLAP", judged.dn());
                    continue;
                }
                _ => {}
            }
            wishes.add(known, &judged);
            taken.push((known, judged));
        }
        // Who is missing? The absent have been found before anything is given to anybody.
        let absent = self.absent(number, sync, tree, &found, pull);
        for (at, why) in &absent {
            wishes.leaves(*at, *why);
        }
        let settled = settle(&wishes);

        for (at, why) in absent {
            let mut after = self.users[at].clone();
            after.state = match sync.missing {
                Missing::Archive => State::Archived(why),
                _ => State::Deactivated(why),
            };
            let event = match (sync.missing, self.users[at].state) {
                (Missing::Archive, _) => Event::Archived,
                (_, State::Active) => Event::Deactivated,
                // Reading: another reason for the same state is an update.
                _ => Event::Updated,
            };
            run.count(match event {
                Event::Archived => "archived",
                Event::Deactivated => "deactivated",
                _ => "updated",
            });
            run.applied.push(Change {
                event,
                before: Some(self.users[at].clone()),
                after,
            });
        }
        for (number_of_wish, (known, judged)) in taken.into_iter().enumerate() {
            let before = known.map(|at| self.users[at].clone());
            let (login, email) = (&settled.logins[number_of_wish], &settled.emails[number_of_wish]);
            let issues = judged.issues.iter().copied();
            let issues = issues.chain([login.issue, email.issue].into_iter().flatten());
            let issues: Vec<&'static str> = issues.collect();
            for kind in &issues {
                run.issue(kind, judged.dn());
            }
            if before.is_none() && login.value.is_empty() {
                continue;
            }
            if before.is_none() && judged.standing == Standing::Unreadable {
                continue;
            }
            let after = self.after(number, sync, before.as_ref(), &judged, &login.value, &email.value);
            let event = event(before.as_ref(), &after);
            run.count(match event {
                None if !sync.updates => "ignored",
                None => "unchanged",
                Some(Event::Created) => "created",
                Some(Event::Updated) => "updated",
                Some(Event::Deactivated) => "deactivated",
                Some(Event::Archived) => "archived",
                Some(Event::Reactivated) => "reactivated",
                Some(Event::Transferred) => "transferred",
                Some(Event::Linked) => "linked",
            });
            if let Some(event) = event {
                run.applied.push(Change { event, before, after });
            }
        }
        for (at, login, email) in settled.gives_way {
            let mut after = self.users[at].clone();
            // What a removal in this same run did to the same user goes first.
            if let Some(earlier) = run.applied.iter().find(|change| change.after.id == after.id) {
                after = earlier.after.clone();
            }
            let before = after.clone();
            if login {
                after.login.clear();
            }
            if email {
                after.email.clear();
            }
            run.count("updated");
            run.applied.push(Change {
                event: Event::Updated,
                before: Some(before),
                after,
            });
        }
        run.counts
            .insert("entries", i64::try_from(found.len()).unwrap_or(0));
        run.counts
            .insert("issues", i64::try_from(run.issues.len()).unwrap_or(0));
        run
    }

    /// Carries out a plan, or what is left of one that somebody releases.
    pub(crate) fn apply(&mut self, number: usize, changes: &[Change], now: DateTime<Utc>) {
        for change in changes {
            guard::record(&mut self.log, number, change, now);
            match self.users.iter_mut().find(|user| user.id == change.after.id) {
                Some(user) => *user = change.after.clone(),
                None => self.users.push(change.after.clone()),
            }
        }
    }

    fn by_id(&self, entry: &TreeEntry) -> Option<&User> {
        let id = entry.text("entryUUID")?;
        self.users.iter().find(|user| user.id == id)
    }

    /// Whether another user sync may have this user: its absence was applied, or nobody minds it and the searches do
    /// not find the person.
    fn is_let_go(&self, user: &User, _to: &Sync, _tree: &Tree) -> bool {
        let away = |why| matches!(why, Why::Gone | Why::OutOfScope);
        user.sync.is_some()
            && match user.state {
                State::Active => false,
                State::Deactivated(why) | State::Archived(why) => away(why),
            }
    }

    /// Users of this sync whose entry is not found, whatever their state, and why.
    fn absent(
        &self,
        number: usize,
        sync: &Sync,
        tree: &Tree,
        found: &[&TreeEntry],
        pull: Pull,
    ) -> Vec<(usize, Why)> {
        if pull != Pull::Complete || sync.missing == Missing::Ignore {
            return Vec::new();
        }
        let id_is = |entry: &TreeEntry, user: &User| entry.text("entryUUID") == Some(user.id.as_str());
        let mut absent = Vec::new();
        for (at, user) in self.users.iter().enumerate() {
            let known_away = matches!(
                user.state,
                State::Deactivated(Why::Gone | Why::OutOfScope)
                    | State::Archived(Why::Gone | Why::OutOfScope)
            );
            // An entry without an id that can be read excuses whoever is known by its name.
            let excused = found
                .iter()
                .any(|entry| entry.values("entryUUID").is_empty() && entry.dn.eq_ignore_ascii_case(&user.dn));
            if user.sync != Some(number)
                || known_away
                || excused
                || found.iter().any(|entry| id_is(entry, user))
            {
                continue;
            }
            let mut all = tree.entries().iter();
            let elsewhere = all.any(|entry| tree.is_shown(&entry.dn) && id_is(entry, user));
            absent.push((at, if elsewhere { Why::OutOfScope } else { Why::Gone }));
        }
        absent
    }

    /// The user after its entry was judged.
    fn after(
        &self,
        number: usize,
        sync: &Sync,
        before: Option<&User>,
        judged: &Judged,
        login: &str,
        email: &str,
    ) -> User {
        let state = match (judged.standing, before) {
            (Standing::Enabled, _) => State::Active,
            (Standing::Disabled, _) => State::Deactivated(Why::Disabled),
            (Standing::Expired, _) => State::Deactivated(Why::Expired),
            // Nobody comes back by what cannot be read, and nobody is taken anything.
            (Standing::Unreadable, Some(user)) => user.state,
            (Standing::Unreadable, None) => State::Active,
        };
        // Whoever holds no login cannot be ACTIVE. Reading: an archived person whose login is another's stays archived.
        let state = match before {
            Some(user) if login.is_empty() && user.state != State::Active => user.state,
            _ => state,
        };
        if let Some(user) = before
            && !sync.updates
            && user.sync == Some(number)
        {
            return User {
                state,
                ..user.clone()
            };
        }
        let mut fields = BTreeMap::new();
        for (name, read) in &judged.fields {
            let was = before.and_then(|user| user.fields.get(name)).cloned();
            let value = match read {
                judgement::Read::Value(value) => value.clone(),
                judgement::Read::Empty => String::new(),
                judgement::Read::Stays => was.unwrap_or_default(),
            };
            fields.insert(*name, value);
        }
        User {
            id: judged.id.clone(),
            sync: Some(number),
            dn: judged.dn().to_owned(),
            login: login.to_owned(),
            email: email.to_owned(),
            role: judged.role.to_owned(),
            fields,
            state,
            owner: false,
            linked: before.is_some_and(|user| user.linked || user.sync.is_none()),
        }
    }
}

impl Run {
    fn issue(&mut self, kind: &'static str, dn: &str) {
        self.issues.push(Issue {
            kind,
            dn: dn.to_owned(),
        });
    }

    fn count(&mut self, name: &'static str) {
        *self.counts.entry(name).or_default() += 1;
    }
}

/// The entries that the searches return.
fn found<'a>(sync: &Sync, tree: &'a Tree, pull: Pull) -> Vec<&'a TreeEntry> {
    let below = |entry: &&TreeEntry| {
        let dn = entry.dn.to_lowercase();
        dn.ends_with(&format!(",{}", sync.base.to_lowercase()))
            && entry.text("objectClass") == Some("inetOrgPerson")
            && tree.is_shown(&entry.dn)
    };
    let found = tree.entries().iter().filter(below);
    match pull {
        Pull::Partial(most) => found.take(most).collect(),
        _ => found.collect(),
    }
}

/// What the change of a user is called; `None` if there is none.
fn event(before: Option<&User>, after: &User) -> Option<Event> {
    let Some(before) = before else {
        return Some(Event::Created);
    };
    if before == after {
        return None;
    }
    Some(match (before.state, after.state) {
        _ if before.sync.is_none() => Event::Linked,
        _ if before.sync != after.sync => Event::Transferred,
        (State::Active, State::Deactivated(_)) => Event::Deactivated,
        // Reading: who was archived and is found disabled is deactivated again, and the event says so.
        (State::Archived(_), State::Deactivated(_)) => Event::Updated,
        (State::Deactivated(_) | State::Archived(_), State::Active) => Event::Reactivated,
        _ => Event::Updated,
    })
}

/// What an ask came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granted {
    value: String,
    issue: Option<&'static str>,
}
