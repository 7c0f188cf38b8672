//! How a call begins and ends, in both services alike. At the beginning: may the caller do this at all, and is the
//! request well formed? At the end: the one mapping from errors to statuses, and what is logged.

use std::future::Future;
use std::sync::Arc;

use rollcall_core::audit::Actor;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::violation::Violations;
use rollcall_proto::convert::Repeatable;
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_runtime::caller::{Caller, authorize};
pub use rollcall_runtime::failed;
use rollcall_runtime::server::Deadline;
use rollcall_store::{CreateRequest, Store};
use tonic::{Request, Response, Status};
use tracing::Instrument;

use crate::actor;
use crate::methods::{Method, Whose};

/// A call after it was checked and decoded.
pub struct Call<T> {
    /// The method, as the audit log names it.
    pub method: &'static str,
    /// Who calls.
    pub caller: Arc<Caller>,
    /// For whom the caller says that it acts.
    pub actor: Actor,
    /// The decoded request.
    pub request: T,
    /// When the caller stops waiting.
    pub deadline: Option<Deadline>,
}

/// Begins a call, as the row of its method says: may the caller do this at all, is the request well formed, may the caller
/// do it for this tenant, and does the tenant exist.
///
/// # Errors
/// `PERMISSION_MISSING` and the like, every bad field of the request, `TENANT_ACCESS_DENIED`, and `TENANT_NOT_FOUND` for
/// callers of all tenants.
pub async fn begin<W, T>(store: &Store, request: Request<W>) -> Result<Call<T>, Error>
where
    W: Method,
    T: TryFrom<W, Error = Error>,
{
    let (metadata, extensions, message) = request.into_parts();
    let caller = authorize(&extensions, W::ROW.permission)?;
    if matches!(W::ROW.whose, Whose::ForAll | Whose::TenantForAll) {
        caller.may_touch_all()?;
    }
    let mut found = Violations::new();
    let actor = actor::read(&metadata, &mut found);
    found.into_result()?;
    let resource = message.resource().to_owned();
    let request = T::try_from(message)?;
    admit(store, &caller, W::ROW.whose, &resource).await?;
    Ok(Call {
        method: W::ROW.name,
        caller,
        actor,
        request,
        deadline: Deadline::of(&extensions),
    })
}

/// The one place that decides whether a caller may act for the tenant of a resource, and whether that tenant exists.
async fn admit(store: &Store, caller: &Caller, whose: Whose, resource: &str) -> Result<(), Error> {
    match (whose, resource_name::scope_of(resource)) {
        (_, Some(TenantScope::One(tenant))) => {
            caller.may_touch(&tenant)?;
            match store.has_tenant(&tenant).await? {
                true => Ok(()),
                false => Err(caller.no_such_tenant(&tenant)),
            }
        }
        (Whose::ForAll | Whose::Own | Whose::TenantOrOwn | Whose::Login, _) => Ok(()),
        (Whose::TenantOrAll, Some(TenantScope::All)) => caller.may_touch_all(),
        // A request that was decoded names a resource of a tenant.
        (Whose::Tenant | Whose::TenantForAll | Whose::TenantOrAll, _) => {
            Err(Error::new(Reason::Internal, "a request names no tenant"))
        }
    }
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
