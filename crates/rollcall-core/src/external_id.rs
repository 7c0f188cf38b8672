//! External ids: what identifies a person in a directory through renames and moves.
//!
//! Servers keep them in attributes of different names and encodings. Rollcall stores the kind and the
//! bytes; (directory, kind, bytes) identifies a person. Never the DN, the login or the objectSid, all of
//! which change.

use std::fmt;

use thiserror::Error;
use uuid::Uuid;

use crate::filter::{Attribute, Filter};

/// Longest external id, in bytes of the attribute's value.
pub(crate) const MAX_EXTERNAL_ID_BYTES: usize = 255;

/// The attribute that an external id comes from, which also tells its encoding.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub enum IdKind {
    /// `objectGUID` of Active Directory, AD LDS and Samba: 16 bytes, the first three fields little-endian. Gateways
    /// that imitate these servers may send the text of the UUID instead.
    ObjectGuid,
    /// `entryUUID` (RFC 4530) of OpenLDAP, 389 Directory Server, OpenDJ and others: the text of a UUID.
    EntryUuid,
    /// `nsUniqueId` of 389 Directory Server: four groups of eight hexadecimal digits.
    NsUniqueId,
    /// `ipaUniqueID` of FreeIPA: the text of a UUID.
    IpaUniqueId,
    /// `GUID` of eDirectory: 16 bytes, or the text of a UUID.
    Guid,
    /// Another attribute that the tenant vouches for; its values are compared byte for byte.
    Other(Attribute),
}

impl IdKind {
    /// The kind that belongs to an attribute name, in whatever case. None if it is no attribute name.
    pub fn of_attribute(name: &str) -> Option<Self> {
        let known = [
            Self::ObjectGuid,
            Self::EntryUuid,
            Self::NsUniqueId,
            Self::IpaUniqueId,
            Self::Guid,
        ];
        known
            .into_iter()
            .find(|kind| kind.attribute().eq_ignore_ascii_case(name))
            .or_else(|| Attribute::parse(name).map(Self::Other))
    }

    /// What its values look like, for people.
    pub fn form(&self) -> &'static str {
        match self {
            Self::ObjectGuid | Self::Guid => "16 bytes, or a UUID as text",
            Self::EntryUuid | Self::IpaUniqueId => "a UUID as text",
            Self::NsUniqueId => "four groups of eight hexadecimal digits",
            Self::Other(_) => "1 to 255 bytes",
        }
    }

    /// The attribute's name as servers write it.
    pub fn attribute(&self) -> &str {
        match self {
            Self::ObjectGuid => "objectGUID",
            Self::EntryUuid => "entryUUID",
            Self::NsUniqueId => "nsUniqueId",
            Self::IpaUniqueId => "ipaUniqueID",
            Self::Guid => "GUID",
            Self::Other(attribute) => attribute.as_str(),
        }
    }
}

/// A person's id in a directory.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ExternalId {
    kind: IdKind,
    bytes: Vec<u8>,
}

/// Why an entry's values, or a text, are no external id.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ExternalIdProblem {
    /// The attribute is absent; perhaps the bind account may not read it.
    #[error("the entry has no value of the id attribute")]
    Missing,
    /// More than one value: no id then.
    #[error("the entry has several values of the id attribute")]
    SeveralValues,
    /// The value is not of the kind's form.
    #[error("the value of the id attribute is not of the form that this kind of id has")]
    Malformed,
}

impl ExternalId {
    /// Takes the id from the values of its attribute as a server sent them.
    ///
    /// # Errors
    /// Anything but one value of the right form. FreeIPA's `autogenerate` placeholder is malformed.
    pub fn from_values(kind: IdKind, values: &[Vec<u8>]) -> Result<Self, ExternalIdProblem> {
        match values {
            [] => Err(ExternalIdProblem::Missing),
            [value] => Self::from_value(kind, value),
            _ => Err(ExternalIdProblem::SeveralValues),
        }
    }

    fn from_value(kind: IdKind, value: &[u8]) -> Result<Self, ExternalIdProblem> {
        let text = || std::str::from_utf8(value).ok();
        let bytes = match kind {
            IdKind::ObjectGuid | IdKind::Guid if value.len() == 16 => Some(value.to_vec()),
            // Gateways in front of other stores write the text.
            IdKind::ObjectGuid => text().and_then(parse_uuid).map(|bytes| swap_microsoft(&bytes)),
            IdKind::Guid => text().and_then(parse_uuid),
            IdKind::EntryUuid | IdKind::IpaUniqueId => text().and_then(parse_uuid),
            IdKind::NsUniqueId => text().and_then(parse_ns_unique_id),
            IdKind::Other(_) => (1..=MAX_EXTERNAL_ID_BYTES)
                .contains(&value.len())
                .then(|| value.to_vec()),
        };
        bytes
            .map(|bytes| Self { kind, bytes })
            .ok_or(ExternalIdProblem::Malformed)
    }

