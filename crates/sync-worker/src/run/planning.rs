//! Turns a pull into a plan in the store: batch by batch, so that memory does not grow with the directory.

use std::collections::{BTreeMap, HashMap, HashSet};

use chrono::{DateTime, Utc};
use rollcall_core::entry::Entry;
use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::guard::GuardInput;
use rollcall_core::id::{RunId, UserId, UserSyncKey, Uuid};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::judgement::EntryReading;
use rollcall_core::person::{self, Nobody};
use rollcall_core::plan::{CHUNK_CHANGES, Change};
use rollcall_core::planner::{Known, KnownUsers, Meeting, Planner, ReadEntry};
use rollcall_core::role::{RoleFinding, RuleAnswer};
use rollcall_core::run::RunCounts;
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::UserSync;
use rollcall_runtime::clock::Clock;
use rollcall_store::{KnownUser, LeaseToken, Store};
use uuid::{NoContext, Timestamp};

use super::absences::{self, Absence, Confirmed};
use super::context::context;
use super::disputes::Disputes;
use super::owners::given_up;
use super::roles::Roles;
use super::source::Source;

/// Users read from the store at a time.
const KNOWN_PAGE: u32 = 5_000;
/// Issues kept for one run; the rest is only counted, so that a broken directory cannot fill the store.
const MAX_ISSUES: u64 = 100_000;

/// Where a plan is written.
#[derive(Clone, Copy)]
pub(super) struct Target<'a> {
    pub(super) store: &'a Store,
    pub(super) lease: &'a LeaseToken,
    pub(super) key: &'a UserSyncKey,
    pub(super) run: RunId,
    pub(super) clock: &'a Clock,
}

/// A plan in the making.
pub(super) struct Planning<'a> {
    target: Target<'a>,
    sync: &'a UserSync,
    source: &'a Source,
    /// `None` if a rule could not be evaluated.
    roles: Option<Roles>,
    planner: Planner<'a>,
    /// Entries that ask for something new and wait for a decision.
    pending: Vec<ReadEntry>,
    chunk: Vec<Change>,
    chunks: u32,
    issues: Vec<Issue>,
    of_the_run: Vec<Issue>,
    issue_count: u64,
    entries: u64,
    unidentified: u64,
    /// Entries that are no people, how many and the first of them.
    nobodies: BTreeMap<Nobody, (u64, String)>,
    removals: u64,
    canary: Option<ExternalId>,
    disputes: Disputes,
    now: DateTime<Utc>,
}

impl<'a> Planning<'a> {
    /// Reads what the run has to know about the sync's users. `roles` is `None` if the rules could not be
    /// evaluated; `relinked` has the users who are to be other entries than before.
    pub(super) async fn begin(
        target: Target<'a>,
        sync: &'a UserSync,
        source: &'a Source,
        roles: Option<Roles>,
        relinked: HashMap<UserId, ExternalId>,
        now: DateTime<Utc>,
    ) -> Result<Self, Error> {
        let Target { store, key, .. } = target;
        let mut known = KnownUsers::default();
        let take = |user: KnownUser| {
            let of_store = Known {
                user: user.user,
                fingerprint: user.fingerprint,
                state: user.state,
            };
            let new_id = relinked.get(&user.user).cloned();
            known.extend([(new_id.unwrap_or(user.external_id), of_store)]);
        };
        store
            .read_known_users(&key.tenant, &key.user_sync, KNOWN_PAGE, take)
            .await?;
        let mut planner = Planner::new(&sync.id, &sync.settings, known);
        planner.relink(relinked.into_iter().map(|(user, id)| (id, user)));
        Ok(Self {
            target,
            sync,
            source,
            roles,
            planner,
            pending: Vec::new(),
            chunk: Vec::new(),
            chunks: 0,
            issues: Vec::new(),
            of_the_run: Vec::new(),
            issue_count: 0,
            entries: 0,
            unidentified: 0,
            nobodies: BTreeMap::new(),
            removals: 0,
            canary: None,
            disputes: Disputes::default(),
            now,
        })
    }

