//! What is taken back from a plan in the making: changes that another entry stands against, and those of entries with one id.

use std::collections::{HashMap, HashSet};

use super::Planner;
use super::claim::Claim;
use super::known::Offered;
use crate::external_id::ExternalId;
use crate::id::UserId;
use crate::plan::{Change, ChangeKind};
use crate::user::User;
use crate::user_sync::NewUsers;

/// Which planned changes are in dispute.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Contested {
    keys: HashSet<String>,
    users: HashSet<UserId>,
}

impl Contested {
    /// True if the change has something that another entry asks for.
    pub fn concerns(&self, change: &Change) -> bool {
        self.users.contains(&change.user)
            || change
                .profile
                .identifiers()
                .iter()
                .any(|key| self.keys.contains(key))
    }
}

impl Planner<'_> {
    /// Which of the changes planned so far are in dispute; `None` if none can be. The caller takes them out of the
    /// plan and gives them to [`rejoin`](Self::rejoin).
    pub fn contested(&self) -> Option<Contested> {
        let none = self.contested.is_empty();
        (!none).then(|| Contested {
            keys: self.contested.clone(),
            users: self.holders.keys().chain(&self.outside_users).copied().collect(),
        })
    }

    /// Takes back changes that are in dispute, with the users whom they change as they are now.
    pub fn rejoin(&mut self, changes: Vec<Change>, users: impl IntoIterator<Item = User>) {
        let mut users: HashMap<UserId, User> = users.into_iter().map(|user| (user.id, user)).collect();
        for change in changes {
            self.uncount(&change);
            let before = users.remove(&change.user);
            if before.is_none() != (change.kind == ChangeKind::Create) {
                // Deleted meanwhile: there is nothing left to change.
                continue;
            }
            let slot = self.known.slot(&change.origin.external_id);
            let offered = slot.filter(|slot| !slot.is_absent()).map(|slot| slot.offered);
            let offered = offered.or_else(|| self.taken_over.get(&change.origin.external_id).copied());
            self.claims.push(Claim::of_change(change, before, offered));
        }
    }

    /// Takes back what was decided for entries with these ids, and `changes`, which were planned for them already.
    /// `new` says how many of the ids no user has.
    pub fn withdraw(&mut self, ids: &HashSet<ExternalId>, new: u64, changes: &[Change]) {
        changes.iter().for_each(|change| self.uncount(change));
        if self.settings.new_users == NewUsers::Ignore {
            self.counts.ignored = self.counts.ignored.saturating_sub(new);
        }
        // Users who were to change, or who claim something, now stay as they are. The others were counted when they
        // were met.
        let changed = changes.iter().map(|change| &change.origin.external_id);
        let asking = self.claims.iter().map(|claim| &claim.judged.external_id);
        let stay = changed.chain(asking).filter(|id| ids.contains(id));
        let stay: HashSet<&ExternalId> = stay.filter(|id| self.known.slot(id).is_some()).collect();
        self.counts.unchanged += stay.len() as u64;
        self.claims
            .retain(|claim| !ids.contains(&claim.judged.external_id));
        // An entry asks for nothing while several have its id.
        let user_sync = self.user_sync;
        self.bystanders.retain(|bystander| {
            bystander.entry.user_sync != *user_sync || !ids.contains(&bystander.entry.external_id)
        });
        // Nobody knows which of the entries is the user's, so the user keeps what it holds.
        for id in ids {
            self.known.note_offered(id, Offered::ALL);
        }
        self.disputed.extend(ids.iter().cloned());
    }

    /// The pull had gaps: entries that it did not meet may ask for something too.
    pub fn had_gaps(&mut self) {
        self.complete = false;
    }
}
