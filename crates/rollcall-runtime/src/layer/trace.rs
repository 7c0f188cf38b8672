//! Outermost: gives each call an id and a span, and logs and counts how it ended, once.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use http::{HeaderName, HeaderValue, Request, Response};
use rollcall_metrics::Methods;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::Answer;
use crate::extensions::{Peer, RequestId};
use crate::telemetry;

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_ID_BYTES: usize = 64;
const MAX_LOGGED_PATH_BYTES: usize = 128;

#[derive(Clone)]
pub(crate) struct TraceLayer(&'static Shared);

#[derive(Clone)]
pub(crate) struct Trace<S> {
    shared: &'static Shared,
    inner: S,
}

/// What all calls of a server share.
struct Shared {
    ids: Ids,
    methods: Methods,
}

/// Makes ids that differ between processes and calls.
struct Ids {
    process: u32,
    next: AtomicU64,
}

impl TraceLayer {
    /// `process` tells this process from others; any random number will do. Calls of `methods` are counted each by itself.
    pub(crate) fn new(process: u32, methods: Methods) -> Self {
        // One allocation for each server, which lives as long as the process.
        Self(Box::leak(Box::new(Shared {
            ids: Ids {
                process,
                next: AtomicU64::new(1),
            },
            methods,
        })))
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace {
            shared: self.0,
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for Trace<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Answer;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Answer {
        let began = Instant::now();
        let id = given_id(&request).unwrap_or_else(|| self.shared.ids.next());
        let span = tracing::info_span!(
            "call",
            request.id = id,
            rpc.method = logged_path(request.uri().path()),
            peer.address = request
                .extensions()
                .get::<Peer>()
                .map(|peer| field::display(peer.address())),
            caller.name = field::Empty,
            caller.credential = field::Empty,
            tenant = field::Empty,
            trace.id = field::Empty,
        );
        if let Some(trace) = telemetry::adopt(request.headers(), &span) {
            span.record("trace.id", trace);
        }
        let methods = &self.shared.methods;
        let path = request.uri().clone();
        request.extensions_mut().insert(RequestId::new(id.clone()));
        let answer = span.in_scope(|| self.inner.call(request));
        let log_span = span.clone();
        Box::pin(
            async move {
                let mut response = answer.await?;
                let took = began.elapsed();
                methods.answered(path.path(), code(&response) as i32, took);
                log(&log_span, &response, took);
                if let Ok(value) = HeaderValue::from_str(&id) {
                    response.headers_mut().insert(HEADER, value);
                }
                Ok(response)
            }
            .instrument(span),
        )
    }
}

impl Ids {
    fn next(&self) -> String {
        let number = self.next.fetch_add(1, Ordering::Relaxed);
        format!("{:08x}-{number:x}", self.process)
    }
}

/// The caller's own id, unless it must not be logged.
fn given_id(request: &Request<Body>) -> Option<String> {
    let text = request.headers().get(HEADER)?.to_str().ok()?;
    let fit =
        !text.is_empty() && text.len() <= MAX_ID_BYTES && text.bytes().all(|byte| byte.is_ascii_graphic());
    fit.then(|| text.to_owned())
}

fn logged_path(path: &str) -> &str {
    if path.len() <= MAX_LOGGED_PATH_BYTES {
        path
    } else {
        "(overlong path)"
    }
}

fn code(response: &Response<Body>) -> Code {
    response
        .extensions()
        .get::<Status>()
        .map_or(Code::Ok, Status::code)
}

/// The log level depends on who has to act: error for a bug, warning for an outage, less for the rest. Causes were
/// logged by [`crate::failed`].
#[expect(clippy::wildcard_enum_match_arm, reason = "of tonic: the others are refusals")]
fn log(span: &Span, response: &Response<Body>, took: Duration) {
    let duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX);
    let Some(status) = response.extensions().get::<Status>() else {
        tracing::debug!(parent: span, grpc.code = "Ok", duration_ms, "call answered");
        return;
    };
    let (code, message) = (field::debug(status.code()), status.message());
    match status.code() {
        Code::Internal | Code::Unknown | Code::DataLoss => {
            tracing::error!(parent: span, grpc.code = code, duration_ms, "call failed: {message}");
        }
        Code::Unavailable | Code::DeadlineExceeded => {
            tracing::warn!(parent: span, grpc.code = code, duration_ms, "call failed: {message}");
        }
        _ => tracing::info!(parent: span, grpc.code = code, duration_ms, "call refused: {message}"),
    }
}
