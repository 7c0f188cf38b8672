//! Users: the records that the SaaS product works with.

mod changes;

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::external_id::ExternalId;
use crate::field::TextField;
use crate::id::{DirectoryId, TenantId, UserId, UserSyncId};
use crate::identifier::normalize;
use crate::revision::Revision;
use crate::vocabulary::vocabulary;

pub use changes::{Changeable, FieldChange, changes};

/// The fields that a mapping or the product fills.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// What the user types to log in. 3 to 128 characters.
    pub login: String,
    /// E-mail address; also accepted as a login.
    pub email: Option<String>,
    /// Names, phone number and the like: those that there are.
    pub texts: BTreeMap<TextField, String>,
    /// Role in the product.
    pub role: String,
    /// Opaque values of the product.
    pub restrictions: Vec<String>,
    /// Further fields of the product's own.
    pub custom: BTreeMap<String, String>,
}

vocabulary! {
    /// Whether a user exists for the product.
    pub closed enum UserState {
        /// May log in.
        Active = "ACTIVE",
        /// May not log in; keeps login and e-mail.
        Deactivated = "DEACTIVATED",
        /// May not log in; login and e-mail are free for others.
        Archived = "ARCHIVED",
    }
}

vocabulary! {
    /// Why a user is in its state.
    pub enum StateReason {
        /// The entry is not in the directory any more.
        Gone = "GONE",
        /// The entry exists, but no search of the sync takes it.
        OutOfScope = "OUT_OF_SCOPE",
        /// The account is disabled in the directory.
        DisabledInDirectory = "DISABLED_IN_DIRECTORY",
        /// The account expired in the directory.
        ExpiredInDirectory = "EXPIRED_IN_DIRECTORY",
        /// The product did it.
        ByProduct = "BY_PRODUCT",
        /// The user sync or directory was deleted.
        SyncDeleted = "SYNC_DELETED",
    }
}

impl StateReason {
    /// True for somebody whose absence was applied: the entry is gone, or no search takes it.
    pub fn has_left(self) -> bool {
        matches!(self, StateReason::Gone | StateReason::OutOfScope)
    }
}

/// What becomes of the users of a user sync that is deleted.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserDisposition {
    /// They are deactivated and keep their identifiers.
    Deactivate,
    /// They are archived, and their identifiers become free.
    Archive,
    /// They become LOCAL users in the state that they are in.
    MakeLocal,
}

/// Where a synced user comes from.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Origin {
    /// The sync that owns the user.
    pub user_sync: UserSyncId,
    /// The directory whose entry it is.
    pub directory: DirectoryId,
    /// The entry's stable id; with the directory it identifies the person.
    pub external_id: ExternalId,
    /// The entry's DN when it was last read.
    pub dn: String,
    /// The user was LOCAL before it was linked, and becomes so again when unlinked.
    pub linked: bool,
}

/// An entry of another user sync.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct OtherEntry {
    /// The user sync whose searches find it.
    pub user_sync: UserSyncId,
    /// The entry's stable id.
    pub external_id: ExternalId,
}

/// A block by the product's admin. No sync and no login ever clears it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Block {
    /// Since when.
    pub time: DateTime<Utc>,
    /// Why, for people.
    pub reason: String,
}

/// A user.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct User {
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Its id, for life.
    pub id: UserId,
    /// Where it comes from; `None` for a LOCAL user.
    pub origin: Option<Origin>,
    /// The fields.
    pub profile: Profile,
    /// Whether it exists for the product.
    pub state: UserState,
    /// Why it is in that state; `None` while active.
    pub state_reason: Option<StateReason>,
    /// The tenant's owner, who is never synced, so that a broken directory locks no tenant out.
    pub owner: bool,
    /// Set while an admin blocks the user.
    pub block: Option<Block>,
    /// The user's entry does not have the login any more and another enabled entry asks for it. Either may be meant by
    /// it, so nobody can log in with it.
    pub login_ambiguous: bool,
    /// The entry that asks for an ambiguous login, if it is another user sync's: the runs of the user's own do not meet
    /// it.
    pub login_asked_by: Option<OtherEntry>,
    /// Counts the changes; the etag, and what a plan compares before it writes.
    pub revision: Revision,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl Profile {
    /// The plain text of this field.
    pub fn text(&self, field: TextField) -> Option<&str> {
        self.texts.get(&field).map(String::as_str)
    }

    /// Gives the field this text, or none.
    pub fn set_text(&mut self, field: TextField, text: Option<String>) {
        match text {
            Some(text) => self.texts.insert(field, text),
            None => self.texts.remove(&field),
        };
    }

    /// The normalised login and, unless it is the same, the normalised e-mail address.
    pub fn identifiers(&self) -> Vec<String> {
        let mut identifiers = vec![normalize(&self.login)];
        if let Some(email) = &self.email {
            let email = normalize(email);
            if !identifiers.contains(&email) {
                identifiers.push(email);
            }
        }
        identifiers
    }
}

impl User {
    /// The identifiers that the user has: those of its profile, or none when archived.
    pub fn identifiers(&self) -> Vec<String> {
        match self.state {
            UserState::Archived => Vec::new(),
            UserState::Active | UserState::Deactivated => self.profile.identifiers(),
        }
    }

    /// Whether a decision about a login of this user holds for the other too: they do not differ in anything that opens
    /// or closes the product to the person, or that says who the person is.
    pub fn stands_like(&self, other: &Self) -> bool {
        let origin = |user: &Self| {
            let origin = user.origin.as_ref()?;
            Some((
                origin.user_sync.clone(),
                origin.directory.clone(),
                origin.external_id.clone(),
            ))
        };
        self.block.is_some() == other.block.is_some()
            && (self.state, self.state_reason) == (other.state, other.state_reason)
            && self.owner == other.owner
            && self.login_ambiguous == other.login_ambiguous
            && self.profile.role == other.profile.role
            && origin(self) == origin(other)
    }
}
