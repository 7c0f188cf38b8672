//! Which users of other user syncs take part when claims are settled.

use std::collections::{HashMap, HashSet};

use super::batch_facts::BatchFacts;
use super::neighbour::Neighbour;
use crate::id::UserId;
use crate::identifier::Holder;
use crate::user::{User, UserState};

/// What is known of neighbours, and of who has the logins that they are about to have.
#[derive(Default)]
pub(super) struct Neighbours {
    known: HashMap<UserId, Neighbour>,
    /// Who has each login that a neighbour is about to have, for those that somebody has.
    holders: HashMap<String, TargetHolder>,
}

/// Who has what a neighbour is about to have.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum TargetHolder {
    User(UserId),
    /// A deactivated user, who gives way to people of its own sync.
    GivesWay,
    /// Somebody of another tenant.
    Foreign,
}

impl Neighbours {
    pub(super) fn note(&mut self, neighbour: Neighbour, facts: &BatchFacts) {
        if let Some(target) = neighbour.target()
            && let Some(holder) = facts.holder(&target)
        {
            let gives_way = |user: &User| user.origin.is_some() && user.state != UserState::Active;
            let holder = match holder {
                Holder::Foreign => TargetHolder::Foreign,
                Holder::User(id) if facts.user(*id).is_some_and(gives_way) => TargetHolder::GivesWay,
                Holder::User(id) => TargetHolder::User(*id),
            };
            self.holders.insert(target, holder);
        }
        self.known.insert(neighbour.user().id, neighbour);
    }

    pub(super) fn has(&self, user: UserId) -> bool {
        self.known.contains_key(&user)
    }

    /// The neighbours who take part when claims are settled. A neighbour is left to the next run of its own sync if its
    /// move depends on no user of this sync: the login that it wants is free, or becomes free by other such moves. A
    /// neighbour that cannot move keeps its login.
    pub(super) fn parties(self, is_own: impl Fn(UserId) -> bool) -> Vec<Neighbour> {
        let Self { known, holders } = self;
        let fate = |neighbour: &Neighbour| {
            let mut seen = HashSet::from([neighbour.user().id]);
            let mut next = neighbour.target();
            loop {
                let Some(target) = next else {
                    return Fate::Stays;
                };
                let holder = match holders.get(&target) {
                    Some(TargetHolder::User(holder)) => *holder,
                    Some(TargetHolder::Foreign) => return Fate::Stays,
                    Some(TargetHolder::GivesWay) | None => return Fate::Waits,
                };
                if is_own(holder) {
                    return Fate::Moves;
                }
                match known.get(&holder) {
                    // A circle of neighbours without a user of this sync, or a neighbour whose target is its own e-mail
                    // address.
                    Some(_) if !seen.insert(holder) => return Fate::Waits,
                    Some(holder) => next = holder.target(),
                    None => return Fate::Stays,
                }
            }
        };
        let fates: HashMap<UserId, Fate> = known
            .values()
            .map(|neighbour| (neighbour.user().id, fate(neighbour)))
            .collect();
        known
            .into_values()
            .filter_map(|neighbour| match fates.get(&neighbour.user().id)? {
                Fate::Moves => Some(neighbour),
                Fate::Stays => Some(neighbour.staying()),
                Fate::Waits => None,
            })
            .collect()
    }
}

/// Where the chain of wishes leads that begins with a neighbour's.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Fate {
    /// To a user of this sync.
    Moves,
    /// To a user who stays.
    Stays,
    /// To a free login, which the neighbour's own sync gives to it.
    Waits,
}
