//! The planner: what a pull's entries mean for the users that there are.
//!
//! It works on a stream. [`Planner::screen`] drops the entries that ask for nothing new, which on a normal
//! night is nearly all; for the rest the caller fetches what [`Planner::decide`] needs to know; and
//! [`Planner::finish`] adds the removals and the claims that had to wait for a release. Its memory grows by
//! some tens of bytes per known user, not by entry.
//!
//! Changes come in three phases, applied in this order: removals, which may release identifiers; changes
//! that claim only what is free; and claims of identifiers that another change of the plan releases.

use std::collections::{HashMap, HashSet};

use crate::external_id::ExternalId;
use crate::id::{UserId, UserSyncId, Uuid};
use crate::identifier::normalize;
use crate::issue::{Issue, IssueKind};
use crate::plan::{Change, ChangeKind, Fingerprint};
use crate::run::RunCounts;
use crate::user::{Origin, Profile, StateReason, User, UserState};
use crate::user_sync::{ExistingUsers, LoginChanges, MissingUsers, NewUsers, UserSyncSettings};

mod claims;
mod context;

pub use claims::{OrderedClaims, order_claims};
pub use context::{Context, Holder};

/// A user of the sync, as far as a run has to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The user.
    pub user: UserId,
    /// What the sync set on it last.
    pub fingerprint: Fingerprint,
    /// Its state.
    pub state: UserState,
}

/// What an entry asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Desired {
    /// The entry's stable id.
    pub external_id: ExternalId,
    /// The entry's DN.
    pub dn: String,
    /// The fields.
    pub profile: Profile,
    /// Why the user may not log in, if the directory says so.
    pub state_reason: Option<StateReason>,
}

impl Desired {
    fn state(&self) -> UserState {
        if self.state_reason.is_some() {
            UserState::Deactivated
        } else {
            UserState::Active
        }
    }

    /// The normalised identifiers that the user would have.
    pub fn identifiers(&self) -> Vec<String> {
        identifiers(&self.profile)
    }
}

/// The normalised login and, unless it is the same, e-mail of a profile.
pub fn identifiers(profile: &Profile) -> Vec<String> {
    let mut keys = vec![normalize(&profile.login)];
    if let Some(email) = &profile.email {
        let email = normalize(email);
        if !keys.contains(&email) {
            keys.push(email);
        }
    }
    keys
}

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
    known: HashMap<ExternalId, Slot>,
    seen_new: HashSet<ExternalId>,
    claimed: HashMap<String, UserId>,
    released: HashMap<String, UserId>,
    waiting: Vec<Waiting>,
    counts: RunCounts,
    field_changes: FieldChanges,
    active: u64,
    roles_known: bool,
}

struct Slot {
    known: Known,
    seen: bool,
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

impl<'a> Planner<'a> {
    /// A planner for a sync that has these users.
    pub fn new(
        user_sync: &'a UserSyncId,
        settings: &'a UserSyncSettings,
        known: impl IntoIterator<Item = (ExternalId, Known)>,
    ) -> Self {
        let known: HashMap<_, _> = known
            .into_iter()
            .map(|(id, known)| (id, Slot { known, seen: false }))
            .collect();
        let active = known
            .values()
            .filter(|slot| slot.known.state == UserState::Active)
            .count() as u64;
        Self {
            settings,
            user_sync,
            known,
            seen_new: HashSet::new(),
            claimed: HashMap::new(),
            released: HashMap::new(),
            waiting: Vec::new(),
            counts: RunCounts::default(),
            field_changes: FieldChanges::default(),
            active,
            roles_known: true,
        }
    }

    /// The role rules could not be evaluated: users keep their roles, and nobody new is created, since a wrong
    /// role is worse than a day's wait.
    pub fn keep_roles(&mut self) {
        self.roles_known = false;
    }

    /// True if an entry with this id was taken in already.
    pub fn has_seen(&self, id: &ExternalId) -> bool {
        self.known
            .get(id)
            .map_or_else(|| self.seen_new.contains(id), |slot| slot.seen)
    }

    /// Marks an id as present although its entry cannot be used, so that its user is not taken for gone.
    pub fn mark_present(&mut self, id: &ExternalId) {
        match self.known.get_mut(id) {
            Some(slot) => slot.seen = true,
            None => {
                self.seen_new.insert(id.clone());
            }
        }
    }

    /// True if the entry needs a decision: it is not a repetition and asks for something new.
    pub fn screen(&mut self, desired: &Desired) -> bool {
        let Some(slot) = self.known.get_mut(&desired.external_id) else {
            return self.seen_new.insert(desired.external_id.clone());
        };
        if std::mem::replace(&mut slot.seen, true) {
            return false;
        }
        let fingerprint = Fingerprint::of(&desired.profile, &desired.dn, desired.state());
        if fingerprint == slot.known.fingerprint {
            self.counts.unchanged += 1;
            return false;
        }
        true
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
            let current = context.person(&desired.external_id);
            let outcome = match current {
                None => self.decide_new(desired, context, &mut new_id, &mut decisions.issues),
                Some(user) => self.decide_existing(desired, user, context, &mut decisions.issues),
            };
            decisions.changes.extend(outcome);
        }
        decisions
    }

