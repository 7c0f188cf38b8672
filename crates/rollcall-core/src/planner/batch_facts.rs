//! What has to be known about the users whom a batch of entries concerns.

use std::collections::{HashMap, HashSet};

use super::Neighbour;
use crate::external_id::ExternalId;
use crate::id::{DirectoryId, UserId, UserSyncId};
use crate::identifier::Holder;
use crate::user::{Origin, StateReason, User, UserState};

/// What the caller knows about the entries of one batch.
#[derive(Clone, Debug, Default)]
pub struct BatchFacts {
    users: HashMap<UserId, User>,
    persons: HashMap<ExternalId, UserId>,
    holders: HashMap<String, Holder>,
    given_up: HashSet<UserId>,
    held: HashSet<UserSyncId>,
    neighbours: HashMap<UserId, Neighbour>,
    askers: HashMap<UserId, Asker>,
}

/// Whether the entry of another user sync still asks for an ambiguous login.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Asker {
    /// It does, or nobody can tell. With its DN and its user if it is of the same directory.
    Asks {
        /// Its DN.
        dn: Option<String>,
        /// The user whose entry it is.
        user: Option<UserId>,
    },
    /// It does not.
    Ceased,
}

impl BatchFacts {
    /// What concerns the users of `directory` that have one of the batch's external ids, the users that have one of
    /// its identifiers, and who has which, by normalised identifier.
    ///
    /// The same external id in another directory is somebody else: two directories may hold copies of one tree.
    pub fn new(
        directory: &DirectoryId,
        users: impl IntoIterator<Item = User>,
        holders: HashMap<String, Holder>,
    ) -> Self {
        let users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
        let origins = users
            .values()
            .filter_map(|user| Some((user.id, user.origin.as_ref()?)));
        let persons = origins
            .filter(|(_, origin)| origin.directory == *directory)
            .map(|(user, origin)| (origin.external_id.clone(), user))
            .collect();
        Self {
            users,
            persons,
            holders,
            given_up: HashSet::new(),
            held: HashSet::new(),
            neighbours: HashMap::new(),
            askers: HashMap::new(),
        }
    }

    /// Adds users of other syncs who have what the entries ask for, and do not offer it any more.
    pub fn meet_neighbours(&mut self, neighbours: impl IntoIterator<Item = Neighbour>) {
        let found = neighbours.into_iter();
        self.neighbours
            .extend(found.map(|neighbour| (neighbour.user().id, neighbour)));
    }

    /// Adds holders of further identifiers, with the users.
    pub fn extend(&mut self, users: impl IntoIterator<Item = User>, holders: HashMap<String, Holder>) {
        self.users.extend(users.into_iter().map(|user| (user.id, user)));
        self.holders.extend(holders);
    }

    /// What became of the entry of another sync that asks for the ambiguous login of this user.
    pub fn note_asker(&mut self, user: UserId, asker: Asker) {
        self.askers.insert(user, asker);
    }

    /// Users of this sync whose logins are ambiguous since entries of other syncs ask for them.
    pub fn ambiguous(&self, user_sync: &UserSyncId) -> Vec<&User> {
        let ours = |user: &&User| {
            let origin = user.origin.as_ref();
            user.login_asked_by.is_some() && origin.is_some_and(|origin| origin.user_sync == *user_sync)
        };
        self.users.values().filter(ours).collect()
    }

    pub(super) fn asker(&self, user: UserId) -> Asker {
        self.askers
            .get(&user)
            .cloned()
            .unwrap_or(Asker::Asks { dn: None, user: None })
    }

    pub(super) fn neighbour(&self, user: UserId) -> Option<&Neighbour> {
        self.neighbours.get(&user)
    }

    /// The user with this id, if another user sync than this one has it and did not give it up.
    pub fn kept_elsewhere(&self, id: &ExternalId, user_sync: &UserSyncId) -> Option<&User> {
        let user = self.person(id)?;
        let elsewhere = user.origin.as_ref()?.user_sync != *user_sync;
        (elsewhere && !self.is_given_up(user)).then_some(user)
    }

    /// Notes that the user syncs of these users would not find them any more.
    pub fn give_up(&mut self, users: impl IntoIterator<Item = UserId>) {
        self.given_up.extend(users);
    }

    /// Notes that the plans of these user syncs wait for a person: nobody is taken from them until then.
    pub fn hold(&mut self, user_syncs: impl IntoIterator<Item = UserSyncId>) {
        self.held.extend(user_syncs);
    }

    /// True if the owning sync does not have the person any more.
    pub(super) fn is_given_up(&self, user: &User) -> bool {
        let held = |origin: &Origin| self.held.contains(&origin.user_sync);
        if user.origin.as_ref().is_some_and(held) {
            return false;
        }
        let told = matches!(
            user.state_reason,
            Some(StateReason::Gone | StateReason::OutOfScope | StateReason::SyncDeleted)
        );
        user.state != UserState::Active && told || self.given_up.contains(&user.id)
    }

    /// The user of the directory with this id.
    pub fn person(&self, id: &ExternalId) -> Option<&User> {
        self.user(*self.persons.get(id)?)
    }

    /// A user whom the entries concern.
    pub fn user(&self, id: UserId) -> Option<&User> {
        self.users.get(&id)
    }

    /// Who has an identifier, which must be normalised.
    pub fn holder(&self, identifier: &str) -> Option<&Holder> {
        self.holders.get(identifier)
    }
}
