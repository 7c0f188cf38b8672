//! The planner: what a pull's entries mean for the users that there are.
//!
//! It works on a stream. [`Planner::meet`] and [`Planner::asks_for_more`] drop the entries that ask for nothing new,
//! which on a normal night is nearly all; for the rest the caller fetches what [`Planner::decide`] needs to know; and
//! [`Planner::finish`] adds the removals and the claims that had to wait for a release. Its memory grows by
//! some tens of bytes per known user and per new one, not by entry.
//!
//! Changes come in three phases, applied in this order: removals, which may release identifiers; changes
//! that claim only what is free; and claims of identifiers that another change of the plan releases.

use std::collections::{HashMap, HashSet};

use crate::digests::{DigestSet, Digests, Met};
use crate::external_id::ExternalId;
use crate::id::{UserId, UserSyncId, Uuid};
use crate::issue::Issue;
use crate::plan::{Change, ChangeKind, Fingerprint};
use crate::run::RunCounts;
use crate::user::{FieldChange, User, UserState};
use crate::user_sync::UserSyncSettings;

mod absent;
mod claims;
mod context;
mod decide;
mod desired;
mod known;
mod relinking;

pub use claims::{OrderedClaims, order_claims};
pub use context::{Context, Holder};
pub use desired::{Desired, identifiers};
pub use known::{Known, KnownUsers, Meeting};
pub use relinking::Relinking;

/// What a batch leads to.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Decisions {
    /// Changes that claim nothing that anybody has.
    pub changes: Vec<Change>,
    /// Entries not, or not fully, taken.
    pub issues: Vec<Issue>,
}

/// A change that claims identifiers which other users of the sync have.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Waiting {
    /// The change.
    pub change: Change,
    /// The identifiers it needs, with who has them.
    pub needs: Vec<(String, UserId)>,
}

/// The plan of one run in the making.
pub struct Planner<'a> {
    settings: &'a UserSyncSettings,
    user_sync: &'a UserSyncId,
    known: KnownUsers,
    relinked: HashMap<ExternalId, UserId>,
    /// Entries met that are nobody's yet.
    met: Met,
    digests: Digests,
    claimed: DigestSet,
    released: HashMap<String, UserId>,
    waiting: Vec<Waiting>,
    counts: RunCounts,
    field_changes: FieldChanges,
    active: u64,
    roles_known: bool,
}

/// How many users would change in the fields that the guard watches.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct FieldChanges {
    /// Users whose role changes.
    pub role: u64,
    /// Users whose login changes.
    pub login: u64,
    /// Users whose e-mail changes.
    pub email: u64,
}

impl FieldChanges {
    /// Does this to the count of each watched field that is among the changes of a user.
    fn each(&mut self, changes: &[FieldChange], change_count: impl Fn(&mut u64)) {
        for (field, count) in [
            ("role", &mut self.role),
            ("login", &mut self.login),
            ("email", &mut self.email),
        ] {
            if changes.iter().any(|change| change.field == field) {
                change_count(count);
            }
        }
    }
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
            claimed: DigestSet::default(),
            released: HashMap::new(),
            waiting: Vec::new(),
            counts: RunCounts::default(),
            field_changes: FieldChanges::default(),
            active,
            roles_known: true,
        }
    }

    /// Takes the entries with these ids, which nobody has, for these users of the sync, as long as they have their
    /// logins. The planner must know the users by these ids already, so that they are absent only if the entries
    /// are.
    pub fn relink(&mut self, found: impl IntoIterator<Item = (ExternalId, UserId)>) {
        self.relinked.extend(found);
    }

    /// The role rules could not be evaluated: users keep their roles, and nobody new is created, since a wrong
    /// role is worse than a day's wait.
    pub fn keep_roles(&mut self) {
        self.roles_known = false;
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

    /// True if an entry that was met for the first time needs a decision: it asks for something new.
    pub fn asks_for_more(&mut self, desired: &Desired, before: Option<Fingerprint>) -> bool {
        let relinked = self.relinked.contains_key(&desired.external_id);
        let unchanged = !relinked && before == Some(desired.fingerprint());
        self.counts.unchanged += u64::from(unchanged);
        !unchanged
    }

    /// Meets an entry; true if it needs a decision.
    pub fn screen(&mut self, desired: &Desired) -> bool {
        match self.meet(&desired.external_id, &desired.dn) {
            Meeting::First(before) => self.asks_for_more(desired, before),
            Meeting::Again | Meeting::Elsewhere => false,
        }
    }

    /// Decides on entries that [`Planner::screen`] let through. `new_id` makes the ids of new users.
    pub fn decide(
        &mut self,
        batch: Vec<Desired>,
        context: &Context,
        mut new_id: impl FnMut() -> Uuid,
    ) -> Decisions {
        let mut decisions = Decisions::default();
        for desired in batch {
            let current = context
                .person(&desired.external_id)
                .or_else(|| self.relinked_user(&desired, context));
            let outcome = match current {
                None => self.decide_new(desired, context, &mut new_id, &mut decisions.issues),
                Some(user) => self.decide_existing(desired, user, context, &mut decisions.issues),
            };
            decisions.changes.extend(outcome);
        }
        decisions
    }

    /// Takes back what was decided for entries with these ids, all but `changes`, which are written already and are for
    /// the caller to take out.
    pub fn withdraw(&mut self, ids: &HashSet<ExternalId>, changes: &[Change]) {
        let waiting = std::mem::take(&mut self.waiting);
        let (withdrawn, waiting): (Vec<Waiting>, _) = waiting
            .into_iter()
            .partition(|waiting| ids.contains(&waiting.change.origin.external_id));
        self.waiting = waiting;
        for change in changes {
            *self.counter(change.kind) -= 1;
        }
        let withdrawn = withdrawn.iter().map(|waiting| &waiting.change).chain(changes);
        let mut users = HashSet::new();
        for change in withdrawn {
            users.insert(change.user);
            if change.kind != ChangeKind::Create {
                self.field_changes.each(&change.changes, |count| *count -= 1);
            }
        }
        self.released.retain(|_, user| !users.contains(user));
    }

    /// The claims that had to wait. Called last, when every release is known.
    pub fn finish(&mut self) -> OrderedClaims {
        let ordered = order_claims(std::mem::take(&mut self.waiting), &self.released);
        for change in ordered.groups.iter().flatten() {
            self.count(change);
        }
        ordered
    }

    /// What the plan has so far.
    pub fn counts(&self) -> RunCounts {
        self.counts
    }

    /// The watched fields that change so far.
    pub fn field_changes(&self) -> FieldChanges {
        self.field_changes
    }

    /// Users of the sync that could log in before the run.
    pub fn active(&self) -> u64 {
        self.active
    }

    fn relinked_user<'c>(&self, desired: &Desired, context: &'c Context) -> Option<&'c User> {
        let user = self.relinked.get(&desired.external_id)?;
        relinking::same_login(self.user_sync, desired, context).filter(|found| found.id == *user)
    }

    fn count(&mut self, change: &Change) {
        *self.counter(change.kind) += 1;
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
