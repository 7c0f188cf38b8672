//! A plan and its issues on their way into the store.

use std::collections::BTreeMap;

use rollcall_core::error::{Error, Reason};
use rollcall_core::issue::{Issue, IssueKind};
use rollcall_core::plan::{CHUNK_CHANGES, Change};
use rollcall_runtime::clock::Clock;
use rollcall_store::{RunHandle, Store, StoreError};
use tokio::task::JoinSet;

/// Issues kept for one run; the rest is only counted, so that a broken directory cannot fill the store.
const MAX_ISSUES: u64 = 100_000;

/// Where a plan is written.
#[derive(Clone, Copy)]
pub(crate) struct Target<'a> {
    pub(crate) store: &'a Store,
    pub(crate) run: &'a RunHandle,
    pub(crate) clock: &'a Clock,
}

/// How much of a plan is in the store.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Written {
    /// Chunks of changes.
    pub(crate) changes: u32,
    /// Issues, including those that are only counted.
    pub(crate) issues: u64,
}

/// The part of a plan that is not in the store yet.
pub(super) struct PlanWriter<'a> {
    target: Target<'a>,
    pub(super) chunk: Vec<Change>,
    chunks: u32,
    /// The chunk that is being written while the next one is planned.
    writing: JoinSet<Result<(), StoreError>>,
    /// Issues of entries.
    pub(super) issues: Vec<Issue>,
    /// Issues that are kept even if others are only counted.
    pub(super) of_the_run: Vec<Issue>,
    issue_count: u64,
}

impl<'a> PlanWriter<'a> {
    pub(super) fn new(target: Target<'a>) -> Self {
        Self {
            target,
            chunk: Vec::new(),
            chunks: 0,
            writing: JoinSet::new(),
            issues: Vec::new(),
            of_the_run: Vec::new(),
            issue_count: 0,
        }
    }

    /// How much was written.
    pub(super) fn so_far(&self) -> Written {
        Written {
            changes: self.chunks,
            issues: self.issue_count,
        }
    }

    /// Issues that were written or counted so far.
    pub(super) fn issue_count(&self) -> u64 {
        self.issue_count
    }

    /// Whether so many issues wait that they should be written.
    pub(super) fn has_many_issues(&self) -> bool {
        self.issues.len() >= CHUNK_CHANGES
    }

    /// Adds a change, and writes the chunk if it is full.
    pub(super) async fn push(&mut self, change: Change) -> Result<(), Error> {
        self.chunk.push(change);
        match self.chunk.len() >= self.target.store.good_chunk() {
            true => self.write_chunk().await,
            false => Ok(()),
        }
    }

    /// Makes sure that this many more changes go into one chunk.
    pub(super) async fn make_room(&mut self, changes: usize) -> Result<(), Error> {
        match self.chunk.len() + changes > self.target.store.good_chunk() {
            true => self.write_chunk().await,
            false => Ok(()),
        }
    }

    /// Starts to write the waiting changes as a chunk of their own. [`Self::settle`] waits until the store has it.
    pub(super) async fn write_chunk(&mut self) -> Result<(), Error> {
        if self.chunk.is_empty() {
            return Ok(());
        }
        self.settle().await?;
        let (store, run) = (self.target.store.clone(), self.target.run.clone());
        let (index, chunk) = (self.chunks, std::mem::take(&mut self.chunk));
        self.writing
            .spawn(async move { store.append_chunk(&run, index, &chunk).await });
        self.chunks += 1;
        Ok(())
    }

    /// Waits until the store has all chunks.
    async fn settle(&mut self) -> Result<(), Error> {
        while let Some(written) = self.writing.join_next().await {
            written.map_err(|_| Error::new(Reason::Internal, "a chunk of a plan was not written"))??;
        }
        Ok(())
    }

    /// Writes the changes that wait, and waits until the store has all of the plan.
    pub(super) async fn write_all(&mut self) -> Result<(), Error> {
        self.write_chunk().await?;
        self.settle().await
    }

    /// Writes the issues that wait.
    pub(super) async fn write_issues(&mut self) -> Result<(), Error> {
        let (found, mut kept) = (
            std::mem::take(&mut self.issues),
            std::mem::take(&mut self.of_the_run),
        );
        let room = usize::try_from(MAX_ISSUES.saturating_sub(self.issue_count)).unwrap_or(usize::MAX);
        self.issue_count += (found.len() + kept.len()) as u64;
        let mut uncounted: BTreeMap<IssueKind, u64> = BTreeMap::new();
        for (index, issue) in found.into_iter().enumerate() {
            match index < room {
                true => kept.push(issue),
                false => *uncounted.entry(issue.kind).or_default() += 1,
            }
        }
        let Target { store, run, .. } = self.target;
        if !kept.is_empty() {
            store.append_issues(run, &kept).await?;
        }
        if !uncounted.is_empty() {
            store.count_issues(run, &uncounted).await?;
        }
        Ok(())
    }
}
