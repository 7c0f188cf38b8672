//! An empty base DN is refused, and the refusal proposes one search for each tree that the server names.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::error::Error;
use rollcall_core::user_sync::propose_bases;
use rollcall_proto::resource_name::{DirectoryName, parse_directory, parse_user_sync};
use rollcall_proto::v1;
use rollcall_proto::v1::check_user_sync_request::Target;
use rollcall_runtime::caller::{Caller, authorize};
use rollcall_service::methods::Method;
use tokio::time::Instant;
use tonic::Request;

use crate::worker::Worker;

/// How long a refusal waits for the server's answer.
const PATIENCE: Duration = Duration::from_secs(3);

/// A request with an empty base DN: its tenant, and the directory or user sync that it is about.
pub(super) struct EmptyBase {
    caller: Arc<Caller>,
    directory: String,
    user_sync: String,
}

impl EmptyBase {
    /// `None` if each search has a base DN.
    fn of<T: Method>(request: &Request<T>, user_sync: Option<&v1::UserSync>) -> Option<Self> {
        let user_sync = user_sync?;
        let is_empty = |search: &v1::UserSearch| search.base_dn.trim().is_empty();
        if !user_sync.searches.iter().any(is_empty) {
            return None;
        }
        Some(Self {
            caller: authorize(request.extensions(), T::ROW.permission).ok()?,
            directory: user_sync.directory.clone(),
            user_sync: user_sync.name.clone(),
        })
    }

    pub(super) fn of_create(request: &Request<v1::CreateUserSyncRequest>) -> Option<Self> {
        Self::of(request, request.get_ref().user_sync.as_ref())
    }

    pub(super) fn of_update(request: &Request<v1::UpdateUserSyncRequest>) -> Option<Self> {
        Self::of(request, request.get_ref().user_sync.as_ref())
    }

    pub(super) fn of_check(request: &Request<v1::CheckUserSyncRequest>) -> Option<Self> {
        match &request.get_ref().target {
            Some(Target::Draft(draft)) => Self::of(request, Some(draft)),
            Some(Target::UserSync(_)) | None => None,
        }
    }
}

impl Worker {
    /// The result of the call. If it is a refusal, adds the server's trees to what it says of the empty base DN, if the
    /// server names them in time.
    pub(super) async fn with_trees<T>(
        &self,
        empty: Option<EmptyBase>,
        result: Result<T, Error>,
    ) -> Result<T, Error> {
        let mut error = match result {
            Ok(done) => return Ok(done),
            Err(error) => error,
        };
        if let Some(empty) = empty
            && let Some(trees) = self.trees(&empty).await
        {
            propose_bases(&mut error.violations, &trees);
        }
        Err(error)
    }

    /// The trees that the server names; `None` for whatever reason, and then the call fails as it would have.
    async fn trees(&self, empty: &EmptyBase) -> Option<Arc<[String]>> {
        let name = match parse_directory(&empty.directory) {
            Some(name) => name,
            None => {
                let key = parse_user_sync(&empty.user_sync)?;
                empty.caller.may_touch(&key.tenant).ok()?;
                let stored = self.store.user_sync(&key.tenant, &key.user_sync).await.ok()?;
                DirectoryName {
                    tenant: key.tenant,
                    directory: stored.settings.directory,
                }
            }
        };
        empty.caller.may_touch(&name.tenant).ok()?;
        self.admit_check(&name.tenant).ok()?;
        let directory = self.stored_directory(&name.tenant, &name.directory).await.ok()?;
        if directory.settings.disabled {
            return None;
        }
        let open = self.directories.open(&directory).await.ok()?;
        open.naming_contexts(Instant::now() + PATIENCE).await.ok()
    }
}
