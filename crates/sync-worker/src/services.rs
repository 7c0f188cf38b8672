//! The gRPC services, one file each. Every method goes the same way: may the caller do this at all, is the
//! request well formed, may the caller act for this tenant; then do it; then record it.

pub(crate) mod audit;
pub(crate) mod directories;
pub(crate) mod runs;
pub(crate) mod tenants;
pub(crate) mod user_syncs;

use std::collections::BTreeMap;

use rollcall_core::audit::AuditKind;
use rollcall_core::error::{Error, ErrorKind, Reason};
use rollcall_core::id::TenantId;
use rollcall_proto::{page, resource_name};
use rollcall_runtime::caller::Caller;
pub(crate) use rollcall_service::call::{
    Call, answer, create_request, decode, decode_for_all, failed, to_its_end,
};
use rollcall_store::{Cursor, NewAuditEvent, PageRequest, StoreError};

use crate::worker::Worker;

/// Says which resource an error of the store is about.
pub(crate) fn about(resource: &str) -> impl Fn(StoreError) -> Error {
    move |error| name_resource(error.into(), resource)
}

/// Says which resource an error is about, unless it is about none or says so already.
pub(crate) fn name_resource(error: Error, resource: &str) -> Error {
    let concerned = matches!(
        error.kind(),
        ErrorKind::NotFound | ErrorKind::AlreadyExists | ErrorKind::Aborted | ErrorKind::FailedPrecondition
    );
    match concerned && !error.metadata.contains_key("resource") && error.reason != Reason::DomainTaken {
        true => error.with("resource", resource),
        false => error,
    }
}

/// What the caller expected to change is not what is there, or has just been changed by somebody else.
pub(crate) fn changed_meanwhile(expected: Option<i64>, resource: &str) -> impl Fn(StoreError) -> Error {
    move |error| match error {
        StoreError::RevisionMismatch if expected.is_none() => {
            let message = "somebody else changed it at the same moment: try again";
            Error::new(Reason::ConcurrentChange, message)
                .with("resource", resource)
                .caused_by(error)
        }
        other => about(resource)(other),
    }
}

/// Checks the revision that the caller expects, if it does.
pub(crate) fn expect_revision(expected: Option<i64>, actual: i64, resource: &str) -> Result<(), Error> {
    match expected {
        Some(expected) if expected != actual => Err(about(resource)(StoreError::RevisionMismatch)),
        _ => Ok(()),
    }
}

/// An id that the store kept.
pub(crate) fn stored_id<T>(parsed: Option<T>) -> Result<T, Error> {
    parsed.ok_or_else(|| Error::new(Reason::Internal, "a stored id is malformed"))
}

/// A tenant that has `limit` of `what` gets no more of them.
pub(crate) fn expect_room(there: usize, limit: u32, what: &str, tenant: &TenantId) -> Result<(), Error> {
    if there < limit as usize {
        return Ok(());
    }
    let message = format!("a tenant can have {limit} {what}");
    let error = Error::new(Reason::ResourceLimitReached, message);
    let error = error.with("parent", resource_name::tenant(tenant));
    Err(error.with("limit", limit.to_string()))
}

/// The part of a list that a request asks for.
pub(crate) fn page_request(page: &page::Page) -> PageRequest {
    PageRequest {
        limit: page.size,
        after: page.after.clone().map(Cursor::from_text),
    }
}

/// Most parts that are read to fill one page: a filter that matches next to nothing must not read a whole list
/// in one call.
const MAX_PARTS: usize = 20;

/// Fills a page with the items that are wanted, part by part. It may end up with fewer than asked for.
pub(crate) struct Filling<T> {
    size: usize,
    items: Vec<T>,
    /// Where the next part begins; `None` if there is none.
    next: Option<PageRequest>,
    parts: usize,
}

impl<T> Filling<T> {
    pub(crate) fn new(page: &page::Page) -> Self {
        Self {
            size: page.size as usize,
            items: Vec::new(),
            next: Some(page_request(page)),
            parts: 0,
        }
    }

    /// The part to read next; `None` once there is enough.
    pub(crate) fn part(&mut self) -> Option<PageRequest> {
        let room = u32::try_from(self.size - self.items.len()).unwrap_or(u32::MAX);
        if room == 0 || self.parts == MAX_PARTS {
            return None;
        }
        self.parts += 1;
        self.next.clone().map(|next| PageRequest { limit: room, ..next })
    }

    /// Takes a part over.
    pub(crate) fn add(&mut self, part: rollcall_store::Page<T>, wanted: impl Fn(&T) -> bool) {
        self.items.extend(part.items.into_iter().filter(wanted));
        self.next = part.next.map(|cursor| PageRequest {
            limit: 1,
            after: Some(cursor),
        });
    }

    /// The items, and the token of the page after them.
    pub(crate) fn end(self, page: &page::Page) -> (Vec<T>, String) {
        let cursor = self.next.and_then(|next| next.after);
        (self.items, next_token(page, cursor.as_ref()))
    }
}

/// The token of the page after this one; empty on the last.
pub(crate) fn next_token(page: &page::Page, next: Option<&Cursor>) -> String {
    next.map(|cursor| page.next_token(cursor.as_str()))
        .unwrap_or_default()
}

/// What the audit log says of a change: fields with the values that they got.
pub(crate) type Details = BTreeMap<String, String>;

impl Worker {
    /// Records a change that was made.
    pub(crate) async fn record(
        &self,
        caller: &Caller,
        tenant: &TenantId,
        method: &'static str,
        resource: String,
        details: Details,
    ) -> Result<(), Error> {
        tracing::info!(
            audit.caller = caller.name(),
            audit.method = method,
            audit.resource = resource,
            "changed"
        );
        let event = NewAuditEvent {
            time: self.now(),
            tenant: Some(tenant.clone()),
            caller: caller.audited(),
            kind: AuditKind::Change {
                method: method.into(),
                resource,
                details,
            },
        };
        self.store.record_audit(&[event]).await.map_err(|error| {
            let message = "the change was made, but could not be recorded in the audit log";
            Error::new(Reason::Internal, message).caused_by(error)
        })
    }
}

/// Longest value in the audit log, in characters.
const MAX_SHOWN: usize = 200;

/// The value of a field for the audit log.
pub(crate) fn shown(value: &impl std::fmt::Debug) -> String {
    let text = format!("{value:?}");
    match text.char_indices().nth(MAX_SHOWN) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text,
    }
}

/// The fields that differ, with the values that they got.
macro_rules! differences {
    ($before:expr, $after:expr; $($field:ident),* $(,)?) => {{
        let mut details = $crate::services::Details::new();
        $(if $before.$field != $after.$field {
            details.insert(stringify!($field).to_owned(), $crate::services::shown(&$after.$field));
        })*
        details
    }};
}
pub(crate) use differences;
