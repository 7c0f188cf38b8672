//! Logins in a world, what they are answered in words, and what the audit log says of them.

use rollcall_core::audit::AuditFilter;
use rollcall_core::audit::{AuditKind, Flood};
use rollcall_core::id::TenantId;
use rollcall_core::user::User;
use rollcall_proto::v1::auth_service_client::AuthServiceClient;
use rollcall_proto::v1::authenticate_response::Outcome;
use rollcall_proto::v1::{AuthenticateRequest, AuthenticateResponse, DenialReason};
use rollcall_store::PageRequest;
use tonic::{Response, Status};

use super::World;

impl<S> World<S> {
    /// The user of a login.
    pub(crate) async fn user(&self, login: &str) -> User {
        self.store
            .lookup_user(&self.tenant, login)
            .await
            .unwrap()
            .unwrap()
    }

    /// A login through the first gateway, in words.
    pub(crate) async fn login(&self, login: &str, password: &str) -> String {
        self.attempt(0, request(login, password)).await
    }

    /// An attempt through a gateway, in words: `OK login`, `DENIED reason` or `code reason`.
    pub(crate) async fn attempt(&self, gateway: usize, request: AuthenticateRequest) -> String {
        let answer = AuthServiceClient::new(self.channel(gateway))
            .authenticate(request)
            .await;
        told(answer)
    }

    /// The audit log's login attempts from the oldest to the newest, as `OUTCOME REASON`.
    pub(crate) async fn audit(&self) -> Vec<String> {
        let kinds = self.audited(Some(&self.tenant)).await;
        kinds.into_iter().filter_map(in_words).collect()
    }

    /// How long the soft lock makes an attempt through a gateway wait, in seconds.
    pub(crate) async fn wait(&self, gateway: usize, request: AuthenticateRequest) -> i64 {
        let mut auth = AuthServiceClient::new(self.channel(gateway));
        let answer = auth.authenticate(request).await.unwrap().into_inner();
        match answer.outcome.unwrap() {
            Outcome::Denial(denial) => denial.retry_after.unwrap().seconds,
            Outcome::Authenticated(_) => panic!("it was let in"),
        }
    }

    /// The same of those that belong to no tenant, sorted; those that are counted together too.
    pub(crate) async fn early_audit(&self) -> Vec<String> {
        self.store.audit_refusals(super::now()).await.unwrap();
        let kinds = self.audited(None).await;
        let each = kinds.into_iter().flat_map(|kind| {
            let attempts = match &kind {
                AuditKind::Login {
                    flood: Some(flood), ..
                } => flood.attempts,
                _ => 1,
            };
            vec![kind; usize::try_from(attempts).unwrap()]
        });
        let mut told: Vec<String> = each.filter_map(in_words).collect();
        told.sort();
        told
    }

    /// The client addresses of login attempts that belong to no tenant, from the oldest event to the newest.
    pub(crate) async fn early_clients(&self) -> Vec<Option<String>> {
        self.store.audit_refusals(super::now()).await.unwrap();
        let client = |kind| match kind {
            AuditKind::Login { client_address, .. } => Some(client_address),
            AuditKind::Change { .. } => None,
        };
        let kinds = self.audited(None).await;
        kinds.into_iter().filter_map(client).collect()
    }

    /// What the audit log keeps of logins that name nobody.
    pub(crate) async fn unknown_logins(&self) -> Vec<String> {
        let unknown = |kind| match kind {
            AuditKind::Login { unknown_login, .. } => unknown_login,
            AuditKind::Change { .. } => None,
        };
        let kinds = self.audited(Some(&self.tenant)).await;
        kinds.into_iter().filter_map(unknown).collect()
    }

    /// The floods in the audit log.
    pub(crate) async fn floods(&self) -> Vec<Flood> {
        let flood = |kind| match kind {
            AuditKind::Login { flood, .. } => flood,
            AuditKind::Change { .. } => None,
        };
        self.audited(Some(&self.tenant))
            .await
            .into_iter()
            .filter_map(flood)
            .collect()
    }

    async fn audited(&self, tenant: Option<&TenantId>) -> Vec<AuditKind> {
        let mut page = PageRequest::first(1_000);
        let mut kinds = Vec::new();
        loop {
            let filter = AuditFilter::default();
            let found = self.store.list_audit(tenant, &filter, &page);
            let found = found.await.unwrap();
            let events = found.items.into_iter();
            kinds.extend(
                events
                    .filter(|event| event.tenant.as_ref() == tenant)
                    .map(|event| event.kind),
            );
            page.after = found.next;
            if page.after.is_none() {
                break;
            }
        }
        kinds.reverse();
        kinds
    }
}

fn in_words(kind: AuditKind) -> Option<String> {
    match kind {
        AuditKind::Login { outcome, reason, .. } => Some(format!("{} {}", outcome.word(), reason.as_str())),
        AuditKind::Change { .. } => None,
    }
}

/// An answer in words, as [`World::attempt`] tells it.
pub(crate) fn told(answer: Result<Response<AuthenticateResponse>, Status>) -> String {
    match answer.map(|response| response.into_inner().outcome.unwrap()) {
        Ok(Outcome::Authenticated(authenticated)) => format!("OK {}", authenticated.user.unwrap().login),
        Ok(Outcome::Denial(denial)) => {
            let reason = DenialReason::try_from(denial.reason).unwrap();
            assert_eq!(
                denial.retry_after.is_some(),
                reason == DenialReason::TooManyAttempts
            );
            format!(
                "DENIED {}",
                reason.as_str_name().trim_start_matches("DENIAL_REASON_")
            )
        }
        Err(status) => {
            let reason = rollcall_proto::status::reason(&status);
            format!(
                "{:?} {}",
                status.code(),
                reason.map_or("-", |reason| reason.as_str())
            )
        }
    }
}

/// A request of the tenant.
pub(crate) fn request(login: &str, password: &str) -> AuthenticateRequest {
    AuthenticateRequest {
        tenant: "tenants/acme".into(),
        login: login.into(),
        password: password.into(),
        ..AuthenticateRequest::default()
    }
}
