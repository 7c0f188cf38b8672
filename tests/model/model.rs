//! What Rollcall should hold: a page of plain code, written from DESIGN.md and the contract and from nothing else.
//!
//! It knows the whole tree and the whole past, so it needs no pages, no hashes and no store. Where DESIGN.md can be
//! read in two ways, a comment that begins with "Reading:" says which way it is read here.

mod claims;
mod guard;
mod judgement;
mod login;
mod neighbours;
mod shared;
mod words;

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use self::claims::{Wishes, settle};
use self::guard::Log;
use self::judgement::{Judged, Standing};
use self::shared::shared_ids;
pub(crate) use self::words::*;

/// Everybody, and what the guard remembers.
#[derive(Debug, Default, Clone)]
pub(crate) struct Model {
    pub(crate) users: Vec<User>,
    log: Log,
    /// The user syncs that were applied in full at least once.
    imported: Vec<usize>,
    /// The user syncs whose mapping or rules were edited since.
    edited: Vec<usize>,
    /// What waits for somebody, by user sync. Reading: who cancels a plan has not agreed to it, so a hold stands until a
    /// plan is applied.
    waiting: BTreeMap<usize, (Vec<Change>, Pull)>,
    /// Each user sync as it was when it was last applied in full.
    in_force: BTreeMap<usize, Sync>,
    /// What tells of an account's state and may not be read, as the last run of each user sync found out.
    hidden: BTreeMap<usize, Vec<&'static str>>,
    /// The user syncs of which somebody's login was ambiguous when all was read last, or since.
    ambiguous: BTreeSet<usize>,
}

impl Model {
    /// A run of a user sync that applies its plan, as far as the guard lets it.
    pub(crate) fn run(
        &mut self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        self.learn(number, &syncs[number], tree, pull);
        let mut run = self.plan(number, syncs, tree, pull, now);
        if pull == Pull::Failed {
            run.state = "FAILED";
            return run;
        }
        self.guard(number, &mut run, now);
        if run.holds.is_empty() {
            run.state = run.end();
            self.waiting.remove(&number);
            self.done(number, &syncs[number], pull);
        } else {
            run.state = "HELD";
            let stated = run
                .applied
                .iter()
                .filter(|change| guard::is_stated(change))
                .count();
            let may_go = guard::may_remove(&self.log, number, stated, &self.users, now);
            run.hold(may_go);
            self.waiting.insert(number, (run.waiting.clone(), pull));
        }
        self.note_ambiguous(number, &mut run, pull);
        self.apply(number, &run.applied, now);
        run
    }

    /// A preview: what a run would do and whether it would be held; changes no user.
    pub(crate) fn preview(
        &mut self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        self.learn(number, &syncs[number], tree, pull);
        let mut run = self.plan(number, syncs, tree, pull, now);
        run.state = if pull == Pull::Failed { "FAILED" } else { "PLANNED" };
        run.waiting = std::mem::take(&mut run.applied);
        run
    }

    /// Somebody releases a plan: the changes of it that are still right are applied.
    pub(crate) fn release(
        &mut self,
        number: usize,
        sync: &Sync,
        plan: &Run,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        let mut run = plan.clone();
        self.waiting.remove(&number);
        run.applied = std::mem::take(&mut run.waiting);
        run.state = run.end();
        // What somebody released does not count.
        let log = self.log.clone();
        self.apply(number, &run.applied, now);
        self.log = log;
        self.done(number, sync, pull);
        self.note_ambiguous(number, &mut run, pull);
        run
    }

    /// Who did not read everybody does not know that no login is ambiguous any more.
    fn note_ambiguous(&mut self, number: usize, run: &mut Run, pull: Pull) {
        if run.issues.iter().any(|issue| issue.kind == "LOGIN_AMBIGUOUS") {
            self.ambiguous.insert(number);
        } else if pull == Pull::Complete {
            self.ambiguous.remove(&number);
        }
        run.ambiguous = self.ambiguous.contains(&number);
    }

    /// How many entries the searches of a user sync find when they find all.
    pub(crate) fn entries(&self, sync: &Sync, tree: &Tree) -> usize {
        found(sync, tree, Pull::Complete).len()
    }

