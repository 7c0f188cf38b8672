//! What a plan changes, in numbers.

use std::collections::BTreeMap;

use crate::field::TextField;
use crate::plan::{Change, ChangeKind};
use crate::user::{FieldChange, UserState};

/// A kind of change that the guard counts by itself.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum Watched {
    /// A user loses access.
    Removal,
    /// A user gets another role.
    Role,
    /// A user gets another login.
    Login,
    /// A user gets another e-mail address, or loses it.
    Email,
    /// A user loses the value of this mapped field, `custom.` in front of a custom one.
    Lost(String),
    /// A user may log in again.
    Return,
    /// A user is taken over from another sync.
    Takeover,
    /// A LOCAL user becomes a synced one.
    Link,
    /// A user comes to the sync: created, taken over or linked.
    Growth,
    /// A user is found by login under another external id.
    Relink,
}

/// Numbers of changes.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct Totals {
    counts: BTreeMap<Watched, u64>,
    /// Removals that an entry itself states.
    stated: u64,
}

impl Watched {
    /// The kinds that this change is of.
    pub fn of(change: &Change) -> Vec<Watched> {
        use Watched::*;
        let mut kinds = Vec::new();
        let was_active = change.state_before == Some(UserState::Active);
        let is_active = change.state == UserState::Active;
        if change.loses_access() {
            kinds.push(Removal);
        }
        if change.kind == ChangeKind::Create {
            kinds.push(Growth);
            return kinds;
        }
        kinds.extend(change.changes.iter().filter_map(of_field));
        if is_active && !was_active && change.state_before.is_some() {
            kinds.push(Return);
        }
        match change.kind {
            ChangeKind::Transfer => kinds.extend([Takeover, Growth]),
            ChangeKind::Link => kinds.extend([Link, Growth]),
            ChangeKind::Relink => kinds.push(Relink),
            // Counted above already, by what becomes of the user.
            ChangeKind::Create
            | ChangeKind::Update
            | ChangeKind::Reactivate
            | ChangeKind::Deactivate
            | ChangeKind::Archive => {}
        }
        kinds
    }
}

fn of_field(change: &FieldChange) -> Option<Watched> {
    match change.field.as_str() {
        "role" => Some(Watched::Role),
        "login" => Some(Watched::Login),
        "email" => Some(Watched::Email),
        field if change.new.is_none() && is_mapped(field) => Some(Watched::Lost(field.to_owned())),
        _ => None,
    }
}

/// True for what a mapping fills, but for login and e-mail.
fn is_mapped(field: &str) -> bool {
    TextField::named(field).is_some() || field.starts_with("custom.")
}

impl Totals {
    /// Counts a change of the plan.
    pub fn add(&mut self, change: &Change) {
        for watched in Watched::of(change) {
            *self.counts.entry(watched).or_default() += 1;
        }
        self.stated += u64::from(change.is_stated_removal());
    }

    /// Takes back a change that was counted.
    pub fn remove(&mut self, change: &Change) {
        for watched in Watched::of(change) {
            if let Some(count) = self.counts.get_mut(&watched) {
                *count = count.saturating_sub(1);
            }
        }
        self.stated = self.stated.saturating_sub(u64::from(change.is_stated_removal()));
    }

    /// How many changes there are of a kind.
    pub fn of(&self, watched: &Watched) -> u64 {
        self.counts.get(watched).copied().unwrap_or(0)
    }

    /// Every kind with its number.
    pub fn counts(&self) -> impl Iterator<Item = (&Watched, u64)> {
        self.counts.iter().map(|(watched, count)| (watched, *count))
    }

    /// Removals that an entry itself states: the account is disabled or expired.
    pub fn stated(&self) -> u64 {
        self.stated
    }
}

impl FromIterator<(Watched, u64)> for Totals {
    fn from_iter<I: IntoIterator<Item = (Watched, u64)>>(counts: I) -> Self {
        Self {
            counts: counts.into_iter().collect(),
            stated: 0,
        }
    }
}
