//! AuditService.

mod review;

use rollcall_core::audit::{AuditEvent, AuditKind};
use rollcall_core::error::Error;
use rollcall_core::id::TenantId;
use rollcall_core::violation::{Violations, check_text};
use rollcall_proto::convert::audit::{AuditEventFilter, ListAuditEvents};
use rollcall_proto::resource_name::{self, TenantScope};
use rollcall_proto::v1;
use rollcall_proto::v1::audit_service_server::AuditService;
use rollcall_runtime::caller::{Permission, Scope, authorize};
use rollcall_store::AuditFilter;
use tonic::{Request, Response, Status};

use crate::worker::Worker;
use rollcall_service::call::{Call, answer, decode, to_its_end};
use rollcall_service::paging::{Filling, fitting};

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
    async fn list_audit_events(
        &self,
        request: Request<v1::ListAuditEventsRequest>,
    ) -> Result<Response<v1::ListAuditEventsResponse>, Status> {
        answer(self.list(request).await)
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
        let Call {
            caller,
            request: ListAuditEvents { scope, filter, page },
            ..
        } = decode(request, Permission::Audit)?;
        let tenant = match &scope {
            TenantScope::One(tenant) => {
                caller.may_touch(tenant)?;
                Some(tenant)
            }
            // Events without a tenant are there too, which are nobody's but the operator's.
            TenantScope::All => {
                all?;
                None
            }
        };
        let user = filter.resource.as_deref().and_then(resource_name::parse_user);
        let store_filter = AuditFilter {
            from: filter.start_time,
            to: filter.end_time,
            user: user.map(|name| name.user),
        };
        let store = &self.0.store;
        let (filter, store_filter) = (&filter, &store_filter);
        fitting(page, |page| async move {
            let wanted = |event: &AuditEvent| matches(event, filter);
            let mut filling = Filling::new(&page);
            while let Some(part) = filling.part() {
                filling.add(store.list_audit(tenant, store_filter, &part).await?, wanted);
            }
            let (events, next_page_token) = filling.end(&page);
            let answer = v1::ListAuditEventsResponse {
                audit_events: events.iter().map(Into::into).collect(),
                next_page_token,
            };
            Ok((answer, events.len()))
        })
        .await
    }
}

/// What of the filter the store does not look at.
fn matches(event: &AuditEvent, filter: &AuditEventFilter) -> bool {
    let by_caller = filter
        .caller
        .as_ref()
        .is_none_or(|caller| *caller == event.caller.name);
    let by_outcome = filter.login_outcomes.is_empty()
        || matches!(&event.kind, AuditKind::Login { outcome, .. } if filter.login_outcomes.contains(outcome));
    let by_resource = filter
        .resource
        .as_ref()
        .is_none_or(|wanted| resources(event).contains(wanted));
    by_caller && by_outcome && by_resource
}

/// The names of the resources that an event is about.
fn resources(event: &AuditEvent) -> Vec<String> {
    match &event.kind {
        AuditKind::Change { resource, .. } => vec![resource.clone()],
        AuditKind::Login {
            user,
            user_sync,
            directory,
            ..
        } => {
            let Some(tenant) = &event.tenant else {
                return Vec::new();
            };
            let user = user.map(|user| resource_name::user(tenant, user));
            let user_sync = user_sync
                .as_ref()
                .map(|sync| resource_name::user_sync(tenant, sync));
            let directory = directory
                .as_ref()
                .map(|directory| resource_name::directory(tenant, directory));
            [user, user_sync, directory].into_iter().flatten().collect()
        }
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
