//! Starting runs and refreshing users.

use std::sync::Arc;

use futures::StreamExt;
use parking_lot::Mutex;
use ring::digest;
use rollcall_core::audit::{AskedBy, AuditedFieldChange};
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::{RunId, TenantId, UserSyncKey, Uuid};
use rollcall_core::run::{Run, RunTrigger};
use rollcall_proto::convert::sync_run;
use rollcall_proto::convert::user_sync::RunUserSync;
use rollcall_proto::resource_name::{self, TenantScope, UserName};
use rollcall_proto::v1;
use rollcall_runtime::caller::Caller;
use rollcall_store::NewRun;
use rollcall_store::REPEATABLE_FOR;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tracing::Instrument;

use super::{DueStream, UserSyncs, in_progress};
use crate::admission::{DueCounts, DueResult};
use crate::run::RefreshOutcome;
use rollcall_service::call::{Call, failed};
use rollcall_service::resource::name_resource;

impl UserSyncs {
    pub(super) async fn run(&self, call: Result<Call<RunUserSync>, Error>) -> Result<v1::SyncRun, Error> {
        let call = call?;
        let author = call.author(self.0.now())?;
        let Call { caller, request, .. } = call;
        let RunUserSync {
            key,
            mode,
            request_id,
        } = request;
        let name = key.to_string();
        let id = match &request_id {
            Some(request_id) => repeatable_id(&key, &caller, request_id),
            None => RunId(self.0.random_id()?),
        };
        if request_id.is_some()
            && let Some(run) = self.0.store.find_run(&key.tenant, id).await?
        {
            let is_repeat = run.user_sync == key && run.mode == mode;
            let is_recent = self.0.now() - run.create_time < REPEATABLE_FOR;
            return match is_repeat && is_recent {
                true => Ok((&run).into()),
                false => Err(request_id_reused(request_id)),
            };
        }
        let asked = vec![AuditedFieldChange::asked(
            "mode",
            v1::SyncRunMode::from(mode).as_str_name(),
        )];
        let record = author.event(&key.tenant, &resource_name::run(&key, id), asked);
        let new = NewRun {
            id,
            mode,
            trigger: RunTrigger::Call,
            asked_by: author.asked_by(),
        };
        let started = self.0.engine.start(&key, new, &record).await;
        let run = match started {
            Ok(run) => run,
            Err(error) => {
                return Err(if error.reason == Reason::AlreadyExists {
                    request_id_reused(request_id)
                } else if error.reason == Reason::SyncInProgress {
                    in_progress(&key, self.find(&key).await?.last_run)
                } else {
                    name_resource(error, &name)
                });
            }
        };
        Ok((&run).into())
    }

    pub(super) fn run_due(&self, call: Result<Call<TenantScope>, Error>) -> Result<DueStream, Error> {
        let Call {
            caller,
            actor,
            request: scope,
            ..
        } = call?;
        if let TenantScope::One(tenant) = &scope {
            caller.may_touch(tenant)?;
        }
        let asked_by = AskedBy {
            caller: caller.name().to_owned(),
            actor,
        };
        let (results, ended) = mpsc::channel(16);
        let worker = self.0.clone();
        let running = async move {
            let tenant = match &scope {
                TenantScope::One(tenant) => Some(tenant),
                TenantScope::All => None,
            };
            let wanted = |tenant: &TenantId| caller.may_touch(tenant).is_ok();
            worker.run_due(tenant, wanted, &asked_by, results).await
        };
        let running = tokio::spawn(running.instrument(tracing::Span::current()));
        let counts = Arc::new(Mutex::new(DueCounts::default()));
        let counted = counts.clone();
        let each = ReceiverStream::new(ended).map(move |result| {
            counted.lock().add(&result);
            Ok(due_response(result))
        });
        let end = futures::stream::once(async move {
            let outcome = match running.await {
                Ok(Ok(())) => counts.lock().into_result(),
                Ok(Err(error)) => Err(error),
                Err(error) => Err(Error::new(Reason::Internal, "the call broke").caused_by(error)),
            };
            outcome.err().map(|error| Err(failed(&error)))
        });
        Ok(Box::pin(each.chain(end.filter_map(std::future::ready))))
    }

    pub(super) async fn refresh(
        &self,
        call: Result<Call<UserName>, Error>,
    ) -> Result<v1::RefreshUserResponse, Error> {
        let UserName { tenant, user } = call?.request;
        let name = resource_name::user(&tenant, user);
        let refreshed = self.0.engine.refresh(&tenant, user).await;
        let refreshed = refreshed.map_err(|error| match error.reason == Reason::UserNotFound {
            true => error.with("resource", name),
            false => error,
        })?;
        let outcome = match refreshed.outcome {
            RefreshOutcome::Unchanged => v1::RefreshOutcome::Unchanged,
            RefreshOutcome::Updated => v1::RefreshOutcome::Updated,
            RefreshOutcome::Reactivated => v1::RefreshOutcome::Reactivated,
            RefreshOutcome::Removed => v1::RefreshOutcome::Removed,
            RefreshOutcome::Rejected => v1::RefreshOutcome::Rejected,
        };
        Ok(v1::RefreshUserResponse {
            user: Some((&refreshed.user).into()),
            outcome: outcome.into(),
            issues: refreshed
                .issues
                .iter()
                .map(|issue| sync_run::issue(&tenant, issue))
                .collect(),
        })
    }
}

fn due_response(result: DueResult) -> v1::RunDueUserSyncsResponse {
    let user_sync = result.user_sync.to_string();
    let (sync_run, failure): (Option<Run>, _) = match result.run {
        Ok(run) => (Some(run), None),
        Err(error) => (
            None,
            Some(v1::SyncRunFailure {
                message: error.message,
            }),
        ),
    };
    v1::RunDueUserSyncsResponse {
        user_sync,
        sync_run: sync_run.as_ref().map(Into::into),
        failure,
    }
}

/// The id of the run that a call with this request id starts: the same for every repeat, on every replica.
fn repeatable_id(key: &UserSyncKey, caller: &Caller, request_id: &str) -> RunId {
    let mut context = digest::Context::new(&digest::SHA256);
    for part in [key.tenant.as_str(), caller.name(), request_id] {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part.as_bytes());
    }
    let hash = context.finish();
    let mut bytes = [0; 16];
    bytes.copy_from_slice(&hash.as_ref()[..16]);
    // RFC 9562 section 5.8: version 8 is for custom formats.
    bytes[6] = bytes[6] & 0x0f | 0x80;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    RunId(Uuid::from_bytes(bytes))
}

fn request_id_reused(request_id: Option<String>) -> Error {
    let message = "the request id was used before, for another request";
    Error::new(Reason::RequestIdReused, message).with("request_id", request_id.unwrap_or_default())
}
