//! Users of other user syncs who have what an entry of this run asks for, and do not offer it any more.
//!
//! A run changes them in two ways alone. It closes a circle: people of several syncs who have each other's logins can
//! only move together. And it says that a login is ambiguous. All else is for the runs of their own syncs.

use super::claim::{Claim, held};
use crate::claims::{Claimant, Outcome, Settled, Want, Wants};
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
    /// The fields that it has after its move; `None` if its sync lets it keep its login.
    moved: Option<Profile>,
}

impl Neighbour {
    /// What the user's own sync makes of its entry, by the configuration in force. `None` if the entry offers the
    /// login, cannot be read or says that the account is disabled: then the user keeps its login undisputed.
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
                // An e-mail address that is the same as the login goes with it.
                if moved.email.as_deref().map(normalize) == Some(old) {
                    let follows = judged.wants.email == judged.wants.login;
                    if !follows {
                        // A move would lose the address. The user's own sync sees to both.
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

    /// The same user, keeping its login.
    pub(super) fn staying(self) -> Self {
        Self { moved: None, ..self }
    }

    /// The user.
    pub fn user(&self) -> &User {
        &self.user
    }

    /// True if this entry is the user's, and the user is about to move.
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
