//! Finds users again in a directory that gave its entries other ids: by login, and only where there is no doubt
//! which of them is meant. That it is the same person is for an admin to say: such a plan is always held.

use std::collections::HashMap;

use super::BatchFacts;
use crate::external_id::ExternalId;
use crate::id::{UserId, UserSyncId};
use crate::identifier::Holder;
use crate::identifier::normalize;
use crate::judgement::EntryReading;
use crate::user::User;

/// Who might be which entry, collected over a whole pull. Memory grows by tens of bytes per user found.
pub struct Relinking<'a> {
    user_sync: &'a UserSyncId,
    /// `None` for a user whose login several entries have: only their order would say which one is meant.
    found: HashMap<UserId, Option<ExternalId>>,
}

impl<'a> Relinking<'a> {
    /// A collection for the users of this sync, in which nobody is found yet.
    pub fn new(user_sync: &'a UserSyncId) -> Self {
        Self {
            user_sync,
            found: HashMap::new(),
        }
    }

    /// Takes entries in.
    pub fn take(&mut self, entries: &[EntryReading], facts: &BatchFacts) {
        for entry in entries {
            let Some(user) = same_login(self.user_sync, entry, facts) else {
                continue;
            };
            let found = self.found.entry(user.id);
            let found = found.or_insert_with(|| Some(entry.external_id.clone()));
            if found.as_ref() != Some(&entry.external_id) {
                *found = None;
            }
        }
    }

    /// The users that were found under exactly one id which nobody had, in the order of users.
    pub fn found(self) -> Vec<(UserId, ExternalId)> {
        let mut found: Vec<_> = self
            .found
            .into_iter()
            .filter_map(|(user, id)| Some((user, id?)))
            .collect();
        found.sort_unstable();
        found
    }
}

/// The user of this sync who has the entry's login; `None` if a user has the entry's id.
pub(super) fn same_login<'c>(
    user_sync: &UserSyncId,
    entry: &EntryReading,
    facts: &'c BatchFacts,
) -> Option<&'c User> {
    if facts.person(&entry.external_id).is_some() {
        return None;
    }
    let login = normalize(entry.offers.login.values.first()?);
    let Some(Holder::User(holder)) = facts.holder(&login) else {
        return None;
    };
    let ours = |user: &&User| {
        user.origin
            .as_ref()
            .is_some_and(|origin| origin.user_sync == *user_sync)
    };
    // The login may also be the user's e-mail address, which proves nothing.
    let user = facts.user(*holder).filter(ours)?;
    (normalize(&user.profile.login) == login).then_some(user)
}