    /// Takes entries in. Those that ask for nothing new cost no statement; the others are decided on, and
    /// issues written, many at a time.
    pub(super) async fn take(&mut self, entries: Vec<Entry>) -> Result<(), Error> {
        for entry in entries {
            self.entries += 1;
            if let Some(nobody) = self.source.reader.nobody(&entry) {
                self.nobodies.entry(nobody).or_insert((0, entry.dn)).0 += 1;
                continue;
            }
            let id = match self.source.reader.external_id(&entry) {
                Ok(id) => id,
                Err(issue) => {
                    self.unidentified += 1;
                    self.issues.push(*issue);
                    continue;
                }
            };
            let before = match self.planner.meet(&id, &entry.dn) {
                Meeting::First(before) => before,
                // One person, and one issue.
                Meeting::Again => continue,
                Meeting::Elsewhere => {
                    let reading = self.source.reader.read(id, &entry, self.now);
                    self.disputes.note(reading)?;
                    continue;
                }
            };
            self.canary.get_or_insert_with(|| id.clone());
            let role = self.role_of(&id, &entry.dn);
            let reading = self.source.reader.read(id, &entry, self.now);
            if self.planner.is_unchanged(&reading, &role, before) {
                self.issues.extend(reading.offers.issues().cloned());
            } else {
                self.pending.push((reading, role));
            }
        }
        if self.pending.len() < CHUNK_CHANGES && self.issues.len() < CHUNK_CHANGES {
            return Ok(());
        }
        self.settle().await
    }

    fn role_of(&self, id: &ExternalId, dn: &str) -> RoleFinding {
        let settings = &self.sync.settings;
        match &self.roles {
            Some(roles) => RoleFinding::certain(roles.of(id, dn)),
            None => {
                let answers = vec![RuleAnswer::Unknown; settings.role_rules.len()];
                RoleFinding::of(&settings.role, &settings.role_rules, &answers)
            }
        }
    }

    /// Decides on the entries that wait for it. Called once more when all entries have been taken in.
    pub(super) async fn settle(&mut self) -> Result<(), Error> {
        let pending = std::mem::take(&mut self.pending);
        if !pending.is_empty() {
            let Target {
                store, key, clock, ..
            } = self.target;
            let (tenant, directory) = (&key.tenant, &self.sync.settings.directory);
            let readings: Vec<&EntryReading> = pending.iter().map(|(reading, _)| reading).collect();
            let mut context = context(store, tenant, directory, &readings).await?;
            let given_up = given_up(store, self.sync, self.source, &readings, &context).await?;
            context.give_up(given_up);
            let decisions = self
                .planner
                .decide(pending, &context, || new_user_id(clock.now()));
            self.issues.extend(decisions.issues);
            self.add_changes(decisions.changes).await?;
        }
        self.write_issues().await
    }

    /// Looks for ids that several entries have, and takes back what was planned for those: which of them is the person
    /// depends on nothing but their order. Only a state that takes access away applies, whichever of the entries says
    /// it. Called when all entries have been taken in.
    pub(super) async fn take_back_disputed(&mut self) -> Result<(), Error> {
        let disputes = std::mem::take(&mut self.disputes);
        let shared = disputes.shared(self.source, self.now).await;
        if shared.states.is_empty() {
            return Ok(());
        }
        let ids: HashSet<ExternalId> = shared.states.keys().cloned().collect();
        let changes = self
            .withdraw(|change| ids.contains(&change.origin.external_id))
            .await?;
        self.planner.withdraw(&ids, &changes);
        self.issues.extend(shared.issues);
        let Target { store, key, .. } = self.target;
        let directory = &self.sync.settings.directory;
        let ids: Vec<ExternalId> = ids.into_iter().collect();
        let users = store.users_by_external_ids(&key.tenant, directory, &ids).await?;
        let deactivations: Vec<Change> = users
            .iter()
            .filter_map(|user| {
                let id = &user.origin.as_ref()?.external_id;
                self.planner.deactivate(user, (*shared.states.get(id)?)?)
            })
            .collect();
        self.add_changes(deactivations).await?;
        self.write_chunk().await?;
        self.write_issues().await
    }

