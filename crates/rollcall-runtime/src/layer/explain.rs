//! Adds a reason to the refusals that tonic makes by itself: requests that cannot be decoded, unknown methods, unknown
//! compression. Without one, a caller would take its own mistake for the server's.

use std::convert::Infallible;
use std::sync::Arc;
use std::task::{Context, Poll};

use http::{Request, Response};
use rollcall_core::error::{Error, Reason};
use rollcall_core::violation::Violations;
use rollcall_proto::server_of;
use tonic::body::Body;
use tonic::{Code, Status};
use tower::{Layer, Service};

use super::{Answer, refusal};

/// How tonic words what prost could not decode: then come the fields, innermost first, each as
/// `Message.field: `, and at last what is wrong.
const UNDECODABLE: &str = "failed to decode Protobuf message: ";
const NOT_UTF8: &str = "data is not UTF-8 encoded";
/// How tonic begins what it says about compression.
const UNKNOWN_COMPRESSION: &str = "Content is compressed with";
const NOT_COMPRESSED: &str = "Error decompressing: ";
const LIMITS: [&str; 2] = ["the limit is: ", "size limit, of "];
const ACCEPT_ENCODING: &str = "grpc-accept-encoding";
const HEALTH: &str = "grpc.health.v1.Health";
/// A longer path is not repeated.
const MAX_PATH_BYTES: usize = 128;

#[derive(Clone)]
pub(crate) struct ExplainLayer {
    /// The services of this server, by full name.
    pub(crate) services: Arc<[&'static str]>,
}

#[derive(Clone)]
pub(crate) struct Explain<S> {
    services: Arc<[&'static str]>,
    inner: S,
}

impl<S> Layer<S> for ExplainLayer {
    type Service = Explain<S>;

    fn layer(&self, inner: S) -> Explain<S> {
        Explain {
            services: Arc::clone(&self.services),
            inner,
        }
    }
}

impl<S> Service<Request<Body>> for Explain<S>
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
        let path = request.uri().path().to_owned();
        let services = Arc::clone(&self.services);
        let answer = self.inner.call(request);
        Box::pin(async move { Ok(explain(&path, &services, answer.await?)) })
    }
}

/// Passes on the answers of handlers, all of whose statuses carry details, and replaces a refusal of tonic's own.
fn explain(path: &str, services: &[&str], response: Response<Body>) -> Response<Body> {
    let status = Status::from_header_map(response.headers());
    let Some(error) = status.and_then(|status| reason(path, services, &status)) else {
        return response;
    };
    let mut refused = refusal(error);
    if let Some(encodings) = response.headers().get(ACCEPT_ENCODING) {
        refused.headers_mut().insert(ACCEPT_ENCODING, encodings.clone());
    }
    refused
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of tonic: the others are told by whoever answers"
)]
fn reason(path: &str, services: &[&str], status: &Status) -> Option<Error> {
    if !status.details().is_empty() {
        return None;
    }
    let (service, method) = path.strip_prefix('/')?.split_once('/')?;
    match status.code() {
        Code::Unimplemented if status.message().starts_with(UNKNOWN_COMPRESSION) => {
            let message = "the request's compression is not known here: use gzip, or none";
            Some(Error::new(Reason::Unimplemented, message).with("method", named(service, method)))
        }
        Code::Unimplemented => Some(not_here(services, service, method)),
        Code::NotFound if service == HEALTH => Some(Error::new(
            Reason::ServiceNotFound,
            "this server has no service of that name",
        )),
        Code::OutOfRange => Some(too_large(service, method, status.message())),
        Code::ResourceExhausted if status.message().starts_with(NOT_COMPRESSED) => {
            Some(too_large(service, method, status.message()))
        }
        Code::Internal => {
            let (field, description) = undecodable(status.message());
            let mut violations = Violations::new();
            violations.add(field, description);
            Some(Error::invalid(violations))
        }
        _ => None,
    }
}

/// The method as the contract's comments write it. A long name that a caller made up is cut.
pub(super) fn named(service: &str, method: &str) -> String {
    if service.len() + method.len() > MAX_PATH_BYTES {
        return "(overlong)".to_owned();
    }
    format!("{service}.{method}")
}

fn not_here(services: &[&str], service: &str, method: &str) -> Error {
    let name = named(service, method);
    let elsewhere = server_of(service).filter(|_| !services.contains(&service));
    let message = match elsewhere {
        Some(server) => format!("{service} is served by {server}, and not here"),
        None => format!("there is no method {name} here"),
    };
    let error = Error::new(Reason::Unimplemented, message).with("method", name);
    match elsewhere {
        Some(server) => error.with("served_by", server),
        None => error,
    }
}

fn too_large(service: &str, method: &str, message: &str) -> Error {
    let name = named(service, method);
    let limit = LIMITS.iter().find_map(|prefix| {
        let digits = message.split_once(prefix)?.1.split(' ').next()?;
        digits.parse::<usize>().ok()
    });
    let error = |text| Error::new(Reason::RequestTooLarge, text);
    let error = match limit {
        Some(limit) => error(format!(
            "the request is too large: {name} takes at most {limit} bytes, counted without compression"
        ))
        .with("limit", limit.to_string()),
        None => error(format!("the request is too large for {name}")),
    };
    error.with("method", name)
}

/// The bad field, and what is wrong with it, but never its content.
fn undecodable(message: &str) -> (String, &'static str) {
    if message.starts_with(NOT_COMPRESSED) {
        return (String::new(), "the request's compression is damaged");
    }
    let Some(what) = message.strip_prefix(UNDECODABLE) else {
        return (String::new(), "the request is not framed as gRPC says");
    };
    let mut steps: Vec<&str> = what.split(": ").map_while(field_name).collect();
    // Reversed, since a path begins at the request.
    steps.reverse();
    let description = match what.ends_with(NOT_UTF8) {
        true => "is not valid UTF-8",
        false => "cannot be decoded as Protocol Buffers",
    };
    (steps.join("."), description)
}

/// `field` of `Message.field`. For a oneof only its name is known. A name that is also a keyword of Rust is written
/// `r#field`.
fn field_name(step: &str) -> Option<&str> {
    let (message, field) = step.split_once('.')?;
    let field = field.strip_prefix("r#").unwrap_or(field);
    let is_name =
        |name: &str| !name.is_empty() && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_');
    (is_name(message) && is_name(field)).then_some(field)
}
