//! How every method begins and ends: may the caller do this at all, is the request well formed, may the
//! caller act for this tenant; and at the end, the one mapping from errors to statuses.

use std::sync::Arc;

use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::id::TenantId;
use rollcall_proto::status;
use rollcall_runtime::caller::{Caller, Permission, Scope, authorize};
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// Checks that the caller has the permission, and decodes the request. The method itself asks
/// [`Caller::may_touch`] for the tenant, before it looks whether anything exists.
///
/// # Errors
/// `PERMISSION_MISSING` and the like, and every bad field of the request.
pub(crate) fn decode<W, T>(request: Request<W>, permission: Permission) -> Result<(Arc<Caller>, T), Error>
where
    T: TryFrom<W, Error = Error>,
{
    let (_, extensions, message) = request.into_parts();
    let caller = authorize(&extensions, permission, Scope::Unresolved)?;
    Ok((caller, T::try_from(message)?))
}

/// As [`decode`], for a request that belongs to one tenant.
///
/// # Errors
/// `TENANT_ACCESS_DENIED` too.
pub(crate) fn decode_for<W, T>(
    request: Request<W>,
    permission: Permission,
    tenant: impl Fn(&T) -> &TenantId,
) -> Result<(Arc<Caller>, T), Error>
where
    T: TryFrom<W, Error = Error>,
{
    let (caller, decoded) = decode::<W, T>(request, permission)?;
    caller.may_touch(tenant(&decoded))?;
    Ok((caller, decoded))
}

/// Does work that must not stop half-way when the caller goes away or its deadline passes: a change, and the
/// record of it.
pub(crate) async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let task = tokio::spawn(work.in_current_span());
    let broken = |error| Error::new(Reason::Internal, "the call broke").caused_by(error);
    task.await.unwrap_or_else(|error| Err(broken(error)))
}

/// Ends a call; what went wrong inside goes to the log.
pub(crate) fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| failed(&error))
}

/// The status for the caller. The cause goes to the log.
pub(crate) fn failed(error: &Error) -> Status {
    let (reason, cause) = (error.reason.as_str(), causes(error));
    match error.kind() {
        ErrorKind::Internal => tracing::error!(reason, message = %error, cause, "call failed"),
        ErrorKind::Unavailable | ErrorKind::Aborted => {
            tracing::warn!(reason, message = %error, cause, "call failed");
        }
        _ => tracing::debug!(reason, message = %error, cause, "call refused"),
    }
    status::to_status(error)
}

fn causes(error: &Error) -> String {
    let mut texts = Vec::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        texts.push(cause.to_string());
        source = cause.source();
    }
    texts.join(": ")
}
