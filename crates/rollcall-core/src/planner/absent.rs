//! Users whose entries a pull did not bring.

use super::Planner;
use super::known::Slot;
use crate::id::UserId;
use crate::plan::{Change, ChangeKind};
use crate::user::{Origin, StateReason, User, UserState};
use crate::user_sync::MissingUsers;

impl Planner<'_> {
    /// The users whom the pull did not bring, whatever their state. Users whose absence was applied already are left
    /// out, unless their logins are to become free now. Ask only after a Complete pull.
    pub fn absent(&self) -> Vec<UserId> {
        let concerned = |slot: &&Slot| match self.settings.missing_users {
            MissingUsers::Ignore => false,
            MissingUsers::Deactivate => !slot.left,
            MissingUsers::Archive => !slot.left || slot.state != UserState::Archived,
        };
        let absent = self
            .known
            .slots()
            .filter(|slot| slot.is_absent())
            .filter(concerned);
        let mut users: Vec<_> = absent.map(|slot| slot.user).collect();
        users.sort_unstable();
        users
    }

    /// How many of the users whom the pull did not bring could log in; 0 if the sync keeps missing users.
    pub fn absent_active(&self) -> u64 {
        if self.settings.missing_users == MissingUsers::Ignore {
            return 0;
        }
        let absent = self
            .known
            .slots()
            .filter(|slot| slot.is_absent() && slot.state == UserState::Active);
        absent.count() as u64
    }

    /// The change that removes a user whose absence is confirmed. For a user who may not log in anyway, the change only
    /// notes the absence. `None` if the user is not the sync's any more: another one may have taken it over since the
    /// run began.
    pub fn remove(&mut self, user: &User, reason: StateReason) -> Option<Change> {
        let ours = |origin: &&Origin| origin.user_sync == *self.user_sync;
        let origin = user.origin.as_ref().filter(ours)?.clone();
        let (kind, state) = match (self.settings.missing_users, user.state) {
            (MissingUsers::Ignore, _) => return None,
            (MissingUsers::Deactivate, UserState::Active) => (ChangeKind::Deactivate, UserState::Deactivated),
            (MissingUsers::Archive, UserState::Active | UserState::Deactivated) => {
                (ChangeKind::Archive, UserState::Archived)
            }
            // The user may not log in anyway. That the person left is still noted: only then may another sync take the
            // user over.
            (_, state) => (ChangeKind::Update, state),
        };
        let change = Change {
            kind,
            user: user.id,
            expected_revision: user.revision,
            state_before: Some(user.state),
            origin,
            profile: user.profile.clone(),
            state,
            state_reason: Some(reason),
            login_ambiguous: false,
            login_asked_by: None,
            changes: Vec::new(),
        }
        .compared(Some(user));
        self.count(&change);
        Some(change)
    }

    /// The change that deactivates a user because of what an entry with its id says, and changes nothing else. `None`
    /// if the user may not log in anyway, or is not the sync's.
    pub fn deactivate(&mut self, user: &User, reason: StateReason) -> Option<Change> {
        let ours = |origin: &&Origin| origin.user_sync == *self.user_sync;
        let origin = user.origin.as_ref().filter(ours)?.clone();
        if user.state != UserState::Active {
            return None;
        }
        let change = Change {
            kind: ChangeKind::Deactivate,
            user: user.id,
            expected_revision: user.revision,
            state_before: Some(user.state),
            origin,
            profile: user.profile.clone(),
            state: UserState::Deactivated,
            state_reason: Some(reason),
            login_ambiguous: user.login_ambiguous,
            login_asked_by: user.login_asked_by.clone(),
            changes: Vec::new(),
        }
        .compared(Some(user));
        self.count(&change);
        self.no_longer_stays();
        Some(change)
    }
}
