//! Finds out by which attribute the people of a user sync are identified. Runs, checks and the comparison of syncs ask
//! here, so that they speak of the same people.

use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::external_id::IdKind;
use rollcall_core::id::UserSyncId;
use rollcall_core::id_choice::{IdTally, SAMPLE, candidates, choose};
use rollcall_core::person;
use rollcall_core::user_sync::Search;
use rollcall_ldap::{LdapDirectory, Pulled, SearchBudget, SearchRequest};
use rollcall_store::Store;

use rollcall_service::pull::canonical;

/// The kind for the people of a sync, which has these searches. A few entries are looked at if the server has several
/// kinds and the sync no users yet.
pub(crate) async fn id_kind(
    store: &Store,
    ldap: &LdapDirectory,
    directory: &Directory,
    dialect: Dialect,
    user_sync: Option<&UserSyncId>,
    searches: &[Search],
) -> Result<Option<IdKind>, Error> {
    let configured = directory.settings.external_id_attribute.as_deref();
    let candidates = candidates(dialect, configured);
    if let [only] = candidates.as_slice() {
        return Ok(Some(only.clone()));
    }
    let in_use = store
        .id_kinds_in_use(&directory.tenant, &directory.id, user_sync, &candidates)
        .await?;
    let tally = match in_use.by_sync {
        Some(_) => IdTally::default(),
        None => tally(ldap, dialect, &candidates, searches).await,
    };
    Ok(choose(&candidates, &in_use, &tally))
}

/// What the first entries of each search have. If a search fails here, the code that reads it completely will report
/// that.
async fn tally(
    ldap: &LdapDirectory,
    dialect: Dialect,
    candidates: &[IdKind],
    searches: &[Search],
) -> IdTally {
    let mut tally = IdTally::default();
    let mut attributes: Vec<String> = candidates
        .iter()
        .map(|kind| kind.attribute().to_owned())
        .collect();
    attributes.push(person::ATTRIBUTE.to_owned());
    for search in searches {
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: canonical(&search.filter),
            attributes: attributes.clone(),
            budget: SearchBudget {
                entries: SAMPLE,
                ..SearchBudget::default()
            },
        };
        let Ok(mut pages) = ldap.search(request).await else {
            continue;
        };
        while let Some(pulled) = pages.next().await {
            if let Pulled::Entry(entry) = pulled
                && person::not_a_person(dialect, &entry).is_none()
            {
                tally.see(candidates, &entry);
            }
        }
    }
    tally
}
