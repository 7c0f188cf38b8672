//! AuditService.

mod review;
mod watch;

use rollcall_core::audit::AuditEvent;
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::violation::{Violations, check_text};
use rollcall_proto::convert::audit::{ListAuditEvents, WatchAuditEvents};
use rollcall_proto::resource_name;
use rollcall_proto::v1;
use rollcall_proto::v1::audit_service_server::AuditService;
use rollcall_store::PageRequest;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use self::watch::Watching;
use crate::worker::Worker;
use rollcall_service::call::{Call, answer, begin, failed, to_its_end};
use rollcall_service::paging::fill;

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
        let watching = self.watching(request).await.map_err(|error| failed(&error))?;
        let (to, events) = mpsc::channel(watch::BUFFER);
        tokio::spawn(watching.run(to));
        Ok(Response::new(ReceiverStream::new(events)))
    }

    async fn get_security_review(
        &self,
        request: Request<v1::GetSecurityReviewRequest>,
    ) -> Result<Response<v1::SecurityReview>, Status> {
        answer(self.review(begin(&self.0.store, request).await).await)
    }

    async fn record_security_review(
        &self,
        request: Request<v1::RecordSecurityReviewRequest>,
    ) -> Result<Response<v1::SecurityReviewRecord>, Status> {
        let (this, call) = (self.clone(), begin(&self.0.store, request).await);
        answer(to_its_end(async move { this.record_review(call).await }).await)
    }
}

impl Audit {
    async fn list(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<v1::ListAuditEventsResponse, Error> {
        let Call {
            caller,
            request: ListAuditEvents { scope, filter, page },
            ..
        } = begin(&self.0.store, request).await?;
        // Without a tenant, events that belong to no tenant are included, which concern the operator alone.
        let tenant = scope.tenant();
        let page = self.0.tokens.page(caller.tenants(), page)?;
        let store = &self.0.store;
        let read = async |part: PageRequest| store.list_audit(tenant, &filter, &part).await;
        let show = |event: &AuditEvent| Some(v1::AuditEvent::from(event));
        let (audit_events, next_page_token) = fill(&page, read, show).await?;
        Ok(v1::ListAuditEventsResponse {
            audit_events,
            next_page_token,
        })
    }

    async fn watching(&self, request: Request<v1::WatchAuditEventsRequest>) -> Result<Watching, Error> {
        let call = begin(&self.0.store, request).await?;
        let WatchAuditEvents { scope, after, filter } = call.request;
        Watching::new(self.0.clone(), scope, &after, filter)
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
