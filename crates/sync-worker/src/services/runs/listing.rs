//! The lists of SyncRunService.

use rollcall_core::error::{Error, Reason};
use rollcall_core::id::UserSyncKey;
use rollcall_core::issue::Issue;
use rollcall_core::plan::Change;
use rollcall_core::run::{Run, RunState};
use rollcall_proto::convert::sync_run::{self, ListSyncRunChanges, ListSyncRunIssues, ListSyncRuns};
use rollcall_proto::v1;

use super::{Runs, in_state};
use rollcall_service::call::Call;
use rollcall_service::paging::fill;
use rollcall_service::resource::about;
use rollcall_store::PageRequest;

impl Runs {
    pub(super) async fn list(
        &self,
        call: Result<Call<ListSyncRuns>, Error>,
    ) -> Result<v1::ListSyncRunsResponse, Error> {
        let Call {
            caller,
            request: ListSyncRuns { parent, states, page },
            ..
        } = call?;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let store = &self.0.store;
        let tenant = &parent.tenant;
        let key = parent.user_sync.map(|user_sync| UserSyncKey {
            tenant: tenant.clone(),
            user_sync,
        });
        let read = async |part: PageRequest| match &key {
            Some(key) => store.list_runs(key, &part).await,
            None => store.list_tenant_runs(tenant, &part).await,
        };
        let wanted = |run: &Run| states.is_empty() || states.contains(&run.state);
        let show = |run: &Run| wanted(run).then(|| v1::SyncRun::from(run));
        let (sync_runs, next_page_token) = fill(&page, read, show).await?;
        Ok(v1::ListSyncRunsResponse {
            sync_runs,
            next_page_token,
        })
    }

    pub(super) async fn changes(
        &self,
        call: Result<Call<ListSyncRunChanges>, Error>,
    ) -> Result<v1::ListSyncRunChangesResponse, Error> {
        let Call {
            caller,
            request: ListSyncRunChanges { name, kinds, page },
            ..
        } = call?;
        let key = &name.user_sync;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let run = self.find(&name).await?;
        if matches!(run.state, RunState::Pending | RunState::Pulling) {
            return Err(in_state(
                Error::new(Reason::RunNotInState, "the run has no plan yet"),
                &run,
            ));
        }
        // The store can filter by one kind, and skips whole chunks then.
        let (kind, several) = match kinds.as_slice() {
            [kind] => (Some(*kind), &[][..]),
            several => (None, several),
        };
        let store = &self.0.store;
        let read = async |part: PageRequest| store.list_changes(key, name.run, kind, &part).await;
        let wanted = |change: &Change| several.is_empty() || several.contains(&change.kind);
        let show = |change: &Change| wanted(change).then(|| sync_run::change(&key.tenant, change));
        let (changes, next_page_token) = fill(&page, read, show).await?;
        Ok(v1::ListSyncRunChangesResponse {
            changes,
            next_page_token,
        })
    }

    pub(super) async fn issues(
        &self,
        call: Result<Call<ListSyncRunIssues>, Error>,
    ) -> Result<v1::ListSyncRunIssuesResponse, Error> {
        let Call {
            caller,
            request: ListSyncRunIssues { name, kinds, page },
            ..
        } = call?;
        let key = &name.user_sync;
        let page = self.0.tokens.page(caller.tenants(), page)?;
        self.0
            .store
            .run(key, name.run)
            .await
            .map_err(about(&rollcall_proto::resource_name::run(key, name.run)))?;
        let (kind, several) = match kinds.as_slice() {
            [kind] => (Some(*kind), &[][..]),
            several => (None, several),
        };
        let store = &self.0.store;
        let read = async |part: PageRequest| store.list_issues(key, name.run, kind, &part).await;
        let wanted = |issue: &Issue| several.is_empty() || several.contains(&issue.kind);
        let show = |issue: &Issue| wanted(issue).then(|| sync_run::issue(&key.tenant, issue));
        let (issues, next_page_token) = fill(&page, read, show).await?;
        Ok(v1::ListSyncRunIssuesResponse {
            issues,
            next_page_token,
        })
    }
}
