//! How a call begins and ends, alike in both services: may the caller do this at all, and is the request well formed;
//! and at the end, the one mapping from errors to statuses, with what the log is told.

use std::future::Future;
use std::sync::Arc;

use rollcall_core::error::{Error, ErrorKind, Reason, causes};
use rollcall_core::id::TenantId;
use rollcall_proto::convert::Repeatable;
use rollcall_proto::status;
use rollcall_runtime::caller::{Caller, Permission, Scope, authorize};
use rollcall_runtime::server::Deadline;
use rollcall_store::CreateRequest;
use tonic::{Request, Response, Status};
use tracing::Instrument;

/// What a call has to carry.
pub struct Call<T> {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// The decoded request.
    pub request: T,
    /// When the caller stops waiting.
    pub deadline: Option<Deadline>,
}

/// Checks that the caller has the permission and decodes the request. The method itself asks
/// [`Caller::may_touch`] for the tenant, before it looks whether anything exists.
///
/// # Errors
/// `PERMISSION_MISSING` and the like, and every bad field of the request.
pub fn decode<W, T>(request: Request<W>, permission: Permission) -> Result<Call<T>, Error>
where
    T: TryFrom<W, Error = Error>,
{
    let (_, extensions, message) = request.into_parts();
    let caller = authorize(&extensions, permission, Scope::Unresolved)?;
    Ok(Call {
        caller,
        request: T::try_from(message)?,
        deadline: Deadline::of(&extensions),
    })
}

/// As [`decode`], for a request that belongs to one tenant.
///
/// # Errors
/// `TENANT_ACCESS_DENIED` too.
pub fn decode_for<W, T>(
    request: Request<W>,
    permission: Permission,
    tenant: impl Fn(&T) -> &TenantId,
) -> Result<Call<T>, Error>
where
    T: TryFrom<W, Error = Error>,
{
    let call: Call<T> = decode(request, permission)?;
    call.caller.may_touch(tenant(&call.request))?;
    Ok(call)
}

/// As [`decode`], for what only a caller of all tenants may do.
///
/// # Errors
/// `TENANT_ACCESS_DENIED` too.
pub fn decode_for_all<W, T>(request: Request<W>, permission: Permission) -> Result<Call<T>, Error>
where
    T: TryFrom<W, Error = Error>,
{
    authorize(request.extensions(), permission, Scope::AllTenants)?;
    decode(request, permission)
}

/// A request that creates something, as the store recognises its repeats.
pub fn create_request<'a>(
    caller: &'a Caller,
    tenant: Option<&'a TenantId>,
    repeatable: Option<&'a Repeatable>,
) -> Option<CreateRequest<'a>> {
    repeatable.map(|repeatable| CreateRequest {
        tenant,
        caller: caller.name(),
        id: &repeatable.id,
        content: &repeatable.content,
    })
}

/// Does work that must not stop half-way when the caller goes away or its deadline passes: a change, and the
/// record of it.
///
/// # Errors
/// Those of the work; `INTERNAL` if it broke.
pub async fn to_its_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, Error>> + Send + 'static,
) -> Result<T, Error> {
    let task = tokio::spawn(work.in_current_span());
    let broken = |error| Error::new(Reason::Internal, "the call broke").caused_by(error);
    task.await.unwrap_or_else(|error| Err(broken(error)))
}

/// Ends a call; what went wrong inside goes to the log.
///
/// # Errors
/// The status for the caller.
pub fn answer<T>(result: Result<T, Error>) -> Result<Response<T>, Status> {
    result.map(Response::new).map_err(|error| failed(&error))
}

/// The status for the caller. What is behind the error goes to the log, down to the last cause.
pub fn failed(error: &Error) -> Status {
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::io::Write;
    use std::sync::Mutex;

    use super::*;

    #[derive(Clone, Default)]
    struct Log(Arc<Mutex<Vec<u8>>>);

    impl Write for Log {
        fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> std::io::Result<()> {
            Ok(())
        }
    }

    fn logged(error: &Error) -> String {
        let log = Log::default();
        let writer = log.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::DEBUG)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        tracing::subscriber::with_default(subscriber, || failed(error));
        let text = log.0.lock().unwrap().clone();
        String::from_utf8(text).unwrap()
    }

    #[test]
    fn the_log_has_every_cause_and_warns_of_what_the_caller_did_not_bring_about() {
        for (reason, level) in [
            (Reason::Internal, "ERROR"),
            (Reason::StoreUnavailable, "WARN"),
            (Reason::WorkerUnavailable, "WARN"),
            (Reason::UserNotFound, "DEBUG"),
        ] {
            let inner =
                Error::new(Reason::StoreUnavailable, "inner").caused_by(std::io::Error::other("innermost"));
            let line = logged(&Error::new(reason, "outer").caused_by(inner));
            assert!(line.contains(level) && line.contains(reason.as_str()), "{line}");
            assert!(line.contains("inner: innermost"), "{line}");
        }
    }
}
