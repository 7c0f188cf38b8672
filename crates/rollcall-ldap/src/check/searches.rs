//! The searches of a user sync, on a directory whose connection works.

use std::sync::Arc;

use rollcall_core::check::{CheckPart, Stage, StageKind};
use rollcall_core::entry::Entry;
use rollcall_core::filter::Filter;
use rollcall_core::schema::Schema;
use rollcall_core::user_sync::Search;
use rollcall_core::wording::counted;
use tokio::time::Instant;

use super::advice::explain;
use super::count::Count;
use super::describe;
use super::lint;
use super::stages::Stages;
use crate::directory::{LdapDirectory, ReadRequest};
use crate::error::LdapError;
use crate::outcome::{PartialReason, SearchOutcome};
use crate::paging::{Pulled, SearchBudget, SearchRequest};
use crate::result_code::ResultCode;

/// What to check about the searches of a user sync.
#[derive(Clone, Copy, Debug)]
pub struct SearchesToCheck<'a> {
    /// The searches.
    pub searches: &'a [Search],
    /// The attributes to read.
    pub attributes: &'a [String],
    /// Entries kept of each search.
    pub sample: usize,
    /// Entries after which counting stops.
    pub count_limit: u32,
}

/// What a check of searches found.
#[derive(Clone, Debug, Default)]
pub struct SearchesCheck {
    /// The stages, search by search.
    pub stages: Vec<Stage>,
    /// The first entries of each search, in its order.
    pub samples: Vec<Vec<Entry>>,
    /// Entries counted for each search; `None` if it could not be run.
    pub counts: Vec<Option<Count>>,
    /// What the server knows of attributes and classes.
    pub schema: Arc<Schema>,
}

/// Runs each search as a run would, up to `count_limit` entries, and ends by `deadline`.
///
/// The stages are the base, the filter and the count (as part of paging). `see` gets each entry with the place of its
/// search in the list; an entry may come more than once.
pub async fn check_searches(
    directory: &LdapDirectory,
    wanted: SearchesToCheck<'_>,
    deadline: Instant,
    mut see: impl FnMut(usize, &Entry) + Send,
) -> SearchesCheck {
    let mut check = SearchesCheck {
        // Without a schema there is less to report. What prevents reading it shows in the stages that follow.
        schema: directory.schema(deadline).await.unwrap_or_default(),
        ..SearchesCheck::default()
    };
    for (index, search) in wanted.searches.iter().enumerate() {
        let mut stages = Stages::about(format!("{} {}", search.base_dn, search.filter));
        let run = SearchRun {
            directory,
            wanted,
            schema: &check.schema,
            deadline,
        };
        let (count, sample) = run
            .check(search, &mut stages, &mut |entry| see(index, entry))
            .await
            .unwrap_or_default();
        stages.skip_rest(CheckPart::Searches);
        check.stages.extend(stages.into_stages());
        check.counts.push(count);
        check.samples.push(sample);
    }
    check
}

struct SearchRun<'a> {
    directory: &'a LdapDirectory,
    wanted: SearchesToCheck<'a>,
    schema: &'a Schema,
    deadline: Instant,
}

