//! Ends streams that would outlive their connection. A connection is asked to end at nine tenths of its age (GOAWAY),
//! and the streams on it end one by one within the last tenth. Their clients call again, and reach a new replica.
//! Otherwise a stream would stay where it began until its caller's deadline. A server that closes ends all streams, or
//! it would wait for everybody who watches its health.
//!
//! This holds for methods that begin with `Watch`. Other streams, such as RunDueUserSyncs, end by themselves.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use futures::future::Either;
use futures::{FutureExt, TryFutureExt};
use http::{Request, Response};
use http_body::Frame;
use rollcall_core::error::{Error, Reason};
use tokio::time::{Instant, Sleep};
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::catch_panic::trailers;
use crate::extensions::Peer;

/// The part of its age after which a connection is asked to end.
const ASKED: f64 = 0.9;

/// When connections and the streams on them end. Clones share nothing.
#[derive(Clone, Copy)]
pub(crate) struct ConnectionAge {
    /// The greatest age; zero for no end.
    pub(crate) greatest: Duration,
    /// A number from 0 to less than 1, another one at each call.
    pub(crate) chance: fn() -> f64,
}

#[derive(Clone)]
pub(crate) struct StreamAgeLayer {
    pub(crate) age: ConnectionAge,
    /// Cancelled when the server closes its connections.
    pub(crate) close: CancellationToken,
}

#[derive(Clone)]
pub(crate) struct StreamAge<S> {
    age: ConnectionAge,
    close: CancellationToken,
    inner: S,
}

impl ConnectionAge {
    /// At what age a connection is asked to end; `None` for never.
    pub(crate) fn asked(self) -> Option<Duration> {
        (!self.greatest.is_zero()).then(|| self.greatest.mul_f64(ASKED))
    }

    /// When a stream ends that begins at `now` on a connection that was accepted at `accepted`; `None` for never.
    fn end_of_stream(self, accepted: Instant, now: Instant) -> Option<Instant> {
        if self.greatest.is_zero() {
            return None;
        }
        let end = accepted + self.greatest;
        // A stream that begins after the connection was asked to end gets the time that is left.
        let first = now.max(accepted + self.greatest.mul_f64(ASKED)).min(end);
        Some(first + (end - first).mul_f64((self.chance)().clamp(0.0, 1.0)))
    }
}

impl<S> Layer<S> for StreamAgeLayer {
    type Service = StreamAge<S>;

    fn layer(&self, inner: S) -> StreamAge<S> {
        StreamAge {
            age: self.age,
            close: self.close.clone(),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for StreamAge<S>
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
        if !is_endless(request.uri().path()) {
            return Either::Left(self.inner.call(request));
        }
        let peer = request.extensions().get::<Peer>();
        let end = peer.and_then(|peer| self.age.end_of_stream(peer.accepted(), Instant::now()));
        let close = self.close.clone();
        let bounded = move |response: Response<Body>| response.map(|body| until(end, close, body));
        Either::Right(self.inner.call(request).map_ok(bounded).boxed())
    }
}

fn is_endless(path: &str) -> bool {
    method(path).starts_with("Watch")
}

/// The method that a path names, without its service.
pub(super) fn method(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or_default()
}

fn until(end: Option<Instant>, close: CancellationToken, body: Body) -> Body {
    Body::new(Bounded {
        body: Some(body),
        end: end.map(|end| Box::pin(tokio::time::sleep_until(end))),
        close: Box::pin(close.cancelled_owned()),
    })
}

/// A body that ends with UNAVAILABLE at a point in time, and when the server closes.
struct Bounded {
    body: Option<Body>,
    end: Option<Pin<Box<Sleep>>>,
    close: Pin<Box<WaitForCancellationFutureOwned>>,
}

impl Bounded {
    /// Why the stream ends now, if it does.
    fn over(&mut self, cx: &mut Context<'_>) -> Option<Error> {
        if self.close.poll_unpin(cx).is_ready() {
            let message = "this replica is shutting down: call again, and go on where this ended";
            return Some(Error::new(Reason::ShuttingDown, message));
        }
        let is_too_old = self.end.as_mut().is_some_and(|end| end.poll_unpin(cx).is_ready());
        let message = "the connection is as old as it may become: call again, and go on where this ended";
        is_too_old.then(|| Error::new(Reason::ConnectionTooOld, message))
    }
}

impl http_body::Body for Bounded {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        // Checked before the stream itself: a stream that always has a next message must end too. Each frame holds
        // whole messages.
        let over = self.over(cx);
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        let Some(error) = over else {
            return Pin::new(body).poll_frame(cx);
        };
        // Dropping the body ends the handler's stream and frees what it holds.
        self.body = None;
        Poll::Ready(Some(Ok(Frame::trailers(trailers(error)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn end_after(chance: fn() -> f64, begun: u64) -> Option<Duration> {
        let age = ConnectionAge {
            greatest: Duration::from_secs(100),
            chance,
        };
        let accepted = Instant::now();
        let end = age.end_of_stream(accepted, accepted + Duration::from_secs(begun));
        end.map(|end| end - accepted)
    }

    #[test]
    fn streams_end_within_the_last_tenth_of_the_age() {
        let seconds = |seconds| Some(Duration::from_secs(seconds));
        assert_eq!(end_after(|| 0.0, 5), seconds(90));
        assert_eq!(end_after(|| 0.5, 5), seconds(95));
        assert_eq!(end_after(|| 1.0, 5), seconds(100));
        assert_eq!(end_after(|| 0.5, 98), seconds(99));
        assert_eq!(end_after(|| 0.5, 200), seconds(100));
    }

    #[test]
    fn without_an_age_nothing_ends() {
        let age = ConnectionAge {
            greatest: Duration::ZERO,
            chance: || 0.5,
        };
        assert_eq!(age.end_of_stream(Instant::now(), Instant::now()), None);
        assert_eq!(age.asked(), None);
    }

    #[test]
    fn only_what_watches_is_endless() {
        assert!(is_endless("/rollcall.v1.UserService/WatchUserEvents"));
        assert!(is_endless("/grpc.health.v1.Health/Watch"));
        assert!(!is_endless("/rollcall.v1.UserSyncService/RunDueUserSyncs"));
        assert!(!is_endless("/rollcall.v1.WatchService/Get"));
        assert!(!is_endless(""));
    }
}
