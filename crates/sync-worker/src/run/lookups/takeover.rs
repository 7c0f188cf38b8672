//! Users whom another user sync has. One that removes whoever is missing has said so by its own last run; one that
//! leaves missing users alone says nothing, so it is the directory that is asked whether it would still find them.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{UserId, UserSyncId};
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::Context;
use rollcall_core::user_sync::MissingUsers;
use rollcall_store::{Kind, Store, StoreError};

use super::absences::{BATCH_IDS, matching};
use super::known::Asking;
use crate::run::source::Source;

/// Of the other user syncs that have the people of these entries, those whose plans are held.
pub(super) async fn held(
    store: &Store,
    asking: Asking<'_>,
    entries: &[&EntryReading],
    context: &Context,
) -> Result<Vec<UserSyncId>, Error> {
    let owners: BTreeSet<&UserSyncId> = entries
        .iter()
        .filter_map(|entry| context.person(&entry.external_id)?.origin.as_ref())
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

/// Of the users that these entries are, those whom their user syncs would not find any more.
pub(super) async fn given_up(
    store: &Store,
    asking: Asking<'_>,
    source: &Source,
    entries: &[&EntryReading],
    context: &Context,
) -> Result<Vec<UserId>, Error> {
    let mut kept: BTreeMap<&UserSyncId, Vec<(UserId, &ExternalId)>> = BTreeMap::new();
    for entry in entries {
        let user = context.kept_elsewhere(&entry.external_id, asking.id);
        if let Some((user, origin)) = user.and_then(|user| Some((user.id, user.origin.as_ref()?))) {
            let of_owner = kept.entry(&origin.user_sync).or_default();
            of_owner.push((user, &entry.external_id));
        }
    }
    let mut given_up = Vec::new();
    for (owner, people) in kept {
        // What was edited since its last run is a draft.
        let owner = match store.judged_by(asking.tenant, owner).await {
            Ok(owner) => owner.in_force,
            // The deletion of the user sync sees to its users.
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
                // No answer is no proof: they stay where they are, and the overlap is told.
                Err(error) => tracing::debug!(%error, "another user sync's people could not be looked for"),
            }
        }
    }
    Ok(given_up)
}
