//! Turns a pull into a plan in the store: batch by batch, so that memory does not grow with the directory.
//! `rollcall_core::planner` decides about entries; this file asks it in the order that a run needs.

mod written;

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::guard::{GuardInput, Leavers, Totals};
use rollcall_core::id::UserId;
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::judgement::EntryReading;
use rollcall_core::person::{self, NotAPerson};
use rollcall_core::plan::{CHUNK_CHANGES, Change, ChangeKind};
use rollcall_core::planner::{KnownUser, KnownUsers, Meeting, Planner, ReadEntry};
use rollcall_core::role::{RoleFinding, RoleTally};
use rollcall_core::run::RunCounts;
use rollcall_core::user::{StateReason, User, UserState};
use rollcall_core::user_sync::{NewUsers, UserSync};
use rollcall_core::wording::counted;
use rollcall_service::role::RuleProblemKind;
use rollcall_service::roles::Roles;

use self::written::PlanWriter;
pub(super) use self::written::{Target, Written};
use super::executor::Executor;
use super::lookups::absences::{self, Confirmed, Nameless};
use super::lookups::known::Asking;
use super::lookups::others::Others;
use super::lookups::shared_ids::Disputes;
use super::new_user_id::new_user_id;
use super::source::Source;

/// Users read from the store at a time.
const KNOWN_PAGE: u32 = 5_000;
/// A plan in the making.
pub(super) struct Planning<'a> {
    target: Target<'a>,
    sync: &'a UserSync,
    source: &'a Source,
    roles: Roles,
    planner: Planner<'a>,
    /// Entries that ask for something new and wait for a decision.
    pending: Vec<ReadEntry>,
    written: PlanWriter<'a>,
    entries: u64,
    /// The changes of the plan, for the guard. They are counted as they are written, so that refused wishes do not
    /// count.
    totals: Totals,
    /// The DNs of entries without a usable id: the users who are known by these DNs do not count as absent.
    nameless: Nameless,
    /// Creations that a pull with gaps may still make.
    room: Option<u64>,
    /// People who would be new users, and have to wait.
    waiting: u64,
    /// Users of whom the plan has two changes: the loss of access, which does not wait, and the rest.
    split: u64,
    /// Entries that are not people: how many, and one of them.
    not_people: BTreeMap<NotAPerson, (u64, String)>,
    /// Entries of people who are on the exclusion list.
    excluded: u64,
    canary: Option<ExternalId>,
    disputes: Disputes,
    others: Others<'a>,
    /// The people for whom a role rule with a problem matters.
    tally: RoleTally,
    now: DateTime<Utc>,
}

impl<'a> Planning<'a> {
    /// Reads what the run has to know about the sync's users. `relinked` has the users who get another entry.
    pub(super) async fn begin(
        x: &'a Executor,
        target: Target<'a>,
        sync: &'a UserSync,
        source: &'a Source,
        roles: Roles,
        relinked: HashMap<UserId, ExternalId>,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let Target { store, run, .. } = target;
        let key = &run.key;
        let mut known = KnownUsers::default();
        let take = |mut user: KnownUser| {
            if let Some(new_id) = relinked.get(&user.user) {
                user.external_id = new_id.clone();
            }
            known.extend([user]);
        };
        store
            .read_known_users(&key.tenant, &key.user_sync, KNOWN_PAGE, take)
            .await?;
        let mut planner = Planner::new(&sync.id, &sync.settings, known);
        planner.relink(relinked.into_iter().map(|(user, id)| (id, user)));
        let missing = roles
            .problems()
            .iter()
            .filter(|problem| problem.kind == RuleProblemKind::GroupMissing);
        let missing: Vec<usize> = missing.map(|problem| problem.rule).collect();
        Ok(Self {
            target,
            sync,
            source,
            roles,
            planner,
            pending: Vec::new(),
            written: PlanWriter::new(target),
            entries: 0,
            totals: Totals::default(),
            nameless: Nameless::default(),
            room: None,
            waiting: 0,
            split: 0,
            not_people: BTreeMap::new(),
            excluded: 0,
            canary: None,
            disputes: Disputes::default(),
            others: Others::new(x, Asking::of(sync), source),
            tally: RoleTally::new(&sync.settings.role_rules, missing),
            now,
        })
    }

