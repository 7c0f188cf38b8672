//! One request and its answer on the socket itself, before ldap3 exists.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

use crate::ber;
use crate::error::LdapError;
use crate::protocol_violation::ProtocolViolation;

/// A message with id 1 around this operation.
pub(crate) fn message(tag: u8, operation: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    ber::put(&mut body, 0x02, &ber::integer(1));
    ber::put(&mut body, tag, operation);
    let mut message = Vec::new();
    ber::put(&mut message, 0x30, &body);
    message
}

/// Sends `request` and reads until `judge`, which is shown all that has come so far, has an opinion. An answer may have
/// `limit` bytes.
pub(crate) async fn request(
    stream: &mut TcpStream,
    request: &[u8],
    limit: usize,
    judge: impl Fn(&mut [u8]) -> Option<Result<(), LdapError>>,
    deadline: Instant,
) -> Result<(), LdapError> {
    timeout_at(deadline, exchange(stream, request, limit, judge))
        .await
        .unwrap_or(Err(LdapError::Timeout))
}

async fn exchange(
    stream: &mut TcpStream,
    request: &[u8],
    limit: usize,
    judge: impl Fn(&mut [u8]) -> Option<Result<(), LdapError>>,
) -> Result<(), LdapError> {
    let lost = |_| LdapError::ConnectionLost;
    stream.write_all(request).await.map_err(lost)?;
    let mut answer = Vec::new();
    loop {
        let mut chunk = [0; 1024];
        let count = stream.read(&mut chunk).await.map_err(lost)?;
        answer.extend_from_slice(&chunk[..count]);
        if let Some(outcome) = judge(&mut answer) {
            return outcome;
        }
        if answer.len() > limit {
            return Err(LdapError::Protocol(ProtocolViolation::MessageTooLarge { limit }));
        }
        if count == 0 {
            return Err(match answer.is_empty() {
                true => LdapError::ConnectionLost,
                false => LdapError::Protocol(ProtocolViolation::Truncated),
            });
        }
    }
}