    fn decide_new(
        &mut self,
        desired: Desired,
        context: &Context,
        new_id: &mut impl FnMut() -> Uuid,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        if self.settings.new_users == NewUsers::Ignore || !self.roles_known {
            self.counts.ignored += 1;
            return None;
        }
        if let Some(local) = self.linkable(&desired, context) {
            if local.owner {
                let message = "the entry has the login of the account owner";
                let issue = Issue::new(IssueKind::OwnerProtected, &desired.dn, message);
                issues.push(issue.about("login", &desired.profile.login));
                return None;
            }
            if self.settings.overwrite_local_users {
                return self.change(ChangeKind::Link, local, desired, context, issues);
            }
        }
        let user = UserId(new_id());
        let needs = match self.claims(user, &desired, context) {
            Ok(needs) => needs,
            Err(issue) => {
                issues.push(*issue);
                return None;
            }
        };
        let change = Change {
            kind: ChangeKind::Create,
            user,
            expected_revision: 0,
            origin: self.origin(&desired, false),
            state: desired.state(),
            state_reason: desired.state_reason,
            changes: Profile::default().changes_to(&desired.profile),
            profile: desired.profile,
        };
        self.emit(change, needs)
    }

    fn decide_existing(
        &mut self,
        mut desired: Desired,
        user: &User,
        context: &Context,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let origin = user.origin.as_ref()?;
        let owned = origin.user_sync == *self.user_sync;
        if !owned && !is_given_up(user) {
            let message = format!("the account is a user of the user sync {}", origin.user_sync);
            let mut issue = Issue::new(IssueKind::Overlap, &desired.dn, message);
            issue.other_user_sync = Some(origin.user_sync.clone());
            issues.push(issue);
            return None;
        }
        let ignored = match (owned, user.state) {
            (true, _) => self.settings.existing_users == ExistingUsers::Ignore,
            (false, _) => self.settings.new_users == NewUsers::Ignore,
        };
        if ignored {
            self.counts.ignored += 1;
            return None;
        }
        if !self.roles_known {
            desired.profile.role = user.profile.role.clone();
        }
        let same_login = normalize(&desired.profile.login) == normalize(&user.profile.login);
        if !same_login && self.settings.login_changes == LoginChanges::Reject {
            let message = format!(
                "the login in the directory is not {} any more",
                user.profile.login
            );
            let issue = Issue::new(IssueKind::LoginChangeRejected, &desired.dn, message);
            issues.push(issue.about("login", &desired.profile.login));
            desired.profile.login = user.profile.login.clone();
        }
        let kind = match (owned, user.state, desired.state()) {
            (false, ..) => ChangeKind::Transfer,
            (true, UserState::Active, UserState::Deactivated) => ChangeKind::Deactivate,
            (true, UserState::Deactivated | UserState::Archived, UserState::Active) => ChangeKind::Reactivate,
            (true, ..) => ChangeKind::Update,
        };
        self.change(kind, user, desired, context, issues)
    }

    fn change(
        &mut self,
        kind: ChangeKind,
        user: &User,
        desired: Desired,
        context: &Context,
        issues: &mut Vec<Issue>,
    ) -> Option<Change> {
        let changes = user.profile.changes_to(&desired.profile);
        let linked = kind == ChangeKind::Link || user.origin.as_ref().is_some_and(|origin| origin.linked);
        let origin = self.origin(&desired, linked);
        let unchanged = changes.is_empty()
            && kind == ChangeKind::Update
            && user.origin.as_ref() == Some(&origin)
            && user.state_reason == desired.state_reason;
        if unchanged {
            self.counts.unchanged += 1;
            return None;
        }
        let needs = match self.claims(user.id, &desired, context) {
            Ok(needs) => needs,
            Err(issue) => {
                issues.push(*issue);
                return None;
            }
        };
        if user.state != UserState::Archived {
            let kept = desired.identifiers();
            for key in identifiers(&user.profile) {
                if !kept.contains(&key) {
                    self.released.insert(key, user.id);
                }
            }
        }
        let watched = |field: &str| u64::from(changes.iter().any(|change| change.field == field));
        self.field_changes.role += watched("role");
        self.field_changes.login += watched("login");
        self.field_changes.email += watched("email");
        let change = Change {
            kind,
            user: user.id,
            expected_revision: user.revision,
            origin,
            state: desired.state(),
            state_reason: desired.state_reason,
            changes,
            profile: desired.profile,
        };
        self.emit(change, needs)
    }

