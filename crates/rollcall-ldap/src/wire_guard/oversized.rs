//! Follows the bytes of an entry that is too large to be kept, to find out its DN and what makes it large.

use crate::ber;
use crate::protocol_violation::ProtocolViolation;

/// Longest name that is kept: of the entry, and of an attribute.
const MAX_NAME: usize = 64 << 10;
/// Longest header of an element: identifier, and a length of eight octets.
const MAX_HEADER: usize = 10;

/// Where the walk is within `LDAPMessage`. It enters these elements and skips all others.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Place {
    Message,
    Id,
    Entry,
    Dn,
    Attributes,
    Attribute,
    Type,
    Values,
    Rest,
}

/// An entry that is being passed over.
#[derive(Debug)]
pub(super) struct Oversized {
    /// Bytes of the message.
    length: u64,
    /// Bytes that were seen.
    at: u64,
    /// A header that is not complete, and what follows it.
    header: Vec<u8>,
    place: Place,
    /// How much content is still to be skipped, and whether it is kept.
    content: u64,
    kept: Vec<u8>,
    /// Where the entry ends, and the current attribute.
    entry_end: u64,
    attribute_end: u64,
    id: Vec<u8>,
    dn: Option<Vec<u8>>,
    attribute: String,
    largest: (u64, String),
}

impl Oversized {
    /// A message of this many bytes, header included.
    pub(super) fn new(length: u64) -> Self {
        Self {
            length,
            at: 0,
            header: Vec::with_capacity(MAX_HEADER),
            place: Place::Message,
            content: 0,
            kept: Vec::new(),
            entry_end: 0,
            attribute_end: 0,
            id: Vec::new(),
            dn: None,
            attribute: String::new(),
            largest: (0, String::new()),
        }
    }

    /// Bytes of the message that were not seen yet.
    pub(super) fn left(&self) -> u64 {
        self.length - self.at
    }

    /// The same entry without its attributes, once its DN was seen.
    pub(super) fn without_attributes(&self) -> Option<Vec<u8>> {
        let mut entry = Vec::new();
        ber::put(&mut entry, 0x04, self.dn.as_ref()?);
        ber::put(&mut entry, 0x30, &[]);
        let mut message = Vec::new();
        ber::put(&mut message, 0x02, &self.id);
        ber::put(&mut message, 0x64, &entry);
        let mut whole = Vec::new();
        ber::put(&mut whole, 0x30, &message);
        Some(whole)
    }

    /// Its largest attribute.
    pub(super) fn into_attribute(self) -> String {
        self.largest.1
    }

    /// True if the whole message was seen, and it was an entry.
    pub(super) fn is_whole(&self) -> bool {
        self.left() == 0 && self.place == Place::Rest && self.content == 0 && self.header.is_empty()
    }

    /// Takes in the next bytes.
    pub(super) fn pass(&mut self, mut bytes: &[u8]) -> Result<(), ProtocolViolation> {
        while !bytes.is_empty() {
            if self.content > 0 {
                let count = bytes
                    .len()
                    .min(usize::try_from(self.content).unwrap_or(usize::MAX));
                if matches!(self.place, Place::Id | Place::Dn | Place::Type) {
                    self.kept.extend_from_slice(&bytes[..count]);
                }
                self.at += count as u64;
                self.content -= count as u64;
                bytes = &bytes[count..];
                if self.content == 0 {
                    self.content_ends()?;
                }
                continue;
            }
            self.header.push(bytes[0]);
            self.at += 1;
            bytes = &bytes[1..];
            let complete = match self.header.get(1..) {
                Some(rest) => ber::length(rest)?,
                None => None,
            };
            if let Some((_, length)) = complete {
                let tag = self.header[0];
                self.header.clear();
                self.element(tag, length)?;
            }
        }
        Ok(())
    }

    /// An element begins.
    fn element(&mut self, tag: u8, length: u64) -> Result<(), ProtocolViolation> {
        let end = self
            .at
            .checked_add(length)
            .ok_or(ProtocolViolation::ElementOverrun)?;
        let expect = |wanted: u8| match tag == wanted {
            true => Ok(()),
            false => Err(ProtocolViolation::UnexpectedElement),
        };
        let within = |outer: u64| match end <= outer {
            true => Ok(()),
            false => Err(ProtocolViolation::ElementOverrun),
        };
        match self.place {
            Place::Message => {
                expect(0x30)?;
                self.place = Place::Id;
                return Ok(());
            }
            Place::Id | Place::Dn | Place::Type => {
                expect(if self.place == Place::Id { 0x02 } else { 0x04 })?;
                if length as usize > MAX_NAME {
                    return Err(ProtocolViolation::MessageTooLarge { limit: MAX_NAME });
                }
            }
            Place::Entry => {
                expect(0x64)?;
                within(self.length)?;
                self.entry_end = end;
                self.place = Place::Dn;
                return Ok(());
            }
            Place::Attributes => {
                expect(0x30)?;
                within(self.entry_end)?;
                self.place = if length == 0 {
                    Place::Rest
                } else {
                    Place::Attribute
                };
                return Ok(());
            }
            Place::Attribute => {
                expect(0x30)?;
                within(self.entry_end)?;
                self.attribute_end = end;
                self.place = Place::Type;
                return Ok(());
            }
            Place::Values => {
                expect(0x31)?;
                within(self.attribute_end)?;
                if length > self.largest.0 {
                    self.largest = (length, std::mem::take(&mut self.attribute));
                }
            }
            Place::Rest => {}
        }
        self.content = length;
        if length == 0 { self.content_ends() } else { Ok(()) }
    }

    fn content_ends(&mut self) -> Result<(), ProtocolViolation> {
        let kept = std::mem::take(&mut self.kept);
        self.place = match self.place {
            Place::Id => {
                self.id = kept;
                Place::Entry
            }
            Place::Dn => {
                self.dn = Some(kept);
                Place::Attributes
            }
            Place::Type => {
                self.attribute = String::from_utf8_lossy(&kept).into_owned();
                Place::Values
            }
            Place::Values if self.at < self.entry_end => Place::Attribute,
            Place::Values => Place::Rest,
            place @ (Place::Message | Place::Entry | Place::Attributes | Place::Attribute | Place::Rest) => {
                place
            }
        };
        Ok(())
    }
}