    /// Takes entries in. Entries that ask for nothing new cost no statement. The others are decided on many at a time,
    /// and their issues are written many at a time.
    pub(super) async fn take(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        for entry in entries {
            if let Some(why) = self.source.reader.not_a_person(&entry) {
                self.entries += 1;
                if why == NotAPerson::Excluded {
                    // There is no issue about it: it would stay for ever, and name the person.
                    self.excluded += 1;
                    continue;
                }
                self.not_people.entry(why).or_insert((0, entry.dn)).0 += 1;
                continue;
            }
            let id = match self.source.reader.external_id(&entry) {
                Ok(id) => id,
                Err(issue) => {
                    // Several searches may find the same entry.
                    if self.nameless.note(&entry) {
                        self.entries += 1;
                        self.written.issues.push(*issue);
                    }
                    continue;
                }
            };
            let before = match self.planner.meet(&id, &entry.dn) {
                Meeting::First(before) => before,
                // One entry is one person, and has its issues once.
                Meeting::Again => continue,
                Meeting::Elsewhere => {
                    let reading = self.source.reader.read(id, &entry, self.now);
                    self.entries += u64::from(self.disputes.note(reading)?);
                    continue;
                }
            };
            self.entries += 1;
            self.canary.get_or_insert_with(|| id.clone());
            let role = self.roles.of(&id, &entry.dn);
            let reading = self.source.reader.read(id, &entry, self.now);
            if self.planner.is_unchanged(&reading, role, before) {
                self.written
                    .issues
                    .extend(self.planner.issues_of_unchanged(&reading).cloned());
            } else {
                self.pending.push((reading, role.clone()));
            }
        }
        if self.pending.len() < CHUNK_CHANGES && !self.written.has_many_issues() {
            return Ok(());
        }
        self.settle().await
    }

