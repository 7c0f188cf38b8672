//! Finds out who calls. Only the health service answers strangers.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use http::header::AUTHORIZATION;
use http::{Request, Response};
use tonic::body::Body;
use tower::{Layer, Service};

use super::refusal;
use crate::caller::Callers;
use crate::clock::Clock;
use crate::extensions::Peer;

const HEALTH: &str = "/grpc.health.v1.Health/";

#[derive(Clone)]
pub(crate) struct AuthenticateLayer {
    pub(crate) callers: Callers,
}

#[derive(Clone)]
pub(crate) struct Authenticate<S> {
    callers: Callers,
    inner: S,
}

impl<S> Layer<S> for AuthenticateLayer {
    type Service = Authenticate<S>;

    fn layer(&self, inner: S) -> Authenticate<S> {
        Authenticate {
            callers: self.callers.clone(),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for Authenticate<S>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible>,
{
    type Response = Response<Body>;
    type Error = Infallible;
    type Future = Either<Ready<Result<Response<Body>, Infallible>>, S::Future>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        self.inner.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<Body>) -> Self::Future {
        // Taken out of the request, so that no handler can log it.
        let authorization = request.headers_mut().remove(AUTHORIZATION);
        let peer = request.extensions().get::<Peer>();
        let introduction = peer.map(Peer::introduction);
        introduction.inspect(|introduction| introduction.ask());
        if request.uri().path().starts_with(HEALTH) {
            return Either::Right(self.inner.call(request));
        }
        let names = peer.map(Peer::certificate_names).unwrap_or_default();
        match self.callers.identify(
            authorization.as_ref().map(|value| value.as_bytes()),
            names,
            || Clock::System.now(),
        ) {
            Ok(caller) => {
                introduction.inspect(|introduction| introduction.prove());
                let span = tracing::Span::current();
                span.record("caller.name", caller.name());
                if !caller.credential().is_empty() {
                    span.record("caller.credential", caller.credential());
                }
                request.extensions_mut().insert(caller);
                Either::Right(self.inner.call(request))
            }
            Err(error) => Either::Left(ready(Ok(refusal(error)))),
        }
    }
}