    /// A user sync was edited, perhaps its mapping or its rules.
    pub(crate) fn edit(&mut self, number: usize, touches_people: bool) {
        if touches_people {
            self.edited.push(number);
        }
    }

    /// A run finds out on the entries of its searches what may be read of their state.
    fn learn(&mut self, number: usize, sync: &Sync, tree: &Tree, pull: Pull) {
        if pull != Pull::Failed && self.entries(sync, tree) > 0 {
            let hidden = judgement::DECIDING.into_iter();
            let hidden = hidden.filter(|attribute| !tree.is_readable(attribute));
            self.hidden.insert(number, hidden.collect());
        }
    }

    fn hidden(&self, number: usize) -> &[&'static str] {
        self.hidden.get(&number).map_or(&[], Vec::as_slice)
    }

    fn guard(&self, number: usize, run: &mut Run, now: DateTime<Utc>) {
        let first = !self.imported.contains(&number);
        run.holds = guard::holds(&self.log, number, &run.applied, &self.users, first, now);
        let is_touchy = |change: &Change| {
            let sorts = guard::sorts(change);
            let own = change.after.sync == Some(number);
            own && (sorts.contains(&"REMOVALS") || sorts.contains(&"ROLE_CHANGES"))
        };
        if self.edited.contains(&number) && run.applied.iter().any(is_touchy) {
            run.holds.push("CONFIGURATION_CHANGED");
        }
    }

    /// Whether something of this user sync waits for somebody.
    pub(crate) fn waits(&self, number: usize) -> bool {
        self.waiting.contains_key(&number)
    }

    fn done(&mut self, number: usize, sync: &Sync, pull: Pull) {
        if pull == Pull::Complete {
            self.in_force.insert(number, sync.clone());
            self.imported.push(number);
            self.edited.retain(|edited| *edited != number);
        }
    }

    /// What a run would do, all of it in `applied`; changes nothing.
    pub(crate) fn plan(
        &self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        pull: Pull,
        now: DateTime<Utc>,
    ) -> Run {
        let sync = &syncs[number];
        if pull == Pull::Failed {
            return Run::default();
        }
        let found = found(sync, tree, pull);
        let mut absent = self.absent(number, sync, tree, &found, pull);
        // While ids do not read it is not known who is gone.
        let unproven = if tree.is_readable("entryUUID") {
            Vec::new()
        } else {
            std::mem::take(&mut absent)
        };
        let mut run = self.judge_all(number, syncs, tree, pull, &found, &absent, true, now);
        // Reading: it is one fact, and one issue, however many are concerned.
        if !unproven.is_empty() {
            run.issue("ABSENCE_UNCONFIRMED", "");
            *run.counts.entry("issues").or_default() += 1;
        }
        run
    }

