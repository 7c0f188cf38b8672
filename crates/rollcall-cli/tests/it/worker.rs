//! A worker that answers as a test tells it, and the binary run against it.

use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::process::{Output, Stdio};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll};

use http::{Request, Response};
use rollcall_core::error::{Error, Reason};
use rollcall_proto::status::to_status;
use rollcall_proto::v1::{
    AuditEvent, CheckConnectionRequest, CheckConnectionResponse, EraseUserRequest, EraseUserResponse,
    RunDueUserSyncsRequest, RunDueUserSyncsResponse, RunUserSyncRequest, SyncRun, WatchAuditEventsRequest,
    WatchAuditEventsResponse, WatchSyncRunRequest, WatchSyncRunResponse,
};
use tokio_stream::StreamExt;
use tokio_stream::wrappers::TcpListenerStream;
use tonic::Status;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// What a watch brings: the run, and how the stream breaks off.
pub(crate) type Watch = Vec<Result<SyncRun, Reason>>;

/// What the worker says, and what it was asked.
#[derive(Clone, Default)]
pub(crate) struct Script {
    pub(crate) due: Vec<RunDueUserSyncsResponse>,
    /// Ends the stream of due syncs with this.
    pub(crate) ends_with: Option<Reason>,
    pub(crate) check: CheckConnectionResponse,
    /// What a run is when it is asked for, and what each watch of it brings, the next one first.
    pub(crate) run: SyncRun,
    pub(crate) watches: Arc<Mutex<VecDeque<Watch>>>,
    pub(crate) seen: Arc<Mutex<Vec<String>>>,
    /// How many audit events there are; each has the cursor of its number.
    pub(crate) audited: usize,
    /// Cursors before this one are expired.
    pub(crate) kept_from: usize,
}

impl Service<Request<Body>> for Script {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let script = self.clone();
        Box::pin(async move {
            if let Some(header) = request.headers().get("authorization") {
                script.note(header.to_str().unwrap());
            }
            Ok(match request.uri().path() {
                "/rollcall.v1.UserSyncService/RunDueUserSyncs" => script.run_due(request).await,
                "/rollcall.v1.DirectoryService/CheckConnection" => script.check_connection(request).await,
                "/rollcall.v1.UserSyncService/RunUserSync" => script.run_user_sync(request).await,
                "/rollcall.v1.SyncRunService/WatchSyncRun" => script.watch(request).await,
                "/rollcall.v1.AuditService/WatchAuditEvents" => script.watch_audit(request).await,
                "/rollcall.v1.UserService/EraseUser" => script.erase_user(request).await,
                other => panic!("no method {other}"),
            })
        })
    }
}

impl Script {
    fn note(&self, text: &str) {
        self.seen.lock().unwrap().push(text.to_owned());
    }

