//! A service whose methods do what the tests need.

use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll};

use http::{Request, Response};
use rollcall_runtime::caller::Caller;
use rollcall_runtime::server::{COMPRESSION, Deadline, RequestId};
use tokio::sync::Semaphore;
use tokio_stream::{Stream, StreamExt};
use tonic::body::Body;
use tonic::server::{Grpc, NamedService};
use tonic::transport::Channel;
use tonic::{Status, Streaming};
use tonic_prost::ProstCodec;
use tower::{Service, service_fn};

/// Bytes of one message of `Flood`.
const FLOOD: usize = 16 * 1024;

pub(crate) const SERVICE: &str = "rollcall.test.Probe";

/// What the tests share with the running handlers.
#[derive(Clone)]
pub(crate) struct Handlers {
    /// Grows when a `Wait` call has arrived.
    pub(crate) arrived: Arc<Semaphore>,
    /// Lets one `Wait` call go on for each permit.
    pub(crate) released: Arc<Semaphore>,
    /// How many bytes `Flood` and `WatchFlood` calls have made. Each of them holds it.
    pub(crate) flooded: Arc<AtomicUsize>,
}

impl Default for Handlers {
    fn default() -> Self {
        Self {
            arrived: Arc::new(Semaphore::new(0)),
            released: Arc::new(Semaphore::new(0)),
            flooded: Arc::default(),
        }
    }
}

#[derive(Clone)]
pub(crate) struct ProbeService {
    handlers: Handlers,
}

impl ProbeService {
    pub(crate) fn new(handlers: Handlers) -> Self {
        Self { handlers }
    }
}

impl NamedService for ProbeService {
    const NAME: &'static str = SERVICE;
}

type Texts = Pin<Box<dyn Stream<Item = Result<String, Status>> + Send>>;

impl Service<Request<Body>> for ProbeService {
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let handlers = self.handlers.clone();
        Box::pin(async move {
            let mut grpc = Grpc::new(ProstCodec::<String, String>::default()).accept_compressed(COMPRESSION);
            let method = request
                .uri()
                .path()
                .rsplit('/')
                .next()
                .unwrap_or_default()
                .to_owned();
            if method == "PanicInStream" {
                let stream = service_fn(|_: tonic::Request<String>| async {
                    // The pause lets the first text leave before the second panics.
                    let texts = tokio_stream::iter(["one", "two"]).then(|text| async move {
                        if text == "two" {
                            tokio::task::yield_now().await;
                            panic!("a panic in the middle of a stream");
                        }
                        Ok(text.to_owned())
                    });
                    Ok::<_, Status>(tonic::Response::new(Box::pin(texts) as Texts))
                });
                return Ok(grpc.server_streaming(stream, request).await);
            }
            if ["WatchNothing", "Nothing"].contains(&method.as_str()) {
                let stream = service_fn(|_: tonic::Request<String>| async {
                    let first = tokio_stream::iter([Ok("nothing yet".to_owned())]);
                    let texts = first.chain(tokio_stream::pending());
                    Ok::<_, Status>(tonic::Response::new(Box::pin(texts) as Texts))
                });
                return Ok(grpc.server_streaming(stream, request).await);
            }
            if ["Flood", "WatchFlood"].contains(&method.as_str()) {
                let flooded = handlers.flooded.clone();
                let stream = service_fn(move |_: tonic::Request<String>| {
                    let flooded = flooded.clone();
                    let texts = tokio_stream::iter(std::iter::repeat_with(move || {
                        flooded.fetch_add(FLOOD, Ordering::Relaxed);
                        Ok("x".repeat(FLOOD))
                    }));
                    async { Ok::<_, Status>(tonic::Response::new(Box::pin(texts) as Texts)) }
                });
                return Ok(grpc.server_streaming(stream, request).await);
            }
            let unary = service_fn(move |request: tonic::Request<String>| {
                let (handlers, method) = (handlers.clone(), method.clone());
                async move { Ok::<_, Status>(tonic::Response::new(answer(&method, &handlers, request).await)) }
            });
            Ok(grpc.unary(unary, request).await)
        })
    }
}

async fn answer(method: &str, handlers: &Handlers, request: tonic::Request<String>) -> String {
    let extensions = request.extensions();
    match method {
        "WhoAmI" => extensions.get::<Arc<Caller>>().unwrap().name().to_owned(),
        "RequestId" => extensions.get::<RequestId>().unwrap().as_str().to_owned(),
        "SecondsLeft" => Deadline::of(extensions)
            .unwrap()
            .remaining()
            .as_secs()
            .to_string(),
        "SeesAuthorization" => request.metadata().contains_key("authorization").to_string(),
        "Wait" => {
            handlers.arrived.add_permits(1);
            handlers.released.acquire().await.unwrap().forget();
            "released".to_owned()
        }
        "Panic" => panic!("a handler's panic"),
        other => panic!("no method {other}"),
    }
}

/// Calls a unary method; with a bearer token if one is given.
pub(crate) async fn call(channel: &Channel, method: &str, token: Option<&str>) -> Result<String, Status> {
    let mut request = tonic::Request::new(String::new());
    if let Some(token) = token {
        request
            .metadata_mut()
            .insert("authorization", format!("Bearer {token}").parse().unwrap());
    }
    send(channel, method, request)
        .await
        .map(tonic::Response::into_inner)
}

pub(crate) async fn send(
    channel: &Channel,
    method: &str,
    request: tonic::Request<String>,
) -> Result<tonic::Response<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = format!("/{SERVICE}/{method}").parse().unwrap();
    client
        .unary(request, path, ProstCodec::<String, String>::default())
        .await
}

/// Opens a stream.
pub(crate) async fn open(channel: &Channel, method: &str) -> Streaming<String> {
    try_open(channel, method).await.unwrap()
}

/// Opens a stream, if it may be opened.
pub(crate) async fn try_open(channel: &Channel, method: &str) -> Result<Streaming<String>, Status> {
    let mut client = tonic::client::Grpc::new(channel.clone());
    client.ready().await.unwrap();
    let path = format!("/{SERVICE}/{method}").parse().unwrap();
    let request = tonic::Request::new(String::new());
    let codec = ProstCodec::<String, String>::default();
    let opened = client.server_streaming(request, path, codec).await;
    opened.map(tonic::Response::into_inner)
}

/// Reads a streaming method to its end.
#[expect(
    clippy::disallowed_methods,
    reason = "the end of a stream that ended well, and no answer"
)]
pub(crate) async fn read(channel: &Channel, method: &str) -> (Vec<String>, Status) {
    let mut stream = open(channel, method).await;
    let mut texts = Vec::new();
    loop {
        match stream.message().await {
            Ok(Some(text)) => texts.push(text),
            Ok(None) => return (texts, Status::ok("")),
            Err(status) => return (texts, status),
        }
    }
}
