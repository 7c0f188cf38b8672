//! Users: the records that the SaaS product works with.

use std::borrow::Cow;
use std::collections::BTreeMap;

use chrono::{DateTime, Utc};

use crate::external_id::ExternalId;
use crate::id::{DirectoryId, TenantId, UserId, UserSyncId};

/// The fields that a mapping or the product fills.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Profile {
    /// What the user types to log in. 3 to 128 characters.
    pub login: String,
    /// E-mail address; also accepted as a login.
    pub email: Option<String>,
    /// Full name.
    pub display_name: Option<String>,
    /// Given name.
    pub given_name: Option<String>,
    /// Family name.
    pub family_name: Option<String>,
    /// Phone number, as the directory has it.
    pub phone_number: Option<String>,
    /// Role in the product.
    pub role: String,
    /// Opaque values of the product.
    pub restrictions: Vec<String>,
    /// Further fields of the product's own.
    pub custom: BTreeMap<String, String>,
}

/// A difference in one field. `None` stands for "not set".
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FieldChange {
    /// The field, `custom.` in front of a custom one.
    pub field: String,
    /// The value before.
    pub old: Option<String>,
    /// The value after.
    pub new: Option<String>,
}

impl Profile {
    /// Every field by name, in the contract's order.
    pub fn fields(&self) -> Vec<(Cow<'_, str>, Option<Cow<'_, str>>)> {
        let text = |value| Some(value).filter(|value: &&str| !value.is_empty());
        let restrictions = self.restrictions.join(", ");
        let restrictions = (!restrictions.is_empty()).then_some(Cow::Owned(restrictions));
        let fixed = [
            ("login", text(self.login.as_str())),
            ("email", self.email.as_deref()),
            ("display_name", self.display_name.as_deref()),
            ("given_name", self.given_name.as_deref()),
            ("family_name", self.family_name.as_deref()),
            ("phone_number", self.phone_number.as_deref()),
            ("role", text(self.role.as_str())),
        ];
        let fixed = fixed.map(|(name, value)| (Cow::Borrowed(name), value.map(Cow::Borrowed)));
        let custom = self.custom.iter().map(|(name, value)| {
            (
                Cow::Owned(format!("custom.{name}")),
                Some(Cow::Borrowed(value.as_str())),
            )
        });
        let restrictions = (Cow::Borrowed("restrictions"), restrictions);
        fixed.into_iter().chain([restrictions]).chain(custom).collect()
    }

    /// What is different in `new`.
    pub fn changes_to(&self, new: &Profile) -> Vec<FieldChange> {
        let mut old: BTreeMap<_, _> = self.fields().into_iter().collect();
        let change =
            |field: Cow<'_, str>, old: Option<Cow<'_, str>>, new: Option<Cow<'_, str>>| FieldChange {
                field: field.into_owned(),
                old: old.map(Cow::into_owned),
                new: new.map(Cow::into_owned),
            };
        let mut changes = Vec::new();
        for (field, value) in new.fields() {
            let before = old.remove(&field).flatten();
            if before != value {
                changes.push(change(field, before, value));
            }
        }
        changes.extend(old.into_iter().map(|(field, value)| change(field, value, None)));
        changes
    }
}

/// Whether a user exists for the product.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum UserState {
    /// May log in.
    Active,
    /// May not log in; keeps login and e-mail.
    Deactivated,
    /// May not log in; login and e-mail are free for others.
    Archived,
}

/// Why a user is in its state.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum StateReason {
    /// The entry is not in the directory any more.
    Gone,
    /// The entry exists, but no search of the sync takes it.
    OutOfScope,
    /// The account is disabled in the directory.
    DisabledInDirectory,
    /// The account expired in the directory.
    ExpiredInDirectory,
    /// The product did it.
    ByProduct,
    /// The user sync or directory was deleted.
    SyncDeleted,
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
    /// The user's entry does not have the login any more and another enabled entry asks for it: whoever types it may
    /// be either, so nobody can log in with it.
    pub login_ambiguous: bool,
    /// Counts the changes; the etag, and what a plan compares before it writes.
    pub revision: i64,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn changes_name_every_difference_and_nothing_else() {
        let old = Profile {
            login: "ada".into(),
            email: Some("a@x".into()),
            custom: BTreeMap::from([("badge".into(), "1".into()), ("desk".into(), "7".into())]),
            ..Profile::default()
        };
        let mut new = old.clone();
        assert_eq!(old.changes_to(&new), []);
        new.email = None;
        new.given_name = Some("Ada".into());
        new.custom.remove("desk");
        new.custom.insert("badge".into(), "2".into());
        let change = |field: &str, old: Option<&str>, new: Option<&str>| FieldChange {
            field: field.into(),
            old: old.map(Into::into),
            new: new.map(Into::into),
        };
        assert_eq!(
            old.changes_to(&new),
            [
                change("email", Some("a@x"), None),
                change("given_name", None, Some("Ada")),
                change("custom.badge", Some("1"), Some("2")),
                change("custom.desk", Some("7"), None),
            ]
        );
    }
}