impl SearchRun<'_> {
    async fn check(
        &self,
        search: &Search,
        stages: &mut Stages,
        see: &mut (dyn FnMut(&Entry) + Send),
    ) -> Option<(Option<Count>, Vec<Entry>)> {
        let base = ReadRequest {
            dn: search.base_dn.clone(),
            filter: "(objectClass=*)".into(),
            attributes: vec!["1.1".into()],
        };
        match self.directory.read_entry(&base, self.deadline).await {
            Ok(Some(_)) => stages.pass(StageKind::SearchBase, "The base exists."),
            Ok(None) => stages.fail(
                StageKind::SearchBase,
                "The base does not exist, or the bind account may not see it.",
                "Check the base DN and the bind account's right to read there.",
            ),
            Err(error) => fail(stages, StageKind::SearchBase, &error),
        }
        let filter = match Filter::parse(&search.filter) {
            Ok(filter) => filter,
            Err(error) => {
                stages.fail(
                    StageKind::SearchFilter,
                    format!("The filter is not valid: {error}."),
                    error.hint(),
                );
                return None;
            }
        };
        let is_known = lint::undefined(&filter, self.schema, stages);
        self.count(search, &filter, is_known, stages, see).await
    }

    async fn count(
        &self,
        search: &Search,
        filter: &Filter,
        filter_is_known: bool,
        stages: &mut Stages,
        see: &mut (dyn FnMut(&Entry) + Send),
    ) -> Option<(Option<Count>, Vec<Entry>)> {
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: filter.to_string(),
            attributes: self.wanted.attributes.to_vec(),
            budget: SearchBudget {
                entries: self.wanted.count_limit.saturating_add(1),
                time: self.deadline.saturating_duration_since(Instant::now()),
                ..SearchBudget::default()
            },
        };
        let mut entries = 0;
        let mut sample = Vec::new();
        let outcome = match self.directory.search(request).await {
            Err(error) => SearchOutcome::Failed { error },
            Ok(mut running) => {
                while let Some(pulled) = running.next().await {
                    let Pulled::Entry(entry) = pulled else {
                        entries = 0;
                        sample.clear();
                        continue;
                    };
                    if entries == u64::from(self.wanted.count_limit) {
                        entries += 1;
                        break;
                    }
                    entries += 1;
                    see(&entry);
                    if sample.len() < self.wanted.sample {
                        sample.push(entry);
                    }
                }
                running.finish()
            }
        };
        let exact = matches!(outcome, SearchOutcome::Complete(_));
        let limited = entries > u64::from(self.wanted.count_limit);
        let count = Count {
            entries: entries.min(u64::from(self.wanted.count_limit)),
            exact,
        };
        if filter_is_known {
            let everything = count.entries > 0
                && lint::matches_everything(self.directory, search, filter, self.deadline).await;
            lint::count(count, everything, stages);
        }
        match outcome {
            SearchOutcome::Complete(stats) => match stats.tainted {
                0 => stages.pass(
                    StageKind::Paging,
                    describe::pages(entries, u64::from(stats.pages)),
                ),
                tainted => stages.warn(
                    StageKind::Paging,
                    format!(
                        "{} names that are not UTF-8.",
                        counted(tainted, "entry holds", "entries hold")
                    ),
                    "Correct these entries: they are not imported as they stand.",
                ),
            },
            SearchOutcome::Partial { .. } if limited => {
                stages.pass(
                    StageKind::Paging,
                    format!("Counting stopped after {} entries.", count.entries),
                );
            }
            SearchOutcome::Partial { reason, .. } => judge_partial(&reason, stages),
            SearchOutcome::Failed { error } => {
                fail(stages, StageKind::Paging, &error);
                return None;
            }
        }
        Some((Some(count), sample))
    }
}

fn judge_partial(reason: &PartialReason, stages: &mut Stages) {
    match reason {
            PartialReason::ServerLimit(code) => stages.warn(
                StageKind::Paging,
                format!("The server cut the search short with result {code}."),
                "Raise the size, time and lookup limits of the bind account on the server. Nobody is removed after a \
                 search that was cut short.",
            ),
            PartialReason::BudgetSpent | PartialReason::Abandoned => stages.warn(
                StageKind::Paging,
                "The search did not end within the time of this check.",
                "A run has more time. Narrow base and filter if it should be faster.",
            ),
            PartialReason::Interrupted(LdapError::Timeout) => stages.warn(
                StageKind::Paging,
                "The search did not end within the time of this check.",
                "A run has more time. Narrow base and filter, or have the filter's attributes indexed.",
            ),
            PartialReason::Interrupted(error) => fail(stages, StageKind::Paging, error),
        }
}

fn fail(stages: &mut Stages, kind: StageKind, error: &LdapError) {
    let (message, hint) = if let LdapError::SearchRefused(code @ ResultCode::ADMIN_LIMIT_EXCEEDED) = error {
        (
            format!("The server refused the search with result {code}."),
            "Raise the limits of the bind account on the server, or have the filter's attributes indexed.",
        )
    } else {
        explain(error)
    };
    stages.fail(kind, message, hint);
}
