//! Finds where the next LDAPMessage ends, looking at its header only.

use crate::ber;
use crate::protocol_violation::{ProtocolViolation, Spoken};

/// Length of the first message in `bytes`, header included. `None` while its header is incomplete.
///
/// A message that announces more than `limit` bytes is refused as soon as its header says so.
pub(crate) fn message_length(bytes: &[u8], limit: usize) -> Result<Option<usize>, ProtocolViolation> {
    let Some((&tag, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    if tag != 0x30 {
        return Err(ProtocolViolation::NotLdap(recognise(bytes)));
    }
    let Some((octets, length)) = ber::length(rest)? else {
        return Ok(None);
    };
    match usize::try_from(length)
        .ok()
        .and_then(|length| length.checked_add(1 + octets))
    {
        Some(total) if total <= limit => Ok(Some(total)),
        _ => Err(ProtocolViolation::MessageTooLarge { limit }),
    }
}

/// Tells what speaks there, from the first bytes.
fn recognise(bytes: &[u8]) -> Spoken {
    match bytes {
        [0x14..=0x17, 3, ..] => Spoken::Tls,
        [0x15 | 0x16] => Spoken::Tls,
        [b'H', ..] if b"HTTP/".starts_with(&bytes[..bytes.len().min(5)]) => Spoken::Http,
        _ => Spoken::Unknown,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMIT: usize = 1000;

    #[test]
    fn a_message_is_as_long_as_its_header_says() {
        assert_eq!(message_length(&[], LIMIT), Ok(None));
        assert_eq!(message_length(&[0x30], LIMIT), Ok(None));
        assert_eq!(message_length(&[0x30, 5], LIMIT), Ok(Some(7)));
        assert_eq!(message_length(&[0x30, 0x84, 0, 0, 0], LIMIT), Ok(None));
        assert_eq!(message_length(&[0x30, 0x84, 0, 0, 0, 5, 1], LIMIT), Ok(Some(11)));
    }

    #[test]
    fn a_length_of_two_to_the_62_is_refused_at_the_header() {
        let bytes = [0x30, 0x88, 0x40, 0, 0, 0, 0, 0, 0, 0];
        assert_eq!(
            message_length(&bytes, LIMIT),
            Err(ProtocolViolation::MessageTooLarge { limit: LIMIT })
        );
        let bytes = [0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(
            message_length(&bytes, LIMIT),
            Err(ProtocolViolation::MessageTooLarge { limit: LIMIT })
        );
    }

    #[test]
    fn a_length_field_of_127_octets_is_refused_at_the_header() {
        assert_eq!(
            message_length(&[0x30, 0xff], LIMIT),
            Err(ProtocolViolation::LengthField)
        );
    }

    #[test]
    fn an_indefinite_length_is_refused() {
        assert_eq!(
            message_length(&[0x30, 0x80], LIMIT),
            Err(ProtocolViolation::IndefiniteLength)
        );
    }

    #[test]
    fn other_protocols_are_recognised() {
        let spoken = |bytes: &[u8]| message_length(bytes, LIMIT);
        assert_eq!(
            spoken(&[0x15, 3, 3, 0, 2, 2, 50]),
            Err(ProtocolViolation::NotLdap(Spoken::Tls))
        );
        assert_eq!(
            spoken(b"HTTP/1.1 400 Bad Request"),
            Err(ProtocolViolation::NotLdap(Spoken::Http))
        );
        assert_eq!(
            spoken(b"SSH-2.0-OpenSSH"),
            Err(ProtocolViolation::NotLdap(Spoken::Unknown))
        );
    }
}
