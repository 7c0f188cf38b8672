//! SyncRunService.

mod listing;
mod progress;

use std::pin::Pin;

use futures::Stream;
use rollcall_core::audit::{AuditedFieldChange, ValueChange};
use rollcall_core::error::{Error, Reason};
use rollcall_core::run::{Run, RunState};
use rollcall_proto::convert::sync_run::{ListSyncRunChanges, ListSyncRunIssues, ListSyncRuns};
use rollcall_proto::convert::user_sync::configuration;
use rollcall_proto::resource_name::{self, RunName};
use rollcall_proto::v1;
use rollcall_proto::v1::sync_run_service_server::SyncRunService;
use rollcall_store::NewAuditEvent;
use tonic::{Request, Response, Status};

use crate::worker::Worker;
use rollcall_service::call::{Call, answer, begin, to_its_end};
use rollcall_service::record::Author;
use rollcall_service::resource::{about, name_resource};

/// What WatchSyncRun streams.
pub(crate) type WatchStream = Pin<Box<dyn Stream<Item = Result<v1::WatchSyncRunResponse, Status>> + Send>>;

/// Serves SyncRunService.
#[derive(Clone)]
pub(crate) struct Runs(pub(crate) Worker);

#[tonic::async_trait]
impl SyncRunService for Runs {
    type WatchSyncRunStream = WatchStream;

    async fn get_sync_run(
        &self,
        request: Request<v1::GetSyncRunRequest>,
    ) -> Result<Response<v1::SyncRun>, Status> {
        answer(self.get(begin(&self.0.store, request).await).await)
    }

    async fn list_sync_runs(
        &self,
        request: Request<v1::ListSyncRunsRequest>,
    ) -> Result<Response<v1::ListSyncRunsResponse>, Status> {
        let call: Result<Call<ListSyncRuns>, Error> = begin(&self.0.store, request).await;
        answer(self.list(call).await)
    }

    async fn watch_sync_run(
        &self,
        request: Request<v1::WatchSyncRunRequest>,
    ) -> Result<Response<Self::WatchSyncRunStream>, Status> {
        answer(self.watch(begin(&self.0.store, request).await).await)
    }

    async fn list_sync_run_changes(
        &self,
        request: Request<v1::ListSyncRunChangesRequest>,
    ) -> Result<Response<v1::ListSyncRunChangesResponse>, Status> {
        let call: Result<Call<ListSyncRunChanges>, Error> = begin(&self.0.store, request).await;
        answer(self.changes(call).await)
    }

    async fn list_sync_run_issues(
        &self,
        request: Request<v1::ListSyncRunIssuesRequest>,
    ) -> Result<Response<v1::ListSyncRunIssuesResponse>, Status> {
        let call: Result<Call<ListSyncRunIssues>, Error> = begin(&self.0.store, request).await;
        answer(self.issues(call).await)
    }

    async fn apply_sync_run(
        &self,
        request: Request<v1::ApplySyncRunRequest>,
    ) -> Result<Response<v1::SyncRun>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.apply(call).await }).await)
    }

    async fn cancel_sync_run(
        &self,
        request: Request<v1::CancelSyncRunRequest>,
    ) -> Result<Response<v1::SyncRun>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.cancel(call).await }).await)
    }
}

impl Runs {
    async fn get(&self, call: Result<Call<RunName>, Error>) -> Result<v1::SyncRun, Error> {
        let name = call?.request;
        let run = self.find(&name).await?;
        let (key, revision) = (&name.user_sync, run.user_sync_revision);
        let settings = self
            .0
            .store
            .settings_of_revision(&key.tenant, &key.user_sync, revision)
            .await?;
        let has_begun = run.state != RunState::Pending;
        let settings = settings.filter(|_| has_begun);
        Ok(v1::SyncRun {
            configuration: settings.map(|settings| configuration(key, &settings, revision)),
            ..(&run).into()
        })
    }

    async fn apply(&self, call: Result<Call<RunName>, Error>) -> Result<v1::SyncRun, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let (name, user_sync) = (&call.request, &call.request.user_sync);
        let asked = self.find(name).await?;
        let run = self.0.engine.newest_hold_of(&asked).await?.unwrap_or(asked);
        // A repeated call finds what the first one did.
        if run.state == RunState::Applying || run.plan_time.is_some() && was_applied(&run) {
            return Ok((&run).into());
        }
        if !run.state.is_waiting() {
            return Err(not_in_state(&run));
        }
        let record = becomes(&author, &run, RunState::Applying);
        let applied = self.0.engine.apply(user_sync, run.id, &record).await;
        let run = applied.map_err(|error| in_state(error, &run))?;
        Ok((&run).into())
    }

    async fn cancel(&self, call: Result<Call<RunName>, Error>) -> Result<v1::SyncRun, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let RunName { user_sync, run: id } = &call.request;
        let before = self.find(&call.request).await?;
        let record = becomes(&author, &before, RunState::Cancelled);
        let cancelled = self.0.engine.cancel(user_sync, *id, &record).await;
        let run = cancelled.map_err(|error| in_state(error, &before))?;
        Ok((&run).into())
    }

    async fn find(&self, name: &RunName) -> Result<Run, Error> {
        let found = self.0.store.run(&name.user_sync, name.run).await;
        found.map_err(about(&resource_name::run(&name.user_sync, name.run)))
    }
}

/// The record of a person's decision about a run.
fn becomes(author: &Author, run: &Run, state: RunState) -> NewAuditEvent {
    let shown = |state: RunState| Some(v1::SyncRunState::from(state).as_str_name().to_owned());
    let change = AuditedFieldChange {
        path: "state".to_owned(),
        value: ValueChange::Shown {
            before: shown(run.state),
            after: shown(state),
        },
    };
    let name = resource_name::run(&run.user_sync, run.id);
    author.event(&run.user_sync.tenant, &name, vec![change])
}

/// True for a run that ended by being applied.
fn was_applied(run: &Run) -> bool {
    matches!(run.state, RunState::Succeeded | RunState::SucceededWithIssues)
}

fn not_in_state(run: &Run) -> Error {
    in_state(
        Error::new(
            Reason::RunNotInState,
            "the run is not in a state that allows this",
        ),
        run,
    )
}

/// Adds the run and its state to an error about the state.
fn in_state(error: Error, run: &Run) -> Error {
    let error = name_resource(error, &resource_name::run(&run.user_sync, run.id));
    if error.reason != Reason::RunNotInState {
        return error;
    }
    let state = v1::SyncRunState::from(run.state).as_str_name();
    error.with("state", state.strip_prefix("SYNC_RUN_STATE_").unwrap_or(state))
}
