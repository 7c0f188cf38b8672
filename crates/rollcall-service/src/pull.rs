//! Reads the entries of a user sync, search by search, and says how much may be concluded from them.

use rollcall_core::entry::Entry;
use rollcall_core::filter::Filter;
use rollcall_core::user_sync::Search;
use rollcall_ldap::{
    LdapDirectory, LdapError, PartialReason, Pulled, SearchBudget, SearchOutcome, SearchRequest, SearchStats,
};
use tokio::sync::mpsc;
use tokio_util::task::AbortOnDropHandle;
use tracing::Instrument;

/// Entries handed on at a time; fewer if they are large.
const BATCH_ENTRIES: usize = 100;
const BATCH_BYTES: usize = 256 << 10;
/// Batches that are read in advance: a few pages, so that the server always has one to work on.
const BATCHES_AHEAD: usize = 16;

/// What the searches of a run brought, all together.
#[derive(Debug, Default)]
pub struct PullSummary {
    /// Search result references, which are not followed.
    pub search_result_references: u64,
    /// Why entries may be missing, a sentence each. If empty, an entry that did not come does not exist.
    pub gaps: Vec<String>,
}

/// Several searches, which a task reads one after the other: the server makes the next page while the last one is
/// processed. Dropping it stops the task.
pub struct Pull {
    batches: mpsc::Receiver<Vec<Entry>>,
    reader: AbortOnDropHandle<Result<PullSummary, LdapError>>,
}

impl Pull {
    /// Begins to read. Each search asks for `attributes`.
    ///
    /// All searches together may bring `max_entries`: beyond that a search ends as one that was cut short.
    pub fn new(
        directory: &LdapDirectory,
        searches: &[Search],
        attributes: &[String],
        max_entries: u32,
    ) -> Self {
        let (sender, batches) = mpsc::channel(BATCHES_AHEAD);
        let reader = Reader {
            directory: directory.clone(),
            attributes: attributes.to_vec(),
            room: max_entries,
            batches: sender,
            summary: PullSummary::default(),
            failures: Vec::new(),
        };
        let reading = reader.read(searches.to_vec()).in_current_span();
        Self {
            batches,
            reader: AbortOnDropHandle::new(tokio::spawn(reading)),
        }
    }

    /// The next entries; `None` when all searches have ended, however they ended.
    pub async fn next_batch(&mut self) -> Option<Vec<Entry>> {
        self.batches.recv().await
    }

    /// The summary, once there is no further batch.
    ///
    /// # Errors
    /// The first failure, if no search brought anything: then the pull says nothing.
    pub async fn finish(self) -> Result<PullSummary, LdapError> {
        drop(self.batches);
        match self.reader.await {
            Ok(read) => read,
            Err(broken) => match broken.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The task is aborted only by dropping this value.
                Err(_) => Err(LdapError::ConnectionLost),
            },
        }
    }
}

struct Reader {
    directory: LdapDirectory,
    attributes: Vec<String>,
    /// How many more entries may come.
    room: u32,
    batches: mpsc::Sender<Vec<Entry>>,
    summary: PullSummary,
    failures: Vec<LdapError>,
}

impl Reader {
    async fn read(mut self, searches: Vec<Search>) -> Result<PullSummary, LdapError> {
        for (index, search) in searches.iter().enumerate() {
            let outcome = self.search(search).await;
            self.search_ended(index + 1, outcome);
        }
        let all_failed = self.failures.len() == searches.len();
        match self.failures.into_iter().next() {
            Some(error) if all_failed => Err(error),
            _ => Ok(self.summary),
        }
    }

    async fn search(&self, search: &Search) -> SearchOutcome {
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: canonical(&search.filter),
            attributes: self.attributes.clone(),
            budget: SearchBudget {
                entries: self.room,
                ..SearchBudget::default()
            },
        };
        let mut pages = match self.directory.search(request).await {
            Ok(pages) => pages,
            Err(error) => return SearchOutcome::Failed { error },
        };
        let (mut batch, mut bytes) = (Vec::with_capacity(BATCH_ENTRIES), 0);
        while let Some(pulled) = pages.next().await {
            match pulled {
                Pulled::Entry(entry) => {
                    bytes += size_of_values(&entry);
                    batch.push(entry);
                }
                // Entries from before a restart are true as well, and taking an entry twice changes nothing.
                Pulled::Restarted => {}
            }
            if batch.len() == BATCH_ENTRIES || bytes >= BATCH_BYTES {
                bytes = 0;
                let full = std::mem::replace(&mut batch, Vec::with_capacity(BATCH_ENTRIES));
                if self.batches.send(full).await.is_err() {
                    return pages.finish();
                }
            }
        }
        if !batch.is_empty() {
            // If the receiver is gone, nobody asks for the summary either.
            _ = self.batches.send(batch).await;
        }
        pages.finish()
    }

    fn search_ended(&mut self, number: usize, outcome: SearchOutcome) {
        match outcome {
            SearchOutcome::Complete(stats) => self.take_stats(&stats),
            SearchOutcome::Partial { reason, stats } => {
                self.take_stats(&stats);
                self.summary
                    .gaps
                    .push(format!("search {number}: {}", gap(&reason)));
            }
            SearchOutcome::Failed { error } => {
                self.summary.gaps.push(format!("search {number}: {error}"));
                self.failures.push(error);
            }
        }
    }

    fn take_stats(&mut self, stats: &SearchStats) {
        self.summary.search_result_references += stats.search_result_references;
        let entries = u32::try_from(stats.entries).unwrap_or(u32::MAX);
        self.room = self.room.saturating_sub(entries);
    }
}

fn size_of_values(entry: &Entry) -> usize {
    entry.attributes.values().flatten().map(Vec::len).sum()
}

/// The filter in the form for a server. It was checked when it was stored.
pub fn canonical(filter: &str) -> String {
    Filter::parse(filter).map_or_else(|_| filter.to_owned(), |filter| filter.to_string())
}

fn gap(reason: &PartialReason) -> String {
    match reason {
        PartialReason::ServerLimit(code) => format!("the server cut the results short with {code}"),
        PartialReason::Interrupted(error) => format!("it broke off: {error}"),
        PartialReason::BudgetSpent => "there are more entries or bytes than a run may read".to_owned(),
        PartialReason::Abandoned => "it was not read to its end".to_owned(),
    }
}
