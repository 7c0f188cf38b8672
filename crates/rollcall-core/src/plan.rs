//! Plans: what a run would change, user by user.

use crate::id::{UserId, Uuid};
use crate::revision::Revision;
use crate::user::{
    Changeable, FieldChange, Origin, OtherEntry, Profile, StateReason, User, UserState, changes,
};
use crate::vocabulary::vocabulary;

mod refusal;

pub use refusal::NotWritten;

/// Most changes in one chunk of a plan, and so in one transaction.
pub const CHUNK_CHANGES: usize = 1000;

vocabulary! {
    /// What happens to a user.
    pub closed enum ChangeKind {
        /// A new user.
        Create = "CREATE",
        /// A LOCAL user becomes a synced one.
        Link = "LINK",
        /// Fields, DN or origin change.
        Update = "UPDATE",
        /// The user may log in again, and its fields follow the entry.
        Reactivate = "REACTIVATE",
        /// The user may not log in any more.
        Deactivate = "DEACTIVATE",
        /// The user may not log in any more and its identifiers become free.
        Archive = "ARCHIVE",
        /// The user comes from another sync whose last Complete run did not have it.
        Transfer = "TRANSFER",
        /// The user is another entry now, which has its login: see [`crate::run::RunMode::Relink`].
        Relink = "RELINK",
    }
}

impl ChangeKind {
    /// True if the user has no access after such a change.
    pub fn ends_without_access(self) -> bool {
        matches!(self, ChangeKind::Deactivate | ChangeKind::Archive)
    }
}

/// One change of a plan. Applied by compare-and-set on what it depends on: a removal if the user is still the same
/// person of the same sync in `state_before`, everything else if the user still has `expected_revision`.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Change {
    /// What happens.
    pub kind: ChangeKind,
    /// The user; for a creation the id that it will have.
    pub user: UserId,
    /// The user's revision when the plan was made; 0 for a creation, and for a removal that takes nothing but the state.
    pub expected_revision: Revision,
    /// The state before. `None` for a creation, and in plans of earlier releases.
    pub state_before: Option<UserState>,
    /// Where the user comes from afterwards.
    pub origin: Origin,
    /// The fields afterwards.
    pub profile: Profile,
    /// The state afterwards.
    pub state: UserState,
    /// Why it is in that state.
    pub state_reason: Option<StateReason>,
    /// Another enabled entry asks for the login, which the user's own entry does not have any more.
    pub login_ambiguous: bool,
    /// Who asks for an ambiguous login, if it is an entry of another user sync.
    pub login_asked_by: Option<OtherEntry>,
    /// What is different, for people. Events tell what was different when the change was applied.
    pub changes: Vec<FieldChange>,
}

impl Change {
    /// The change with its differences from the user as it was.
    pub fn compared(mut self, before: Option<&User>) -> Self {
        self.changes = changes(
            before,
            Changeable {
                origin: Some(&self.origin),
                profile: &self.profile,
                state: self.state,
                state_reason: self.state_reason,
                owner: before.is_some_and(|user| user.owner),
                block: before.and_then(|user| user.block.as_ref()),
                login_ambiguous: self.login_ambiguous,
            },
        );
        self
    }

    /// Takes a removal apart: first the loss of access, which need not wait, then what else the entry asks for, if
    /// anything. The second is applied after the first.
    pub fn split_removal(self) -> (Change, Option<Change>) {
        let of_state = |changed: &FieldChange| ["state", "state_reason"].contains(&changed.field.as_str());
        let (of_state, others): (Vec<_>, Vec<_>) = self.changes.iter().cloned().partition(of_state);
        let mut first = Change {
            expected_revision: Revision::NONE,
            changes: of_state,
            ..self.clone()
        };
        // People look at the change before it is applied, so it shows the login that the user still has then.
        if let Some(login) = others.iter().find(|change| change.field == "login") {
            first.profile.login = login.old.clone().unwrap_or_default();
        }
        let rest = (!others.is_empty()).then(|| Change {
            kind: ChangeKind::Update,
            expected_revision: self.expected_revision.next(),
            state_before: Some(self.state),
            changes: others,
            ..self
        });
        (first, rest)
    }

    /// True for a change that takes something away and gives nothing. An ARCHIVED user who is found again, disabled,
    /// gets back login and e-mail address, so that is no removal.
    pub fn is_removal(&self) -> bool {
        self.kind.ends_without_access() && self.state_before != Some(UserState::Archived)
    }

    /// True for a change that [`Change::split_removal`] takes out of a held plan.
    pub fn is_leaver(&self) -> bool {
        self.is_removal() && self.expected_revision == Revision::NONE
    }

