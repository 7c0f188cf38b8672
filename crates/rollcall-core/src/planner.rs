//! The planner: what a pull's entries mean for the users that there are.
//!
//! It works on a stream. [`Planner::meet`] and [`Planner::is_unchanged`] drop the entries that ask for nothing new, which
//! on a normal night is nearly all; for the rest the caller fetches what [`Planner::decide`] needs to know. What an
//! entry means for its person is judged by [`crate::judgement`]. Who gets which login and e-mail address is settled by
//! [`crate::claims`] when all entries have been met: a change that asks for something that nobody else has or asked for
//! so far is planned at once, and taken back by [`Planner::contested`] if somebody asks for the same later.
//!
//! Its memory grows by some tens of bytes per known user and per identifier asked for, not by entry; claims that are in
//! dispute are kept whole, and are bounded.
//!
//! Changes come in three phases, applied in this order: removals, which may release identifiers; changes that claim
//! only what is free; and claims of identifiers that another change of the plan releases.

use std::collections::{HashMap, HashSet};

use crate::digests::{DigestSet, Digests, Met};
use crate::external_id::ExternalId;
use crate::id::{UserId, UserSyncId};
use crate::issue::Issue;
use crate::judgement::EntryReading;
use crate::plan::{Change, ChangeKind, Fingerprint};
use crate::role::RoleFinding;
use crate::run::RunCounts;
use crate::user::{User, UserState};
use crate::user_sync::{ExistingUsers, UserSyncSettings};

mod absent;
mod batch_facts;
mod change_of;
mod claim;
mod contested;
mod decide;
mod known;
mod neighbour;
mod neighbours;
mod order;
mod outsider;
mod party;
mod refused;
mod relinking;
mod settle;

pub use batch_facts::{Asker, BatchFacts};
use claim::{Bystander, Claim};
pub use contested::Contested;
use known::Offered;
pub use known::{KnownUser, KnownUsers, Meeting};
pub use neighbour::Neighbour;
use neighbours::Neighbours;
pub use order::OrderedClaims;
use outsider::Outsider;
pub use relinking::Relinking;

/// An entry that needs a decision, with what is known about its role.
pub type ReadEntry = (EntryReading, RoleFinding);

/// What a batch leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    /// Changes that claim nothing that anybody else has or asked for so far.
    pub changes: Vec<Change>,
    /// Entries not, or not fully, taken.
    pub issues: Vec<Issue>,
}

/// The plan of one run in the making.
pub struct Planner<'a> {
    settings: &'a UserSyncSettings,
    user_sync: &'a UserSyncId,
    known: KnownUsers,
    relinked: HashMap<ExternalId, UserId>,
    /// Entries that were met and belong to no user yet.
    met: Met,
    digests: Digests,
    /// Identifiers that entries asked for.
    asked: DigestSet,
    /// Identifiers whose claims are settled at the end.
    contested: HashSet<String>,
    claims: Vec<Claim>,
    /// Entries that ask for identifiers and are not taken.
    bystanders: Vec<Bystander>,
    /// Identifiers that further such entries ask for, once there are too many entries to keep.
    crowd: DigestSet,
    /// Ids that several entries have. Nobody knows which of the entries is the person, so what was decided for them was
    /// taken back.
    disputed: HashSet<ExternalId>,
    /// Users of this sync who have what claims ask for.
    holders: HashMap<UserId, User>,
    /// Identifiers whose holders this run does not change, or not yet.
    outside: HashMap<String, Outsider>,
    /// The users of other syncs among the holders in `outside`. This run may take them over.
    outside_users: HashSet<UserId>,
    /// What the entries of the users offer whom this run takes over.
    taken_over: HashMap<ExternalId, Offered>,
    /// Users of other syncs whose entries do not offer the login that they have.
    neighbours: Neighbours,
    counts: RunCounts,
    active: u64,
    /// Every entry of the directory was met.
    complete: bool,
    /// Only one user is looked at. The next run may release what others have.
    alone: bool,
}

