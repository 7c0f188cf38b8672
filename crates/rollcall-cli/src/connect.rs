//! How the worker is reached: endpoint, TLS, token, deadline.

use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use rollcall_core::error::chain;
use rollcall_proto::v1::audit_service_client::AuditServiceClient;
use rollcall_proto::v1::directory_service_client::DirectoryServiceClient;
use rollcall_proto::v1::sync_run_service_client::SyncRunServiceClient;
use rollcall_proto::v1::user_service_client::UserServiceClient;
use rollcall_proto::v1::user_sync_service_client::UserSyncServiceClient;
use tonic::metadata::{Ascii, MetadataValue};
use tonic::service::interceptor::InterceptedService;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, Uri};
use tonic::{Request, Status};
use zeroize::Zeroizing;

use crate::failure::Failure;

const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
/// A run may be silent for long; this tells a dead connection from a busy worker.
const PING_INTERVAL: Duration = Duration::from_secs(30);

/// The metadata key of the reason.
const REASON: &str = "rollcall-reason";

/// Options that say how the worker is reached.
#[derive(Args)]
pub(crate) struct Connection {
    /// The sync worker
    #[arg(
        long,
        env = "ROLLCALL_ENDPOINT",
        default_value = "http://127.0.0.1:50052",
        global = true
    )]
    endpoint: String,
    /// PEM file of the authorities that sign the worker's certificate; needed for https
    #[arg(long, env = "ROLLCALL_CA_FILE", value_name = "FILE", global = true)]
    ca_file: Option<PathBuf>,
    /// Name in the worker's certificate, if it is not that of the endpoint
    #[arg(long, env = "ROLLCALL_SERVER_NAME", value_name = "NAME", global = true)]
    server_name: Option<String>,
    /// PEM file of the client certificate
    #[arg(
        long,
        env = "ROLLCALL_CERTIFICATE_FILE",
        value_name = "FILE",
        requires = "key_file",
        global = true
    )]
    certificate_file: Option<PathBuf>,
    /// PEM file of the client certificate's key
    #[arg(
        long,
        env = "ROLLCALL_KEY_FILE",
        value_name = "FILE",
        requires = "certificate_file",
        global = true
    )]
    key_file: Option<PathBuf>,
    /// File with the bearer token; or set ROLLCALL_TOKEN
    #[arg(long, env = "ROLLCALL_TOKEN_FILE", value_name = "FILE", global = true)]
    token_file: Option<PathBuf>,
    /// Send the token even if anybody on the way can read it
    #[arg(long, global = true)]
    insecure: bool,
    /// On whose behalf, as the audit record shows it; the name of this account if it is not given
    #[arg(long, env = "ROLLCALL_ACTOR", value_name = "WHO", global = true)]
    actor: Option<String>,
    /// Why, as the audit record shows it, for example the number of a ticket
    #[arg(long, env = "ROLLCALL_REASON", value_name = "WHY", global = true)]
    reason: Option<String>,
    /// Longest wait for an answer, in seconds; runs are waited for without limit
    #[arg(long, default_value_t = 60, value_parser = clap::value_parser!(u64).range(1..=3600), global = true)]
    timeout: u64,
}

/// A connection to the worker.
pub(crate) struct Client {
    channel: Channel,
    headers: Headers,
    timeout: Duration,
}

