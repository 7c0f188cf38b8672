//! A request that cannot even be decoded is answered like any other bad request. By itself tonic says INTERNAL
//! or OUT_OF_RANGE then, without a reason; a caller would take its own mistake for ours.

use http::Response;
use rollcall_core::error::Error;
use rollcall_core::violation::Violations;
use tonic::body::Body;
use tonic::{Code, Status};

use super::refusal;

/// How tonic words what prost could not decode: then come the fields, outermost first, each as
/// `Message.field: `, and at last what is wrong.
const UNDECODABLE: &str = "failed to decode Protobuf message: ";
const NOT_UTF8: &str = "data is not UTF-8 encoded";

/// Passes a handler's answer on; replaces tonic's own refusal of a request.
pub(crate) fn explain(response: Response<Body>) -> Response<Body> {
    match response.extensions().get::<Status>().and_then(violation) {
        Some((field, description)) => {
            let mut violations = Violations::new();
            violations.add(field, description);
            refusal(Error::invalid(violations))
        }
        None => response,
    }
}

/// The bad field, and what is wrong with it; never anything that was in it. `None` if the status is a
/// handler's, which all carry details.
fn violation(status: &Status) -> Option<(String, &'static str)> {
    if !status.details().is_empty() {
        return None;
    }
    match status.code() {
        Code::OutOfRange => Some((String::new(), "the request is too large")),
        Code::Internal => Some(undecodable(status.message())),
        _ => None,
    }
}

fn undecodable(message: &str) -> (String, &'static str) {
    let Some(what) = message.strip_prefix(UNDECODABLE) else {
        return (String::new(), "the request is not framed as gRPC says");
    };
    let steps = what.split(": ").map_while(field_name);
    let description = match what.ends_with(NOT_UTF8) {
        true => "is not valid UTF-8",
        false => "cannot be decoded as Protocol Buffers",
    };
    (steps.collect::<Vec<_>>().join("."), description)
}

/// `field` of `Message.field`.
fn field_name(step: &str) -> Option<&str> {
    let (message, field) = step.split_once('.')?;
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_name(message) && is_name(field)).then_some(field)
}
