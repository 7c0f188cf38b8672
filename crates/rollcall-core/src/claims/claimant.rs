//! Who asks for what, and who has it.

use super::outcome::{Outcome, Settled};

/// What an entry asks for, for one identifier of its person.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub enum Want {
    /// What the person holds, if anything: the entry offers it, or nobody can read what it offers.
    #[default]
    Held,
    /// Nothing that could be used: what the person holds is not offered any more.
    Nothing,
    /// This normalised identifier, which the person does not hold as this field.
    Other(String),
}

/// What an entry asks for.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Wants {
    /// Its login.
    pub login: Want,
    /// Its e-mail address.
    pub email: Want,
}

/// Somebody who holds identifiers, asks for some, or both.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Claimant {
    /// The normalised login that the store has for it.
    pub login: Option<String>,
    /// The normalised e-mail address that the store has for it, unless it is the same as the login.
    pub email: Option<String>,
    /// What its entry asks for.
    pub wants: Wants,
    /// What its entry asks for and is not given, since its sync keeps logins, or all fields. It counts as asked for all
    /// the same: nobody else may be mistaken for this person.
    pub rejected: Wants,
    /// It may log in after this run, as far as its entry decides.
    pub enabled: bool,
    /// It is archived by this run, and keeps nothing.
    pub leaves: bool,
    /// Whether it can be given anything. Entries that are left out ask all the same.
    pub taken: bool,
    /// It is no user yet, and may become the LOCAL user who has the login.
    pub may_link: bool,
}

/// Somebody whom this run does not change, and who has an identifier.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Outside {
    /// It stays with them.
    Keeps,
    /// A LOCAL user, whom the one new and enabled entry that asks for the login is linked with.
    Linkable,
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Field {
    Login,
    Email,
}

impl Claimant {
    pub(super) fn has(&self, key: &str) -> bool {
        self.login.as_deref() == Some(key) || self.email.as_deref() == Some(key)
    }

    pub(super) fn moves_login_to(&self, key: &str) -> bool {
        matches!(&self.wants.login, Want::Other(login) if login == key)
    }

    /// True if it is a user after the run, and so has a login.
    pub(super) fn stays(&self, outcome: &Outcome) -> bool {
        self.taken && (self.login.is_some() || outcome.login == Settled::Granted)
    }

    /// True if its entry has the login that it holds.
    pub(crate) fn offers_login(&self) -> bool {
        self.offers(Field::Login)
    }

    /// True if its entry has what it holds in this field, be it in the other field.
    pub(super) fn offers(&self, field: Field) -> bool {
        if self.leaves {
            return false;
        }
        match field {
            Field::Login => self.wants.login == Want::Held || self.wants.email == moved_to(&self.login),
            Field::Email => self.wants.email == Want::Held || self.wants.login == moved_to(&self.email),
        }
    }
}

fn moved_to(key: &Option<String>) -> Want {
    key.clone().map_or(Want::Held, Want::Other)
}
