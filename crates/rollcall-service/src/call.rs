//! How a call begins and ends, alike in both services: may the caller do this at all, and is the request well formed;
//! and at the end, the one mapping from errors to statuses, with what the log is told.

use std::future::Future;
use std::sync::Arc;

use rollcall_core::audit::Actor;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::violation::Violations;
use rollcall_proto::convert::Repeatable;
use rollcall_runtime::caller::{Caller, Permission, Scope, authorize};
pub use rollcall_runtime::failed;
use rollcall_runtime::server::Deadline;
use rollcall_store::CreateRequest;
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::actor;

/// What a call has to carry.
pub struct Call<T> {
    /// Who calls.
    pub caller: Arc<Caller>,
    /// For whom the caller says that it acts.
    pub actor: Actor,
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
    let (metadata, extensions, message) = request.into_parts();
    let caller = authorize(&extensions, permission, Scope::Unresolved)?;
    let mut found = Violations::new();
    let actor = actor::read(&metadata, &mut found);
    found.into_result()?;
    Ok(Call {
        caller,
        actor,
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