    /// What becomes of the users whose entries these are, and of those who are absent.
    #[expect(clippy::too_many_arguments, reason = "all that a judgement depends on")]
    fn judge_all(
        &self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        pull: Pull,
        found: &[&TreeEntry],
        absent: &[(usize, Why)],
        whole: bool,
        now: DateTime<Utc>,
    ) -> Run {
        let sync = &syncs[number];
        let mut run = Run::default();
        // Whether all who may ask for something were read.
        let alone = !whole;
        let whole = whole && pull == Pull::Complete;
        if pull != Pull::Complete {
            run.issue("PULL_INCOMPLETE", "");
        }
        let judged: Vec<Judged> = found
            .iter()
            .map(|entry| judgement::judge(sync, tree, entry, self.by_id(entry), self.hidden(number), now))
            .collect();

        let ids = tree.is_readable("entryUUID");
        let shared = match ids {
            true => shared_ids(tree, &judged),
            false => BTreeMap::new(),
        };
        self.share(number, tree, &shared, &mut run, now);

        // Whose is each entry?
        let mut wishes = Wishes::new(&self.users, number, sync, alone);
        let (mut taken, mut away) = (Vec::new(), Vec::new());
        for judged in judged {
            if shared.contains_key(&judged.id) {
                continue;
            }
            if judged.id.is_empty() || !ids {
                run.issues
                    .push(Issue::of("MISSING_EXTERNAL_ID", "", "entryUUID").at(judged.dn()));
                continue;
            }
            let known = self.users.iter().position(|user| user.id == judged.id);
            let local = judged.login.values.first().and_then(|login| self.local(login));
            match (known.map(|at| &self.users[at]), local) {
                (None, _) if !sync.creates => {
                    wishes.stands_by(&judged, None);
                    run.count("ignored");
                    continue;
                }
                // Who is new and cannot be a user yet waits.
                (None, _) if judged.standing == Standing::Unreadable || judged.login.values.is_empty() => {
                    wishes.stands_by(&judged, None);
                    let issues = judged.issues.iter();
                    let issues = issues.chain(&judged.login.problem).chain(&judged.email.problem);
                    run.issues
                        .extend(issues.map(|issue| issue.clone().at(judged.dn())));
                    continue;
                }
                (None, Some(at)) if self.users[at].owner => {
                    run.issues
                        .push(Issue::of("OWNER_PROTECTED", "login", "").at(judged.dn()));
                    continue;
                }
                (None, Some(at)) if sync.overwrites_local => {
                    let place = wishes.add(Some(at), &judged);
                    taken.push((place, Some(at), judged));
                    continue;
                }
                (Some(user), _) if user.sync != Some(number) && !self.is_let_go(user, syncs, tree) => {
                    run.issues.push(Issue {
                        sync: user.sync,
                        ..Issue::of("OVERLAP", "", "").at(judged.dn())
                    });
                    wishes.stands_by(&judged, known);
                    continue;
                }
                _ => {}
            }
            if let Some(at) = known
                && judged.stays_away(&self.users[at])
            {
                away.push((at, judged));
                continue;
            }
            let place = wishes.add(known, &judged);
            taken.push((place, known, judged));
        }
        wishes.several(shared.keys());
        // Who is missing? The absent have been found before anything is given to anybody.
        for (at, why) in absent {
            wishes.leaves(*at, *why);
        }
        if !alone {
            self.ask_elsewhere(number, syncs, tree, &mut wishes, now);
        }
        let settled = settle(&wishes);

        for (at, why) in absent.iter().copied() {
            let mut after = self.users[at].clone();
            after.state = match sync.missing {
                Missing::Archive => State::Archived(why),
                _ => State::Deactivated(why),
            };
            // Nobody can log in as somebody who left.
            (after.ambiguous, after.asked_by) = (false, None);
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
        for (at, judged) in away {
            let before = &self.users[at];
            let after = User {
                sync: Some(number),
                dn: judged.dn().to_owned(),
                ..before.clone()
            };
            let missing = |issue: &&Issue| issue.kind == "MISSING_REQUIRED_FIELD";
            let problems = judged.login.problem.iter().filter(|issue| !missing(issue));
            let issues = judged.issues.iter().chain(problems).chain(&judged.email.problem);
            run.issues
                .extend(issues.map(|issue| issue.clone().at(judged.dn())));
            match event(Some(before), &after) {
                Some(event) => {
                    run.count(match event {
                        Event::Transferred => "transferred",
                        _ => "updated",
                    });
                    let before = Some(before.clone());
                    run.applied.push(Change { event, before, after });
                }
                None => run.count("unchanged"),
            }
        }
        for (number_of_wish, known, judged) in taken {
            let before = known.map(|at| self.users[at].clone());
            let (login, email) = (&settled.logins[number_of_wish], &settled.emails[number_of_wish]);
            let profile = judged.issues.iter().map(|issue| issue.clone().at(judged.dn()));
            run.issues.extend(profile);
            // Reading: who gives up the login is archived, asks for nothing any more and shows what it had.
            let gives_up = known.filter(|at| settled.gives_way.get(at).is_some_and(|(login, _)| *login));
            let shown = gives_up.map(|at| &self.users[at]).map(|user| {
                let had = |value: &str| Granted {
                    value: value.to_owned(),
                    issue: None,
                };
                (had(&user.login), had(&user.email))
            });
            let (login, email) = shown
                .as_ref()
                .map_or((login, email), |(login, email)| (login, email));
            run.issues.extend(login.issue.iter().cloned());
            // Reading: whoever has to wait for a login is told of that alone.
            if before.is_none() && login.value.is_empty() {
                continue;
            }
            run.issues.extend(email.issue.iter().cloned());
            let mut wanted = self.after(number, before.as_ref(), &judged, &login.value, &email.value);
            wanted.ambiguous = match known {
                Some(at) => settled.is_ambiguous(at, &self.users[at], &wanted.login, whole),
                None => false,
            };
            wanted.asked_by = before.as_ref().and_then(|user| user.asked_by.clone());
            if let Some(rivals) = known.and_then(|at| settled.ambiguous.get(&at)) {
                wanted.asked_by = rivals.asker(number, Some(number));
                run.issues.push(rivals.issue(judged.dn()));
            } else if wanted.ambiguous {
                // The same fact has the same issue on every night, though who asks is not met tonight.
                run.issues
                    .push(Issue::of("LOGIN_AMBIGUOUS", "login", "").at(judged.dn()));
            }
            if let (Some(at), State::Deactivated(why)) = (known, wanted.state)
                && settled.gives_way.get(&at).is_some_and(|(login, _)| *login)
            {
                wanted.state = State::Archived(why);
            }
            let after = match &before {
                // Deactivation and return are no updates.
                Some(user) if !sync.updates && user.sync == Some(number) => User {
                    state: wanted.state,
                    ..user.clone()
                },
                _ => wanted.clone(),
            };
            let event = event(before.as_ref(), &after);
            run.count(match event {
                None if wanted != after => "ignored",
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
        for (at, place) in &wishes.neighbours {
            let before = &self.users[*at];
            let login = &settled.logins[*place].value;
            let rivals = settled.ambiguous.get(at);
            let after = User {
                login: login.clone(),
                ambiguous: rivals.is_some(),
                asked_by: rivals.and_then(|rivals| rivals.asker(number, before.sync)),
                ..before.clone()
            };
            // All else is for the runs of its own user sync.
            let moves = login.to_lowercase() != before.login.to_lowercase();
            if moves || (after.ambiguous && !before.ambiguous) {
                run.count("updated");
                run.applied.push(Change {
                    event: Event::Updated,
                    before: Some(before.clone()),
                    after,
                });
            }
        }
        for (at, (whole, email)) in &settled.gives_way {
            // Whose entry is found shows it in that change; who leaves in this run leaves as archived.
            let user = &self.users[*at];
            if found.iter().any(|entry| login::is_of(entry, user)) {
                continue;
            }
            let reason = absent.iter().find(|(absent, _)| absent == at);
            let why = match (reason, user.state) {
                (Some((_, why)), _) => *why,
                (None, State::Deactivated(why)) => why,
                (None, _) => continue,
            };
            let mut after = user.clone();
            (after.ambiguous, after.asked_by) = (false, None);
            after.state = if *whole {
                State::Archived(why)
            } else {
                State::Deactivated(why)
            };
            if *email && !whole {
                after.email.clear();
            }
            // One change of one user.
            if let Some(change) = run.applied.iter_mut().find(|change| change.after.id == user.id) {
                if *whole {
                    run.counts.entry("deactivated").and_modify(|count| *count -= 1);
                    run.counts
                        .entry("archived")
                        .and_modify(|count| *count += 1)
                        .or_insert(1);
                    change.event = Event::Archived;
                }
                change.after = after;
                continue;
            }
            run.count(if *whole { "archived" } else { "updated" });
            run.applied.push(Change {
                event: if *whole { Event::Archived } else { Event::Updated },
                before: Some(user.clone()),
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
            let id = change
                .before
                .as_ref()
                .map_or(&change.after.id, |before| &before.id);
            match self.users.iter_mut().find(|user| user.id == *id) {
                Some(user) => *user = change.after.clone(),
                None => self.users.push(change.after.clone()),
            }
        }
    }

    fn local(&self, login: &str) -> Option<usize> {
        let same = |user: &User| user.sync.is_none() && user.login.to_lowercase() == login.to_lowercase();
        self.users.iter().position(same)
    }

    fn by_id(&self, entry: &TreeEntry) -> Option<&User> {
        let id = entry.text("entryUUID")?;
        self.users.iter().find(|user| user.id == id)
    }

    /// Whether another user sync may have this user: the owner has applied the absence, or minds none and does not
    /// find the person now; and nothing of the owner's waits for somebody.
    fn is_let_go(&self, user: &User, syncs: &[Sync], tree: &Tree) -> bool {
        let Some(owner) = user.sync else { return false };
        let away = match user.state {
            State::Active => false,
            State::Deactivated(why) | State::Archived(why) => matches!(why, Why::Gone | Why::OutOfScope),
        };
        let in_force = self.in_force.get(&owner).unwrap_or(&syncs[owner]);
        let ignored = in_force.missing == Missing::Ignore
            && !found(in_force, tree, Pull::Complete)
                .iter()
                .any(|entry| entry.text("entryUUID") == Some(user.id.as_str()));
        (away || ignored) && !self.waiting.contains_key(&owner)
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
        let ids = tree.is_readable("entryUUID");
        let id_is = |entry: &TreeEntry, user: &User| ids && entry.text("entryUUID") == Some(user.id.as_str());
        let mut absent = Vec::new();
        for (at, user) in self.users.iter().enumerate() {
            let known_away = matches!(
                user.state,
                State::Deactivated(Why::Gone | Why::OutOfScope)
                    | State::Archived(Why::Gone | Why::OutOfScope)
            );
            // An entry without an id that can be read excuses whoever is known by its name.
            let excused = found.iter().any(|entry| {
                let has_none = !ids || entry.values("entryUUID").is_empty();
                has_none && entry.dn.eq_ignore_ascii_case(&user.dn)
            });
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
    fn after(&self, number: usize, before: Option<&User>, judged: &Judged, login: &str, email: &str) -> User {
        let state = match (judged.standing, before) {
            (Standing::Enabled, _) => State::Active,
            (Standing::Disabled, _) => State::Deactivated(Why::Disabled),
            (Standing::Expired, _) => State::Deactivated(Why::Expired),
            // Nobody comes back by what cannot be read, and nobody is taken anything.
            (Standing::Unreadable, Some(user)) => user.state,
            (Standing::Unreadable, None) => State::Active,
        };
        // Nobody is ACTIVE without a login. Reading: an archived person whose login is another's stays as they are.
        if let Some(user) = before
            && login.is_empty()
            && matches!(user.state, State::Archived(_))
        {
            return user.clone();
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
            ambiguous: false,
            asked_by: None,
            linked: before.is_some_and(|user| user.linked || user.sync.is_none()),
        }
    }
}

/// The entries that the searches of a user sync find when they find all.
fn entries_of<'a>(sync: &Sync, tree: &'a Tree) -> Vec<&'a TreeEntry> {
    found(sync, tree, Pull::Complete)
}

/// The entries that the searches return.
fn found<'a>(sync: &Sync, tree: &'a Tree, pull: Pull) -> Vec<&'a TreeEntry> {
    let below = |entry: &&TreeEntry| {
        is_below(sync, entry)
            && entry.text("objectClass") == Some("inetOrgPerson")
            && tree.is_readable("objectClass")
            && !(sync.without_bosses && is_boss(tree, entry))
            && tree.is_shown(&entry.dn)
    };
    let found = tree.entries().iter().filter(below);
    match pull {
        Pull::Partial(most) => found.take(most).collect(),
        _ => found.collect(),
    }
}

/// What may not be read matches nothing, and then its NOT is Undefined too.
fn is_boss(tree: &Tree, entry: &TreeEntry) -> bool {
    !tree.is_readable("employeeType") || entry.values("employeeType").iter().any(|value| value == b"boss")
}

fn is_below(sync: &Sync, entry: &TreeEntry) -> bool {
    let base = format!(",{}", sync.base.to_lowercase());
    entry.dn.to_lowercase().ends_with(&base)
}

/// What an ask came to.
#[derive(Debug, Clone, Default)]
pub(crate) struct Granted {
    value: String,
    issue: Option<Issue>,
}
