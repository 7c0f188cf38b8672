//! CheckOverlaps: people who are claimed by more than one user sync, before any of the syncs runs. A person is known by
//! directory and external id, so only syncs on the same directory can overlap.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::external_id::ExternalId;
use rollcall_core::filter::Filter;
use rollcall_core::id::{DirectoryId, TenantId, UserSyncId};
use rollcall_core::reader::EntryReader;
use rollcall_core::user_sync::UserSync;
use rollcall_ldap::{
    LdapDirectory, LdapError, PartialReason, Pulled, SearchBudget, SearchOutcome, SearchRequest,
};
use rollcall_proto::{resource_name, v1};
use rollcall_service::message_size::as_fit;
use rollcall_service::reading;
use rollcall_store::PageRequest;
use tokio::time::Instant;

use crate::id_kind::id_kind;
use crate::worker::Worker;

/// Most people that are named.
const MAX_NAMED: usize = 1000;
/// Most user syncs looked at: all that a tenant can have.
const MAX_SYNCS: u32 = 1000;
/// People asked for at once.
const OWNERS_AT_ONCE: usize = 500;
/// Time to find out what kind of server a directory is.
const DETECTION: Duration = Duration::from_secs(10);

/// The people of one directory, with the sync that was the first to claim each of them.
#[derive(Default)]
struct Claims {
    first: HashMap<ExternalId, usize>,
    shared: BTreeMap<ExternalId, Shared>,
}

/// A person whom several syncs claim.
struct Shared {
    dn: String,
    syncs: Vec<usize>,
}

/// How much of its searches a sync has read.
#[derive(Default)]
struct Extent {
    entries: u64,
    /// The first reason why something is missing.
    gap: Option<String>,
    /// A search found nothing.
    failed: bool,
}

impl Extent {
    fn miss(&mut self, why: impl Fn() -> String) {
        self.gap.get_or_insert_with(why);
    }
}

impl Claims {
    /// Notes that a sync claims this person; true if it is a new claimant.
    fn claim(&mut self, sync: usize, id: ExternalId, dn: &str) -> bool {
        let first = *self.first.entry(id.clone()).or_insert(sync);
        if first == sync {
            return false;
        }
        let shared = self.shared.entry(id).or_insert_with(|| Shared {
            dn: dn.to_owned(),
            syncs: vec![first],
        });
        let is_new = !shared.syncs.contains(&sync);
        if is_new {
            shared.syncs.push(sync);
        }
        is_new
    }
}

impl Worker {
    /// CheckOverlaps.
    pub(crate) async fn check_overlaps(&self, tenant: &TenantId) -> Result<v1::CheckOverlapsResponse, Error> {
        self.store.tenant(tenant).await?;
        self.admit_check(tenant)?;
        let mut by_directory: BTreeMap<DirectoryId, Vec<UserSync>> = BTreeMap::new();
        for sync in self
            .store
            .list_user_syncs(tenant, &PageRequest::first(MAX_SYNCS))
            .await?
            .items
        {
            by_directory
                .entry(sync.settings.directory.clone())
                .or_default()
                .push(sync);
        }
        let mut answer = v1::CheckOverlapsResponse::default();
        for (directory, syncs) in by_directory {
            let directory = self.stored_directory(tenant, &directory).await?;
            let (claims, extents) = self.claims_of(&directory, &syncs).await;
            let name = |index: &usize| resource_name::user_sync(tenant, &syncs[*index].id);
            answer.sources.extend(
                extents
                    .into_iter()
                    .enumerate()
                    .map(|(index, extent)| source(name(&index), extent)),
            );
            answer.total_count += i64::try_from(claims.shared.len()).unwrap_or(i64::MAX);
            let room = MAX_NAMED - answer.overlaps.len();
            let named: Vec<_> = claims.shared.into_iter().take(room).collect();
            let owners = self.owners(&directory, named.iter().map(|(id, _)| id)).await?;
            answer.overlaps.extend(named.into_iter().map(|(id, shared)| {
                v1::Overlap {
                    directory: resource_name::directory(tenant, &directory.id),
                    owner: owners
                        .get(&id)
                        .map(|owner| resource_name::user_sync(tenant, owner))
                        .unwrap_or_default(),
                    external_id: id.to_string(),
                    dn: shared.dn,
                    user_syncs: shared.syncs.iter().map(name).collect(),
                }
            }));
        }
        answer.overlaps = as_fit(answer.overlaps);
        Ok(answer)
    }

    /// Reads the ids that each sync finds.
    async fn claims_of(&self, directory: &Directory, syncs: &[UserSync]) -> (Claims, Vec<Extent>) {
        let failed = |message: String| Extent {
            gap: Some(message),
            failed: true,
            ..Extent::default()
        };
        let opened = match directory.settings.disabled {
            true => Err("the directory is switched off".to_owned()),
            false => self
                .directories
                .open(directory)
                .await
                .map_err(|error| error.message),
        };
        let opened = match opened {
            Ok(opened) => opened,
            Err(message) => {
                return (
                    Claims::default(),
                    syncs.iter().map(|_| failed(message.clone())).collect(),
                );
            }
        };
        let exclusions = match self.store.exclusions(&directory.tenant, &directory.id).await {
            Ok(exclusions) => exclusions,
            Err(error) => {
                let message = rollcall_core::error::Error::from(error).message;
                return (
                    Claims::default(),
                    syncs.iter().map(|_| failed(message.clone())).collect(),
                );
            }
        };
        let dialect = opened.dialect(Instant::now() + DETECTION).await;
        let (dialect, handle) = (dialect.unwrap_or(Dialect::Generic), &opened.ldap);
        let (mut claims, mut extents) = (Claims::default(), Vec::new());
        for (index, sync) in syncs.iter().enumerate() {
            let reader = reading::reader(
                dialect,
                directory,
                Some(&sync.id),
                &sync.settings,
                &self.login_policy,
            );
            let reader = reader.with_exclusions(exclusions.clone());
            let searches = &sync.settings.searches;
            let kind = id_kind(&self.store, handle, directory, dialect, Some(&sync.id), searches).await;
            let reader = match kind {
                Ok(Some(kind)) => reader.with_id_kind(kind),
                Ok(None) => reader,
                Err(error) => {
                    extents.push(failed(error.message));
                    continue;
                }
            };
            extents.push(read_ids(handle, &reader, sync, index, &mut claims).await);
        }
        (claims, extents)
    }

