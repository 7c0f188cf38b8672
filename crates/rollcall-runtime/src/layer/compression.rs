//! Answers are compressed only for clients that compress their requests. Most clients offer to read gzip by default.
//! Accepting every such offer would cost time on every call, and the length of a compressed answer reveals repetitions
//! in it.

use http::Request;
use tonic::body::Body;

const ENCODING: &str = "grpc-encoding";
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const IDENTITY: &str = "identity";

/// Forgets the offer of a caller whose own request is not compressed.
pub(crate) fn only_when_asked(mut request: Request<Body>) -> Request<Body> {
    let headers = request.headers_mut();
    if headers.get(ENCODING).is_none_or(|encoding| encoding == IDENTITY) {
        headers.remove(ACCEPT_ENCODING);
    }
    request
}
