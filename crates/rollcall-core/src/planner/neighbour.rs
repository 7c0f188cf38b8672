//! Users of other user syncs who have what an entry of this run asks for, and do not offer it any more.
//!
//! A run changes them in two ways alone. It closes a circle: people of several syncs who have each other's logins can
//! only move together. And it says that a login is ambiguous. All else is for the runs of their own syncs.

use std::collections::{HashMap, HashSet};

use super::claim::{Claim, held};
use super::{Context, Holder, Planner};
use crate::claims::{Claimant, Outcome, Settled, Want, Wants};
use crate::id::UserId;
use crate::identifier::normalize;
use crate::judgement::EntryReading;
use crate::plan::{Change, ChangeKind};
use crate::role::RoleFinding;
use crate::user::{Origin, OtherEntry, Profile, User, UserState};
use crate::user_sync::UserSyncSettings;

/// A user of another user sync whose entry does not offer its login any more.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Neighbour {
    user: User,
    /// The fields that it has once it has moved; `None` if its sync lets it keep its login.
    moved: Option<Profile>,
}

impl Neighbour {
    /// What its own sync makes of its entry, by the configuration in force. `None` if the entry offers the login, cannot
    /// be read or says that the account is disabled: then nothing stands against the user.
    pub fn of(user: &User, reading: &EntryReading, in_force: &UserSyncSettings) -> Option<Self> {
        if user.state != UserState::Active || !reading.is_enabled() {
            return None;
        }
        let present_role = RoleFinding::certain(&user.profile.role);
        let judged = reading.for_known(&present_role, user, true, in_force);
        let claim = Claim {
            user: user.id,
            before: Some(user.clone()),
            judged,
            met: true,
            counted: true,
        };
        if claim.claimant().offers_login() {
            return None;
        }
        let old = held(user).login?;
        let judged = claim.judged;
        let moved = match &judged.wants.login {
            Want::Other(_) => {
                let mut moved = user.profile.clone();
                moved.login.clone_from(&judged.profile.login);
                // An e-mail address that is the login goes with it.
                if moved.email.as_deref().map(normalize) == Some(old) {
                    let follows = judged.wants.email == judged.wants.login;
                    if !follows {
                        // It would be lost here. Its own sync sees to both.
                        return None;
                    }
                    moved.email.clone_from(&judged.profile.email);
                }
                Some(moved)
            }
            Want::Held | Want::Nothing => None,
        };
        Some(Self {
            user: user.clone(),
            moved,
        })
    }

    /// The user.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// True if it is this entry that is about to move.
    pub(super) fn moves_as(&self, entry: &OtherEntry) -> bool {
        let is_it = |origin: &Origin| {
            (&origin.user_sync, &origin.external_id) == (&entry.user_sync, &entry.external_id)
        };
        self.moved.is_some() && self.user.origin.as_ref().is_some_and(is_it)
    }

    /// The normalised login that its entry has instead, if it may move.
    pub fn target(&self) -> Option<String> {
        self.moved.as_ref().map(|moved| normalize(&moved.login))
    }

    pub(super) fn claimant(&self) -> Claimant {
        let target = self.target();
        let follows = self.moved.as_ref().and_then(|moved| moved.email.as_deref());
        let follows = follows
            .map(normalize)
            .filter(|email| target.as_ref() == Some(email));
        let other = |key: Option<String>, or: Want| key.map_or(or, Want::Other);
        Claimant {
            login: held(&self.user).login,
            wants: Wants {
                email: other(follows, Want::Held),
                login: other(target, Want::Nothing),
            },
            enabled: true,
            taken: true,
            ..Claimant::default()
        }
    }

