//! Reads the entries of a user sync, search by search, and says how much may be concluded from them.

use rollcall_core::entry::Entry;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::Search;
use rollcall_ldap::{
    LdapDirectory, LdapError, PagedSearch, PartialReason, Pulled, SearchBudget, SearchOutcome, SearchRequest,
};

/// Entries handed on at a time. Few, so that the server goes on sending while they are looked at: what waits
/// on the connection is bounded.
const BATCH_ENTRIES: usize = 100;

/// What the searches of a run brought, all together.
#[derive(Debug, Default)]
pub(super) struct PullSummary {
    /// Search result references, which nobody follows.
    pub(super) referrals: u64,
    /// Why something may be missing, a sentence each. Empty: an entry that did not come is not there.
    pub(super) gaps: Vec<String>,
}

/// Several searches, read one after the other.
pub(super) struct Pull<'a> {
    directory: &'a LdapDirectory,
    searches: &'a [Search],
    attributes: &'a [String],
    next: usize,
    pages: Option<PagedSearch>,
    summary: PullSummary,
    failures: Vec<LdapError>,
}

impl<'a> Pull<'a> {
    pub(super) fn new(
        directory: &'a LdapDirectory,
        searches: &'a [Search],
        attributes: &'a [String],
    ) -> Self {
        Self {
            directory,
            searches,
            attributes,
            next: 0,
            pages: None,
            summary: PullSummary::default(),
            failures: Vec::new(),
        }
    }

    /// The next entries; `None` when all searches have ended, however they ended.
    pub(super) async fn next_batch(&mut self) -> Option<Vec<Entry>> {
        loop {
            let Some(pages) = &mut self.pages else {
                self.begin_search().await?;
                continue;
            };
            let mut batch = Vec::new();
            while batch.len() < BATCH_ENTRIES {
                match pages.next().await {
                    Some(Pulled::Entry(entry)) => batch.push(entry),
                    // What came before a restart is true as well, and taking an entry twice changes nothing.
                    Some(Pulled::Restarted) => {}
                    None => {
                        let outcome = self.pages.take().map(PagedSearch::finish);
                        outcome.into_iter().for_each(|outcome| self.search_ended(outcome));
                        break;
                    }
                }
            }
            if !batch.is_empty() {
                return Some(batch);
            }
        }
    }

    /// # Errors
    /// The first failure, if no search brought anything: then the pull has nothing to say.
    pub(super) fn finish(self) -> Result<PullSummary, LdapError> {
        let all_failed = self.failures.len() == self.searches.len();
        match self.failures.into_iter().next() {
            Some(error) if all_failed => Err(error),
            _ => Ok(self.summary),
        }
    }

    async fn begin_search(&mut self) -> Option<()> {
        let search = self.searches.get(self.next)?;
        self.next += 1;
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: canonical(&search.filter),
            attributes: self.attributes.to_vec(),
            budget: SearchBudget::default(),
        };
        match self.directory.search(request).await {
            Ok(pages) => self.pages = Some(pages),
            Err(error) => self.search_ended(SearchOutcome::Failed { error }),
        }
        Some(())
    }

    fn search_ended(&mut self, outcome: SearchOutcome) {
        let number = self.next;
        match outcome {
            SearchOutcome::Complete(stats) => self.summary.referrals += stats.references,
            SearchOutcome::Partial { reasons, stats } => {
                self.summary.referrals += stats.references;
                let gaps = reasons
                    .iter()
                    .map(|reason| format!("search {number}: {}", gap(reason)));
                self.summary.gaps.extend(gaps);
            }
            SearchOutcome::Failed { error } => {
                self.summary.gaps.push(format!("search {number}: {error}"));
                self.failures.push(error);
            }
        }
    }
}

/// The filter as a server should get it. It was parsed when it was stored.
pub(super) fn canonical(filter: &str) -> String {
    Filter::parse(filter).map_or_else(|_| filter.to_owned(), |filter| filter.to_string())
}

fn gap(reason: &PartialReason) -> String {
    match reason {
        PartialReason::ServerLimit(code) => format!("the server cut the results short with {code}"),
        PartialReason::Interrupted(error) => format!("it broke off: {error}"),
        PartialReason::TaintedEntries(count) => format!("{count} entries hold text that is not UTF-8"),
        PartialReason::BudgetSpent => "there are more entries or bytes than a run may read".to_owned(),
        PartialReason::Abandoned => "it was not read to its end".to_owned(),
    }
}
