//! Finds out whether the service account may read the attributes that tell that accounts are disabled. Runs and checks
//! ask here at their start, on a few entries; refreshes and logins use what was last found.

use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use rollcall_core::directory::Directory;
use rollcall_core::error::Error;
use rollcall_core::id::UserSyncId;
use rollcall_core::user_sync::Search;
use rollcall_ldap::{LdapDirectory, LdapError};
use rollcall_service::pull::canonical;
use rollcall_service::reading;
use rollcall_store::Store;
use tokio::time::Instant;

/// Entries of each search that are looked at.
const SAMPLE: u32 = 3;
/// Searches whose entries are looked at.
const MAX_SEARCHES: usize = 10;

/// The attributes that may not be read of the entries that these searches find. `None` if the server gives no answer,
/// or nothing was found.
pub(crate) async fn probe(
    ldap: &LdapDirectory,
    dialect: Dialect,
    searches: &[Search],
    deadline: Instant,
) -> Option<Vec<String>> {
    let told =
        |error: LdapError| tracing::debug!(%error, "what may be read of accounts' state was not found out");
    let names = ldap
        .deciding_attributes(dialect, deadline)
        .await
        .map_err(told)
        .ok()??;
    if names.is_empty() {
        return Some(Vec::new());
    }
    let mut dns = Vec::new();
    for search in searches.iter().take(MAX_SEARCHES) {
        let filter = canonical(&search.filter);
        let none = ["1.1".to_owned()];
        let found = ldap.find(&search.base_dn, search.scope, &filter, &none, SAMPLE, deadline);
        // If a search fails here, the code that reads it completely will report that.
        let Ok(found) = found.await else { continue };
        dns.extend(
            found
                .entries
                .into_iter()
                .filter(|entry| !entry.tainted)
                .map(|entry| entry.dn),
        );
    }
    let hidden = ldap.hidden_state(dialect, &dns, deadline).await;
    let hidden = hidden.map_err(told).ok()??;
    Some(hidden.into_iter().map(str::to_owned).collect())
}

/// Keeps the attributes for refreshes and logins. False if they were known already.
pub(crate) async fn keep(
    store: &Store,
    directory: &Directory,
    user_sync: &UserSyncId,
    hidden: &[String],
    now: DateTime<Utc>,
) -> Result<bool, Error> {
    if reading::hidden_state(directory, Some(user_sync)) == hidden {
        return Ok(false);
    }
    let (tenant, id) = (&directory.tenant, &directory.id);
    store
        .save_hidden_state(tenant, id, user_sync, hidden, now)
        .await?;
    Ok(true)
}
