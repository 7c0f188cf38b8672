//! The gRPC server: listener, TLS, and the stack that every call passes through.
//!
//! A service builds its [`Routes`], then [`GrpcServer::bind`] and [`GrpcServer::serve`] do the rest. Handlers
//! find in a request's extensions: the caller (see [`crate::caller::authorize`]), [`Deadline`] and
//! [`RequestId`]; and they end with [`crate::failed`] when something is wrong.

mod connection;
mod http1;
mod incoming;
mod strangers;

use std::net::SocketAddr;
use std::time::Duration;

use prost::Message;
use prost_types::FileDescriptorSet;
use ring::rand::SecureRandom;
use rollcall_metrics::{Methods, metrics};
use rollcall_proto::FILE_DESCRIPTOR_SET;
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::codec::CompressionEncoding;
use tonic::service::Routes;
use tower::ServiceBuilder;

pub use crate::extensions::{Deadline, RequestId};
pub use crate::request_size::{MAX_AUTHENTICATE_BYTES, MAX_REQUEST_BYTES};

use crate::caller::Callers;
use crate::config::{Drain, Server, Shared, SharedTls, certificate_is_optional, tls_acceptor};
use crate::descriptors::Descriptors;
use crate::health::Health;
use crate::layer::authenticate::AuthenticateLayer;
use crate::layer::catch_panic::CatchPanicLayer;
use crate::layer::deadline::DeadlineLayer;
use crate::layer::explain::ExplainLayer;
use crate::layer::quota;
use crate::layer::refuse_if::RefuseIfLayer;
use crate::layer::request_memory::RequestMemoryLayer;
use crate::layer::stream_age::{ConnectionAge, StreamAgeLayer};
use crate::layer::trace::TraceLayer;
use crate::layer::watches::{WatchLimits, WatchesLayer};
use crate::layer::{compression, metadata_size, only_grpc};
use crate::request_size::SMALL_BYTES;

/// The compression that every service accepts. It answers compressed if the request was. The limits above count a
/// request's size without compression.
pub const COMPRESSION: CompressionEncoding = CompressionEncoding::Gzip;
const HEALTH: &str = "grpc.health.v1.Health";

/// The parts of a running server that can be replaced.
#[derive(Clone)]
pub(crate) struct Replaceable {
    pub(crate) callers: Callers,
    pub(crate) tls: SharedTls,
}

/// A server whose port is open but which does not answer yet.
pub struct GrpcServer {
    listener: TcpListener,
    address: SocketAddr,
    tls: SharedTls,
    callers: Callers,
    settings: Settings,
}

struct Settings {
    default_timeout: Duration,
    max_connections: u32,
    max_concurrent_streams: u32,
    connection_age: ConnectionAge,
    watches: WatchLimits,
    handshake_timeout: Duration,
    first_call_timeout: Duration,
    keepalive_interval: Duration,
    keepalive_timeout: Duration,
    drain: Drain,
}

