//! Holds each caller to its quota, so that one runaway service does not starve the others.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::future::Either;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::refusal;
use crate::caller::Caller;

#[derive(Clone)]
pub(crate) struct QuotaLayer;

#[derive(Clone)]
pub(crate) struct Quota<S> {
    inner: S,
}

impl<S> Layer<S> for QuotaLayer {
    type Service = Quota<S>;

    fn layer(&self, inner: S) -> Quota<S> {
        Quota { inner }
    }
}

impl<S> Service<Request<Body>> for Quota<S>
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
        let spent = request
            .extensions()
            .get::<Arc<Caller>>()
            .map_or(Ok(()), |caller| caller.spend());
        match spent {
            Ok(()) => Either::Right(self.inner.call(request)),
            Err(error) => Either::Left(ready(Ok(refusal(error)))),
        }
    }
}
