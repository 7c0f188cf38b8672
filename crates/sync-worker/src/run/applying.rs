//! Carries out a plan, chunk by chunk. Each chunk commits with the pointer to the next, so that whoever takes
//! over goes on exactly where it stopped.

use rollcall_core::id::{RunId, UserSyncKey};
use rollcall_core::issue::IssueKind;
use rollcall_core::run::{Run, RunState, health_after};
use rollcall_store::{LeaseToken, PageRequest, RunEnd};

use super::Inner;
use super::stop::Stop;

const NOBODY_REMOVED: &str = "The directory was not read completely, so users who are missing there were left as they \
                              are. The issues PULL_INCOMPLETE say why.";

/// Issues read from the store at a time.
const ISSUES_AT_ONCE: u32 = 1_000;

impl Inner {
    /// Applies the chunks that were not applied yet, and ends the run.
    pub(super) async fn apply(&self, key: &UserSyncKey, id: RunId, lease: &LeaseToken) -> Result<(), Stop> {
        let store = &self.store;
        let extent = store.plan_extent(key, id).await?;
        let read = async |index| match index < extent.chunks {
            true => store.read_chunk(key, id, index).await,
            false => Ok(Vec::new()),
        };
        let end = extent.hold_at.unwrap_or(extent.chunks);
        let mut next = read(extent.applied_chunks).await;
        for index in extent.applied_chunks..end {
            self.keep_going(key, id).await?;
            let changes = next?;
            let apply = store.apply_chunk(lease, key, id, index, &changes, self.clock.now());
            let applied;
            // The next one is read and unpacked while the database works on this one.
            (applied, next) = tokio::join!(apply, read(index + 1));
            applied?;
            self.moved_on(id);
        }
        if extent.hold_at.is_some() {
            return self.wait_for_release(key, id, lease).await;
        }
        let run = store.run(key, id).await?;
        let sync = store.user_sync(&key.tenant, &key.user_sync).await?;
        let issues: u64 = run.issue_counts.values().sum();
        let state = if issues == 0 {
            RunState::Succeeded
        } else {
            RunState::SucceededWithIssues
        };
        let mut health = health_after(state, issues, None, &[]);
        if !run.complete {
            health.problems.insert(0, NOBODY_REMOVED.to_owned());
        }
        health.problems.extend(self.role_problems(key, &run).await?);
        let end = RunEnd {
            state,
            failure: None,
            health,
            // A pull with gaps does not show whom the present scope leaves out.
            applied_scope_revision: (run.complete && sync.revision == run.user_sync_revision)
                .then_some(sync.scope_revision),
            complete_pull_time: run.complete.then_some(run.create_time),
        };
        let now = self.clock.now();
        let ending = |run: &mut Run| (run.state, run.end_time) = (state, Some(now));
        let mails = self.reports.about(&sync, id, ending).await;
        store.end_run(lease, key, id, end, &mails, now).await?;
        Ok(())
    }

    /// What is wrong with the role rules of a run, a sentence each.
    async fn role_problems(&self, key: &UserSyncKey, run: &Run) -> Result<Vec<String>, Stop> {
        let mut problems = Vec::new();
        for kind in [IssueKind::RoleRuleFailed, IssueKind::RoleGroupMissing] {
            if !run.issue_counts.contains_key(&kind) {
                continue;
            }
            // Those of the whole run are among those of its entries.
            let mut page = PageRequest::first(ISSUES_AT_ONCE);
            loop {
                let found = self.store.list_issues(key, run.id, Some(kind), &page).await?;
                let of_the_run = found.items.into_iter().filter(|issue| issue.dn.is_empty());
                problems.extend(of_the_run.map(|issue| sentence(&issue.message)));
                match found.next {
                    Some(next) => page.after = Some(next),
                    None => break,
                }
            }
        }
        Ok(problems)
    }

    /// The leavers of a held plan are gone; the rest waits.
    async fn wait_for_release(&self, key: &UserSyncKey, id: RunId, lease: &LeaseToken) -> Result<(), Stop> {
        let sync = self.store.user_sync(&key.tenant, &key.user_sync).await?;
        let mails = self.announce_hold(key, id, lease, &sync, |_| {}).await?;
        self.store
            .hold_run(lease, key, id, &mails, self.clock.now())
            .await?;
        Ok(())
    }

    /// # Errors
    /// Why the run has to stop here.
    pub(super) async fn keep_going(&self, key: &UserSyncKey, id: RunId) -> Result<(), Stop> {
        if self.stopping.is_cancelled() {
            return Err(Stop::Draining);
        }
        if self.store.cancel_requested(key, id).await? {
            return Err(Stop::Cancelled);
        }
        Ok(())
    }
}

/// With a capital letter and a full stop.
fn sentence(message: &str) -> String {
    let mut letters = message.chars();
    let first = letters.next().map(|first| first.to_uppercase().to_string());
    first.unwrap_or_default() + letters.as_str() + "."
}
