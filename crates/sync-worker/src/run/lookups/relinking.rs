//! Which user is which entry in a directory that gave its entries other ids. This takes a pull of its own, before the
//! one that plans: an entry can be taken for a user only once it is known that no other entry has the user's login.

use std::collections::HashMap;

use rollcall_core::error::{Error, Reason};
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::UserId;
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::Relinking;
use rollcall_core::user_sync::{SearchScope, UserSync};
use rollcall_ldap::{LdapError, ResultCode};
use rollcall_service::pull::Pull;
use rollcall_store::RunHandle;
use tokio::time::Instant;

use crate::run::executor::Executor;
use crate::run::lookups::absences::{BATCH_IDS, any_of};
use crate::run::lookups::known::batch_facts;
use crate::run::source::Source;
use crate::run::stop::Stop;

/// The users of the sync who get another entry, each with its new id.
///
/// # Errors
/// Why the run has to stop here: an incomplete answer is not enough.
pub(crate) async fn relinked(
    x: &Executor,
    job: &RunHandle,
    sync: &UserSync,
    source: &Source,
) -> Result<HashMap<UserId, ExternalId>, Stop> {
    let mut relinking = Relinking::new(&sync.id);
    let attributes = source.reader.attributes();
    let mut pull = Pull::new(
        &source.ldap,
        &sync.settings.searches,
        &attributes,
        source.max_entries,
    );
    while let Some(entries) = pull.next_batch().await {
        x.keep_going(job).await?;
        let now = x.clock.now();
        let readings: Vec<EntryReading> = entries
            .iter()
            .filter(|entry| source.reader.not_a_person(entry).is_none())
            .filter_map(|entry| {
                let id = source.reader.external_id(entry).ok()?;
                Some(source.reader.read(id, entry, now))
            })
            .collect();
        let entries: Vec<&EntryReading> = readings.iter().collect();
        let facts = batch_facts(&x.store, &job.key.tenant, &sync.settings.directory, &entries).await?;
        relinking.take(&readings, &facts);
    }
    let pulled = pull.finish().await.map_err(|error| source.error(&error))?;
    if let Some(gap) = pulled.gaps.first() {
        return Err(unclear(gap).into());
    }
    let naming_contexts = source.naming_contexts().await;
    if naming_contexts.map_err(|error| source.error(&error))?.is_empty() {
        return Err(unclear("the server does not say which trees it has").into());
    }
    let mut relinked = HashMap::new();
    for batch in relinking.found().chunks(BATCH_IDS) {
        x.keep_going(job).await?;
        relinked.extend(without_own_entry(x, job, source, batch).await?);
    }
    Ok(relinked)
}

/// The users among these whose own id no entry has, or only the entry that has the new id as well.
async fn without_own_entry(
    x: &Executor,
    job: &RunHandle,
    source: &Source,
    batch: &[(UserId, ExternalId)],
) -> Result<Vec<(UserId, ExternalId)>, Error> {
    let ids: Vec<UserId> = batch.iter().map(|(user, _)| *user).collect();
    let users = x.store.batch_users(&job.key.tenant, &ids).await?;
    let own: HashMap<UserId, ExternalId> = users
        .into_iter()
        .filter_map(|user| Some((user.id, user.origin?.external_id)))
        .collect();
    let wanted: Vec<ExternalId> = own.values().cloned().collect();
    let entries = entries_of(source, &wanted)
        .await
        .map_err(|error| source.error(&error))?;
    let kept = batch.iter().filter(|(user, new)| {
        own.get(user)
            .is_some_and(|own| entries.get(own).is_none_or(|there| there.as_ref() == Some(new)))
    });
    Ok(kept.cloned().collect())
}

/// The entries that have these ids, by id. Each comes with the id by which the directory is read now.
async fn entries_of(
    source: &Source,
    ids: &[ExternalId],
) -> Result<HashMap<ExternalId, Option<ExternalId>>, LdapError> {
    let mut attributes = source.reader.id_attributes();
    attributes.extend(ids.iter().map(|id| id.kind().attribute().to_lowercase()));
    attributes.sort_unstable();
    attributes.dedup();
    let limit = 2 * BATCH_IDS as u32;
    let mut entries = HashMap::new();
    for base in source.naming_contexts().await?.iter() {
        let deadline = Instant::now() + source.timeout;
        let filter = any_of(ids);
        let scope = SearchScope::Subtree;
        let found = source
            .ldap
            .find(base, scope, &filter, &attributes, limit, deadline);
        let found = found.await?;
        if found.more {
            return Err(LdapError::SearchRefused(ResultCode::SIZE_LIMIT_EXCEEDED));
        }
        for entry in &found.entries {
            let new = source.reader.external_id(entry).ok();
            for id in ids {
                let values = entry.values(id.kind().attribute());
                if ExternalId::from_values(id.kind().clone(), values).as_ref() == Ok(id) {
                    entries.insert(id.clone(), new.clone());
                }
            }
        }
    }
    Ok(entries)
}

fn unclear(why: &str) -> Error {
    let message =
        format!("users cannot be found by their logins while the directory's answer is not whole: {why}");
    Error::new(Reason::DirectoryMisconfigured, message)
}
