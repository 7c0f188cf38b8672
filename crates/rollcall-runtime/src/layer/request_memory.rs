//! Limits how much memory all requests under way take. A request that is not small waits until there is room for all of
//! it, both in its caller's share and in the total, before the rest is read. Bytes after a call's message are read to
//! their end and dropped, so they must be few.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use http::{Request, Response};
use http_body::{Frame, SizeHint};
use hyper::body::Bytes;
use parking_lot::Mutex;
use rollcall_core::error::{Error, Reason};
use tokio::sync::OwnedSemaphorePermit;
use tonic::body::Body;
use tower::{Layer, Service};

use super::Answer;
use super::explain::named;
use crate::caller::{Caller, Room};
use crate::failure::failed;
use crate::request_size::{SMALL_BYTES, limit};

/// Room for all larger requests under way, in bytes. One caller gets half of it.
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
        // The caller's own room comes first: a request that waits for it must not hold room that other callers need.
        let caller = request.extensions().get::<Arc<Caller>>();
        let own = caller.map(|caller| caller.room().clone());
        let rooms = own.into_iter().chain([self.all.clone()]).collect();
        let path = request.uri().path().to_owned();
        let limit = limit(&path);
        let held = Arc::new(Mutex::new(Vec::new()));
        let request = request.map(|body| {
            Body::new(Waiting {
                body,
                path,
                messages: Messages::new(limit),
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

/// The bytes of room that a message with this prefix takes; `None` if it need not wait, or is refused because of its
/// length.
fn bytes(prefix: &[u8], limit: usize) -> Option<usize> {
    let (compressed, length) = (prefix.first()?, length(prefix));
    // How large a compressed message becomes is unknown, so its limit counts.
    let bytes = match compressed {
        0 => length,
        _ => limit,
    };
    (bytes > SMALL_BYTES && length <= limit).then_some(bytes)
}

/// The position within a body: messages, each behind its prefix.
struct Messages {
    prefix: Vec<u8>,
    /// Bytes of the message that are still to come.
    left: usize,
    limit: usize,
    /// The first one has begun.
    begun: bool,
}

impl Messages {
    fn new(limit: usize) -> Self {
        Self {
            prefix: Vec::with_capacity(PREFIX),
            left: 0,
            limit,
            begun: false,
        }
    }

    /// Follows the next bytes. If the first message begins in them and must wait, returns how many bytes of room it
    /// takes.
    ///
    /// # Errors
    /// A message that is not small behind the first one.
    fn follow(&mut self, mut data: &[u8]) -> Result<Option<usize>, Error> {
        let mut first = None;
        while !data.is_empty() {
            let (passed, rest) = data.split_at(self.left.min(data.len()));
            self.left -= passed.len();
            let missing = PREFIX - self.prefix.len();
            let (prefix, rest) = rest.split_at(missing.min(rest.len()));
            self.prefix.extend_from_slice(prefix);
            data = rest;
            if self.prefix.len() < PREFIX {
                break;
            }
            let taken = bytes(&self.prefix, self.limit);
            self.left = length(&self.prefix);
            self.prefix.clear();
            match (taken, self.begun) {
                (Some(_), true) => {
                    let text = "a call of this method takes one message, and a large one came behind it";
                    return Err(
                        Error::new(Reason::RequestTooLarge, text).with("limit", SMALL_BYTES.to_string())
                    );
                }
                (None, true) => {}
                (taken, false) => first = taken,
            }
            self.begun = true;
        }
        Ok(first)
    }
}

fn length(prefix: &[u8]) -> usize {
    let length = prefix.get(1..).and_then(|length| length.try_into().ok());
    let length = length.map_or(0, u32::from_be_bytes);
    usize::try_from(length).unwrap_or(usize::MAX)
}

type Taking = Pin<Box<dyn Future<Output = Vec<OwnedSemaphorePermit>> + Send>>;

/// A body whose message is read once there is room for it.
struct Waiting {
    body: Body,
    path: String,
    messages: Messages,
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
            && let Some(data) = frame.data_ref()
        {
            match this.messages.follow(data) {
                Ok(None) => {}
                Ok(Some(bytes)) => {
                    this.taking = Some(Box::pin(take(std::mem::take(&mut this.rooms), bytes)));
                    this.withheld = Some(Frame::data(data.clone()));
                    return self.poll_frame(cx);
                }
                Err(error) => {
                    let path = this.path.strip_prefix('/').unwrap_or_default();
                    let (service, method) = path.split_once('/').unwrap_or_default();
                    let error = error.with("method", named(service, method));
                    return Poll::Ready(Some(Err(failed(&error))));
                }
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

    #[test]
    fn messages_are_followed_however_they_are_cut() {
        const LIMIT: usize = 4 * 1024 * 1024;
        let large = SMALL_BYTES + 1;
        let message = |bytes: usize| {
            [
                vec![0, 0, (bytes >> 16) as u8, (bytes >> 8) as u8, bytes as u8],
                vec![7; bytes],
            ]
            .concat()
        };
        let follow = |body: &[u8], cut: usize| {
            let mut messages = Messages::new(LIMIT);
            let mut taken = Vec::new();
            for part in body.chunks(cut) {
                match messages.follow(part) {
                    Ok(first) => taken.extend(first),
                    Err(error) => return Err(error.reason),
                }
            }
            Ok(taken)
        };
        for cut in [1, 3, 5, 7, 16 * 1024, usize::MAX] {
            let small = message(9);
            assert_eq!(follow(&message(large), cut), Ok(vec![large]), "{cut}");
            assert_eq!(
                follow(&[message(large), small.clone(), small.clone()].concat(), cut),
                Ok(vec![large])
            );
            assert_eq!(
                follow(&[small.clone(), message(0), small.clone()].concat(), cut),
                Ok(vec![])
            );
            for first in [message(0), small, message(large)] {
                let refused = follow(&[first, message(large)].concat(), cut);
                assert_eq!(refused, Err(Reason::RequestTooLarge), "{cut}");
            }
        }
    }
}
