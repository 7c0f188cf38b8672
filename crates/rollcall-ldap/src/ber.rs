//! Just enough BER (RFC 4511 section 5.1) to look at a message: definite lengths, tag numbers below 31.
//!
//! Elements are index ranges into the message, so that the guard can repair text in place.

use crate::protocol_violation::ProtocolViolation;

/// Most octets that a long-form length may use. Active Directory always uses four.
const MAX_LENGTH_OCTETS: usize = 8;

/// One element: its identifier octet and where its content lies.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Element {
    /// The whole identifier octet: class, constructed bit and number.
    pub(crate) tag: u8,
    /// First octet of the content.
    pub(crate) start: usize,
    /// One past the last octet of the content.
    pub(crate) end: usize,
}

impl Element {
    pub(crate) fn content<'a>(&self, message: &'a [u8]) -> &'a [u8] {
        &message[self.start..self.end]
    }

    pub(crate) fn is_constructed(&self) -> bool {
        self.tag & 0x20 != 0
    }
}

/// A length field: how many octets it takes and what it says. `None` while octets are missing.
pub(crate) fn length(bytes: &[u8]) -> Result<Option<(usize, u64)>, ProtocolViolation> {
    let Some(&first) = bytes.first() else {
        return Ok(None);
    };
    if first < 0x80 {
        return Ok(Some((1, u64::from(first))));
    }
    let octets = usize::from(first & 0x7f);
    if octets == 0 {
        return Err(ProtocolViolation::IndefiniteLength);
    }
    if octets > MAX_LENGTH_OCTETS {
        return Err(ProtocolViolation::LengthField);
    }
    let Some(value) = bytes.get(1..=octets) else {
        return Ok(None);
    };
    Ok(Some((
        octets + 1,
        value.iter().fold(0, |sum, byte| (sum << 8) | u64::from(*byte)),
    )))
}

/// The element at `at`, which must end at or before `end`.
pub(crate) fn element(message: &[u8], at: usize, end: usize) -> Result<Element, ProtocolViolation> {
    let Some((&tag, rest)) = message.get(at..end).and_then(<[u8]>::split_first) else {
        return Err(ProtocolViolation::ElementMissing);
    };
    if tag & 0x1f == 0x1f {
        return Err(ProtocolViolation::HighTagNumber);
    }
    let (octets, length) = length(rest)?.ok_or(ProtocolViolation::ElementOverrun)?;
    let start = at + 1 + octets;
    match usize::try_from(length)
        .ok()
        .and_then(|length| start.checked_add(length))
    {
        Some(stop) if stop <= end => Ok(Element {
            tag,
            start,
            end: stop,
        }),
        _ => Err(ProtocolViolation::ElementOverrun),
    }
}

/// A non-negative INTEGER or ENUMERATED of at most 31 bits.
pub(crate) fn unsigned(content: &[u8]) -> Result<u32, ProtocolViolation> {
    let significant = match content {
        [] => return Err(ProtocolViolation::EmptyInteger),
        [first, ..] if first & 0x80 != 0 => return Err(ProtocolViolation::IntegerOutOfRange),
        [0, rest @ ..] => rest,
        all => all,
    };
    if significant.len() > 4 || (significant.len() == 4 && significant[0] & 0x80 != 0) {
        return Err(ProtocolViolation::IntegerOutOfRange);
    }
    Ok(significant
        .iter()
        .fold(0, |sum, byte| (sum << 8) | u32::from(*byte)))
}

/// Appends an element. Lengths take the shortest form.
pub(crate) fn put(out: &mut Vec<u8>, tag: u8, content: &[u8]) {
    out.push(tag);
    match content.len() {
        short @ 0..=0x7f => out.push(short as u8),
        long => {
            let octets = long.to_be_bytes();
            let skip = octets.iter().take_while(|byte| **byte == 0).count();
            out.push(0x80 | (octets.len() - skip) as u8);
            out.extend_from_slice(&octets[skip..]);
        }
    }
    out.extend_from_slice(content);
}

/// Content octets of a non-negative INTEGER.
pub(crate) fn integer(value: u32) -> Vec<u8> {
    let octets = u64::from(value).to_be_bytes();
    let skip = octets.iter().take_while(|byte| **byte == 0).count().min(7);
    let skip = if octets[skip] & 0x80 != 0 { skip - 1 } else { skip };
    octets[skip..].to_vec()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn lengths_of_both_forms() {
        assert_eq!(length(&[0x05]), Ok(Some((1, 5))));
        assert_eq!(length(&[0x84, 0, 0, 1, 2]), Ok(Some((5, 258))));
        assert_eq!(length(&[0x84, 0, 0]), Ok(None));
        assert_eq!(length(&[]), Ok(None));
        assert_eq!(length(&[0x80]), Err(ProtocolViolation::IndefiniteLength));
        assert_eq!(length(&[0xff]), Err(ProtocolViolation::LengthField));
    }

    #[test]
    fn integers_survive_the_round_trip() {
        for value in [0, 1, 127, 128, 255, 256, 32767, 32768, 0x7fff_ffff] {
            assert_eq!(unsigned(&integer(value)), Ok(value));
        }
        assert_eq!(integer(128), [0, 128]);
        assert_eq!(unsigned(&[]), Err(ProtocolViolation::EmptyInteger));
        assert_eq!(unsigned(&[0xff]), Err(ProtocolViolation::IntegerOutOfRange));
        assert_eq!(
            unsigned(&[0x80, 0, 0, 0]),
            Err(ProtocolViolation::IntegerOutOfRange)
        );
        assert_eq!(
            unsigned(&[0, 0x80, 0, 0, 0]),
            Err(ProtocolViolation::IntegerOutOfRange)
        );
    }

    #[test]
    fn elements_stay_inside_their_parent() {
        assert_eq!(
            element(&[4, 2, 1, 2], 0, 4).unwrap(),
            Element {
                tag: 4,
                start: 2,
                end: 4
            }
        );
        assert_eq!(
            element(&[4, 3, 1, 2], 0, 4),
            Err(ProtocolViolation::ElementOverrun)
        );
        assert_eq!(
            element(&[4, 2, 1, 2], 0, 3),
            Err(ProtocolViolation::ElementOverrun)
        );
        assert_eq!(element(&[4], 0, 1), Err(ProtocolViolation::ElementOverrun));
        assert_eq!(element(&[], 0, 0), Err(ProtocolViolation::ElementMissing));
        assert_eq!(element(&[0x1f, 0], 0, 2), Err(ProtocolViolation::HighTagNumber));
    }

    #[test]
    fn long_content_is_written_with_its_length() {
        let mut out = Vec::new();
        put(&mut out, 4, &[7; 300]);
        assert_eq!(&out[..4], [4, 0x82, 1, 44]);
        assert_eq!(element(&out, 0, out.len()).unwrap().content(&out), [7; 300]);
    }
}
