//! The sync worker, seen from here: it renews a user.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use rollcall_core::error::Reason;
use rollcall_core::id::{TenantId, UserId};
use rollcall_metrics::metrics;
use rollcall_proto::v1::RefreshUserRequest;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use rollcall_proto::{resource_name, status};
use rollcall_runtime::config::Secret;
use rollcall_runtime::telemetry;
use tokio::time::Instant;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use crate::config;

/// The connection to the worker. It is made when first needed, and again when it broke. Clones share it, also when it is
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
    /// A file cannot be read.
    #[error("cannot read {path}")]
    File {
        /// The configuration key that names it.
        key: &'static str,
        /// Which.
        path: String,
        /// Why.
        source: std::io::Error,
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
    /// It is not there, or cannot work.
    #[error("the sync worker answered {}", .0.code())]
    OutOfOrder(#[source] Box<tonic::Status>),
    /// It could not ask the directory.
    #[error("the sync worker could not ask the directory: {}", .0.as_str())]
    Directory(Reason),
    /// It did its work, and there is nothing to renew as things stand.
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

    /// The worker is of no use at the moment, whomever it should renew.
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
    /// Files that cannot be read or used.
    pub fn new(settings: &config::Worker, token: Option<&Secret>) -> Result<Self, WorkerError> {
        let authorization = match token.map_or("", Secret::expose) {
            "" => None,
            token => {
                let mut value: MetadataValue<Ascii> = format!("Bearer {token}")
                    .parse()
                    .map_err(|_| WorkerError::Token)?;
                value.set_sensitive(true);
                Some(value)
            }
        };
        let client = match settings.endpoint.as_str() {
            "" => None,
            uri => Some(UserSyncServiceClient::new(channel(uri, settings)?)),
        };
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

/// No worker answered this call: its connection ended first. A worker ends each connection at an age, and a call that
/// is sent in that moment is lost (RFC 9113 section 6.8). To renew a user twice is to renew them once, so such a call
/// may be repeated. A worker's own answer has no source.
fn lost_its_connection(status: &tonic::Status) -> bool {
    std::error::Error::source(status).is_some()
}

fn channel(uri: &str, settings: &config::Worker) -> Result<Channel, WorkerError> {
    let mut endpoint = Endpoint::from_shared(uri.to_owned())
        .map_err(WorkerError::Endpoint)?
        .connect_timeout(settings.timeout)
        .http2_keep_alive_interval(Duration::from_secs(30));
    if uri.starts_with("https://") {
        endpoint = endpoint
            .tls_config(tls(settings)?)
            .map_err(WorkerError::Endpoint)?;
    }
    Ok(endpoint.connect_lazy())
}

fn tls(settings: &config::Worker) -> Result<ClientTlsConfig, WorkerError> {
    let read = |key: &'static str, path: &Path| {
        std::fs::read(path).map_err(|source| WorkerError::File {
            key,
            path: path.display().to_string(),
            source,
        })
    };
    let mut tls = ClientTlsConfig::new();
    if let Some(path) = &settings.ca_file {
        tls = tls.ca_certificate(Certificate::from_pem(read("worker.ca_file", path)?));
    }
    if let (Some(certificate), Some(key)) = (&settings.certificate_file, &settings.key_file) {
        let certificate = read("worker.certificate_file", certificate)?;
        tls = tls.identity(Identity::from_pem(certificate, read("worker.key_file", key)?));
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
