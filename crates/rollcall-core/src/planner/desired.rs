//! What an entry asks for.

use crate::external_id::ExternalId;
use crate::identifier::normalize;
use crate::plan::Fingerprint;
use crate::user::{Profile, StateReason, UserState};

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
    pub(super) fn state(&self) -> UserState {
        if self.state_reason.is_some() {
            UserState::Deactivated
        } else {
            UserState::Active
        }
    }

    pub(super) fn fingerprint(&self) -> Fingerprint {
        Fingerprint::of(&self.profile, &self.dn, self.state(), self.state_reason)
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
