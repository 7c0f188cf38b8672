//! From a host name to a connected socket.
//!
//! The name is resolved once and every address checked; then the addresses that passed are tried as in
//! RFC 8305: both families interleaved, the next one 250 ms after the last or at once when it failed, and
//! the first that connects wins.

use std::collections::VecDeque;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use rustix::io::Errno;
use socket2::{SockRef, TcpKeepalive};
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};

use crate::egress::EgressPolicy;
use crate::error::{DialFailure, LdapError};
use crate::idn;
use crate::resolver::Resolver;

/// Head start of one address over the next (RFC 8305 section 8).
const STAGGER: Duration = Duration::from_millis(250);
/// Most addresses of one name that are tried.
const MAX_ADDRESSES: usize = 16;

/// Errors by which the system says that this process or this machine has no descriptor, memory or port left.
const OWN_WANTS: [Errno; 5] = [
    Errno::MFILE,
    Errno::NFILE,
    Errno::NOBUFS,
    Errno::NOMEM,
    Errno::ADDRNOTAVAIL,
];

/// The addresses of a host that may be connected to, in the order to try them.
pub(crate) async fn resolve(
    host: &str,
    port: u16,
    policy: &EgressPolicy,
    resolver: &Resolver,
    deadline: Instant,
) -> Result<Vec<SocketAddr>, LdapError> {
    if !policy.allows_port(port) {
        return Err(LdapError::EgressDenied);
    }
    let host = idn::to_ascii(host).ok_or(LdapError::Unreachable(DialFailure::NameNotFound))?;
    let found = match host.parse::<IpAddr>() {
        Ok(address) => vec![address],
        Err(_) => resolver
            .resolve(&host, deadline)
            .await
            .map_err(LdapError::Unreachable)?,
    };
    let addresses = found.into_iter().map(|address| SocketAddr::new(address, port));
    let allowed = addresses.filter(|address| policy.allows(*address)).collect();
    let ordered = interleave(allowed);
    if ordered.is_empty() {
        Err(LdapError::EgressDenied)
    } else {
        Ok(ordered)
    }
}

/// Connects to the first address that answers.
pub(crate) async fn connect(addresses: &[SocketAddr], deadline: Instant) -> Result<TcpStream, LdapError> {
    let mut waiting: VecDeque<SocketAddr> = addresses.iter().copied().collect();
    let mut attempts = JoinSet::new();
    let mut failure = DialFailure::Timeout;
    let mut next_start = Instant::now();
    loop {
        if !waiting.is_empty() && (attempts.is_empty() || next_start <= Instant::now()) {
            if let Some(address) = waiting.pop_front() {
                attempts.spawn(connect_one(address));
            }
            next_start = Instant::now() + STAGGER;
        }
        if attempts.is_empty() {
            return Err(LdapError::Unreachable(failure));
        }
        tokio::select! {
            Some(outcome) = attempts.join_next() => match outcome {
                Ok(Ok(stream)) => return Ok(stream),
                Ok(Err(error)) if is_own_want(&error) => return Err(LdapError::Exhausted),
                Ok(Err(error)) => {
                    failure = classify(&error);
                    next_start = Instant::now();
                }
                Err(_) => failure = DialFailure::Other,
            },
            () = sleep_until(next_start), if !waiting.is_empty() => {}
            () = sleep_until(deadline) => return Err(LdapError::Unreachable(DialFailure::Timeout)),
        }
    }
}

async fn connect_one(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    socket.set_nodelay(true)?;
    let keepalive = TcpKeepalive::new()
        .with_time(Duration::from_secs(30))
        .with_interval(Duration::from_secs(10))
        .with_retries(3);
    let options = SockRef::from(&socket);
    options.set_tcp_keepalive(&keepalive)?;
    #[cfg(target_os = "linux")]
    options.set_tcp_user_timeout(Some(Duration::from_secs(60)))?;
    socket.connect(address).await
}

