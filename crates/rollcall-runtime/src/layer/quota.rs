//! Holds each caller to its quota, so that one runaway service does not starve the others.

use std::sync::Arc;

use http::{Request, Response};
use tonic::body::Body;

use super::refusal;
use crate::caller::Caller;

/// The answer to a call that its caller's quota has no room for.
pub(crate) fn spent(request: &Request<Body>) -> Option<Response<Body>> {
    let caller = request.extensions().get::<Arc<Caller>>()?;
    caller.spend().err().map(refusal)
}
