//! What a run, or a check that foretells one, has to know about the users whom entries concern: from the store, and from
//! other user syncs.

use std::collections::HashMap;

use rollcall_core::error::Error;
use rollcall_core::judgement::EntryReading;
use rollcall_core::planner::BatchFacts;

use super::super::executor::Executor;
use super::known::{Asking, batch_facts};
use super::neighbours::Neighbours;
use super::takeover;
use crate::run::source::Source;

/// What one run or one check has asked other syncs so far.
pub(crate) struct Others<'a> {
    x: &'a Executor,
    asking: Asking<'a>,
    source: &'a Source,
    neighbours: Neighbours<'a>,
    /// The tenant had no users when the first entries were looked at, so a first import looks nothing up. Users who are
    /// created meanwhile are noticed when the plan is applied.
    is_free: Option<bool>,
}

impl<'a> Others<'a> {
    pub(crate) fn new(x: &'a Executor, asking: Asking<'a>, source: &'a Source) -> Self {
        Self {
            x,
            asking,
            source,
            neighbours: Neighbours::new(x, asking),
            is_free: None,
        }
    }

    /// Everything that is known about the users that these entries concern.
    pub(crate) async fn batch_facts(&mut self, readings: &[&EntryReading]) -> Result<BatchFacts, Error> {
        let (store, asking) = (&self.x.store, self.asking);
        let is_free = match self.is_free {
            Some(is_free) => is_free,
            None => *self.is_free.insert(store.is_free_of_users(asking.tenant).await?),
        };
        if is_free {
            return Ok(BatchFacts::new(asking.directory, Vec::new(), HashMap::new()));
        }
        let mut facts = batch_facts(store, asking.tenant, asking.directory, readings).await?;
        facts.hold(takeover::held(store, asking, readings, &facts).await?);
        let given_up = takeover::given_up(store, asking, self.source, readings, &facts).await?;
        facts.give_up(given_up);
        self.neighbours.ask(readings, &mut facts).await?;
        Ok(facts)
    }
}