    /// What becomes of the user, if anything. `rival` is the entry that asks for a login which stays.
    pub(super) fn change(self, outcome: &Outcome, rival: Option<OtherEntry>) -> Option<Change> {
        let Self { user, moved } = self;
        let moved = moved.filter(|_| outcome.login == Settled::Granted);
        let ambiguous = moved.is_none() && outcome.ambiguous_with.is_some();
        if moved.is_none() && (!ambiguous || user.login_ambiguous) {
            return None;
        }
        let change = Change {
            kind: ChangeKind::Update,
            user: user.id,
            expected_revision: user.revision,
            state_before: Some(user.state),
            origin: user.origin.clone()?,
            profile: moved.unwrap_or_else(|| user.profile.clone()),
            state: user.state,
            state_reason: user.state_reason,
            login_ambiguous: ambiguous,
            login_asked_by: rival.filter(|_| ambiguous),
            changes: Vec::new(),
        };
        Some(change.compared(Some(&user)))
    }
}

/// What is known of neighbours, and of who has the logins that they are about to have.
#[derive(Default)]
pub(super) struct Neighbours {
    known: HashMap<UserId, Neighbour>,
    /// Who has the targets that somebody has.
    holders: HashMap<String, TargetHolder>,
}

/// Who has what a neighbour is about to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TargetHolder {
    User(UserId),
    /// A deactivated user, who gives way to people of its own sync.
    GivesWay,
    /// Somebody of another tenant.
    Foreign,
}

impl Neighbours {
    pub(super) fn note(&mut self, neighbour: Neighbour, context: &Context) {
        if let Some(target) = neighbour.target()
            && let Some(holder) = context.holder(&target)
        {
            let gives_way = |user: &User| user.origin.is_some() && user.state != UserState::Active;
            let holder = match holder {
                Holder::Foreign => TargetHolder::Foreign,
                Holder::User(id) if context.user(*id).is_some_and(gives_way) => TargetHolder::GivesWay,
                Holder::User(id) => TargetHolder::User(*id),
            };
            self.holders.insert(target, holder);
        }
        self.known.insert(neighbour.user.id, neighbour);
    }

    pub(super) fn has(&self, user: UserId) -> bool {
        self.known.contains_key(&user)
    }

    /// Those who take part when claims are settled. Whoever is about to move to what nobody has, or what somebody else is
    /// about to leave for such a login, is left to the next run of its own sync. Whoever cannot move keeps its login.
    fn parties(self, is_own: impl Fn(UserId) -> bool) -> Vec<Neighbour> {
        let Self { known, holders } = self;
        let fate = |neighbour: &Neighbour| {
            let mut seen = HashSet::from([neighbour.user.id]);
            let mut next = neighbour.target();
            loop {
                let Some(target) = next else {
                    return Fate::Stays;
                };
                let holder = match holders.get(&target) {
                    Some(TargetHolder::User(holder)) => *holder,
                    Some(TargetHolder::Foreign) => return Fate::Stays,
                    Some(TargetHolder::GivesWay) | None => return Fate::Waits,
                };
                if is_own(holder) {
                    return Fate::Moves;
                }
                match known.get(&holder) {
                    // A circle without anybody of this sync, or its own e-mail address.
                    Some(_) if !seen.insert(holder) => return Fate::Waits,
                    Some(holder) => next = holder.target(),
                    None => return Fate::Stays,
                }
            }
        };
        let fates: HashMap<UserId, Fate> = known
            .values()
            .map(|neighbour| (neighbour.user.id, fate(neighbour)))
            .collect();
        known
            .into_values()
            .filter_map(|neighbour| match fates.get(&neighbour.user.id)? {
                Fate::Moves => Some(neighbour),
                Fate::Stays => Some(Neighbour {
                    moved: None,
                    ..neighbour
                }),
                Fate::Waits => None,
            })
            .collect()
    }
}

/// What becomes of a neighbour if its wish goes as far as it can.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// It leads to somebody of this sync.
    Moves,
    /// It leads to somebody who stays.
    Stays,
    /// It leads to a free login, which its own sync gives to it.
    Waits,
}

impl Planner<'_> {
    /// Neighbours who take part, whose logins are nobody's outside any more.
    pub(super) fn neighbour_parties(&mut self, is_own: impl Fn(UserId) -> bool) -> Vec<Neighbour> {
        let parties = std::mem::take(&mut self.neighbours).parties(is_own);
        for neighbour in &parties {
            if let Some(login) = held(&neighbour.user).login {
                self.outside.remove(&login);
            }
        }
        parties
    }
}
