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
use rollcall_service::paging::{Filling, fitting};
use rollcall_service::resource::about;

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
        caller.may_touch(&parent.tenant)?;
        let store = &self.0.store;
        let (parent, states) = (&parent, &states);
        fitting(page, |page| async move {
            let wanted = |run: &Run| states.is_empty() || states.contains(&run.state);
            let mut filling = Filling::new(&page);
            match &parent.user_sync {
                Some(user_sync) => {
                    let key = UserSyncKey {
                        tenant: parent.tenant.clone(),
                        user_sync: user_sync.clone(),
                    };
                    while let Some(part) = filling.part() {
                        filling.add(store.list_runs(&key, &part).await?, wanted);
                    }
                }
                None => {
                    while let Some(part) = filling.part() {
                        filling.add(store.list_tenant_runs(&parent.tenant, &part).await?, wanted);
                    }
                }
            }
            let (runs, next_page_token) = filling.end(&page);
            let answer = v1::ListSyncRunsResponse {
                sync_runs: runs.iter().map(Into::into).collect(),
                next_page_token,
            };
            Ok((answer, runs.len()))
        })
        .await
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
        caller.may_touch(&key.tenant)?;
        let run = self.find(&name).await?;
        if matches!(run.state, RunState::Pending | RunState::Pulling) {
            return Err(in_state(
                Error::new(Reason::RunNotInState, "the run has no plan yet"),
                &run,
            ));
        }
        // One kind is for the store, which skips whole chunks.
        let (kind, several) = match kinds.as_slice() {
            [kind] => (Some(*kind), &[][..]),
            several => (None, several),
        };
        let store = &self.0.store;
        fitting(page, |page| async move {
            let wanted = |change: &Change| several.is_empty() || several.contains(&change.kind);
            let mut filling = Filling::new(&page);
            while let Some(part) = filling.part() {
                filling.add(store.list_changes(key, name.run, kind, &part).await?, wanted);
            }
            let (changes, next_page_token) = filling.end(&page);
            let answer = v1::ListSyncRunChangesResponse {
                changes: changes
                    .iter()
                    .map(|change| sync_run::change(&key.tenant, change))
                    .collect(),
                next_page_token,
            };
            Ok((answer, changes.len()))
        })
        .await
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
        caller.may_touch(&key.tenant)?;
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
        fitting(page, |page| async move {
            let wanted = |issue: &Issue| several.is_empty() || several.contains(&issue.kind);
            let mut filling = Filling::new(&page);
            while let Some(part) = filling.part() {
                filling.add(store.list_issues(key, name.run, kind, &part).await?, wanted);
            }
            let (issues, next_page_token) = filling.end(&page);
            let answer = v1::ListSyncRunIssuesResponse {
                issues: issues
                    .iter()
                    .map(|issue| sync_run::issue(&key.tenant, issue))
                    .collect(),
                next_page_token,
            };
            Ok((answer, issues.len()))
        })
        .await
    }
}