    /// Takes the identifiers for `user`. `Ok` lists the ones that others must release first.
    fn claims(
        &mut self,
        user: UserId,
        desired: &Desired,
        context: &Context,
    ) -> Result<Vec<(String, UserId)>, Box<Issue>> {
        let keys = desired.identifiers();
        let mut needs = Vec::new();
        for (index, key) in keys.iter().enumerate() {
            let taken = |kind: IssueKind, message: &str| {
                let (field, value) = match (index, &desired.profile.email) {
                    (1, Some(email)) => ("email", email),
                    _ => ("login", &desired.profile.login),
                };
                Box::new(Issue::new(kind, &desired.dn, message).about(field, value))
            };
            let kind = if index == 0 {
                IssueKind::LoginTaken
            } else {
                IssueKind::EmailTaken
            };
            if self.claimed.get(key).is_some_and(|other| *other != user) {
                return Err(taken(
                    IssueKind::DuplicateInDirectory,
                    "another entry has the same value",
                ));
            }
            match context.holder(key) {
                None => {}
                Some(Holder::User(holder)) if *holder == user => {}
                Some(Holder::User(holder)) if self.may_release(*holder, context) => {
                    needs.push((key.clone(), *holder));
                }
                Some(Holder::User(_)) => return Err(taken(kind, "another user of this tenant has it")),
                Some(Holder::Foreign) => return Err(taken(kind, "a user of another account has it")),
            }
        }
        for key in keys {
            self.claimed.insert(key, user);
        }
        Ok(needs)
    }

    /// True if this run may still bring a change that frees `holder`'s identifiers.
    fn may_release(&self, holder: UserId, context: &Context) -> bool {
        let origin = context.user(holder).and_then(|user| user.origin.as_ref());
        origin.is_some_and(|origin| origin.user_sync == *self.user_sync)
    }

    fn linkable<'c>(&self, desired: &Desired, context: &'c Context) -> Option<&'c User> {
        let login = normalize(&desired.profile.login);
        let Some(Holder::User(holder)) = context.holder(&login) else {
            return None;
        };
        let local = context.user(*holder).filter(|user| user.origin.is_none());
        local.filter(|user| normalize(&user.profile.login) == login)
    }

    fn origin(&self, desired: &Desired, linked: bool) -> Origin {
        Origin {
            user_sync: self.user_sync.clone(),
            directory: self.settings.directory.clone(),
            external_id: desired.external_id.clone(),
            dn: desired.dn.clone(),
            linked,
        }
    }

    fn emit(&mut self, change: Change, needs: Vec<(String, UserId)>) -> Option<Change> {
        if needs.is_empty() {
            self.count(&change);
            return Some(change);
        }
        self.waiting.push(Waiting { change, needs });
        None
    }

    fn count(&mut self, change: &Change) {
        let counter = match change.kind {
            ChangeKind::Create => &mut self.counts.created,
            ChangeKind::Link => &mut self.counts.linked,
            ChangeKind::Update => &mut self.counts.updated,
            ChangeKind::Reactivate => &mut self.counts.reactivated,
            ChangeKind::Deactivate => &mut self.counts.deactivated,
            ChangeKind::Archive => &mut self.counts.archived,
            ChangeKind::Transfer => &mut self.counts.transferred,
            ChangeKind::Relink => &mut self.counts.relinked,
        };
        *counter += 1;
    }

    /// The users that the pull did not bring and that a removal would concern. Only a Complete pull may ask.
    pub fn absent(&self) -> Vec<UserId> {
        let removable = |state: UserState| match self.settings.missing_users {
            MissingUsers::Ignore => false,
            MissingUsers::Deactivate => state == UserState::Active,
            MissingUsers::Archive => state != UserState::Archived,
        };
        let absent = self
            .known
            .values()
            .filter(|slot| !slot.seen && removable(slot.known.state));
        let mut users: Vec<_> = absent.map(|slot| slot.known.user).collect();
        users.sort_unstable();
        users
    }

    /// How many users could log in whom the pull did not bring, if absences matter to this sync.
    pub fn absent_active(&self) -> u64 {
        if self.settings.missing_users == MissingUsers::Ignore {
            return 0;
        }
        let absent = self
            .known
            .values()
            .filter(|slot| !slot.seen && slot.known.state == UserState::Active);
        absent.count() as u64
    }

    /// The change that removes a user whose absence is confirmed.
    pub fn remove(&mut self, user: &User, reason: StateReason) -> Option<Change> {
        let origin = user.origin.clone()?;
        let (kind, state) = match self.settings.missing_users {
            MissingUsers::Ignore => return None,
            MissingUsers::Deactivate => (ChangeKind::Deactivate, UserState::Deactivated),
            MissingUsers::Archive => (ChangeKind::Archive, UserState::Archived),
        };
        if kind == ChangeKind::Archive {
            for key in identifiers(&user.profile) {
                self.released.insert(key, user.id);
            }
        }
        let change = Change {
            kind,
            user: user.id,
            expected_revision: user.revision,
            origin,
            profile: user.profile.clone(),
            state,
            state_reason: Some(reason),
            changes: Vec::new(),
        };
        self.count(&change);
        Some(change)
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
}

/// True if the owning sync's last Complete run did not have the person any more.
fn is_given_up(user: &User) -> bool {
    user.state != UserState::Active
        && matches!(
            user.state_reason,
            Some(StateReason::Gone | StateReason::OutOfScope | StateReason::SyncDeleted)
        )
}

#[cfg(test)]
mod tests;
