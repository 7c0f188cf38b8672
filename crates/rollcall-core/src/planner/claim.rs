//! A person and what its entry asks for, until it is settled who gets what.

use std::collections::BTreeSet;

use super::known::Offered;
use crate::claims::{Claimant, Want, Wants};
use crate::id::UserId;
use crate::identifier::normalize;
use crate::judgement::Judged;
use crate::plan::{Change, ChangeKind};
use crate::user::{OtherEntry, User, UserState};

/// Somebody whom the run wants to change.
pub(super) struct Claim {
    /// The user, or the id that it will have.
    pub(super) user: UserId,
    /// As it is now; `None` for a new user. A LOCAL user is to be linked.
    pub(super) before: Option<User>,
    pub(super) judged: Judged,
    /// The pull met its entry. What the entry asks for is not known otherwise.
    pub(super) met: bool,
    /// It was counted already, as unchanged or as ignored.
    pub(super) counted: bool,
}

/// An entry that asks for identifiers and is not taken: left out by the settings, waiting, or another sync's.
pub(super) struct Bystander {
    /// The user whose entry it is already.
    pub(super) user: Option<UserId>,
    pub(super) entry: OtherEntry,
    /// Empty if an issue must not name the entry.
    pub(super) dn: String,
    pub(super) wants: Wants,
    pub(super) enabled: bool,
}

impl Claim {
    /// A claim whose change was planned, and is in dispute now.
    pub(super) fn of_change(change: Change, before: Option<User>, offered: Option<Offered>) -> Self {
        let seen = offered.unwrap_or(Offered::ALL);
        let held = before.as_ref().map(held).unwrap_or_default();
        let login = normalize(&change.profile.login);
        let email = change.profile.email.as_deref().map(normalize);
        let wants = Wants {
            login: match &held.login {
                Some(held) if *held == login && seen.login => Want::Held,
                Some(held) if *held == login => Want::Nothing,
                _ => Want::Other(login.clone()),
            },
            email: match (
                before.as_ref().and_then(|user| user.profile.email.as_deref()),
                email,
            ) {
                (_, None) => Want::Nothing,
                (Some(before), Some(email)) if normalize(before) == email && held.login.is_some() => {
                    if seen.email { Want::Held } else { Want::Nothing }
                }
                (_, Some(email)) => Want::Other(email),
            },
        };
        Self {
            user: change.user,
            before,
            met: offered.is_some() || change.kind == ChangeKind::Create,
            counted: false,
            judged: Judged {
                external_id: change.origin.external_id,
                dn: change.origin.dn,
                state: change.state,
                state_reason: change.state_reason,
                profile: change.profile,
                wants,
                rejected: Wants::default(),
                issues: Vec::new(),
            },
        }
    }

    pub(super) fn is_link(&self) -> bool {
        self.before.as_ref().is_some_and(|user| user.origin.is_none())
    }

    /// The user whose entry it is; `None` before it is taken for the first time.
    pub(super) fn synced_user(&self) -> Option<UserId> {
        let before = self.before.as_ref()?;
        before.origin.is_some().then_some(before.id)
    }

    pub(super) fn claimant(&self) -> Claimant {
        let mut held = self.before.as_ref().map(held).unwrap_or_default();
        if self.is_link() {
            // The entry asks for the login like the entry of a new person.
            held.login = None;
        }
        let mut wants = self.judged.wants.clone();
        if let (Some(login), None, Want::Held) = (&held.login, &held.email, &wants.email)
            && self
                .before
                .as_ref()
                .is_some_and(|user| user.profile.email.is_some())
        {
            // The e-mail address is the login: the entry offers it in the other field.
            wants.email = Want::Other(login.clone());
        }
        Claimant {
            login: held.login,
            email: held.email,
            wants,
            rejected: self.judged.rejected.clone(),
            enabled: self.judged.state == UserState::Active,
            leaves: self.judged.state == UserState::Archived,
            taken: true,
            may_link: self.before.as_ref().is_none_or(|user| user.origin.is_none()),
        }
    }
}

impl Bystander {
    pub(super) fn if_it_asks(self) -> Option<Self> {
        (!asked(&self.wants, None).is_empty()).then_some(self)
    }

    pub(super) fn claimant(&self) -> Claimant {
        Claimant {
            wants: self.wants.clone(),
            enabled: self.enabled,
            ..Claimant::default()
        }
    }
}

/// The identifiers that the store has for somebody.
#[derive(Default)]
pub(super) struct Held {
    pub(super) login: Option<String>,
    /// `None` also if it is the login.
    pub(super) email: Option<String>,
}

pub(super) fn held(user: &User) -> Held {
    if user.state == UserState::Archived {
        return Held::default();
    }
    let login = normalize(&user.profile.login);
    let email = user.profile.email.as_deref().map(normalize);
    Held {
        email: email.filter(|email| *email != login),
        login: Some(login),
    }
}

/// The identifiers that somebody asks for and that `before` does not hold, each once.
pub(super) fn asked(wants: &Wants, before: Option<&User>) -> BTreeSet<String> {
    let held = before.map(held).unwrap_or_default();
    let other = |want: &Want| match want {
        Want::Other(key) => Some(key.clone()),
        Want::Held | Want::Nothing => None,
    };
    let keys = [&wants.login, &wants.email].into_iter().filter_map(other);
    keys.filter(|key| held.login.as_ref() != Some(key) && held.email.as_ref() != Some(key))
        .collect()
}