/// Adds the credentials and the actor to each call.
#[derive(Clone)]
pub(crate) struct Headers(Vec<(&'static str, MetadataValue<Ascii>)>);

type Authorized = InterceptedService<Channel, Headers>;

impl tonic::service::Interceptor for Headers {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        for (name, value) in &self.0 {
            request.metadata_mut().insert(*name, value.clone());
        }
        Ok(request)
    }
}

impl Connection {
    /// Connects to the worker.
    pub(crate) async fn open(&self) -> Result<Client, Failure> {
        self.open_at(&self.endpoint).await
    }

    /// Connects to a service.
    pub(crate) async fn open_at(&self, at: &str) -> Result<Client, Failure> {
        let local = |text: String| Failure::Local(text);
        let uri: Uri = at
            .parse()
            .map_err(|_| local(format!("\"{at}\" is not an endpoint")))?;
        let has_tls = match uri.scheme_str() {
            Some("https") => true,
            Some("http") => false,
            _ => {
                return Err(local(format!("\"{at}\" must begin with http:// or https://")));
            }
        };
        let token = self.token()?;
        if token.is_some() && !has_tls && !is_loopback(&uri) && !self.insecure {
            return Err(local(
                "a token needs an https endpoint (or --insecure)".to_owned(),
            ));
        }
        let mut endpoint = Endpoint::from(uri)
            .connect_timeout(CONNECT_TIMEOUT)
            .http2_keep_alive_interval(PING_INTERVAL)
            .user_agent(concat!("rollcallctl/", env!("CARGO_PKG_VERSION")))
            .map_err(|error| local(error.to_string()))?;
        if has_tls {
            endpoint = endpoint
                .tls_config(self.tls()?)
                .map_err(|error| local(chain(&error)))?;
        }
        let channel = endpoint
            .connect()
            .await
            .map_err(|error| local(format!("cannot reach {at}: {}", chain(&error))))?;
        let mut headers = self.actor()?;
        headers.extend(token.map(|token| ("authorization", token)));
        Ok(Client {
            channel,
            headers: Headers(headers),
            timeout: Duration::from_secs(self.timeout),
        })
    }

    #[expect(
        clippy::disallowed_methods,
        reason = "a token on the command line could be read by every process"
    )]
    fn token(&self) -> Result<Option<MetadataValue<Ascii>>, Failure> {
        let text = match &self.token_file {
            Some(path) => Zeroizing::new(read(path)?),
            None => match std::env::var("ROLLCALL_TOKEN") {
                Ok(text) => Zeroizing::new(text),
                Err(_) => return Ok(None),
            },
        };
        let header = Zeroizing::new(format!("Bearer {}", text.trim()));
        let mut value: MetadataValue<Ascii> = header
            .parse()
            .map_err(|_| Failure::Local("the token holds characters that cannot be sent".to_owned()))?;
        value.set_sensitive(true);
        Ok(Some(value))
    }

    /// The actor that this client names. The account's name is left out if the worker would not accept it.
    fn actor(&self) -> Result<Vec<(&'static str, MetadataValue<Ascii>)>, Failure> {
        let own = account().filter(|name| name.len() <= 256 && !name.chars().any(char::is_control));
        let actor = self.actor.clone().or(own);
        let told = [("rollcall-actor", actor), (REASON, self.reason.clone())];
        let told = told.into_iter().filter_map(|(name, text)| Some((name, text?)));
        told.map(|(name, text)| {
            let value = MetadataValue::try_from(text.as_bytes());
            value
                .map(|value| (name, value))
                .map_err(|_| Failure::Local(format!("{name} holds characters that cannot be sent")))
        })
        .collect()
    }

    fn tls(&self) -> Result<ClientTlsConfig, Failure> {
        let Some(ca_file) = &self.ca_file else {
            return Err(Failure::Local("an https endpoint needs --ca-file".to_owned()));
        };
        let mut tls = ClientTlsConfig::new().ca_certificate(Certificate::from_pem(read(ca_file)?));
        if let Some(name) = &self.server_name {
            tls = tls.domain_name(name);
        }
        if let (Some(certificate), Some(key)) = (&self.certificate_file, &self.key_file) {
            tls = tls.identity(Identity::from_pem(read(certificate)?, read(key)?));
        }
        Ok(tls)
    }
}

impl Client {
    /// Whether the audit record will have a reason.
    pub(crate) fn tells_why(&self) -> bool {
        self.headers
            .0
            .iter()
            .any(|(name, value)| *name == REASON && !value.is_empty())
    }

    /// A call that must be answered in time.
    pub(crate) fn request<T>(&self, message: T) -> Request<T> {
        let mut request = Request::new(message);
        request.set_timeout(self.timeout);
        request
    }

    pub(crate) fn directories(&self) -> DirectoryServiceClient<Authorized> {
        DirectoryServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    pub(crate) fn user_syncs(&self) -> UserSyncServiceClient<Authorized> {
        UserSyncServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    pub(crate) fn users(&self) -> UserServiceClient<Authorized> {
        UserServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    pub(crate) fn audit(&self) -> AuditServiceClient<Authorized> {
        AuditServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }

    pub(crate) fn sync_runs(&self) -> SyncRunServiceClient<Authorized> {
        SyncRunServiceClient::with_interceptor(self.channel.clone(), self.headers.clone())
    }
}

#[expect(
    clippy::disallowed_methods,
    reason = "the account's name is no setting of this program"
)]
fn account() -> Option<String> {
    let named = |variable| std::env::var(variable).ok().filter(|name| !name.is_empty());
    named("USER").or_else(|| named("LOGNAME"))
}

fn is_loopback(uri: &Uri) -> bool {
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    host == "localhost"
        || host
            .parse::<std::net::IpAddr>()
            .is_ok_and(|address| address.is_loopback())
}

fn read(path: &Path) -> Result<String, Failure> {
    std::fs::read_to_string(path)
        .map_err(|error| Failure::Local(format!("cannot read {}: {error}", path.display())))
}