/// Whether this process or this machine lacks what a connection takes: descriptors, memory, ports.
pub(crate) fn is_own_want(error: &io::Error) -> bool {
    Errno::from_io_error(error).is_some_and(|code| OWN_WANTS.contains(&code))
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the standard library, which adds kinds"
)]
fn classify(error: &io::Error) -> DialFailure {
    match error.kind() {
        io::ErrorKind::ConnectionRefused => DialFailure::Refused,
        io::ErrorKind::TimedOut => DialFailure::Timeout,
        io::ErrorKind::HostUnreachable | io::ErrorKind::NetworkUnreachable => DialFailure::NoRoute,
        _ => DialFailure::Other,
    }
}

/// Alternates between the families, IPv6 first (RFC 8305 section 4).
fn interleave(addresses: Vec<SocketAddr>) -> Vec<SocketAddr> {
    let (mut six, mut four): (VecDeque<_>, VecDeque<_>) = addresses
        .into_iter()
        .partition(|address: &SocketAddr| address.is_ipv6());
    let mut ordered = Vec::new();
    while !(six.is_empty() && four.is_empty()) && ordered.len() < MAX_ADDRESSES {
        ordered.extend(six.pop_front());
        ordered.extend(four.pop_front());
    }
    ordered
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    use std::net::TcpListener;

    fn soon() -> Instant {
        Instant::now() + Duration::from_secs(10)
    }

    fn nobody() -> SocketAddr {
        TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
    }

    /// A listener whose queue is full: the next connection gets no answer at all.
    fn black_hole() -> (socket2::Socket, Vec<std::net::TcpStream>, SocketAddr) {
        let listener = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        listener
            .bind(&SocketAddr::from(([127, 0, 0, 1], 0)).into())
            .unwrap();
        listener.listen(0).unwrap();
        let address = listener.local_addr().unwrap().as_socket().unwrap();
        let short = Duration::from_millis(50);
        let connect = || std::net::TcpStream::connect_timeout(&address, short).ok();
        (listener, std::iter::from_fn(connect).take(100).collect(), address)
    }

    /// Matrix case 26.
    #[tokio::test]
    async fn an_address_that_is_dead_or_silent_does_not_hide_the_one_that_answers() {
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = live.local_addr().unwrap();
        assert_eq!(
            connect(&[nobody(), address], soon())
                .await
                .unwrap()
                .peer_addr()
                .unwrap(),
            address
        );
        let (_listener, _queue, silent) = black_hole();
        assert_eq!(
            connect(&[silent, address], soon())
                .await
                .unwrap()
                .peer_addr()
                .unwrap(),
            address
        );
    }

    #[tokio::test]
    async fn the_deadline_holds_and_failures_have_their_names() {
        let refused = connect(&[nobody(), nobody()], soon()).await.unwrap_err();
        assert_eq!(refused, LdapError::Unreachable(DialFailure::Refused));
        let (_listener, _queue, silent) = black_hole();
        let deadline = Instant::now() + Duration::from_millis(100);
        let timeout = connect(&[silent], deadline).await.unwrap_err();
        assert_eq!(timeout, LdapError::Unreachable(DialFailure::Timeout));
    }

    #[tokio::test]
    async fn sockets_are_set_up_for_short_messages_and_dead_peers() {
        let live = TcpListener::bind("127.0.0.1:0").unwrap();
        let stream = connect(&[live.local_addr().unwrap()], soon()).await.unwrap();
        assert!(stream.nodelay().unwrap());
        let options = SockRef::from(&stream);
        assert!(options.keepalive().unwrap());
        let seconds = |seconds| Duration::from_secs(seconds);
        assert_eq!(options.tcp_keepalive_time().unwrap(), seconds(30));
        assert_eq!(options.tcp_keepalive_interval().unwrap(), seconds(10));
        assert_eq!(options.tcp_keepalive_retries().unwrap(), 3);
        assert_eq!(options.tcp_user_timeout().unwrap(), Some(seconds(60)));
    }

    #[test]
    fn families_alternate() {
        let address = |text: &str| text.parse::<SocketAddr>().unwrap();
        let mixed = vec![address("1.1.1.1:1"), address("1.1.1.2:1"), address("[2::1]:1")];
        assert_eq!(
            interleave(mixed),
            [address("[2::1]:1"), address("1.1.1.1:1"), address("1.1.1.2:1")]
        );
    }
}