    /// Takes changes out of the plan. They count no more.
    async fn withdraw(&mut self, concerns: impl Fn(&Change) -> bool) -> Result<Vec<Change>, Error> {
        self.write_chunk().await?;
        let Target {
            store,
            lease,
            key,
            run,
            ..
        } = self.target;
        let changes = store.withdraw_changes(lease, key, run, concerns).await?;
        self.removals -= count_removals(&changes);
        Ok(changes)
    }

    /// Takes back the changes that are in dispute: somebody else asks for the same login or e-mail address.
    async fn take_back_contested(&mut self) -> Result<(), Error> {
        let Some(contested) = self.planner.contested() else {
            return Ok(());
        };
        let changes = self.withdraw(|change| contested.concerns(change)).await?;
        let ids: Vec<UserId> = changes.iter().map(|change| change.user).collect();
        let Target { store, key, .. } = self.target;
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

    /// Asks the directory about a batch of absent users, by their ids.
    pub(super) async fn confirm(&self, batch: &[UserId], confirmed: &mut Confirmed) -> Result<(), Error> {
        let users = self
            .target
            .store
            .batch_users(&self.target.key.tenant, batch)
            .await?;
        let searches = &self.sync.settings.searches;
        let found = absences::confirm(self.source, searches, &users, self.canary.as_ref());
        let found = match found.await {
            Ok(found) => found,
            Err(error) => {
                confirmed.doubt = Some(format!(
                    "missing entries could not be confirmed by their ids: {error}"
                ));
                return Ok(());
            }
        };
        for user in &users {
            let doubt = match found.get(&user.id) {
                Some(Absence::Removed(reason)) => {
                    confirmed.removals.push((user.id, *reason));
                    continue;
                }
                Some(Absence::Present) => "an entry that the searches did not return exists and matches them",
                Some(Absence::Unknown) | None => {
                    "missing entries could not be confirmed: known ids cannot be read"
                }
            };
            confirmed.doubt = Some(doubt.to_owned());
        }
        Ok(())
    }

    /// Adds confirmed removals.
    pub(super) async fn add_removals(&mut self, removals: Vec<(UserId, StateReason)>) -> Result<(), Error> {
        // Chunks of nothing but removals are applied before all others.
        self.write_chunk().await?;
        for batch in removals.chunks(CHUNK_CHANGES) {
            let reasons: HashMap<UserId, StateReason> = batch.iter().copied().collect();
            let ids: Vec<UserId> = batch.iter().map(|(user, _)| *user).collect();
            let users = self
                .target
                .store
                .batch_users(&self.target.key.tenant, &ids)
                .await?;
            let changes = users
                .iter()
                .filter_map(|user| self.planner.remove(user, *reasons.get(&user.id)?));
            let changes: Vec<Change> = changes.collect();
            self.add_changes(changes).await?;
        }
        self.write_chunk().await
    }

    /// What entries without a usable id mean: each may be one of the absent.
    pub(super) fn unidentified(&self) -> Option<String> {
        let count = self.unidentified;
        (count > 0).then(|| format!("{count} entries have no stable id, so nobody can be told to be missing"))
    }

    /// Adds what had to wait and writes the rest of the plan.
    pub(super) async fn finish(&mut self) -> Result<(), Error> {
        self.take_back_contested().await?;
        let ordered = self.planner.finish();
        self.issues.extend(ordered.issues);
        for group in ordered.groups {
            // A circle of claims must not be torn apart: it goes into one transaction.
            if self.chunk.len() + group.len() > self.target.store.good_chunk() {
                self.write_chunk().await?;
            }
            self.removals += count_removals(&group);
            self.chunk.extend(group);
        }
        self.write_chunk().await?;
        let nobodies = std::mem::take(&mut self.nobodies);
        let issues = nobodies
            .iter()
            .map(|(what, (count, dn))| person::issue(*what, *count, dn));
        self.of_the_run.extend(issues);
        self.write_issues().await
    }

    /// An issue of the run as a whole: kept whatever else there is.
    pub(super) fn add_issue(&mut self, kind: IssueKind, message: impl Into<String>) {
        self.of_the_run.push(Issue::new(kind, "", message));
    }

    /// What the plan has so far.
    pub(super) fn counts(&self, referrals: u64) -> RunCounts {
        RunCounts {
            entries: self.entries,
            issues: self.issue_count,
            referrals,
            ..self.planner.counts()
        }
    }

    /// How many users could log in whose entries the pull did not bring, if absences matter to this sync.
    pub(super) fn absent_active(&self) -> u64 {
        self.planner.absent_active()
    }

    /// What the guard looks at. `absent` is 0 where the pull had gaps.
    pub(super) fn guard_input(&self, recent_removals: u64, absent: u64) -> GuardInput {
        let fields = self.planner.field_changes();
        GuardInput {
            active: self.planner.active(),
            absent,
            removals: self.removals,
            recent_removals,
            relinked: self.planner.counts().relinked,
            role_changes: fields.role,
            login_changes: fields.login,
            email_changes: fields.email,
            scope_changed: self.sync.applied_scope_revision != self.sync.scope_revision,
        }
    }

    async fn add_changes(&mut self, changes: Vec<Change>) -> Result<(), Error> {
        self.removals += count_removals(&changes);
        for change in changes {
            self.chunk.push(change);
            if self.chunk.len() >= self.target.store.good_chunk() {
                self.write_chunk().await?;
            }
        }
        Ok(())
    }

    async fn write_chunk(&mut self) -> Result<(), Error> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        let Target {
            store,
            lease,
            key,
            run,
            ..
        } = self.target;
        store
            .append_chunk(lease, key, run, self.chunks, &self.chunk)
            .await?;
        self.chunks += 1;
        self.chunk.clear();
        Ok(())
    }

