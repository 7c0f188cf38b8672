//! Errors that name the resource that they are about, and checks of what a caller may expect of it: the revision, or
//! room for another one.

use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::id::TenantId;
use rollcall_core::revision::Revision;
use rollcall_proto::resource_name;
use rollcall_store::StoreError;

/// Adds the resource to an error of the store.
pub fn about(resource: &str) -> impl Fn(StoreError) -> Error {
    move |error| {
        let mut taken = None;
        if let StoreError::IdentifierTaken { email } = error {
            taken = Some(if email { "email" } else { "login" });
        }
        let error = name_resource(error.into(), resource);
        match taken {
            Some(field) => error.with("field", field),
            None => error,
        }
    }
}

/// Adds the resource to an error, unless the error is about none or names one already. If the tenant does not exist,
/// the tenant is the resource, whatever was asked for.
pub fn name_resource(error: Error, resource: &str) -> Error {
    let concerned = matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Aborted | ErrorKind::FailedPrecondition
    );
    let has_no_resource = matches!(error.reason, Reason::DomainTaken | Reason::IdentifierTaken);
    if !concerned || has_no_resource || error.metadata.contains_key("resource") {
        return error;
    }
    let resource = match error.reason == Reason::TenantNotFound {
        true => tenant_of(resource),
        false => resource,
    };
    error.with("resource", resource)
}

/// The name of the tenant that a resource belongs to.
fn tenant_of(resource: &str) -> &str {
    let end = resource.match_indices('/').nth(1).map(|(index, _)| index);
    &resource[..end.unwrap_or(resource.len())]
}

/// An error about a revision: the resource is not as the caller expects, or another call has just changed it.
pub fn changed_meanwhile(expected: Option<Revision>, resource: &str) -> impl Fn(StoreError) -> Error {
    move |error| {
        if !matches!(error, StoreError::RevisionMismatch) || expected.is_some() {
            return about(resource)(error);
        }
        let message = "somebody else changed it at the same moment: try again";
        Error::new(Reason::ConcurrentChange, message)
            .with("resource", resource)
            .caused_by(error)
    }
}

/// Compares the revision with the one that the caller expects, if any.
///
/// # Errors
/// `ETAG_MISMATCH`.
pub fn expect_revision(expected: Option<Revision>, actual: Revision, resource: &str) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != actual => Err(about(resource)(StoreError::RevisionMismatch)),
        _ => Ok(()),
    }
}

/// An id that the store kept.
///
/// # Errors
/// `INTERNAL` if it is not one.
pub fn stored_id<T>(parsed: Option<T>) -> Result<T, Error> {
    parsed.ok_or_else(|| Error::new(Reason::Internal, "a stored id is malformed"))
}

/// Refuses another `what` for a tenant that has `limit` of them.
///
/// # Errors
/// `RESOURCE_LIMIT_REACHED`.
pub fn expect_room(there: usize, limit: u32, what: &str, tenant: &TenantId) -> Result<(), Error> {
    if there < limit as usize {
        return Ok(());
    }
    let message = format!("a tenant can have {limit} {what}");
    let error = Error::new(Reason::ResourceLimitReached, message);
    let error = error.with("parent", resource_name::tenant(tenant));
    Err(error.with("limit", limit.to_string()))
}

#[cfg(test)]
mod tests {
    use rollcall_store::Kind;

    use super::*;

    const DIRECTORY: &str = "tenants/acme/directories/hq";

    #[test]
    fn an_error_names_what_it_is_about_and_an_outage_names_nothing() {
        for (error, resource) in [
            (StoreError::NotFound(Kind::Directory), Some(DIRECTORY)),
            (StoreError::NotFound(Kind::Tenant), Some("tenants/acme")),
            (StoreError::RevisionMismatch, Some(DIRECTORY)),
            (StoreError::DomainTaken, None),
            (StoreError::IdentifierTaken { email: true }, None),
            (StoreError::Contended, None),
        ] {
            let shown = about(DIRECTORY)(error);
            let named = shown.metadata.get("resource").map(String::as_str);
            assert_eq!(named, resource, "{shown:?}");
        }
    }

    #[test]
    fn a_tenant_names_itself() {
        assert_eq!(tenant_of("tenants/acme"), "tenants/acme");
        assert_eq!(tenant_of("tenants/acme/users/u"), "tenants/acme");
    }
}
