//! Refuses what is not gRPC before anything of its body is read: a browser's form or a probe must not log anybody in.

use http::header::{ALLOW, CONTENT_TYPE};
use http::{HeaderValue, Method, Request, Response, StatusCode};
use tonic::body::Body;

/// The text for clients that do not speak gRPC.
pub(crate) const HINT: &str =
    "This is a gRPC endpoint. Call it with a gRPC client: POST over HTTP/2, content-type application/grpc.\n";

/// The answer to a request that is not gRPC.
pub(crate) fn not_grpc(request: &Request<Body>) -> Option<Response<Body>> {
    if request.method() != Method::POST {
        Some(hint(StatusCode::METHOD_NOT_ALLOWED))
    } else if !is_grpc(request.headers().get(CONTENT_TYPE)) {
        Some(hint(StatusCode::UNSUPPORTED_MEDIA_TYPE))
    } else {
        None
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
