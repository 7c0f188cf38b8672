//! Which users of another user sync may be taken over. A sync that removes missing users has said by its own last run
//! whom it misses. A sync that leaves missing users alone says nothing, so the directory is asked whether the sync
//! would still find them.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{UserId, UserSyncId};
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::BatchFacts;
use rollcall_core::user_sync::MissingUsers;
use rollcall_store::{Kind, Store, StoreError};

use super::absences::{BATCH_IDS, matching};
use super::known::Asking;
use crate::run::source::Source;

/// The other user syncs that have people of these entries and whose plans are held.
pub(super) async fn held(
    store: &Store,
    asking: Asking<'_>,
    entries: &[&EntryReading],
    facts: &BatchFacts,
) -> Result<Vec<UserSyncId>, Error> {
    let owners: BTreeSet<&UserSyncId> = entries
        .iter()
        .filter_map(|entry| facts.person(&entry.external_id)?.origin.as_ref())
        .map(|origin| &origin.user_sync)
        .filter(|owner| *owner != asking.id)
        .collect();
    let mut held = Vec::new();
    for owner in owners {
        match store.user_sync(asking.tenant, owner).await {
            Ok(owner) if owner.hold.is_empty() => {}
            Ok(owner) => held.push(owner.id),
            Err(StoreError::NotFound(Kind::UserSync)) => {}
            Err(error) => return Err(error.into()),
        }
    }
    Ok(held)
}

/// The users among these entries whose user syncs would not find them any more.
pub(super) async fn given_up(
    store: &Store,
    asking: Asking<'_>,
    source: &Source,
    entries: &[&EntryReading],
    facts: &BatchFacts,
) -> Result<Vec<UserId>, Error> {
    let mut kept: BTreeMap<&UserSyncId, Vec<(UserId, &ExternalId)>> = BTreeMap::new();
    for entry in entries {
        let user = facts.kept_elsewhere(&entry.external_id, asking.id);
        if let Some((user, origin)) = user.and_then(|user| Some((user.id, user.origin.as_ref()?))) {
            let of_owner = kept.entry(&origin.user_sync).or_default();
            of_owner.push((user, &entry.external_id));
        }
    }
    let mut given_up = Vec::new();
    for (owner, people) in kept {
        // Edits since the owner's last run are a draft.
        let owner = match store.judged_by(asking.tenant, owner).await {
            Ok(owner) => owner.in_force,
            // The user sync is being deleted, which takes care of its users.
            Err(StoreError::NotFound(Kind::UserSync)) => continue,
            Err(error) => return Err(error.into()),
        };
        if owner.missing_users != MissingUsers::Ignore {
            continue;
        }
        for batch in people.chunks(BATCH_IDS) {
            let ids: Vec<ExternalId> = batch.iter().map(|(_, id)| (*id).clone()).collect();
            match matching(source, &owner.searches, &ids).await {
                Ok(found) => {
                    let missing = batch.iter().filter(|(_, id)| !found.contains(*id));
                    given_up.extend(missing.map(|(user, _)| *user));
                }
                // Without an answer nothing is proven: the users stay where they are, and an issue tells the overlap.
                Err(error) => tracing::debug!(%error, "another user sync's people could not be looked for"),
            }
        }
    }
    Ok(given_up)
}
