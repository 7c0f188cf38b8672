//! The connection to the sync worker, which renews a user during a login.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rollcall_core::error::Reason;
use rollcall_core::id::{TenantId, UserId};
use rollcall_metrics::metrics;
use rollcall_proto::v1::RefreshUserRequest;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_proto::{resource_name, status};
use rollcall_runtime::config::{Secret, certificate_problem, private_key_problem};
use rollcall_runtime::telemetry;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config;

/// The connection to the worker. It is made when first needed, and again after it broke. Clones share it, even if it is
/// replaced.
#[derive(Clone)]
pub struct Worker(Arc<RwLock<Access>>);

/// How the worker is called.
#[derive(Clone)]
struct Access {
    client: Option<UserSyncServiceClient<Channel>>,
    authorization: Option<MetadataValue<Ascii>>,
    timeout: Duration,
}

/// The worker cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum WorkerError {
    /// A file cannot be read, or holds something else.
    #[error("{problem}")]
    File {
        /// The configuration key that names it.
        key: &'static str,
        /// Which, and what is wrong with it.
        problem: String,
    },
    /// The token is not one that can be sent.
    #[error("the worker's token holds a character that cannot be sent")]
    Token,
    /// The endpoint or its certificates.
    #[error("the worker's endpoint cannot be used")]
    Endpoint(#[source] tonic::transport::Error),
}

impl WorkerError {
    /// The configuration key to look at.
    pub(crate) fn key(&self) -> &'static str {
        match self {
            Self::File { key, .. } => key,
            Self::Token => "worker.token",
            Self::Endpoint(_) => "worker.endpoint",
        }
    }
}

/// A user was not renewed.
#[derive(Debug, thiserror::Error)]
pub enum RefreshError {
    /// No worker is configured.
    #[error("no sync worker is configured")]
    NoWorker,
    /// It did not answer in time.
    #[error("the sync worker did not answer in time")]
    Timeout,
    /// It cannot be reached, or cannot work.
    #[error("the sync worker answered {}", .0.code())]
    OutOfOrder(#[source] Box<tonic::Status>),
    /// It could not ask the directory.
    #[error("the sync worker could not ask the directory: {}", .0.as_str())]
    Directory(Reason),
    /// It has looked at the user, and refuses to renew it as things stand.
    #[error("the sync worker renews no such user: {}", .0.as_str())]
    Rejected(Reason),
}

impl RefreshError {
    fn from_status(status: tonic::Status) -> Self {
        match status::reason(&status) {
            Some(
                reason @ (Reason::UserNotFound
                | Reason::TenantNotFound
                | Reason::UserSyncNotFound
                | Reason::DirectoryNotFound
                | Reason::SyncDisabled
                | Reason::EndpointUnconfirmed
                | Reason::ConcurrentChange),
            ) => Self::Rejected(reason),
            Some(
                reason @ (Reason::DirectoryMisconfigured
                | Reason::DirectoryUnavailable
                | Reason::DirectoryBusy
                | Reason::DirectoryTimeout),
            ) => Self::Directory(reason),
            _ => Self::OutOfOrder(Box::new(status)),
        }
    }

    /// True if the worker would fail now for any user.
    pub fn is_outage(&self) -> bool {
        match self {
            Self::NoWorker | Self::Timeout | Self::OutOfOrder(_) => true,
            Self::Directory(_) | Self::Rejected(_) => false,
        }
    }
}

impl Worker {
    /// Prepares the connection; nothing is sent yet. Must be called within a runtime.
    ///
    /// # Errors
    /// Files that cannot be read or used, all of them.
    pub fn new(settings: &config::Worker, token: Option<&Secret>) -> Result<Self, Vec<WorkerError>> {
        let mut errors = Vec::new();
        let authorization = match token.map_or("", Secret::expose) {
            "" => None,
            token => match format!("Bearer {token}").parse::<MetadataValue<Ascii>>() {
                Ok(mut value) => {
                    value.set_sensitive(true);
                    Some(value)
                }
                Err(_) => {
                    errors.push(WorkerError::Token);
                    None
                }
            },
        };
        let client = match settings.endpoint.as_str() {
            "" => None,
            uri => channel(uri, settings)
                .map_err(|more| errors.extend(more))
                .ok()
                .map(UserSyncServiceClient::new),
        };
        if !errors.is_empty() {
            return Err(errors);
        }
        Ok(Self(Arc::new(RwLock::new(Access {
            client,
            authorization,
            timeout: settings.timeout,
        }))))
    }

