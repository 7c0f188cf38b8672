//! A sync worker that answers as a test likes.

use std::sync::{Arc, Mutex};

use futures::future::BoxFuture;
use rollcall_core::error::{Error, Reason};
use rollcall_proto::status;
use rollcall_proto::v1::user_sync_service_server::{UserSyncService, UserSyncServiceServer};
use rollcall_proto::v1::*;
use tokio::task::AbortHandle;
use tonic::{Request, Response, Status};

type Answer = Box<dyn Fn(String) -> BoxFuture<'static, Result<(), Error>> + Send + Sync>;

/// It does what a test says when a user is to be refreshed. Gone when dropped.
pub(crate) struct ScriptedWorker {
    pub(crate) endpoint: String,
    asked: Arc<Mutex<Vec<String>>>,
    serving: AbortHandle,
}

impl ScriptedWorker {
    /// `answer` is asked with the user's name.
    pub(crate) async fn start(
        answer: impl Fn(String) -> BoxFuture<'static, Result<(), Error>> + Send + Sync + 'static,
    ) -> Self {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let asked = Arc::default();
        let script = Script {
            answer: Box::new(answer),
            asked: Arc::clone(&asked),
        };
        let incoming = tokio_stream::wrappers::TcpListenerStream::new(listener);
        let serving = tokio::spawn(async move {
            tonic::transport::Server::builder()
                .add_service(UserSyncServiceServer::new(script))
                .serve_with_incoming(incoming)
                .await
                .unwrap();
        })
        .abort_handle();
        Self {
            endpoint,
            asked,
            serving,
        }
    }

    /// Whom it was asked to refresh.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }
}

impl Drop for ScriptedWorker {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct Script {
    answer: Answer,
    asked: Arc<Mutex<Vec<String>>>,
}

fn not_here<T>() -> Result<T, Status> {
    Err(status::to_status(&Error::new(
        Reason::Unimplemented,
        "the script has no such method",
    )))
}

#[tonic::async_trait]
impl UserSyncService for Script {
    type RunDueUserSyncsStream = tokio_stream::Empty<Result<RunDueUserSyncsResponse, Status>>;

    async fn refresh_user(
        &self,
        request: Request<RefreshUserRequest>,
    ) -> Result<Response<RefreshUserResponse>, Status> {
        let name = request.into_inner().name;
        self.asked.lock().unwrap().push(name.clone());
        match (self.answer)(name).await {
            Ok(()) => Ok(Response::new(RefreshUserResponse::default())),
            Err(error) => Err(status::to_status(&error)),
        }
    }

    async fn create_user_sync(
        &self,
        _: Request<CreateUserSyncRequest>,
    ) -> Result<Response<UserSync>, Status> {
        not_here()
    }
    async fn get_user_sync(&self, _: Request<GetUserSyncRequest>) -> Result<Response<UserSync>, Status> {
        not_here()
    }
    async fn list_user_syncs(
        &self,
        _: Request<ListUserSyncsRequest>,
    ) -> Result<Response<ListUserSyncsResponse>, Status> {
        not_here()
    }
    async fn update_user_sync(
        &self,
        _: Request<UpdateUserSyncRequest>,
    ) -> Result<Response<UserSync>, Status> {
        not_here()
    }
    async fn delete_user_sync(&self, _: Request<DeleteUserSyncRequest>) -> Result<Response<()>, Status> {
        not_here()
    }
    async fn clone_user_sync(&self, _: Request<CloneUserSyncRequest>) -> Result<Response<UserSync>, Status> {
        not_here()
    }
    async fn check_user_sync(
        &self,
        _: Request<CheckUserSyncRequest>,
    ) -> Result<Response<CheckUserSyncResponse>, Status> {
        not_here()
    }
    async fn explain_user(
        &self,
        _: Request<ExplainUserRequest>,
    ) -> Result<Response<ExplainUserResponse>, Status> {
        not_here()
    }
    async fn check_overlaps(
        &self,
        _: Request<CheckOverlapsRequest>,
    ) -> Result<Response<CheckOverlapsResponse>, Status> {
        not_here()
    }
    async fn run_user_sync(&self, _: Request<RunUserSyncRequest>) -> Result<Response<SyncRun>, Status> {
        not_here()
    }
    async fn run_due_user_syncs(
        &self,
        _: Request<RunDueUserSyncsRequest>,
    ) -> Result<Response<Self::RunDueUserSyncsStream>, Status> {
        not_here()
    }
}