    async fn run_due(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<RunDueUserSyncsResponse, RunDueUserSyncsRequest>::default());
        let method = service_fn(move |request: tonic::Request<RunDueUserSyncsRequest>| {
            let script = self.clone();
            async move {
                script.note(&request.get_ref().parent);
                let end = script
                    .ends_with
                    .map(|reason| Err(to_status(&Error::new(reason, "some syncs need attention"))));
                let answers: Vec<Result<_, Status>> = script.due.into_iter().map(Ok).chain(end).collect();
                Ok::<_, Status>(tonic::Response::new(tokio_stream::iter(answers)))
            }
        });
        grpc.server_streaming(method, request).await
    }

    async fn check_connection(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<CheckConnectionResponse, CheckConnectionRequest>::default());
        let method = service_fn(move |request: tonic::Request<CheckConnectionRequest>| {
            let script = self.clone();
            async move {
                script.note(&request.get_ref().parent);
                Ok::<_, Status>(tonic::Response::new(script.check))
            }
        });
        grpc.unary(method, request).await
    }

    async fn run_user_sync(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<SyncRun, RunUserSyncRequest>::default());
        let method = service_fn(move |_: tonic::Request<RunUserSyncRequest>| {
            let run = self.run.clone();
            async move { Ok::<_, Status>(tonic::Response::new(run)) }
        });
        grpc.unary(method, request).await
    }

    async fn watch(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<WatchSyncRunResponse, WatchSyncRunRequest>::default());
        let method = service_fn(move |request: tonic::Request<WatchSyncRunRequest>| {
            let script = self.clone();
            async move {
                script.note(&request.get_ref().name);
                let next = script.watches.lock().unwrap().pop_front();
                let told = next.ok_or_else(|| to_status(&Error::new(Reason::StoreUnavailable, "away")))?;
                let answers = told.into_iter().map(|told| match told {
                    Ok(run) => Ok(WatchSyncRunResponse {
                        sync_run: Some(run),
                        progress: None,
                    }),
                    Err(reason) => Err(to_status(&Error::new(reason, "it breaks off"))),
                });
                Ok::<_, Status>(tonic::Response::new(tokio_stream::iter(
                    answers.collect::<Vec<_>>(),
                )))
            }
        });
        grpc.server_streaming(method, request).await
    }

    async fn erase_user(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<EraseUserResponse, EraseUserRequest>::default());
        let method = service_fn(move |request: tonic::Request<EraseUserRequest>| {
            let script = self.clone();
            async move {
                let told = |key| request.metadata().get(key).unwrap().to_str().unwrap();
                let (actor, reason) = (told("rollcall-actor"), told("rollcall-reason"));
                let EraseUserRequest { name, exclude, .. } = request.get_ref();
                script.note(&format!("{name} exclude: {exclude}, by {actor}: {reason}"));
                Ok::<_, Status>(tonic::Response::new(EraseUserResponse::default()))
            }
        });
        grpc.unary(method, request).await
    }

    /// As the worker does: the first message tells where the stream starts. It breaks off now and then.
    async fn watch_audit(self, request: Request<Body>) -> Response<Body> {
        let mut grpc = Grpc::new(ProstCodec::<WatchAuditEventsResponse, WatchAuditEventsRequest>::default());
        let method = service_fn(move |request: tonic::Request<WatchAuditEventsRequest>| {
            let script = self.clone();
            async move {
                let after = request.get_ref().after.parse().unwrap_or(script.kept_from);
                if after < script.kept_from {
                    return Err(to_status(&Error::new(Reason::CursorExpired, "not kept any more")));
                }
                let first = WatchAuditEventsResponse {
                    event: None,
                    cursor: after.to_string(),
                };
                let event = |number: usize| WatchAuditEventsResponse {
                    event: Some(AuditEvent {
                        name: format!("tenants/acme/auditEvents/{number}"),
                        ..AuditEvent::default()
                    }),
                    cursor: number.to_string(),
                };
                let broken = to_status(&Error::new(Reason::ShuttingDown, "it stops"));
                let end = (after + 700).min(script.audited);
                let events = (after + 1..=end).map(move |number| Ok(event(number)));
                let all = std::iter::once(Ok(first)).chain(events).chain([Err(broken)]);
                let paced = tokio_stream::iter(all).throttle(std::time::Duration::from_micros(500));
                Ok::<_, Status>(tonic::Response::new(paced))
            }
        });
        grpc.server_streaming(method, request).await
    }

    /// Starts the worker; the endpoint to reach it at.
    pub(crate) async fn start(&self) -> String {
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let endpoint = format!("http://{}", listener.local_addr().unwrap());
        let (service, incoming) = (self.clone(), TcpListenerStream::new(listener));
        tokio::spawn(async move {
            tonic::transport::Server::builder()
                .serve_with_incoming(service, incoming)
                .await
                .unwrap();
        });
        endpoint
    }
}

/// What the binary did.
pub(crate) struct Ended {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// Runs the binary with these arguments and variables, and no others of its own.
pub(crate) async fn rollcallctl(arguments: &[&str], variables: &[(&str, &str)]) -> Ended {
    let mut command = tokio::process::Command::new(env!("CARGO_BIN_EXE_rollcallctl"));
    for name in [
        "ROLLCALL_ENDPOINT",
        "ROLLCALL_TOKEN",
        "ROLLCALL_TOKEN_FILE",
        "ROLLCALL_CA_FILE",
    ] {
        command.env_remove(name);
    }
    command
        .args(arguments)
        .envs(variables.iter().copied())
        .stdin(Stdio::null());
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.unwrap();
    Ended {
        code: status.code().unwrap(),
        out: String::from_utf8(stdout).unwrap(),
        err: String::from_utf8(stderr).unwrap(),
    }
}
