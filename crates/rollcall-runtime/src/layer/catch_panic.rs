//! A panic in a handler ends that call with INTERNAL and nothing else: not the connection with its other
//! calls, not the process. That holds for the body of a streaming answer as well.

use std::convert::Infallible;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::task::{Context, Poll};

use futures::FutureExt;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use rollcall_core::error::{Error, Reason};
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::{Answer, refusal};

#[derive(Clone)]
pub(crate) struct CatchPanicLayer;

#[derive(Clone)]
pub(crate) struct CatchPanic<S> {
    inner: S,
}

impl<S> Layer<S> for CatchPanicLayer {
    type Service = CatchPanic<S>;

    fn layer(&self, inner: S) -> CatchPanic<S> {
        CatchPanic { inner }
    }
}

impl<S> Service<Request<Body>> for CatchPanic<S>
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

    fn call(&mut self, request: Request<Body>) -> Answer {
        // After its panic nothing that the handler owns is used; what it shares is behind locks.
        let Ok(answer) = catch_unwind(AssertUnwindSafe(|| self.inner.call(request))) else {
            return Box::pin(async { Ok(refusal(panicked())) });
        };
        Box::pin(async move {
            match AssertUnwindSafe(answer).catch_unwind().await {
                Ok(response) => Ok(response?.map(|body| Body::new(PanicToTrailers { body: Some(body) }))),
                Err(_) => Ok(refusal(panicked())),
            }
        })
    }
}

fn panicked() -> Error {
    Error::new(Reason::Internal, "internal error")
}

/// A body whose panics become trailers.
struct PanicToTrailers {
    body: Option<Body>,
}

impl http_body::Body for PanicToTrailers {
    type Data = <Body as http_body::Body>::Data;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Status>>> {
        let Some(body) = &mut self.body else {
            return Poll::Ready(None);
        };
        match catch_unwind(AssertUnwindSafe(|| Pin::new(body).poll_frame(cx))) {
            Ok(poll) => poll,
            Err(_) => {
                self.body = None;
                Poll::Ready(Some(Ok(Frame::trailers(trailers(panicked())))))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.as_ref().map(Body::size_hint).unwrap_or_default()
    }
}

/// The end of a stream that an error ends.
pub(super) fn trailers(error: Error) -> HeaderMap {
    let mut headers = refusal(error).into_parts().0.headers;
    headers.remove(http::header::CONTENT_TYPE);
    headers
}
