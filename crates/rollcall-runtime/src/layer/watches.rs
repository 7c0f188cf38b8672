//! Endless streams: each caller may have only so many at a time, and a reader that does not read loses its stream.
//! Messages that such a reader was given stay in memory until it takes them, and the transport asks for no more; so a
//! timer checks whether the last message still waits. First the stream ends with an error for a reader that reads on
//! after all, and its memory is freed. After the same time once more, its connection is closed.
//!
//! Strangers may also ask for health: their streams are counted by address.

use std::collections::HashMap;
use std::convert::Infallible;
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use futures::{FutureExt, TryFutureExt};
use http::{Request, Response};
use http_body::Frame;
use parking_lot::Mutex;
use rollcall_core::error::{Error, Reason};
use tokio::time::Instant;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::catch_panic::trailers;
use super::refusal;
use super::stream_age::method;
use crate::caller::Caller;
use crate::extensions::Peer;

/// When to ask again after the limit was reached.
const AGAIN: Duration = Duration::from_secs(10);

/// How many streams, and how long they wait for their readers.
#[derive(Clone, Copy)]
pub(crate) struct WatchLimits {
    pub(crate) per_caller: u32,
    pub(crate) reader_timeout: Duration,
}

#[derive(Clone)]
pub(crate) struct WatchesLayer {
    pub(crate) limits: WatchLimits,
    under_way: UnderWay,
}

#[derive(Clone)]
pub(crate) struct Watches<S> {
    layer: WatchesLayer,
    inner: S,
}

/// How many streams each caller has.
#[derive(Clone, Default)]
struct UnderWay(Arc<Mutex<HashMap<Who, u32>>>);

#[derive(Clone, PartialEq, Eq, Hash, Debug)]
enum Who {
    Caller(String),
    Stranger(Option<IpAddr>),
}

/// The right to one stream; free again when it is dropped.
struct StreamPermit {
    under_way: UnderWay,
    who: Who,
}

impl WatchesLayer {
    pub(crate) fn new(limits: WatchLimits) -> Self {
        Self {
            limits,
            under_way: UnderWay::default(),
        }
    }
}

impl<S> Layer<S> for WatchesLayer {
    type Service = Watches<S>;

    fn layer(&self, inner: S) -> Watches<S> {
        Watches {
            layer: self.clone(),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for Watches<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
    S::Future: Send + 'static,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<S::Future, super::Answer>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let method = method(request.uri().path());
        if !(method.starts_with("Watch") || method == "ServerReflectionInfo") {
            return Either::Left(self.inner.call(request));
        }
        let WatchLimits {
            per_caller,
            reader_timeout,
        } = self.layer.limits;
        let peer = request.extensions().get::<Peer>().cloned();
        let who = match request.extensions().get::<Arc<Caller>>() {
            Some(caller) => Who::Caller(caller.name().to_owned()),
            None => Who::Stranger(peer.as_ref().map(|peer| peer.address().ip())),
        };
        let Some(permit) = self.layer.under_way.take(who, per_caller) else {
            let message = "the caller has as many streams as it may have: end one, or call later";
            let error = Error::new(Reason::TooManyStreams, message)
                .with("limit", per_caller.to_string())
                .retry_after(AGAIN);
            return Either::Right(std::future::ready(Ok(refusal(error))).boxed());
        };
        let attended =
            move |response: Response<Body>| response.map(|body| attend(body, permit, reader_timeout, peer));
        Either::Right(self.inner.call(request).map_ok(attended).boxed())
    }
}

impl UnderWay {
    fn take(&self, who: Who, limit: u32) -> Option<StreamPermit> {
        let mut counts = self.0.lock();
        let count = counts.entry(who.clone()).or_default();
        if *count >= limit {
            return None;
        }
        *count += 1;
        drop(counts);
        Some(StreamPermit {
            under_way: self.clone(),
            who,
        })
    }
}

impl Drop for StreamPermit {
    fn drop(&mut self) {
        let mut counts = self.under_way.0.lock();
        if let Some(count) = counts.get_mut(&self.who) {
            *count -= 1;
            if *count == 0 {
                counts.remove(&self.who);
            }
        }
    }
}

/// Ends a body whose reader takes nothing for this long.
fn attend(body: Body, permit: StreamPermit, patience: Duration, peer: Option<Peer>) -> Body {
    let stream = Arc::new(Mutex::new(Stream {
        body: Some(body),
        waits_since: None,
        is_given_up: false,
    }));
    tokio::spawn(look_after(Arc::downgrade(&stream), patience, peer));
    Body::new(Attended {
        stream,
        _permit: permit,
    })
}

struct Attended {
    stream: Arc<Mutex<Stream>>,
    _permit: StreamPermit,
}

struct Stream {
    body: Option<Body>,
    /// Since when the last message waits for the reader; `None` while the reader waits for a message.
    waits_since: Option<Instant>,
    is_given_up: bool,
}

async fn look_after(stream: Weak<Mutex<Stream>>, patience: Duration, peer: Option<Peer>) {
    loop {
        tokio::time::sleep(patience / 4).await;
        let Some(stream) = stream.upgrade() else { return };
        let mut stream = stream.lock();
        let Some(since) = stream.waits_since else { continue };
        if since.elapsed() >= patience * 2 {
            if let Some(peer) = peer {
                peer.introduction().dismiss();
            }
            return;
        }
        if since.elapsed() >= patience && !stream.is_given_up {
            tracing::info!("a stream is ended, since its reader takes nothing");
            stream.is_given_up = true;
            // Dropping the body ends the handler's stream and frees what it holds.
            stream.body = None;
        }
    }
}

impl http_body::Body for Attended {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    #[expect(clippy::wildcard_enum_match_arm, reason = "of the standard library")]
    fn poll_frame(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let mut stream = self.stream.lock();
        let Some(body) = &mut stream.body else {
            stream.waits_since = None;
            let end = std::mem::take(&mut stream.is_given_up).then(|| {
                let message = "messages were not read for too long: call again, and go on where this ended";
                let error = Error::new(Reason::ReaderTooSlow, message).retry_after(Duration::from_secs(1));
                Ok(Frame::trailers(trailers(error)))
            });
            return Poll::Ready(end);
        };
        let polled = Pin::new(body).poll_frame(cx);
        stream.waits_since = match &polled {
            Poll::Ready(Some(Ok(frame))) if frame.is_data() => Some(Instant::now()),
            _ => None,
        };
        polled
    }

    fn is_end_stream(&self) -> bool {
        let stream = self.stream.lock();
        match &stream.body {
            Some(body) => body.is_end_stream(),
            None => !stream.is_given_up,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_has_so_many_permits_and_gets_them_back() {
        let under_way = UnderWay::default();
        let (one, other) = (Who::Caller("a".to_owned()), Who::Stranger(None));
        let first = under_way.take(one.clone(), 2);
        let second = under_way.take(one.clone(), 2);
        assert!(first.is_some() && second.is_some());
        assert!(under_way.take(one.clone(), 2).is_none());
        assert!(
            under_way.take(other, 2).is_some(),
            "another's permits are its own"
        );
        drop(first);
        let third = under_way.take(one, 2);
        assert!(third.is_some());
        drop((second, third));
        assert!(
            under_way.0.lock().is_empty(),
            "nothing is kept of those that went"
        );
    }
}