    /// Takes the id back from the kind and bytes that were stored.
    ///
    /// # Errors
    /// Bytes that this kind cannot have.
    pub fn from_bytes(kind: IdKind, bytes: &[u8]) -> Result<Self, ExternalIdProblem> {
        let fits = match kind {
            IdKind::Other(_) => (1..=MAX_EXTERNAL_ID_BYTES).contains(&bytes.len()),
            IdKind::ObjectGuid
            | IdKind::EntryUuid
            | IdKind::NsUniqueId
            | IdKind::IpaUniqueId
            | IdKind::Guid => bytes.len() == 16,
        };
        if fits {
            Ok(Self {
                kind,
                bytes: bytes.to_vec(),
            })
        } else {
            Err(ExternalIdProblem::Malformed)
        }
    }

    /// Parses the text that [`Display`](fmt::Display) writes.
    ///
    /// # Errors
    /// A text that is not an id of this kind.
    pub fn parse(kind: IdKind, text: &str) -> Result<Self, ExternalIdProblem> {
        let bytes = match kind {
            IdKind::ObjectGuid => parse_uuid(text).map(|bytes| swap_microsoft(&bytes)),
            IdKind::EntryUuid | IdKind::IpaUniqueId | IdKind::Guid => parse_uuid(text),
            IdKind::NsUniqueId => parse_ns_unique_id(text),
            IdKind::Other(_) => match text.strip_prefix("hex:") {
                Some(hex) => parse_hex(hex),
                None => Some(text.as_bytes().to_vec()),
            },
        };
        Self::from_bytes(kind, &bytes.ok_or(ExternalIdProblem::Malformed)?)
    }

    /// The kind.
    pub fn kind(&self) -> &IdKind {
        &self.kind
    }

    /// The bytes to store and compare: for text forms the 16 bytes they stand for.
    pub fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// The value as the directory holds it, which is what a filter must compare with.
    pub(crate) fn assertion_value(&self) -> Vec<u8> {
        match self.kind {
            IdKind::ObjectGuid | IdKind::Guid | IdKind::Other(_) => self.bytes.clone(),
            IdKind::EntryUuid | IdKind::IpaUniqueId | IdKind::NsUniqueId => self.to_string().into_bytes(),
        }
    }

    /// The filter that finds exactly this entry, in whatever form the directory holds the id.
    #[expect(
        clippy::expect_used,
        reason = "the names of the kinds are constants, or were parsed"
    )]
    pub fn filter(&self) -> Filter {
        let attribute = || Attribute::parse(self.kind.attribute()).expect("the names above are valid");
        let mut forms = vec![self.assertion_value()];
        if matches!(self.kind, IdKind::ObjectGuid | IdKind::Guid) {
            // A server compares bytes as they are, so each way to write the text is a value of its own.
            let text = self.to_string();
            forms.extend([text.to_uppercase().into_bytes(), text.into_bytes()]);
            forms.dedup();
        }
        Filter::or(
            forms
                .iter()
                .map(|form| Filter::equality(attribute(), form))
                .collect(),
        )
    }
}

impl fmt::Display for ExternalId {
    /// The text that the server's own tools show; for other attributes the value itself, or `hex:` and its
    /// bytes where it is not plain text.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let uuid = |bytes: &[u8]| Uuid::from_slice(bytes).unwrap_or_default();
        match self.kind {
            IdKind::ObjectGuid => uuid(&swap_microsoft(&self.bytes)).fmt(f),
            IdKind::EntryUuid | IdKind::IpaUniqueId | IdKind::Guid => uuid(&self.bytes).fmt(f),
            IdKind::NsUniqueId => {
                let groups: Vec<String> = self.bytes.chunks(4).map(hex).collect();
                f.write_str(&groups.join("-"))
            }
            IdKind::Other(_) => match std::str::from_utf8(&self.bytes) {
                Ok(text) if !text.starts_with("hex:") && !text.contains(char::is_control) => {
                    f.write_str(text)
                }
                _ => write!(f, "hex:{}", hex(&self.bytes)),
            },
        }
    }
}

impl fmt::Debug for ExternalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={self}", self.kind.attribute())
    }
}

/// MS-DTYP 2.3.4.2: the first three fields of a GUID packet are little-endian.
fn swap_microsoft(bytes: &[u8]) -> Vec<u8> {
    let mut swapped = bytes.to_vec();
    if let [a, b, c, d, e, f, g, h, ..] = swapped.as_mut_slice() {
        std::mem::swap(a, d);
        std::mem::swap(b, c);
        std::mem::swap(e, f);
        std::mem::swap(g, h);
    }
    swapped
}

fn parse_uuid(text: &str) -> Option<Vec<u8>> {
    let uuid = Uuid::try_parse(text).ok().filter(|_| text.len() == 36)?;
    Some(uuid.as_bytes().to_vec())
}

fn parse_ns_unique_id(text: &str) -> Option<Vec<u8>> {
    let groups: Vec<&str> = text.split('-').collect();
    let well_formed = groups.len() == 4 && groups.iter().all(|group| group.len() == 8);
    if well_formed {
        parse_hex(&groups.concat())
    } else {
        None
    }
}

fn parse_hex(text: &str) -> Option<Vec<u8>> {
    let digit = |byte: u8| (byte as char).to_digit(16);
    let pairs = text.as_bytes().chunks(2);
    pairs
        .map(|pair| Some((digit(pair[0])? * 16 + digit(*pair.get(1)?)?) as u8))
        .collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
