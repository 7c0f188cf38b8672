//! What a port speaks, found out before anything secret is sent.
//!
//! Some servers want TLS from the first byte. If such a server gets plain LDAP, it usually hangs up without a word, or
//! waits for more. So does a server without TLS that gets a handshake, and a server that knows only old TLS. None of
//! them says what is wrong. So the other protocol is tried on a connection of its own: its answer is the proof.

use std::net::SocketAddr;

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::ber;
use crate::dial;
use crate::error::LdapError;
use crate::exchange;
use crate::protocol_violation::ProtocolViolation;
use crate::start_tls;
use crate::tls::old::{self, Old};
use crate::tls::{TlsFailure, detect};
use crate::wire_guard::frame;
use crate::wire_guard::vet::{self, Answer, Operation, Request};

/// Some servers answer with their whole root DSE, whatever was asked for, and a large one has some hundreds of values.
const MAX_ANSWER: usize = 256 << 10;
const MAX_ELEMENTS: u32 = 20_000;
const REQUEST: Request = Request {
    id: 1,
    operation: Operation::Search,
};

/// Asks for no attribute of the root DSE, without binding. Every LDAP server answers that, even if only with a refusal.
pub(crate) async fn plain_ldap(stream: &mut TcpStream, deadline: Instant) -> Result<(), LdapError> {
    exchange::request(stream, &encode(), MAX_ANSWER, judge, deadline).await
}

/// True if a new connection there is answered in plain LDAP.
pub(crate) async fn speaks_plain_ldap(address: SocketAddr, deadline: Instant) -> bool {
    match dial::connect(&[address], deadline).await {
        Ok(mut stream) => plain_ldap(&mut stream, deadline).await.is_ok(),
        Err(_) => false,
    }
}

/// True if a new connection there is answered in TLS.
pub(crate) async fn speaks_tls(address: SocketAddr, deadline: Instant) -> bool {
    match dial::connect(&[address], deadline).await {
        Ok(stream) => detect::answers(stream, address.ip(), deadline).await,
        Err(_) => false,
    }
}

/// Whether a server hangs up because it knows only older TLS, and which kind. `None` if that is not the reason.
pub(crate) async fn only_old_tls(
    address: SocketAddr,
    with_start_tls: bool,
    deadline: Instant,
) -> Option<TlsFailure> {
    for (age, failure) in [
        (Old::Version, TlsFailure::OldVersion),
        (Old::Cipher, TlsFailure::NoCommonCipher),
    ] {
        let mut stream = dial::connect(&[address], deadline).await.ok()?;
        if with_start_tls {
            start_tls::request(&mut stream, deadline).await.ok()?;
        }
        if old::is_welcome(stream, age, deadline).await {
            return Some(failure);
        }
    }
    None
}

/// A base search of the root DSE for no attribute (RFC 4511 section 4.5.1.8).
fn encode() -> Vec<u8> {
    let mut search = Vec::new();
    ber::put(&mut search, 0x04, b"");
    for zero in [0x0a, 0x0a, 0x02, 0x02] {
        ber::put(&mut search, zero, &[0]);
    }
    ber::put(&mut search, 0x01, &[0]);
    ber::put(&mut search, 0x87, b"objectClass");
    let mut attributes = Vec::new();
    ber::put(&mut attributes, 0x04, b"1.1");
    ber::put(&mut search, 0x30, &attributes);
    exchange::message(0x63, &search)
}

/// What the bytes received so far mean; `None` while the answer is incomplete.
fn judge(bytes: &mut [u8]) -> Option<Result<(), LdapError>> {
    let mut rest = bytes;
    loop {
        let length = match frame::message_length(rest, MAX_ANSWER) {
            Ok(Some(length)) if length <= rest.len() => length,
            Ok(_) => return None,
            Err(violation) => return Some(Err(LdapError::Protocol(violation))),
        };
        let (message, behind) = rest.split_at_mut(length);
        match vet::vet(message, Some(REQUEST), MAX_ELEMENTS).map(|vetted| vetted.answer) {
            Ok(Answer::Final) if behind.is_empty() => return Some(Ok(())),
            Ok(Answer::Final) => {
                return Some(Err(LdapError::Protocol(ProtocolViolation::UnknownMessageId)));
            }
            Ok(Answer::Disconnection(notice)) => return Some(Err(LdapError::Disconnected(notice))),
            Ok(Answer::Entry { .. } | Answer::SearchResultReference | Answer::Noise) => rest = behind,
            Err(violation) => return Some(Err(LdapError::Protocol(violation))),
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    const ENTRY: &[u8] = &[0x30, 9, 2, 1, 1, 0x64, 4, 4, 0, 0x30, 0];
    const DONE: &[u8] = &[0x30, 12, 2, 1, 1, 0x65, 7, 10, 1, 0, 4, 0, 4, 0];
    const REFUSED: &[u8] = &[0x30, 12, 2, 1, 1, 0x65, 7, 10, 1, 48, 4, 0, 4, 0];

    #[test]
    fn every_whole_answer_is_ldap_and_half_of_one_is_waited_for() {
        for answer in [DONE, REFUSED, &[ENTRY, DONE].concat()] {
            assert_eq!(judge(&mut answer.to_vec()), Some(Ok(())));
            for length in 0..answer.len() {
                assert_eq!(judge(&mut answer[..length].to_vec()), None, "{length}");
            }
        }
    }

    #[test]
    fn what_is_no_answer_to_the_search_ends_the_connection() {
        let violation = |bytes: &[u8]| match judge(&mut bytes.to_vec()) {
            Some(Err(LdapError::Protocol(violation))) => violation,
            other => panic!("{other:?}"),
        };
        assert_eq!(
            violation(&[DONE, DONE].concat()),
            ProtocolViolation::UnknownMessageId
        );
        let bind_response = [0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];
        assert_eq!(violation(&bind_response), ProtocolViolation::UnexpectedOperation);
    }
}
