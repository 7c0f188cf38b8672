//! Bounds what all requests under way hold in memory. A request that is not small waits until there is room for the
//! whole of it, among those of its caller and among all, before it is read on.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use parking_lot::Mutex;
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Answer;
use crate::caller::{Caller, Room};
use crate::request_size::{SMALL_BYTES, limit};

/// Bytes of all requests under way but small ones. One caller has half of it.
pub(crate) const ALL: usize = 64 * 1024 * 1024;

#[derive(Clone)]
pub(crate) struct RequestMemoryLayer {
    all: Room,
}

impl RequestMemoryLayer {
    pub(crate) fn new() -> Self {
        Self { all: Room::new(ALL) }
    }
}

#[derive(Clone)]
pub(crate) struct RequestMemory<S> {
    all: Room,
    inner: S,
}

impl<S> Layer<S> for RequestMemoryLayer {
    type Service = RequestMemory<S>;

    fn layer(&self, inner: S) -> RequestMemory<S> {
        RequestMemory {
            all: self.all.clone(),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for RequestMemory<S>
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

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        // The caller's own room first: a request that waits for it must hold nothing that other callers need.
        let caller = request.extensions().get::<Arc<Caller>>();
        let own = caller.map(|caller| caller.room().clone());
        let rooms = own.into_iter().chain([self.all.clone()]).collect();
        let limit = limit(request.uri().path());
        let held = Arc::new(Mutex::new(Vec::new()));
        let request = request.map(|body| {
            Body::new(Waiting {
                body,
                prefix: Vec::with_capacity(PREFIX),
                limit,
                rooms,
                held: held.clone(),
                taking: None,
                withheld: None,
            })
        });
        let answer = self.inner.call(request);
        Box::pin(async move {
            let answer = answer.await;
            drop(held);
            answer
        })
    }
}

/// Length of what precedes a message: whether it is compressed, and its length (gRPC over HTTP/2, "Length-Prefixed-Message").
const PREFIX: usize = 5;

/// The bytes that a message of this prefix takes; `None` if it need not wait, or is refused for its length.
fn bytes(prefix: &[u8], limit: usize) -> Option<usize> {
    let [compressed, length @ ..] = prefix else {
        return None;
    };
    let length = u32::from_be_bytes(length.try_into().ok()?);
    let length = usize::try_from(length).ok()?;
    // What a compressed message becomes is not known, but for its limit.
    let bytes = match compressed {
        0 => length,
        _ => limit,
    };
    (bytes > SMALL_BYTES && length <= limit).then_some(bytes)
}

type Taking = Pin<Box<dyn Future<Output = Vec<OwnedSemaphorePermit>> + Send>>;

/// A body that is read on once there is room for its message. No method takes more than one.
struct Waiting {
    body: Body,
    prefix: Vec<u8>,
    limit: usize,
    rooms: Vec<Room>,
    held: Arc<Mutex<Vec<OwnedSemaphorePermit>>>,
    taking: Option<Taking>,
    /// The frame that completed the prefix.
    withheld: Option<Frame<Bytes>>,
}

async fn take(rooms: Vec<Room>, bytes: usize) -> Vec<OwnedSemaphorePermit> {
    let mut taken = Vec::new();
    for room in rooms {
        taken.extend(room.take(bytes).await);
    }
    taken
}

impl http_body::Body for Waiting {
    type Data = Bytes;
    type Error = tonic::Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, tonic::Status>>> {
        let this = &mut *self;
        if let Some(taking) = &mut this.taking {
            let taken = ready!(taking.as_mut().poll(cx));
            this.held.lock().extend(taken);
            this.taking = None;
        }
        if let Some(frame) = this.withheld.take() {
            return Poll::Ready(Some(Ok(frame)));
        }
        let frame = ready!(Pin::new(&mut this.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && this.prefix.len() < PREFIX
            && let Some(data) = frame.data_ref()
        {
            let missing = (PREFIX - this.prefix.len()).min(data.len());
            this.prefix.extend_from_slice(&data[..missing]);
            if this.prefix.len() == PREFIX
                && let Some(bytes) = bytes(&this.prefix, this.limit)
            {
                this.taking = Some(Box::pin(take(std::mem::take(&mut this.rooms), bytes)));
                this.withheld = Some(Frame::data(data.clone()));
                return self.poll_frame(cx);
            }
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.withheld.is_none() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_takes_its_length_and_a_compressed_one_what_it_may_become() {
        const LIMIT: usize = 4 * 1024 * 1024;
        assert_eq!(bytes(&[0, 0, 0, 0x40, 0], LIMIT), None);
        assert_eq!(bytes(&[0, 0, 0, 0x40, 1], LIMIT), Some(SMALL_BYTES + 1));
        assert_eq!(bytes(&[0, 0, 0x40, 0, 0], LIMIT), Some(LIMIT));
        assert_eq!(bytes(&[1, 0, 0, 0, 9], LIMIT), Some(LIMIT));
        assert_eq!(bytes(&[1, 0, 0, 0, 9], SMALL_BYTES), None);
        // Refused for its length.
        assert_eq!(bytes(&[0, 0, 0x40, 0, 1], LIMIT), None);
        assert_eq!(bytes(&[0, 0xff, 0xff, 0xff, 0xff], LIMIT), None);
    }
}
