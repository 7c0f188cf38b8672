//! A server on a port of its own, stopped at the end.

use std::time::Duration;

use rollcall_runtime::config::{Loaded, Mistakes, Settings, Shared, Sources, load};
use rollcall_runtime::health::Health;
use rollcall_runtime::server::{GrpcServer, ServerError, with_health_and_reflection};
use serde::Deserialize;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::{Channel, Endpoint};

use crate::certificates::Authority;
use crate::probe_service::{Handlers, ProbeService, SERVICE};

/// Longest wait for anything; reached only when something is broken.
pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

#[derive(Deserialize)]
pub(crate) struct NoSections {}

impl Settings for NoSections {
    const ENVIRONMENT_PREFIX: &'static str = "PROBE";
    const DEFAULTS: &'static str = "[server]\nlisten = \"127.0.0.1:0\"\n[health]\ninterval = \"100ms\"";
    const SECRETS: &'static [&'static str] = &[];

    fn validate(&self, _: &Shared, _: &mut Mistakes) {}
}

pub(crate) struct Running {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) health: Health,
    pub(crate) handlers: Handlers,
    pub(crate) stop: CancellationToken,
    pub(crate) task: JoinHandle<Result<(), ServerError>>,
}

/// Settings from a TOML text.
pub(crate) fn settings(file: &str) -> Shared {
    let file = Some(("test.toml".to_owned(), file.to_owned()));
    let loaded: Result<Loaded<NoSections>, _> = load(&Sources {
        file,
        ..Sources::default()
    });
    loaded.unwrap_or_else(|mistakes| panic!("{mistakes}")).shared
}

impl Running {
    pub(crate) async fn start(file: &str) -> Self {
        Self::with(&settings(file), |_| ()).await
    }

    /// Shows the server to `prepare` before it serves.
    pub(crate) async fn with(settings: &Shared, prepare: impl FnOnce(&GrpcServer)) -> Self {
        let health = Health::new(&[SERVICE]).await;
        let server = GrpcServer::bind(settings).await.unwrap();
        prepare(&server);
        let address = server.local_address();
        let handlers = Handlers::default();
        let routes = Routes::new(ProbeService::new(handlers.clone()));
        let routes =
            with_health_and_reflection(routes, &health, rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
        let stop = CancellationToken::new();
        let (serving_health, serving_stop) = (health.clone(), stop.clone());
        let task = tokio::spawn(async move { server.serve(routes, &serving_health, serving_stop).await });
        Self {
            address,
            health,
            handlers,
            stop,
            task,
        }
    }

    /// One that speaks TLS and one that does not, each with a connection to it.
    pub(crate) async fn plain_and_tls() -> [(Self, Channel); 2] {
        let authority = Authority::new();
        let (plain, tls) = (
            Self::start("").await,
            Self::start(&authority.server_section()).await,
        );
        let endpoint = tls.endpoint("https").tls_config(authority.client()).unwrap();
        let channels = (plain.connect().await, endpoint.connect().await.unwrap());
        [(plain, channels.0), (tls, channels.1)]
    }

    pub(crate) fn endpoint(&self, scheme: &str) -> Endpoint {
        Endpoint::from_shared(format!("{scheme}://{}", self.address)).unwrap()
    }

    pub(crate) async fn connect(&self) -> Channel {
        self.endpoint("http").connect().await.unwrap()
    }

    /// The server's own end, once it was told to stop.
    pub(crate) async fn ended(self) {
        tokio::time::timeout(PATIENCE, self.task)
            .await
            .unwrap()
            .unwrap()
            .unwrap();
    }
}
