//! The client side of health: asks a running server whether it is ready. Used by the `healthcheck` subcommands.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use tonic::transport::Endpoint;
use tonic_health::ServingStatus;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_client::HealthClient;

use crate::config::Shared;
use crate::http1;

const PATIENCE: Duration = Duration::from_secs(5);

/// Why a server does not count as ready.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// It answered, and said so.
    #[error("not ready")]
    NotReady,
    /// It did not answer.
    #[error("{address} does not answer")]
    NoAnswer {
        /// The address.
        address: SocketAddr,
        /// The cause.
        source: Box<dyn std::error::Error + Send + Sync>,
    },
    /// Its gRPC port speaks TLS, and there is no other port.
    #[error("set health.listen to check a server that speaks TLS")]
    NoPlaintextListener,
}

/// Asks the server that runs with this configuration on this machine.
///
/// # Errors
/// It is not ready, or does not answer within five seconds.
pub async fn check(config: &Shared) -> Result<(), CheckError> {
    let (address, asking): (SocketAddr, futures::future::BoxFuture<'_, Result<bool, _>>) =
        match config.health.listen {
            Some(listen) => {
                let address = reachable(listen);
                (
                    address,
                    Box::pin(async move { Ok(http1::get(address, "/readyz").await? == 200) }),
                )
            }
            None if config.server.has_tls() => return Err(CheckError::NoPlaintextListener),
            None => {
                let address = reachable(config.server.listen);
                (address, Box::pin(ask_grpc(address)))
            }
        };
    let no_answer = |source| CheckError::NoAnswer { address, source };
    let answer = tokio::time::timeout(PATIENCE, asking)
        .await
        .map_err(|error| no_answer(Box::new(error)))?;
    if answer.map_err(no_answer)? {
        Ok(())
    } else {
        Err(CheckError::NotReady)
    }
}

async fn ask_grpc(address: SocketAddr) -> Result<bool, Box<dyn std::error::Error + Send + Sync>> {
    let channel = Endpoint::from_shared(format!("http://{address}"))?
        .connect()
        .await?;
    let request = HealthCheckRequest {
        service: String::new(),
    };
    let answer = HealthClient::new(channel).check(request).await?.into_inner();
    Ok(answer.status == ServingStatus::Serving as i32)
}

/// The address to ask. A server that listens on all addresses is asked on loopback.
#[expect(clippy::wildcard_enum_match_arm, reason = "of the standard library")]
fn reachable(mut address: SocketAddr) -> SocketAddr {
    match address.ip() {
        IpAddr::V4(v4) if v4.is_unspecified() => address.set_ip(Ipv4Addr::LOCALHOST.into()),
        IpAddr::V6(v6) if v6.is_unspecified() => address.set_ip(Ipv6Addr::LOCALHOST.into()),
        _ => {}
    }
    address
}
