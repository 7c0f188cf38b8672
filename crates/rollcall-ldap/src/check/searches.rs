//! The searches of a user sync, on a directory whose connection works.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_core::check::{Stage, StageKind};
use rollcall_core::dialect::Dialect;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::Filter;
use rollcall_core::schema::Schema;
use rollcall_core::user_sync::Search;
use tokio::time::Instant;

use super::advice::explain;
use super::describe;
use super::lint;
use super::stages::Stages;
use crate::directory::{LdapDirectory, ReadRequest};
use crate::error::LdapError;
use crate::outcome::{PartialReason, SearchOutcome};
use crate::paging::{Pulled, SearchBudget, SearchRequest};
use crate::result_code::ResultCode;
use crate::root_dse::RootDse;

/// What to check about the searches of a user sync.
#[derive(Clone, Copy, Debug)]
pub struct SearchesToCheck<'a> {
    /// The searches.
    pub searches: &'a [Search],
    /// The attributes that the field mappings read.
    pub attributes: &'a [String],
    /// The attribute of the external id, if the directory's settings name one.
    pub external_id_attribute: Option<&'a str>,
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
    /// The first entries of each search, in its order, with external id and mapped attributes.
    pub samples: Vec<Vec<Entry>>,
    /// Entries counted for each search; `None` if it could not be run.
    pub counts: Vec<Option<Count>>,
    /// The kind of external id that the entries have.
    pub id_kind: Option<IdKind>,
    /// What the server says about itself.
    pub root_dse: Option<RootDse>,
}

/// How many entries a search found.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Count {
    /// At least so many.
    pub entries: u64,
    /// And no more.
    pub exact: bool,
}

/// Runs each search as a run would, up to `count_limit` entries, and ends by `deadline`.
///
/// The stages are the base, the filter, the count (as part of paging), then, over all searches, the external
/// id and each mapped attribute.
pub async fn check_searches(
    directory: &LdapDirectory,
    wanted: SearchesToCheck<'_>,
    deadline: Instant,
) -> SearchesCheck {
    let mut check = SearchesCheck::default();
    let root = match directory.root_dse(deadline).await {
        Ok(root) => root,
        Err(error) => {
            let mut stages = Stages::about("");
            fail(&mut stages, StageKind::RootDse, &error);
            check.stages = stages.into_stages();
            return check;
        }
    };
    let schema = directory.schema(deadline).await.unwrap_or_default();
    let kinds = match wanted.external_id_attribute {
        Some(attribute) => IdKind::of_attribute(attribute).into_iter().collect(),
        None => root.dialect.external_id_kinds().to_vec(),
    };
    let mut seen = Seen::default();
    for search in wanted.searches {
        let mut stages = Stages::about(format!("{} {}", search.base_dn, search.filter));
        let run = SearchRun {
            directory,
            wanted,
            kinds: &kinds,
            schema: &schema,
            deadline,
        };
        let (count, sample) = run
            .check(search, &mut stages, &mut seen)
            .await
            .unwrap_or_default();
        stages.skip_rest(&[StageKind::SearchBase, StageKind::SearchFilter, StageKind::Paging]);
        check.stages.extend(stages.into_stages());
        check.counts.push(count);
        check.samples.push(sample);
    }
    let mut stages = Stages::about("");
    check.id_kind = judge_ids(&kinds, &seen, root.dialect, &mut stages);
    check.stages.extend(stages.into_stages());
    for attribute in wanted.attributes {
        let mut stages = Stages::about(attribute.as_str());
        judge_attribute(attribute, &schema, &seen, &mut stages);
        check.stages.extend(stages.into_stages());
    }
    check.root_dse = Some(root);
    check
}

/// What the entries of all searches have.
#[derive(Default)]
struct Seen {
    entries: u64,
    with_attribute: BTreeMap<String, u64>,
    with_id: BTreeMap<IdKind, u64>,
}

struct SearchRun<'a> {
    directory: &'a LdapDirectory,
    wanted: SearchesToCheck<'a>,
    kinds: &'a [IdKind],
    schema: &'a Schema,
    deadline: Instant,
}

