//! Users whose entries a pull did not bring.

use super::Planner;
use super::known::Slot;
use crate::id::UserId;
use crate::plan::{Change, ChangeKind};
use crate::user::{Origin, StateReason, User, UserState};
use crate::user_sync::MissingUsers;

impl Planner<'_> {
    /// The users that the pull did not bring, in whatever state, but for those who are known to have left already: of
    /// them, those alone whose logins are to become free. Only a Complete pull may ask.
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

    /// How many users could log in whom the pull did not bring, if absences matter to this sync.
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

    /// The change that removes a user whose absence is confirmed, or says so of one who may not log in already. None if the
    /// user is not the sync's any more: another one may have taken it over since the run began.
    pub fn remove(&mut self, user: &User, reason: StateReason) -> Option<Change> {
        let ours = |origin: &&Origin| origin.user_sync == *self.user_sync;
        let origin = user.origin.as_ref().filter(ours)?.clone();
        let (kind, state) = match (self.settings.missing_users, user.state) {
            (MissingUsers::Ignore, _) => return None,
            (MissingUsers::Deactivate, UserState::Active) => (ChangeKind::Deactivate, UserState::Deactivated),
            (MissingUsers::Archive, UserState::Active | UserState::Deactivated) => {
                (ChangeKind::Archive, UserState::Archived)
            }
            // They may not log in already. That they left is what another sync has to know to take them over.
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

    /// The change that deactivates a user for what an entry with its id says, and changes nothing else of it. None if
    /// the user may not log in anyway, or is not the sync's.
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