    async fn write_issues(&mut self) -> Result<(), Error> {
        let (found, mut kept) = (
            std::mem::take(&mut self.issues),
            std::mem::take(&mut self.of_the_run),
        );
        let room = usize::try_from(MAX_ISSUES.saturating_sub(self.issue_count)).unwrap_or(usize::MAX);
        self.issue_count += (found.len() + kept.len()) as u64;
        let mut uncounted: BTreeMap<IssueKind, u64> = BTreeMap::new();
        for (index, issue) in found.into_iter().enumerate() {
            match index < room {
                true => kept.push(issue),
                false => *uncounted.entry(issue.kind).or_default() += 1,
            }
        }
        let Target {
            store,
            lease,
            key,
            run,
            ..
        } = self.target;
        if !kept.is_empty() {
            store.append_issues(lease, key, run, &kept).await?;
        }
        if !uncounted.is_empty() {
            store.count_issues(lease, key, run, &uncounted).await?;
        }
        Ok(())
    }
}

fn count_removals(changes: &[Change]) -> u64 {
    changes.iter().filter(|change| change.kind.is_removal()).count() as u64
}

/// The id of a new user. Those of an import follow each other (RFC 9562 section 5.7), so that they share the pages of
/// indexes: with random ones an import into SQLite took a third longer, and logins beside it twice as long.
pub(super) fn new_user_id(now: DateTime<Utc>) -> Uuid {
    let seconds = u64::try_from(now.timestamp()).unwrap_or(0);
    Uuid::new_v7(Timestamp::from_unix(
        NoContext,
        seconds,
        now.timestamp_subsec_nanos(),
    ))
}

#[cfg(test)]
mod tests {
    use chrono::TimeZone;

    use super::*;

    #[test]
    fn ids_follow_each_other() {
        let at = |millis| new_user_id(Utc.timestamp_millis_opt(millis).unwrap());
        let ids: Vec<Uuid> = (0..100).map(|step| at(1_790_000_000_000 + step)).collect();
        assert!(ids.is_sorted(), "{ids:?}");
        assert_ne!(at(5), at(5));
    }

    #[test]
    fn a_clock_before_1970_makes_ids_too() {
        let early = Utc.timestamp_millis_opt(-1_500).unwrap();
        assert_ne!(new_user_id(early), new_user_id(early));
    }
}
