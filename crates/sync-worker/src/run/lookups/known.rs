//! What the store knows about the users whom a batch of entries concerns.

use std::collections::{HashMap, HashSet};

use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId};
use rollcall_core::identifier::Holder;
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::BatchFacts;
use rollcall_core::user_sync::UserSync;
use rollcall_store::Store;

/// The user sync that asks.
#[derive(Clone, Copy)]
pub(crate) struct Asking<'a> {
    pub(crate) tenant: &'a TenantId,
    pub(crate) id: &'a UserSyncId,
    pub(crate) directory: &'a DirectoryId,
}

impl<'a> Asking<'a> {
    pub(crate) fn of(sync: &'a UserSync) -> Self {
        Self {
            tenant: &sync.tenant,
            id: &sync.id,
            directory: &sync.settings.directory,
        }
    }
}

/// Everything that is known about the users that these entries concern.
pub(super) async fn batch_facts(
    store: &Store,
    tenant: &TenantId,
    directory: &DirectoryId,
    entries: &[&EntryReading],
) -> Result<BatchFacts, Error> {
    let ids: Vec<ExternalId> = entries.iter().map(|entry| entry.external_id.clone()).collect();
    let mut users = store.users_by_external_ids(tenant, directory, &ids).await?;
    let mut keys: Vec<String> = entries
        .iter()
        .flat_map(|entry| entry.offers.identifiers())
        .collect();
    keys.sort_unstable();
    keys.dedup();
    let held = store.identifier_holders(tenant, &keys).await?;
    let holders: HashMap<String, Holder> = held.into_iter().collect();
    let known: HashSet<UserId> = users.iter().map(|user| user.id).collect();
    let mut others: Vec<UserId> = holders
        .values()
        .filter_map(|holder| match holder {
            Holder::User(user) => Some(*user),
            Holder::Foreign => None,
        })
        .filter(|holder| !known.contains(holder))
        .collect();
    others.sort_unstable();
    others.dedup();
    users.extend(store.batch_users(tenant, &others).await?);
    Ok(BatchFacts::new(directory, users, holders))
}
