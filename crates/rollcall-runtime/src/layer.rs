//! What every call passes through, one idea a file. `server.rs` stacks them.

pub(crate) mod authenticate;
pub(crate) mod catch_panic;
pub(crate) mod compression;
pub(crate) mod deadline;
pub(crate) mod explain;
pub(crate) mod metadata_size;
pub(crate) mod only_grpc;
pub(crate) mod quota;
pub(crate) mod refuse_if;
pub(crate) mod request_memory;
pub(crate) mod stream_age;
pub(crate) mod trace;
pub(crate) mod watches;

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;

use http::Response;
use rollcall_core::error::Error;
use tonic::body::Body;

/// The future of a layer's answer.
pub(crate) type Answer = Pin<Box<dyn Future<Output = Result<Response<Body>, Infallible>> + Send>>;

/// The answer to a call that a layer refuses.
pub(crate) fn refusal(error: Error) -> Response<Body> {
    crate::failed(&error).into_http()
}