    /// Calls the worker as `other` does from now on. Calls under way end as they began.
    pub(crate) fn replace(&self, other: &Self) {
        let access = other.0.read().clone();
        *self.0.write() = access;
    }

    /// Has a user renewed by the rules of its user sync.
    ///
    /// # Errors
    /// The user may not be up to date.
    pub async fn refresh(
        &self,
        tenant: &TenantId,
        user: UserId,
        deadline: Instant,
    ) -> Result<(), RefreshError> {
        let access = self.0.read().clone();
        let mut client = access.client.ok_or(RefreshError::NoWorker)?;
        let left = deadline
            .saturating_duration_since(Instant::now())
            .min(access.timeout);
        let request = || {
            let mut request = tonic::Request::new(RefreshUserRequest {
                name: resource_name::user(tenant, user),
            });
            request.set_timeout(left);
            telemetry::propagate(request.metadata_mut());
            if let Some(authorization) = &access.authorization {
                request
                    .metadata_mut()
                    .insert("authorization", authorization.clone());
            }
            request
        };
        let call = async {
            match client.refresh_user(request()).await {
                Err(status) if lost_its_connection(&status) => client.refresh_user(request()).await,
                answer => answer,
            }
        };
        let refreshed = match tokio::time::timeout(left, call).await {
            Ok(Ok(_)) => Ok(()),
            Ok(Err(status)) => Err(RefreshError::from_status(status)),
            Err(_) => Err(RefreshError::Timeout),
        };
        if refreshed.is_err() {
            metrics().refreshes_failed.inc();
        }
        refreshed
    }
}

/// True if no worker answered this call because its connection ended first. A worker ends each connection at an age,
/// and a call that is sent in that moment is lost (RFC 9113 section 6.8). Renewing a user twice is the same as once, so
/// such a call may be repeated. An error that a worker sent has no source.
fn lost_its_connection(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn channel(uri: &str, settings: &config::Worker) -> Result<Channel, Vec<WorkerError>> {
    let refused = |error| vec![WorkerError::Endpoint(error)];
    let mut endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(refused)?
        .connect_timeout(settings.timeout)
        .http2_keep_alive_interval(Duration::from_secs(30));
    if uri.starts_with("https://") {
        endpoint = endpoint.tls_config(tls(settings)?).map_err(refused)?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls(settings: &config::Worker) -> Result<ClientTlsConfig, Vec<WorkerError>> {
    let mut errors = Vec::new();
    let mut read =
        |key: &'static str, path: &Option<PathBuf>, problem: fn(&'static str, &Path) -> Option<String>| {
            let path = path.as_ref()?;
            let problem = problem(key, path);
            let read = std::fs::read(path).map_err(|error| error.to_string());
            match (problem, read) {
                (None, Ok(pem)) => Some(pem),
                (Some(problem), _) | (None, Err(problem)) => {
                    errors.push(WorkerError::File { key, problem });
                    None
                }
            }
        };
    let authorities = read("worker.ca_file", &settings.ca_file, certificate_problem);
    let certificate = read(
        "worker.certificate_file",
        &settings.certificate_file,
        certificate_problem,
    );
    let key = read("worker.key_file", &settings.key_file, private_key_problem);
    if !errors.is_empty() {
        return Err(errors);
    }
    let mut tls = ClientTlsConfig::new();
    if let Some(authorities) = authorities {
        tls = tls.ca_certificate(Certificate::from_pem(authorities));
    }
    if let (Some(certificate), Some(key)) = (certificate, key) {
        tls = tls.identity(Identity::from_pem(certificate, key));
    }
    Ok(tls)
}

#[cfg(test)]
mod tests {
    use rollcall_core::error::Error;

    use super::*;

    #[test]
    fn only_a_worker_that_cannot_work_is_an_outage() {
        use Reason::*;
        for reason in Reason::ALL.iter().copied() {
            let error = RefreshError::from_status(status::to_status(&Error::new(reason, "x")));
            #[expect(clippy::wildcard_enum_match_arm, reason = "all others are outages")]
            let works = match reason {
                UserNotFound | TenantNotFound | UserSyncNotFound | DirectoryNotFound | SyncDisabled
                | EndpointUnconfirmed | ConcurrentChange => matches!(error, RefreshError::Rejected(_)),
                DirectoryMisconfigured | DirectoryUnavailable | DirectoryBusy | DirectoryTimeout => {
                    matches!(error, RefreshError::Directory(_))
                }
                _ => error.is_outage(),
            };
            assert!(works, "{reason:?} is {error}");
        }
    }
}
