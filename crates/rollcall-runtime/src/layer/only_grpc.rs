//! Refuses what is not gRPC before anything of its body is read: a browser's form or a probe must not log anybody in.

use std::convert::Infallible;
use std::future::{Ready, ready};
use std::task::{Context, Poll};

use futures::future::Either;
use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;
use tower::{Layer, Service};

/// What whoever does not speak gRPC is told.
pub(crate) const HINT: &str =
    "This is a gRPC endpoint. Call it with a gRPC client: POST over HTTP/2, content-type application/grpc.\n";

#[derive(Clone)]
pub(crate) struct OnlyGrpcLayer;

#[derive(Clone)]
pub(crate) struct OnlyGrpc<S> {
    inner: S,
}

impl<S> Layer<S> for OnlyGrpcLayer {
    type Service = OnlyGrpc<S>;

    fn layer(&self, inner: S) -> OnlyGrpc<S> {
        OnlyGrpc { inner }
    }
}

impl<S> Service<Request<Body>> for OnlyGrpc<S>
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
        let refused = if request.method() != Method::POST {
            Some(StatusCode::METHOD_NOT_ALLOWED)
        } else if !is_grpc(request.headers().get(CONTENT_TYPE)) {
            Some(StatusCode::UNSUPPORTED_MEDIA_TYPE)
        } else {
            None
        };
        match refused {
            Some(status) => Either::Left(ready(Ok(hint(status)))),
            None => Either::Right(self.inner.call(request)),
        }
    }
}

/// Protocol Buffers over gRPC, with or without parameters. Not grpc-web, and not JSON.
fn is_grpc(content_type: Option<&HeaderValue>) -> bool {
    let Some(text) = content_type.and_then(|value| value.to_str().ok()) else {
        return false;
    };
    let essence = text.split(';').next().unwrap_or_default().trim_ascii();
    ["application/grpc", "application/grpc+proto"]
        .iter()
        .any(|known| essence.eq_ignore_ascii_case(known))
}

fn hint(status: StatusCode) -> Response<Body> {
    let mut response = Response::new(Body::new(http_body_util::Full::from(HINT)));
    *response.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    response.headers_mut().insert(CONTENT_TYPE, plain);
    if status == StatusCode::METHOD_NOT_ALLOWED {
        response
            .headers_mut()
            .insert(ALLOW, HeaderValue::from_static("POST"));
    }
    response
}