    /// What a person sees of the change, as a short hash: two plans with equal ones do the same. Not the id of a user who
    /// is to be created, which every plan makes anew.
    pub fn as_shown(&self) -> Fingerprint {
        let user = match self.kind == ChangeKind::Create {
            true => Uuid::nil(),
            false => self.user.0,
        };
        let mut parts = vec![
            format!("{:?}", self.kind),
            user.to_string(),
            self.origin.directory.to_string(),
            format!("{:?}", self.origin.external_id.kind()),
            self.origin.external_id.to_string(),
        ];
        let content = Fingerprint::of(
            &self.profile,
            &self.origin.dn,
            self.state,
            self.state_reason,
            self.login_ambiguous,
        );
        parts.push(format!("{:?}", content.0));
        for change in &self.changes {
            parts.push(format!("{:?}", (&change.field, &change.old, &change.new)));
        }
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part.as_bytes());
        }
        Fingerprint::cut(context.finish())
    }

    /// True if the user could log in and will not be able to any more.
    pub fn loses_access(&self) -> bool {
        let could_log_in = match self.state_before {
            Some(before) => before == UserState::Active,
            None => self.is_removal(),
        };
        could_log_in && self.state != UserState::Active
    }

    /// True for a removal that its own entry states: the account is disabled or expired.
    pub fn is_stated_removal(&self) -> bool {
        let says_so = matches!(
            self.state_reason,
            Some(StateReason::DisabledInDirectory | StateReason::ExpiredInDirectory)
        );
        self.is_removal() && self.loses_access() && says_so
    }
}

/// A short hash of everything that a sync sets on a user. Equal fingerprints mean that an entry asks for nothing new,
/// so that it costs no write. Two contents of one user do not collide by chance in 128 bits of SHA-256; a collision
/// made on purpose would only hide a directory's own change.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Fingerprint(pub [u8; 16]);

impl Fingerprint {
    /// The fingerprint of a user with these fields, this DN, this state and this reason for it.
    pub fn of(
        profile: &Profile,
        dn: &str,
        state: UserState,
        reason: Option<StateReason>,
        login_ambiguous: bool,
    ) -> Self {
        let mut context = ring::digest::Context::new(&ring::digest::SHA256);
        let mut part = |text: &str| {
            context.update(&(text.len() as u64).to_be_bytes());
            context.update(text.as_bytes());
        };
        part(match state {
            UserState::Active => "active",
            UserState::Deactivated => "deactivated",
            UserState::Archived => "archived",
        });
        if let Some(reason) = reason {
            part(match reason {
                StateReason::Gone => "gone",
                StateReason::OutOfScope => "out of scope",
                StateReason::DisabledInDirectory => "disabled in the directory",
                StateReason::ExpiredInDirectory => "expired in the directory",
                StateReason::ByProduct => "by the product",
                StateReason::SyncDeleted => "sync deleted",
                StateReason::Newer(word) => word.as_str(),
            });
        }
        if login_ambiguous {
            part("login ambiguous");
        }
        part(dn);
        for (field, value) in profile.fields() {
            if let Some(value) = value {
                part(&field);
                part(&value);
            }
        }
        part("restrictions");
        profile
            .restrictions
            .iter()
            .for_each(|restriction| part(restriction));
        Self::cut(context.finish())
    }

    fn cut(digest: ring::digest::Digest) -> Self {
        let mut short = [0; 16];
        short.copy_from_slice(&digest.as_ref()[..16]);
        Self(short)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::field::TextField;

    #[test]
    fn a_fingerprint_tells_contents_apart_that_only_concatenate_alike() {
        let profile = |given: Option<&str>, family: Option<&str>| Profile {
            login: "ada".into(),
            texts: [(TextField::GivenName, given), (TextField::FamilyName, family)]
                .into_iter()
                .filter_map(|(field, text)| Some((field, text?.to_owned())))
                .collect(),
            ..Profile::default()
        };
        let of = |profile: &Profile| Fingerprint::of(profile, "cn=ada", UserState::Active, None, false);
        assert_eq!(of(&profile(Some("A"), None)), of(&profile(Some("A"), None)));
        assert_ne!(of(&profile(Some("A"), None)), of(&profile(None, Some("A"))));
        assert_ne!(
            of(&profile(Some("AB"), Some("C"))),
            of(&profile(Some("A"), Some("BC")))
        );
        let ada = profile(None, None);
        assert_ne!(
            of(&ada),
            Fingerprint::of(&ada, "cn=eve", UserState::Active, None, false)
        );
        let deactivated =
            |reason| Fingerprint::of(&ada, "cn=ada", UserState::Deactivated, Some(reason), false);
        assert_ne!(of(&ada), deactivated(StateReason::Gone));
        assert_ne!(
            deactivated(StateReason::Gone),
            deactivated(StateReason::DisabledInDirectory)
        );
        let restricted = |values: &[&str]| Profile {
            restrictions: values.iter().map(ToString::to_string).collect(),
            ..profile(None, None)
        };
        assert_ne!(of(&restricted(&["a, b"])), of(&restricted(&["a", "b"])));
    }
}