    /// Decides on the waiting entries. Call it once more when all entries have been taken in.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let readings: Vec<&EntryReading> = pending.iter().map(|(reading, _)| reading).collect();
            let facts = self.others.batch_facts(&readings).await?;
            for (reading, role) in &pending {
                self.note_role(facts.person(&reading.external_id), role);
            }
            let clock = self.target.clock;
            let decisions = self.planner.decide(pending, &facts, || new_user_id(clock.now()));
            self.written.issues.extend(decisions.issues);
            self.add_changes(decisions.changes).await?;
        }
        // Until all entries were met, one of these may turn out to share its id with another.
        if !self.written.has_many_issues() {
            return Ok(());
        }
        self.written.write_issues().await
    }

    /// Counts for whom the rules with a problem matter.
    fn note_role(&mut self, person: Option<&User>, finding: &RoleFinding) {
        let owner = |user: &User| user.origin.as_ref().map(|origin| origin.user_sync.clone());
        match person {
            Some(user) if owner(user).as_ref() == Some(&self.sync.id) => {
                self.tally.note(finding, Some(&user.profile.role));
            }
            None if self.sync.settings.new_users == NewUsers::Create => self.tally.note(finding, None),
            Some(_) | None => {}
        }
    }

    /// Looks for ids that several entries have, and takes back what was planned for them: only their order would decide
    /// which of them is the person. Only a state that takes access away is applied, whichever of the entries says it.
    /// Call it when all entries have been taken in.
    pub(super) async fn take_back_disputed(&mut self) -> Result<(), Error> {
        let disputes = std::mem::take(&mut self.disputes);
        let shared = disputes.shared(self.source, self.now).await;
        if shared.states.is_empty() {
            return Ok(());
        }
        let ids = shared.ids();
        let changes = self
            .withdraw(|change| ids.contains(&change.origin.external_id))
            .await?;
        let (store, asking) = (self.target.store, Asking::of(self.sync));
        let deactivations = shared
            .deactivations(&mut self.planner, &changes, store, asking)
            .await?;
        shared.replace(&mut self.written.issues);
        self.add_changes(deactivations).await?;
        self.written.write_all().await?;
        self.written.write_issues().await
    }

    /// Takes changes out of the plan and out of the guard's counts.
    async fn withdraw(&mut self, concerns: impl FnMut(&Change) -> bool) -> Result<Vec<Change>, Error> {
        self.written.write_all().await?;
        let Target { store, run, .. } = self.target;
        let changes = store.withdraw_changes(run, concerns).await?;
        changes.iter().for_each(|change| self.totals.remove(change));
        Ok(changes)
    }

    /// Takes back the changes that are in dispute, since another entry asks for the same login or e-mail address.
    async fn take_back_contested(&mut self) -> Result<(), Error> {
        let Some(contested) = self.planner.contested() else {
            return Ok(());
        };
        let changes = self.withdraw(|change| contested.concerns(change)).await?;
        let ids: Vec<UserId> = changes.iter().map(|change| change.user).collect();
        let Target { store, run, .. } = self.target;
        let key = &run.key;
        let mut users: Vec<User> = Vec::with_capacity(ids.len());
        for batch in ids.chunks(CHUNK_CHANGES) {
            users.extend(store.batch_users(&key.tenant, batch).await?);
        }
        self.planner.rejoin(changes, users);
        Ok(())
    }

    /// Users whose entries the pull did not bring.
    pub(super) fn absent(&self) -> Vec<UserId> {
        self.planner.absent()
    }

    /// Asks the directory about a batch of absent users, by their ids. False if it does not answer: then there is no
    /// use in asking about others.
    pub(super) async fn confirm(&self, batch: &[UserId], confirmed: &mut Confirmed) -> Result<bool, Error> {
        let Target { store, run, .. } = self.target;
        let key = &run.key;
        let mut users = store.batch_users(&key.tenant, batch).await?;
        users.retain(|user| {
            let excused = user
                .origin
                .as_ref()
                .is_some_and(|origin| self.nameless.has(&origin.dn));
            confirmed.excused += u64::from(excused && user.state == UserState::Active);
            !excused
        });
        let searches = &self.sync.settings.searches;
        let canary = self.canary.as_ref();
        absences::confirm(self.source, searches, &users, canary, confirmed).await
    }

    /// Adds confirmed removals.
    pub(super) async fn add_removals(&mut self, removals: Vec<(UserId, StateReason)>) -> Result<(), Error> {
        // They get chunks of their own, since chunks with nothing but removals are applied before all others.
        self.written.write_chunk().await?;
        for batch in removals.chunks(CHUNK_CHANGES) {
            let reasons: HashMap<UserId, StateReason> = batch.iter().copied().collect();
            let ids: Vec<UserId> = batch.iter().map(|(user, _)| *user).collect();
            let users = self
                .target
                .store
                .batch_users(&self.target.run.key.tenant, &ids)
                .await?;
            let changes = users
                .iter()
                .filter_map(|user| self.planner.remove(user, *reasons.get(&user.id)?));
            let changes: Vec<Change> = changes.collect();
            self.add_changes(changes).await?;
        }
        self.written.write_chunk().await
    }

    /// Limits how many users a pull with gaps creates: nobody knows how many entries there are. The rest waits for a
    /// later run.
    async fn limit_creations(&mut self, room: u64) -> Result<(), Error> {
        let mut left = room;
        let changes = self
            .withdraw(|change| {
                let creates = change.kind == ChangeKind::Create;
                let beyond = creates && left == 0;
                left -= u64::from(creates && !beyond);
                beyond
            })
            .await?;
        self.planner.withdraw(&HashSet::new(), 0, &changes);
        self.waiting += changes.len() as u64;
        self.room = Some(left);
        Ok(())
    }

    /// What the guard looks at, at this point of the plan. Pass 0 as `absent` if the pull had gaps.
    pub(super) fn guard_input<'t>(&'t self, recent: &'t Totals, absent: u64) -> GuardInput<'t> {
        GuardInput {
            active: self.planner.active(),
            absent,
            plan: &self.totals,
            recent,
            first: self.sync.last_complete_pull_time.is_none(),
            configuration_changed: self.sync.configuration_changed(),
        }
    }

    /// Moves the removals of a held plan that do not wait to its beginning.
    pub(super) async fn put_leavers_first(&mut self, leavers: Leavers) -> Result<u32, Error> {
        let Target { store, run, .. } = self.target;
        let is_leaver = |change: &Change| match leavers {
            Leavers::None => false,
            Leavers::Stated => change.is_stated_removal(),
            Leavers::All => true,
        };
        if leavers == Leavers::None {
            return Ok(0);
        }
        let first = store.put_leavers_first(run, is_leaver).await?;
        self.split += first.split;
        Ok(first.chunks)
    }

    /// Adds the claims that had to wait, and writes the rest of the plan. `room` limits how many users it may create.
    pub(super) async fn finish(&mut self, room: Option<u64>) -> Result<(), Error> {
        self.take_back_contested().await?;
        let tally = &self.tally;
        let of_rules = self.roles.problems().iter();
        self.written
            .of_the_run
            .extend(of_rules.map(|problem| problem.issue_of_run(tally.effect(problem.rule))));
        if let Some(room) = room {
            self.planner.had_gaps();
            self.limit_creations(room).await?;
        }
        let ordered = self.planner.finish();
        self.written.issues.extend(ordered.issues);
        for group in ordered.groups {
            // A circle of claims goes into one transaction, so it must be within one chunk.
            self.written.make_room(group.len()).await?;
            for change in group {
                match (&mut self.room, change.kind) {
                    (Some(0), ChangeKind::Create) => {
                        self.planner.withdraw(&HashSet::new(), 0, &[change]);
                        self.waiting += 1;
                        continue;
                    }
                    (Some(room), ChangeKind::Create) => *room -= 1,
                    _ => {}
                }
                self.tally_up(&change);
                self.written.chunk.push(change);
            }
        }
        if self.waiting > 0 {
            let message = format!(
                "the directory was not read completely, so that nobody knows how many people it has: {} not created in \
                 this run and left to the next one",
                counted(self.waiting, "new user was", "new users were")
            );
            self.add_issue(IssueKind::PullIncomplete, message);
        }
        self.written.write_all().await?;
        let not_people = std::mem::take(&mut self.not_people);
        let issues = not_people
            .iter()
            .map(|(what, (count, dn))| person::issue(*what, *count, dn));
        self.written.of_the_run.extend(issues);
        self.written.write_issues().await
    }

    /// Adds an issue of the run as a whole. It is kept even if other issues are only counted.
    pub(super) fn add_issue(&mut self, kind: IssueKind, message: impl Into<String>) {
        self.written.of_the_run.push(Issue::new(kind, "", message));
    }

    /// Adds the issue of users who were not found and are not proven to have left. It is kept like one of the run as a
    /// whole.
    pub(super) fn add_unconfirmed(&mut self, issue: Option<Issue>) {
        self.written.of_the_run.extend(issue);
    }

    /// Users of the sync that could log in before the run.
    pub(super) fn active(&self) -> u64 {
        self.planner.active()
    }

    /// What the plan has so far.
    pub(super) fn counts(&self, referrals: u64) -> RunCounts {
        let counts = self.planner.counts();
        RunCounts {
            entries: self.entries,
            issues: self.written.issue_count(),
            referrals,
            updated: counts.updated + self.split,
            ignored: counts.ignored + self.excluded,
            ..counts
        }
    }

    /// How much of the plan the store has.
    pub(super) fn written(&self) -> Written {
        self.written.so_far()
    }

    /// How many of the users whom the pull did not bring could log in; 0 if the sync keeps missing users.
    pub(super) fn absent_active(&self) -> u64 {
        self.planner.absent_active()
    }

    /// Counts a change for the guard. A change of another sync's user counts for that sync.
    fn tally_up(&mut self, change: &Change) {
        if change.origin.user_sync == self.sync.id {
            self.totals.add(change);
        }
    }

    async fn add_changes(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        for change in changes {
            self.tally_up(&change);
            self.written.push(change).await?;
        }
        Ok(())
    }
}
