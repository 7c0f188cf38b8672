//! StartTLS (RFC 4511 section 4.14), done on the socket itself before ldap3 exists.
//!
//! It fails closed: anything but exactly one successful answer to the one request ends the connection. So does any byte
//! between that answer and the handshake, since somebody on the way must have put it there.

use tokio::net::TcpStream;
use tokio::time::Instant;

use crate::ber;
use crate::error::LdapError;
use crate::exchange;
use crate::protocol_violation::ProtocolViolation;
use crate::result_code::ResultCode;
use crate::wire_guard::frame;
use crate::wire_guard::vet::{self, Answer, Operation, Request};

const START_TLS: &[u8] = b"1.3.6.1.4.1.1466.20037";
/// More bytes than the answer to StartTLS needs.
const MAX_ANSWER: usize = 4 << 10;
const REQUEST: Request = Request {
    id: 1,
    operation: Operation::Extended,
};

/// Asks for TLS. On success the server waits for the handshake and nothing else has been read.
pub(crate) async fn request(stream: &mut TcpStream, deadline: Instant) -> Result<(), LdapError> {
    exchange::request(stream, &encode(), MAX_ANSWER, judge, deadline).await
}

fn encode() -> Vec<u8> {
    let mut name = Vec::new();
    ber::put(&mut name, 0x80, START_TLS);
    exchange::message(0x77, &name)
}

/// What the bytes received so far mean; `None` while the answer is incomplete.
fn judge(bytes: &mut [u8]) -> Option<Result<(), LdapError>> {
    match judge_whole(bytes) {
        Ok(None) => None,
        Ok(Some(outcome)) => Some(outcome),
        Err(violation) => Some(Err(LdapError::Protocol(violation))),
    }
}

fn judge_whole(bytes: &mut [u8]) -> Result<Option<Result<(), LdapError>>, ProtocolViolation> {
    let length = match frame::message_length(bytes, MAX_ANSWER)? {
        Some(length) if length <= bytes.len() => length,
        _ => return Ok(None),
    };
    let (message, behind) = bytes.split_at_mut(length);
    match vet::vet(message, Some(REQUEST), 64)?.answer {
        Answer::Final => {}
        Answer::Disconnection(notice) => return Ok(Some(Err(LdapError::Disconnected(notice)))),
        Answer::Entry { .. } | Answer::SearchResultReference | Answer::Noise => {
            return Err(ProtocolViolation::UnexpectedOperation);
        }
    }
    if !behind.is_empty() {
        return Err(ProtocolViolation::BytesBeforeTls);
    }
    let outer = ber::element(message, 0, length)?;
    let id = ber::element(message, outer.start, outer.end)?;
    let result = ber::element(message, id.end, outer.end)?;
    let code = ber::element(message, result.start, result.end)?;
    let code = ResultCode(ber::unsigned(code.content(message))?);
    if code != ResultCode::SUCCESS {
        return Ok(Some(Err(LdapError::StartTlsRefused(code))));
    }
    // RFC 4511 section 4.14.2: the name, if there is one, must be that of StartTLS.
    let mut at = result.start;
    while at < result.end {
        let part = ber::element(message, at, result.end)?;
        if part.tag == 0x8a && part.content(message) != START_TLS {
            return Err(ProtocolViolation::UnexpectedOperation);
        }
        at = part.end;
    }
    Ok(Some(Ok(())))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::panic)]
    use super::*;

    const SUCCESS: &[u8] = &[0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, 0, 4, 0, 4, 0];

    fn judged(bytes: &[u8]) -> Option<Result<(), LdapError>> {
        judge(&mut bytes.to_vec())
    }

    #[test]
    fn the_request_is_what_rfc_4511_says() {
        let text = b"1.3.6.1.4.1.1466.20037";
        assert_eq!(encode()[..9], [0x30, 29, 2, 1, 1, 0x77, 24, 0x80, 22]);
        assert_eq!(&encode()[9..], text);
    }

    #[test]
    fn one_successful_answer_is_accepted_once_it_is_whole() {
        assert_eq!(judged(SUCCESS), Some(Ok(())));
        for length in 0..SUCCESS.len() {
            assert_eq!(judged(&SUCCESS[..length]), None, "{length}");
        }
    }

    #[test]
    fn a_byte_behind_the_answer_is_an_injection() {
        let injected = [SUCCESS, &[0x30]].concat();
        assert_eq!(
            judged(&injected),
            Some(Err(LdapError::Protocol(ProtocolViolation::BytesBeforeTls)))
        );
    }

    #[test]
    fn refusals_wrong_ids_and_wrong_names_fail_closed() {
        let with_code = |code| [0x30, 12, 2, 1, 1, 0x78, 7, 10, 1, code, 4, 0, 4, 0];
        for code in [1, 2, 10, 52, 53] {
            let expected = LdapError::StartTlsRefused(ResultCode(u32::from(code)));
            assert_eq!(judged(&with_code(code)), Some(Err(expected)));
        }
        let protocol = |bytes: &[u8]| match judged(bytes) {
            Some(Err(LdapError::Protocol(violation))) => violation,
            other => panic!("{other:?}"),
        };
        let wrong_id = [0x30, 12, 2, 1, 2, 0x78, 7, 10, 1, 0, 4, 0, 4, 0];
        assert_eq!(protocol(&wrong_id), ProtocolViolation::UnknownMessageId);
        let bind_response = [0x30, 12, 2, 1, 1, 0x61, 7, 10, 1, 0, 4, 0, 4, 0];
        assert_eq!(protocol(&bind_response), ProtocolViolation::UnexpectedOperation);
        let wrong_name = [0x30, 15, 2, 1, 1, 0x78, 10, 10, 1, 0, 4, 0, 4, 0, 0x8a, 1, b'1'];
        assert_eq!(protocol(&wrong_name), ProtocolViolation::UnexpectedOperation);
    }
}
