//! AuditService.

mod review;
mod watch;

use std::sync::Arc;

use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::violation::{Violations, check_text};
use rollcall_proto::convert::audit::{ListAuditEvents, WatchAuditEvents};
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_proto::v1;
use rollcall_proto::v1::audit_service_server::AuditService;
use rollcall_runtime::caller::{Caller, Permission, Scope, authorize};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::watch::Watching;
use crate::worker::Worker;
use rollcall_service::call::{answer, decode, failed, to_its_end};
use rollcall_service::paging::{fitting, next_token, page_request};

/// Serves AuditService.
#[derive(Clone)]
pub(crate) struct Audit(pub(crate) Worker);

/// RecordSecurityReview.
struct RecordReview {
    tenant: TenantId,
    etag: String,
    reviewer: String,
    note: String,
}

/// GetSecurityReview.
struct GetReview(TenantId);

#[tonic::async_trait]
impl AuditService for Audit {
    type WatchAuditEventsStream = ReceiverStream<Result<v1::WatchAuditEventsResponse, Status>>;

    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        answer(self.list(request).await)
    }

    async fn watch_audit_events(
        &self,
        request: Request<v1::WatchAuditEventsRequest>,
    ) -> Result<Response<Self::WatchAuditEventsStream>, Status> {
        let watching = self.watching(request).map_err(|error| failed(&error))?;
        let (to, events) = mpsc::channel(watch::BUFFER);
        tokio::spawn(watching.run(to));
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn get_security_review(
        &self,
        request: Request<v1::GetSecurityReviewRequest>,
    ) -> Result<Response<v1::SecurityReview>, Status> {
        answer(self.review(decode(request, Permission::Audit)).await)
    }

    async fn record_security_review(
        &self,
        request: Request<v1::RecordSecurityReviewRequest>,
    ) -> Result<Response<v1::SecurityReviewRecord>, Status> {
        let (this, call) = (self.clone(), decode(request, Permission::Audit));
        answer(to_its_end(async move { this.record_review(call).await }).await)
    }
}

impl Audit {
    async fn list(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<v1::ListAuditEventsResponse, Error> {
        let all = authorize(request.extensions(), Permission::Audit, Scope::AllTenants);
        let call = decode(request, Permission::Audit)?;
        let ListAuditEvents { scope, filter, page } = call.request;
        let tenant = whose(&call.caller, &scope, all)?;
        let store = &self.0.store;
        let filter = &filter;
        fitting(page, |page| async move {
            let found = store.list_audit(tenant, filter, &page_request(&page)).await?;
            let events = found.items;
            let answer = v1::ListAuditEventsResponse {
                audit_events: events.iter().map(Into::into).collect(),
                next_page_token: next_token(&page, found.next.as_ref()),
            };
            Ok((answer, events.len()))
        })
        .await
    }
}

impl Audit {
    fn watching(&self, request: Request<v1::WatchAuditEventsRequest>) -> Result<Watching, Error> {
        let all = authorize(request.extensions(), Permission::Audit, Scope::AllTenants);
        let call = decode(request, Permission::Audit)?;
        let WatchAuditEvents { scope, after, filter } = call.request;
        let tenant = whose(&call.caller, &scope, all)?.cloned();
        Watching::new(self.0.clone(), tenant, &after, filter)
    }
}

/// The tenant whose events are asked for; `None` for all. Events without a tenant are nobody's but the operator's.
fn whose<'s>(
    caller: &Caller,
    scope: &'s TenantScope,
    may_all: Result<Arc<Caller>, Error>,
) -> Result<Option<&'s TenantId>, Error> {
    match scope {
        TenantScope::One(tenant) => caller.may_touch(tenant).map(|()| Some(tenant)),
        TenantScope::All => may_all.map(|_| None),
    }
}

impl TryFrom<v1::GetSecurityReviewRequest> for GetReview {
    type Error = Error;

    fn try_from(request: v1::GetSecurityReviewRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = review_name(&mut found, &request.name);
        tenant.map(Self).ok_or_else(|| Error::invalid(found))
    }
}

impl TryFrom<v1::RecordSecurityReviewRequest> for RecordReview {
    type Error = Error;

    fn try_from(request: v1::RecordSecurityReviewRequest) -> Result<Self, Error> {
        let mut found = Violations::new();
        let tenant = review_name(&mut found, &request.name);
        found.require(
            !request.etag.is_empty(),
            "etag",
            "is required: the etag of the review that was looked at",
        );
        check_text(&mut found, "reviewer", &request.reviewer, 1, 200);
        found.require(
            request.note.chars().count() <= 2000,
            "note",
            "has more than 2000 characters",
        );
        match tenant {
            Some(tenant) if found.is_empty() => Ok(Self {
                tenant,
                etag: request.etag,
                reviewer: request.reviewer,
                note: request.note,
            }),
            _ => Err(Error::invalid(found)),
        }
    }
}

fn review_name(found: &mut Violations, name: &str) -> Option<TenantId> {
    let tenant = resource_name::parse_security_review(name);
    found.require(
        tenant.is_some(),
        "name",
        "must have the form tenants/{tenant}/securityReview",
    );
    tenant
}
