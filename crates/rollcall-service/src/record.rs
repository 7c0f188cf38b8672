//! The record of a change in the audit log.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::audit::AuditKind;
use rollcall_core::error::{Error, Reason};
use rollcall_core::id::TenantId;
use rollcall_runtime::caller::Caller;
use rollcall_store::{NewAuditEvent, Store};

/// Longest value in the audit log, in characters.
const MAX_SHOWN: usize = 200;

/// What the audit log says of a change: fields with the values that they got.
pub type Details = BTreeMap<String, String>;

/// A change that was made.
#[derive(Clone, Debug)]
pub struct Changed<'a> {
    /// When.
    pub time: DateTime<Utc>,
    /// The tenant whose resource it is.
    pub tenant: &'a TenantId,
    /// The method, for example `TenantService.UpdateTenant`.
    pub method: &'static str,
    /// The resource, by its name.
    pub resource: String,
    /// The fields that changed.
    pub details: Details,
}

/// Records a change that this caller made.
///
/// # Errors
/// `INTERNAL` if it cannot be recorded.
pub async fn record(store: &Store, caller: &Caller, changed: Changed<'_>) -> Result<(), Error> {
    let Changed {
        time,
        tenant,
        method,
        resource,
        details,
    } = changed;
    tracing::info!(
        audit.caller = caller.name(),
        audit.method = method,
        audit.resource = resource,
        "changed"
    );
    let event = NewAuditEvent {
        time,
        tenant: Some(tenant.clone()),
        caller: caller.audited(),
        kind: AuditKind::Change {
            method: method.into(),
            resource,
            details,
        },
    };
    store.record_audit(&[event]).await.map_err(|error| {
        let message = "the change was made, but could not be recorded in the audit log";
        Error::new(Reason::Internal, message).caused_by(error)
    })
}

/// The value of a field for the audit log.
pub fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The fields that differ, with the values that they got.
#[macro_export]
macro_rules! differences {
    ($before:expr, $after:expr; $($field:ident),* $(,)?) => {{
        let mut details = $crate::record::Details::new();
        $(if $before.$field != $after.$field {
            details.insert(stringify!($field).to_owned(), $crate::record::shown(&$after.$field));
        })*
        details
    }};
}