impl<'a> Planner<'a> {
    /// A planner for a sync that has these users.
    pub fn new(user_sync: &'a UserSyncId, settings: &'a UserSyncSettings, mut known: KnownUsers) -> Self {
        known.index();
        let active = known
            .slots()
            .filter(|slot| slot.state == UserState::Active)
            .count() as u64;
        Self {
            settings,
            user_sync,
            known,
            relinked: HashMap::new(),
            met: Met::default(),
            digests: Digests::default(),
            asked: DigestSet::default(),
            contested: HashSet::new(),
            claims: Vec::new(),
            bystanders: Vec::new(),
            crowd: DigestSet::default(),
            disputed: HashSet::new(),
            holders: HashMap::new(),
            outside: HashMap::new(),
            outside_users: HashSet::new(),
            taken_over: HashMap::new(),
            neighbours: Neighbours::default(),
            counts: RunCounts::default(),
            active,
            complete: true,
            alone: false,
        }
    }

    /// A planner for one user of the sync, between runs. An e-mail address that somebody else has is for the next run
    /// to settle: the user keeps its own until then.
    pub fn alone(user_sync: &'a UserSyncId, settings: &'a UserSyncSettings, known: KnownUsers) -> Self {
        Self {
            alone: true,
            ..Self::new(user_sync, settings, known)
        }
    }

    /// Gives the entries with these ids, which no user has yet, to these users of the sync, if the logins agree. The
    /// planner must know the users by the new ids already, so that a user counts as absent only if the new entry is.
    pub fn relink(&mut self, found: impl IntoIterator<Item = (ExternalId, UserId)>) {
        self.relinked.extend(found);
    }

    /// Meets an entry, whether or not it can be used: its user is not absent.
    pub fn meet(&mut self, id: &ExternalId, dn: &str) -> Meeting {
        let (digest, dn) = (self.known.digest(id), self.known.mark(dn));
        self.known
            .meet(digest, dn)
            .unwrap_or_else(|| match self.met.meet(digest, dn) {
                None => Meeting::First(None),
                Some(true) => Meeting::Again,
                Some(false) => Meeting::Elsewhere,
            })
    }

    /// True if an entry that was met for the first time asks for nothing new.
    pub fn is_unchanged(
        &mut self,
        reading: &EntryReading,
        role: &RoleFinding,
        before: Option<Fingerprint>,
    ) -> bool {
        // A user who is to get another entry is decided with the user at hand, not by fingerprint.
        let unchanged = before.is_some()
            && !self.relinked.contains_key(&reading.external_id)
            && reading
                .for_new(role)
                .is_ok_and(|judged| before == Some(judged.fingerprint()));
        self.counts.unchanged += u64::from(unchanged);
        unchanged
    }

    /// The issues of an entry that asks for nothing new; none if the sync leaves the user's fields alone.
    pub fn issues_of_unchanged<'r>(&self, reading: &'r EntryReading) -> impl Iterator<Item = &'r Issue> {
        let left_alone = self.settings.existing_users == ExistingUsers::Ignore;
        reading.offers.issues().filter(move |_| !left_alone)
    }

    /// Users that could log in before the run.
    pub fn active(&self) -> u64 {
        self.active
    }

    /// What the plan has so far.
    pub fn counts(&self) -> RunCounts {
        self.counts
    }

    fn relinked_user<'c>(&self, reading: &EntryReading, facts: &'c BatchFacts) -> Option<&'c User> {
        let user = self.relinked.get(&reading.external_id)?;
        relinking::same_login(self.user_sync, reading, facts).filter(|found| found.id == *user)
    }

    fn count(&mut self, change: &Change) {
        *self.counter(change.kind) += 1;
    }

    fn uncount(&mut self, change: &Change) {
        *self.counter(change.kind) -= 1;
    }

    /// A user who was counted as unchanged, or as ignored, changes after all.
    fn no_longer_stays(&mut self) {
        let RunCounts {
            ignored, unchanged, ..
        } = &mut self.counts;
        let counter = match self.settings.existing_users {
            ExistingUsers::Ignore if *ignored > 0 => ignored,
            ExistingUsers::Ignore | ExistingUsers::Update => unchanged,
        };
        *counter = counter.saturating_sub(1);
    }

    fn counter(&mut self, kind: ChangeKind) -> &mut u64 {
        match kind {
            ChangeKind::Create => &mut self.counts.created,
            ChangeKind::Link => &mut self.counts.linked,
            ChangeKind::Update => &mut self.counts.updated,
            ChangeKind::Reactivate => &mut self.counts.reactivated,
            ChangeKind::Deactivate => &mut self.counts.deactivated,
            ChangeKind::Archive => &mut self.counts.archived,
            ChangeKind::Transfer => &mut self.counts.transferred,
            ChangeKind::Relink => &mut self.counts.relinked,
        }
    }
}

#[cfg(test)]
mod tests;