/// The server cannot start or broke.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// The port is taken, or this process may not use it.
    #[error("cannot listen on {address}")]
    Listen {
        /// Where.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Certificate, key or authorities are missing or broken.
    #[error("cannot set up TLS")]
    Tls(#[source] Box<dyn std::error::Error + Send + Sync>),
    /// The operating system gives no random numbers.
    #[error("no random numbers")]
    Random,
    /// A descriptor set does not hold together.
    #[error("cannot serve reflection")]
    Reflection(#[source] tonic_reflection::server::Error),
    /// The transport gave up.
    #[error("the transport failed")]
    Transport(#[source] tonic::transport::Error),
}

impl GrpcServer {
    /// Opens the port. Must be called within a runtime.
    ///
    /// # Errors
    /// The port or the TLS files cannot be used.
    pub async fn bind(config: &Shared) -> Result<Self, ServerError> {
        let address = config.server.listen;
        let tls = tls_acceptor(config).map_err(|error| ServerError::Tls(Box::new(error)))?;
        let listen_failed = |source| ServerError::Listen { address, source };
        let listener = TcpListener::bind(address).await.map_err(listen_failed)?;
        let address = listener.local_addr().map_err(listen_failed)?;
        tell_of_tls(config);
        let settings = Settings::new(&config.server, config.drain);
        Ok(Self {
            listener,
            address,
            tls: SharedTls::new(tls),
            callers: Callers::new(&config.callers),
            settings,
        })
    }

    /// What can be replaced while the server serves.
    pub(crate) fn replaceable(&self) -> Replaceable {
        Replaceable {
            callers: self.callers.clone(),
            tls: self.tls.clone(),
        }
    }

    /// The address in use, with the port that the system chose.
    pub fn local_address(&self) -> SocketAddr {
        self.address
    }

    /// Serves until `stop` is cancelled, then drains: health turns NOT_SERVING, connections are accepted for another
    /// `drain.delay`, and calls under way get `drain.timeout` to end. Handlers of endless streams should watch `stop`
    /// themselves; otherwise their streams are cut then.
    ///
    /// # Errors
    /// The transport failed.
    pub async fn serve(
        self,
        routes: Routes,
        health: &Health,
        stop: CancellationToken,
    ) -> Result<(), ServerError> {
        let settings = self.settings;
        let close = CancellationToken::new();
        let service = ServiceBuilder::new()
            .layer(TraceLayer::new(random()?, methods(&health.services())))
            .layer(RefuseIfLayer(only_grpc::not_grpc))
            .layer(RefuseIfLayer(metadata_size::too_large))
            .layer(CatchPanicLayer)
            .layer(StreamAgeLayer {
                age: settings.connection_age,
                close: close.clone(),
            })
            .layer(AuthenticateLayer {
                callers: self.callers,
            })
            .layer(RefuseIfLayer(quota::spent))
            .layer(WatchesLayer::new(settings.watches))
            .layer(DeadlineLayer {
                default: settings.default_timeout,
            })
            .layer(RequestMemoryLayer::new())
            .map_request(compression::only_when_asked)
            .layer(ExplainLayer {
                services: health.services(),
            })
            .service(routes.prepare());

        let limits = incoming::Limits {
            connections: settings.max_connections,
            handshake: settings.handshake_timeout,
            first_call: settings.first_call_timeout,
        };
        let incoming = incoming::accept(self.listener, self.tls, limits);
        let serving = settings.transport().serve_with_incoming_shutdown(
            service,
            incoming,
            close.clone().cancelled_owned(),
        );
        let draining = async {
            stop.cancelled().await;
            health.stop().await;
            tokio::time::sleep(settings.drain.delay).await;
            close.cancel();
            tokio::time::sleep(settings.drain.timeout).await;
        };
        tracing::info!(server.address = %self.address, "serving");
        tokio::select! {
            result = serving => result.map_err(ServerError::Transport)?,
            () = draining => tracing::warn!("calls were cut, since they outlasted drain.timeout"),
        }
        Ok(())
    }
}

/// The methods of these services of the contract, by path.
fn methods(services: &[&'static str]) -> Methods {
    let described = FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap_or_default();
    let paths = described.file.iter().flat_map(|file| {
        file.service.iter().flat_map(|service| {
            let full = format!("{}.{}", file.package(), service.name());
            let served = services.contains(&full.as_str());
            let methods = service.method.iter().filter(move |_| served);
            methods.map(move |method| format!("/{full}/{}", method.name()))
        })
    });
    metrics().rpc.of(paths)
}

/// Logs mistakes that are easily made when TLS is set up.
fn tell_of_tls(config: &Shared) {
    if config.server.has_tls() && config.health.listen.is_none() {
        tracing::info!(
            "probes of Kubernetes speak no TLS: set health.listen, and probe /livez and /readyz there"
        );
    }
    if config.server.client_ca_file.is_some() && !certificate_is_optional(&config.callers) {
        tracing::info!(
            "no caller has a token, so a client without a certificate fails in the TLS handshake, which many report \
             as UNAVAILABLE or as their deadline"
        );
    }
}

/// Adds health and reflection (v1 and v1alpha) to a service's own routes. Reflection lists the services that health
/// knows: other services of the contract are served elsewhere.
///
/// # Errors
/// The descriptor set does not hold together.
pub fn with_health_and_reflection(
    routes: Routes,
    health: &Health,
    descriptor_set: &[u8],
) -> Result<Routes, ServerError> {
    let configure = |own: &str| {
        let names = health.services();
        let builder = names
            .iter()
            .fold(tonic_reflection::server::Builder::configure(), |builder, name| {
                builder.with_service_name(*name)
            });
        builder
            .with_service_name(HEALTH)
            .with_service_name(own)
            .register_encoded_file_descriptor_set(descriptor_set)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // Without these, grpcurl shows the details of errors as bytes.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = configure("grpc.reflection.v1.ServerReflection")
        .build_v1()
        .map_err(ServerError::Reflection)?;
    let v1alpha = configure("grpc.reflection.v1alpha.ServerReflection")
        .build_v1alpha()
        .map_err(ServerError::Reflection)?;
    Ok(routes
        .add_service(
            health
                .service()
                .max_decoding_message_size(SMALL_BYTES)
                .accept_compressed(COMPRESSION)
                .send_compressed(COMPRESSION),
        )
        .add_service(
            v1.max_decoding_message_size(SMALL_BYTES)
                .accept_compressed(COMPRESSION)
                .send_compressed(COMPRESSION),
        )
        .add_service(
            v1alpha
                .max_decoding_message_size(SMALL_BYTES)
                .accept_compressed(COMPRESSION)
                .send_compressed(COMPRESSION),
        ))
}

impl Settings {
    fn new(server: &Server, drain: Drain) -> Self {
        Self {
            default_timeout: server.default_timeout,
            max_connections: Descriptors::allowed().for_callers(server.max_connections),
            max_concurrent_streams: server.max_concurrent_streams,
            connection_age: ConnectionAge {
                greatest: server.max_connection_age,
                chance,
            },
            watches: WatchLimits {
                per_caller: server.max_streams_per_caller,
                reader_timeout: server.reader_timeout,
            },
            handshake_timeout: server.handshake_timeout,
            first_call_timeout: server.first_call_timeout,
            keepalive_interval: server.keepalive_interval,
            keepalive_timeout: server.keepalive_timeout,
            drain,
        }
    }

    fn transport(&self) -> tonic::transport::Server {
        let server = tonic::transport::Server::builder()
            .max_concurrent_streams(self.max_concurrent_streams)
            .http2_keepalive_interval(Some(self.keepalive_interval))
            .http2_keepalive_timeout(Some(self.keepalive_timeout))
            .http2_max_header_list_size(metadata_size::MAX_TRANSPORT_BYTES);
        // No grace on top: with one set, tonic skips the polite GOAWAY and only cuts.
        match self.connection_age.asked() {
            Some(asked) => server.max_connection_age(asked),
            None => server,
        }
    }
}

/// A number from 0 to less than 1, which spreads what would otherwise happen at once. Without random numbers nothing is
/// spread.
fn chance() -> f64 {
    random().map_or(0.0, |number| f64::from(number) / (f64::from(u32::MAX) + 1.0))
}

fn random() -> Result<u32, ServerError> {
    let mut bytes = [0; 4];
    ring::rand::SystemRandom::new()
        .fill(&mut bytes)
        .map_err(|_| ServerError::Random)?;
    Ok(u32::from_be_bytes(bytes))
}
