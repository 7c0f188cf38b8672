//! Outermost: gives each call an id and a span, and logs how it ended, once.

use std::convert::Infallible;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Instant;

use http::{HeaderName, HeaderValue, Request, Response};
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};
use tracing::{Instrument, Span, field};

use super::Answer;
use crate::extensions::{Peer, RequestId};

const HEADER: HeaderName = HeaderName::from_static("x-request-id");
const MAX_ID_BYTES: usize = 64;
const MAX_LOGGED_PATH_BYTES: usize = 128;

#[derive(Clone)]
pub(crate) struct TraceLayer {
    ids: &'static Ids,
}

#[derive(Clone)]
pub(crate) struct Trace<S> {
    ids: &'static Ids,
    inner: S,
}

/// Makes ids that differ between processes and calls.
struct Ids {
    process: u32,
    next: AtomicU64,
}

impl TraceLayer {
    /// `process` tells this process from others; any random number will do.
    pub(crate) fn new(process: u32) -> Self {
        // One small allocation for each server, which lives as long as the process.
        Self {
            ids: Box::leak(Box::new(Ids {
                process,
                next: AtomicU64::new(1),
            })),
        }
    }
}

impl<S> Layer<S> for TraceLayer {
    type Service = Trace<S>;

    fn layer(&self, inner: S) -> Trace<S> {
        Trace { ids: self.ids, inner }
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
        let id = given_id(&request).unwrap_or_else(|| self.ids.next());
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
        );
        request.extensions_mut().insert(RequestId::new(id.clone()));
        let answer = span.in_scope(|| self.inner.call(request));
        let log_span = span.clone();
        Box::pin(
            async move {
                let mut response = answer.await?;
                log(&log_span, &response, began);
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

/// The caller's own id, unless it is unfit for a log.
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

/// The level says whose turn it is: ours for a bug, an operator's for an outage, nobody's for the rest. Causes
/// were logged by [`crate::failed`].
fn log(span: &Span, response: &Response<Body>, began: Instant) {
    let duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
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