impl SearchRun<'_> {
    async fn check(
        &self,
        search: &Search,
        stages: &mut Stages,
        seen: &mut Seen,
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
        let is_known = lint::attributes(&filter, self.schema, stages);
        self.count(search, &filter, is_known, stages, seen).await
    }

    async fn count(
        &self,
        search: &Search,
        filter: &Filter,
        filter_is_known: bool,
        stages: &mut Stages,
        seen: &mut Seen,
    ) -> Option<(Option<Count>, Vec<Entry>)> {
        let mut attributes: BTreeSet<String> = self.wanted.attributes.iter().cloned().collect();
        attributes.extend(self.kinds.iter().map(|kind| kind.attribute().to_owned()));
        let request = SearchRequest {
            base_dn: search.base_dn.clone(),
            scope: search.scope,
            filter: filter.to_string(),
            attributes: attributes.into_iter().collect(),
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
                    self.see(&entry, seen);
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
            SearchOutcome::Complete(stats) => {
                stages.pass(
                    StageKind::Paging,
                    describe::pages(entries, u64::from(stats.pages)),
                );
            }
            SearchOutcome::Partial { .. } if limited => {
                stages.pass(
                    StageKind::Paging,
                    format!("Counting stopped after {} entries.", count.entries),
                );
            }
            SearchOutcome::Partial { reasons, .. } => judge_partial(&reasons, stages),
            SearchOutcome::Failed { error } => {
                fail(stages, StageKind::Paging, &error);
                return None;
            }
        }
        Some((Some(count), sample))
    }

    fn see(&self, entry: &Entry, seen: &mut Seen) {
        seen.entries += 1;
        for attribute in self.wanted.attributes {
            if entry.values(attribute).iter().any(|value| !value.is_empty()) {
                *seen.with_attribute.entry(attribute.clone()).or_default() += 1;
            }
        }
        for kind in self.kinds {
            if ExternalId::from_values(kind.clone(), entry.values(kind.attribute())).is_ok() {
                *seen.with_id.entry(kind.clone()).or_default() += 1;
            }
        }
    }
}

fn judge_partial(reasons: &[PartialReason], stages: &mut Stages) {
    for reason in reasons {
        match reason {
            PartialReason::ServerLimit(code) => stages.warn(
                StageKind::Paging,
                format!("The server cut the search short with result {code}."),
                "Raise the size, time and lookup limits of the bind account on the server. Nobody is removed after a \
                 search that was cut short.",
            ),
            PartialReason::TaintedEntries(count) => stages.warn(
                StageKind::Paging,
                format!("{count} entries hold names that are not UTF-8."),
                "Correct these entries. Nobody is removed while there are any.",
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
}

fn judge_ids(kinds: &[IdKind], seen: &Seen, dialect: Dialect, stages: &mut Stages) -> Option<IdKind> {
    if seen.entries == 0 {
        stages.skip_rest(&[StageKind::ExternalId]);
        return None;
    }
    let most = kinds
        .iter()
        .rev()
        .max_by_key(|kind| seen.with_id.get(kind).copied().unwrap_or(0));
    let best = most.filter(|kind| seen.with_id.contains_key(kind));
    match best {
        Some(kind) if seen.with_id[kind] == seen.entries => {
            stages.pass(
                StageKind::ExternalId,
                format!("All entries have a stable id in {}.", kind.attribute()),
            );
        }
        Some(kind) => stages.warn(
            StageKind::ExternalId,
            format!(
                "{} of {} entries have a stable id in {}.",
                seen.with_id[kind],
                seen.entries,
                kind.attribute()
            ),
            "Entries without one cannot be imported. Let the bind account read the attribute on all of them.",
        ),
        None => {
            let names: Vec<&str> = kinds.iter().map(IdKind::attribute).collect();
            let hint = match dialect {
                Dialect::Generic => {
                    "Set the external id attribute to one that never changes and is never reused."
                }
                _ => "Let the bind account read the attribute.",
            };
            stages.fail(
                StageKind::ExternalId,
                format!("No entry has a usable stable id in {}.", names.join(" or ")),
                hint,
            );
        }
    }
    best.cloned()
}

fn judge_attribute(attribute: &str, schema: &Schema, seen: &Seen, stages: &mut Stages) {
    let kind = StageKind::FieldMappings;
    let name = attribute.split(';').next().unwrap_or(attribute);
    if !schema.is_empty() && !schema.defines(name) {
        stages.warn(
            kind,
            "The server does not know this attribute.",
            "Check the spelling.",
        );
        return;
    }
    let count = seen.with_attribute.get(attribute).copied().unwrap_or(0);
    let Some(percent) = (count * 100).checked_div(seen.entries) else {
        stages.skip_rest(&[kind]);
        return;
    };
    let percent = match (percent, count) {
        (0, 1..) => "Less than 1".to_owned(),
        _ => percent.to_string(),
    };
    let message = format!("{percent} % of {} entries have it.", seen.entries);
    match count {
        0 => stages.warn(
            kind,
            message,
            "The attribute may be empty, or the bind account may not read it. Map another one, or give the right.",
        ),
        _ => stages.pass(kind, message),
    }
}

fn fail(stages: &mut Stages, kind: StageKind, error: &LdapError) {
    let (message, hint) = match error {
        LdapError::SearchRefused(code @ ResultCode::ADMIN_LIMIT_EXCEEDED) => (
            format!("The server refused the search with result {code}."),
            "Raise the limits of the bind account on the server, or have the filter's attributes indexed.",
        ),
        other => explain(other),
    };
    stages.fail(kind, message, hint);
}