    async fn owners<'a>(
        &self,
        directory: &Directory,
        ids: impl Iterator<Item = &'a ExternalId>,
    ) -> Result<HashMap<ExternalId, UserSyncId>, Error> {
        let ids: Vec<ExternalId> = ids.cloned().collect();
        let mut owners = HashMap::new();
        for chunk in ids.chunks(OWNERS_AT_ONCE) {
            let users = self
                .store
                .users_by_external_ids(&directory.tenant, &directory.id, chunk)
                .await?;
            let origins = users.into_iter().filter_map(|user| user.origin);
            owners.extend(origins.map(|origin| (origin.external_id, origin.user_sync)));
        }
        Ok(owners)
    }
}

async fn read_ids(
    handle: &LdapDirectory,
    reader: &EntryReader,
    sync: &UserSync,
    index: usize,
    claims: &mut Claims,
) -> Extent {
    let mut extent = Extent::default();
    for search in &sync.settings.searches {
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: Filter::parse(&search.filter)
                .map_or_else(|_| search.filter.clone(), |filter| filter.to_string()),
            attributes: reader.identity_attributes(),
            budget: SearchBudget::default(),
        };
        let outcome = match handle.search(request).await {
            Err(error) => SearchOutcome::Failed { error },
            Ok(mut pages) => {
                while let Some(pulled) = pages.next().await {
                    // After a restart of the search, entries come again; they are no new claims.
                    let Pulled::Entry(entry) = pulled else { continue };
                    if reader.not_a_person(&entry).is_some() {
                        continue;
                    }
                    match reader.external_id(&entry) {
                        Ok(id) => {
                            claims.claim(index, id, &entry.dn);
                        }
                        Err(_) => extent.miss(|| format!("an entry has no usable id: {}", entry.dn)),
                    }
                }
                pages.finish()
            }
        };
        match outcome {
            SearchOutcome::Complete(stats) => extent.entries += stats.entries,
            SearchOutcome::Partial { reason, stats } => {
                extent.entries += stats.entries;
                extent.miss(|| gap(&reason));
            }
            SearchOutcome::Failed { error } => {
                extent.failed = true;
                extent.miss(|| error.to_string());
            }
        }
    }
    extent
}

fn source(user_sync: String, extent: Extent) -> v1::OverlapSource {
    let outcome = match (extent.gap.is_none(), extent.failed && extent.entries == 0) {
        (true, _) => v1::SearchOutcome::Complete,
        (false, true) => v1::SearchOutcome::Failed,
        (false, false) => v1::SearchOutcome::Partial,
    };
    v1::OverlapSource {
        user_sync,
        search_outcome: outcome.into(),
        entry_count: i64::try_from(extent.entries).unwrap_or(i64::MAX),
        message: extent.gap.unwrap_or_default(),
    }
}

fn gap(reason: &PartialReason) -> String {
    match reason {
        PartialReason::ServerLimit(code) => format!("the server cut the results short with {code}"),
        PartialReason::Interrupted(LdapError::Timeout) => "the server stopped answering".to_owned(),
        PartialReason::Interrupted(error) => format!("the search broke off: {error}"),
        PartialReason::BudgetSpent | PartialReason::Abandoned => {
            "the search was not read to its end".to_owned()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use rollcall_core::external_id::IdKind;

    use super::*;

    fn id(text: &str) -> ExternalId {
        ExternalId::parse(IdKind::EntryUuid, text).unwrap()
    }

    #[test]
    fn a_person_is_shared_by_syncs_and_not_by_searches() {
        let anna = id("6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f11");
        let ben = id("6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f12");
        let mut claims = Claims::default();
        assert!(!claims.claim(0, anna.clone(), "cn=anna"));
        assert!(
            !claims.claim(0, anna.clone(), "cn=anna"),
            "found by two searches of one sync"
        );
        assert!(!claims.claim(0, ben.clone(), "cn=ben"));
        assert!(claims.shared.is_empty());
        assert!(claims.claim(1, anna.clone(), "cn=anna"));
        assert!(!claims.claim(1, anna.clone(), "cn=anna"));
        assert!(claims.claim(2, anna.clone(), "cn=anna"));
        assert_eq!(claims.shared.keys().collect::<Vec<_>>(), [&anna]);
        assert_eq!(claims.shared[&anna].syncs, [0, 1, 2]);
    }

    #[test]
    fn an_answer_is_whole_only_without_gaps() {
        let outcome = |gap: Option<&str>, entries, failed| {
            let gap = gap.map(str::to_owned);
            source(String::new(), Extent { entries, gap, failed }).search_outcome()
        };
        assert_eq!(outcome(None, 5, false), v1::SearchOutcome::Complete);
        assert_eq!(outcome(None, 0, false), v1::SearchOutcome::Complete);
        assert_eq!(outcome(Some("limit"), 5, false), v1::SearchOutcome::Partial);
        assert_eq!(
            outcome(Some("one of two failed"), 5, true),
            v1::SearchOutcome::Partial
        );
        assert_eq!(outcome(Some("unreachable"), 0, true), v1::SearchOutcome::Failed);
    }
}
