//! Refuses calls by what can be seen of them before their body is read.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

/// How a call is answered that is refused; `None` for one that goes on.
type Rule = fn(&Request<Body>) -> Option<Response<Body>>;

#[derive(Clone, Copy)]
pub(crate) struct RefuseIfLayer(pub(crate) Rule);

#[derive(Clone)]
pub(crate) struct RefuseIf<S> {
    rule: Rule,
    inner: S,
}

impl<S> Layer<S> for RefuseIfLayer {
    type Service = RefuseIf<S>;

    fn layer(&self, inner: S) -> RefuseIf<S> {
        RefuseIf { rule: self.0, inner }
    }
}

impl<S> Service<Request<Body>> for RefuseIf<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        match (self.rule)(&request) {
            Some(refused) => Either::Left(ready(Ok(refused))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}
