//! What a handler finds in the extensions of a request.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use crate::introduction::Introduction;

/// When the caller of a request stops waiting.
#[derive(Clone, Copy, Debug)]
pub struct Deadline(Instant);

/// The id of a request: the caller's `x-request-id`, or one that we made.
#[derive(Clone, Debug)]
pub struct RequestId(Arc<str>);

impl Deadline {
    pub(crate) fn new(instant: Instant) -> Self {
        Self(instant)
    }

    /// The deadline of the request with these extensions; the server gives every request one.
    pub fn of(extensions: &http::Extensions) -> Option<Self> {
        extensions.get().copied()
    }

    /// The point in time.
    pub fn instant(self) -> Instant {
        self.0
    }

    /// The time left; zero if it has passed.
    pub fn remaining(self) -> Duration {
        self.0.saturating_duration_since(Instant::now())
    }
}

impl RequestId {
    pub(crate) fn new(id: String) -> Self {
        Self(id.into())
    }

    /// The id as text: visible ASCII, at most 64 bytes.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

/// The other end of a connection; in the extensions of each of its requests.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    address: SocketAddr,
    certificate_names: Arc<[String]>,
    accepted: Instant,
    introduction: Arc<Introduction>,
}

impl Peer {
    /// The other end of a connection that was accepted just now.
    pub(crate) fn new(
        address: SocketAddr,
        certificate_names: impl Into<Arc<[String]>>,
        introduction: Arc<Introduction>,
    ) -> Self {
        Self {
            address,
            certificate_names: certificate_names.into(),
            accepted: Instant::now(),
            introduction,
        }
    }

    /// What it has shown of itself.
    pub(crate) fn introduction(&self) -> &Introduction {
        &self.introduction
    }

    /// Names in the client's certificate, which the handshake verified. Empty if it showed none.
    pub(crate) fn certificate_names(&self) -> &[String] {
        &self.certificate_names
    }

    /// When the connection was accepted.
    pub(crate) fn accepted(&self) -> Instant {
        self.accepted
    }

    /// Where the connection comes from.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }
}
