//! Decides whether one message from a directory may go on to ldap3.
//!
//! This is a function over bytes. The grammar is RFC 4511 appendix B, cut down to the answers that Rollcall asks for;
//! everything else is refused. ldap3 takes a DN, an attribute name, a matched DN and a diagnostic message for UTF-8
//! without checking. If one is not UTF-8, each offending octet becomes `?`, so that all lengths stay correct. Attribute
//! values are left alone.

use crate::ber::{self, Element};
use crate::protocol_violation::ProtocolViolation;

/// Deepest nesting of elements whose meaning is not known.
const MAX_DEPTH: usize = 16;
/// Most controls in one message.
const MAX_CONTROLS: u32 = 32;
/// `requestName` of the Notice of Disconnection (RFC 4511 section 4.4.1).
const NOTICE_OF_DISCONNECTION: &[u8] = b"1.3.6.1.4.1.1466.20036";

const OCTET_STRING: u8 = 0x04;
const ENUMERATED: u8 = 0x0a;
const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;

/// Kind of a request, as far as it decides which answers fit.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Operation {
    /// BindRequest.
    Bind,
    /// SearchRequest.
    Search,
    /// ExtendedRequest.
    Extended,
}

/// The request in flight.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Request {
    /// Its message id.
    pub(crate) id: u32,
    /// Its kind.
    pub(crate) operation: Operation,
}

/// What a message turned out to be.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) enum Answer {
    /// An entry; `tainted` if its DN or an attribute name had to be repaired.
    Entry {
        /// True if text was repaired.
        tainted: bool,
    },
    /// The last message of a request.
    Final,
    /// A search result reference (RFC 4511 section 4.5.3), which names other servers: counted, never followed.
    SearchResultReference,
    /// An intermediate answer or unsolicited notification that is not needed.
    Noise,
    /// The server is about to close the connection.
    Disconnection(Notice),
}

/// A Notice of Disconnection.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Notice {
    /// The result code that it gives as the reason.
    pub code: u32,
    /// Its text, repaired where it was not UTF-8, cut after 512 characters.
    pub text: String,
}

/// A message that may be forwarded.
#[derive(Clone, PartialEq, Eq, Debug)]
pub(crate) struct Vetted {
    /// What it is.
    pub(crate) answer: Answer,
    /// How many elements it holds: what decoding it costs.
    pub(crate) elements: u32,
}

/// Checks one whole message and repairs its text in place.
pub(crate) fn vet(
    message: &mut [u8],
    request: Option<Request>,
    max_elements: u32,
) -> Result<Vetted, ProtocolViolation> {
    Vetting {
        message,
        elements: 0,
        max_elements,
    }
    .message(request)
}

struct Vetting<'a> {
    message: &'a mut [u8],
    elements: u32,
    max_elements: u32,
}

impl Vetting<'_> {
    fn message(mut self, request: Option<Request>) -> Result<Vetted, ProtocolViolation> {
        let size = self.message.len();
        let outer = self.expect(0, size, SEQUENCE)?;
        if outer.end != size {
            return Err(ProtocolViolation::UnexpectedElement);
        }
        let id = self.expect(outer.start, outer.end, 0x02)?;
        let operation = self.next(id.end, outer.end)?;
        let id = ber::unsigned(id.content(self.message))?;
        let answer = if id == 0 {
            self.unsolicited(operation, outer.end)?
        } else {
            match request {
                Some(request) if request.id == id => self.answer(operation, request.operation)?,
                _ => return Err(ProtocolViolation::UnknownMessageId),
            }
        };
        if operation.end < outer.end && id != 0 {
            let controls = self.expect(operation.end, outer.end, 0xa0)?;
            if controls.end != outer.end {
                return Err(ProtocolViolation::UnexpectedElement);
            }
            self.controls(controls)?;
        }
        Ok(Vetted {
            answer,
            elements: self.elements,
        })
    }

    fn answer(&mut self, element: Element, operation: Operation) -> Result<Answer, ProtocolViolation> {
        match (element.tag, operation) {
            (0x64, Operation::Search) => self.entry(element),
            (0x65, Operation::Search) | (0x61, Operation::Bind) | (0x78, Operation::Extended) => {
                self.result(element)?;
                Ok(Answer::Final)
            }
            (0x73, Operation::Search) => Ok(Answer::SearchResultReference),
            (0x79, _) => Ok(Answer::Noise),
            _ => Err(ProtocolViolation::UnexpectedOperation),
        }
    }

    /// A message with id 0. Active Directory puts the name of its Notice of Disconnection behind the operation.
    fn unsolicited(&mut self, element: Element, end: usize) -> Result<Answer, ProtocolViolation> {
        if element.tag != 0x78 {
            return Err(ProtocolViolation::UnexpectedOperation);
        }
        let mut name = self.result(element)?;
        if element.end < end {
            let behind = self.next(element.end, end)?;
            if behind.tag == 0x8a {
                name = Some(behind);
            }
        }
        if name.is_none_or(|name| name.content(self.message) != NOTICE_OF_DISCONNECTION) {
            return Ok(Answer::Noise);
        }
        let code = self.expect(element.start, element.end, ENUMERATED)?;
        let matched = self.expect(code.end, element.end, OCTET_STRING)?;
        let text = self.expect(matched.end, element.end, OCTET_STRING)?;
        let text = String::from_utf8_lossy(text.content(self.message))
            .chars()
            .take(512)
            .collect();
        Ok(Answer::Disconnection(Notice {
            code: ber::unsigned(code.content(self.message))?,
            text,
        }))
    }

    /// `SearchResultEntry`: DN, then a list of (name, set of values).
    fn entry(&mut self, entry: Element) -> Result<Answer, ProtocolViolation> {
        let dn = self.expect(entry.start, entry.end, OCTET_STRING)?;
        let attributes = self.expect(dn.end, entry.end, SEQUENCE)?;
        if attributes.end != entry.end {
            return Err(ProtocolViolation::UnexpectedElement);
        }
        let mut tainted = self.repair(dn);
        let mut at = attributes.start;
        while at < attributes.end {
            let attribute = self.expect(at, attributes.end, SEQUENCE)?;
            let name = self.expect(attribute.start, attribute.end, OCTET_STRING)?;
            let values = self.expect(name.end, attribute.end, SET)?;
            if values.end != attribute.end {
                return Err(ProtocolViolation::UnexpectedElement);
            }
            tainted |= self.repair(name);
            let mut value = values.start;
            while value < values.end {
                value = self.expect(value, values.end, OCTET_STRING)?.end;
            }
            at = attribute.end;
        }
        Ok(Answer::Entry { tainted })
    }

    /// `LDAPResult` and what binds and extended answers add. Returns the `responseName` if there is one.
    fn result(&mut self, result: Element) -> Result<Option<Element>, ProtocolViolation> {
        let code = self.expect(result.start, result.end, ENUMERATED)?;
        ber::unsigned(code.content(self.message))?;
        let matched = self.expect(code.end, result.end, OCTET_STRING)?;
        let text = self.expect(matched.end, result.end, OCTET_STRING)?;
        self.repair(matched);
        self.repair(text);
        let mut name = None;
        let mut at = text.end;
        while at < result.end {
            let part = self.next(at, result.end)?;
            match part.tag {
                0xa3 => {
                    let mut uri = part.start;
                    while uri < part.end {
                        let element = self.expect(uri, part.end, OCTET_STRING)?;
                        self.repair(element);
                        uri = element.end;
                    }
                }
                0x87 | 0x8b => {}
                0x8a => {
                    self.repair(part);
                    name = Some(part);
                }
                // RFC 4511 section 4: unknown trailing parts are ignored. ldap3 looks only at the tag number.
                tag if tag & 0xc0 == 0x80 && !matches!(tag & 0x1f, 3 | 7 | 10 | 11) => {
                    self.unknown(part, 3)?
                }
                _ => return Err(ProtocolViolation::UnexpectedElement),
            }
            at = part.end;
        }
        Ok(name)
    }

    fn controls(&mut self, list: Element) -> Result<(), ProtocolViolation> {
        let mut at = list.start;
        let mut count = 0;
        while at < list.end {
            count += 1;
            if count > MAX_CONTROLS {
                return Err(ProtocolViolation::TooManyControls);
            }
            let control = self.expect(at, list.end, SEQUENCE)?;
            let oid = self.expect(control.start, control.end, OCTET_STRING)?;
            if !is_oid(oid.content(self.message)) {
                return Err(ProtocolViolation::MalformedControl);
            }
            let mut part = oid.end;
            if self.message[..control.end].get(part) == Some(&0x01) {
                let critical = self.next(part, control.end)?;
                if critical.end - critical.start != 1 {
                    return Err(ProtocolViolation::BooleanLength);
                }
                part = critical.end;
            }
            if part < control.end {
                let value = self.next(part, control.end)?;
                if value.tag != OCTET_STRING || value.end != control.end {
                    return Err(ProtocolViolation::MalformedControl);
                }
            }
            at = control.end;
        }
        Ok(())
    }

    /// Walks through an element whose meaning is not known, since ldap3 will decode it all the same.
    fn unknown(&mut self, element: Element, depth: usize) -> Result<(), ProtocolViolation> {
        if depth > MAX_DEPTH {
            return Err(ProtocolViolation::TooDeep);
        }
        if element.is_constructed() {
            let mut at = element.start;
            while at < element.end {
                let inner = self.next(at, element.end)?;
                self.unknown(inner, depth + 1)?;
                at = inner.end;
            }
        }
        Ok(())
    }

    fn next(&mut self, at: usize, end: usize) -> Result<Element, ProtocolViolation> {
        self.elements += 1;
        if self.elements > self.max_elements {
            return Err(ProtocolViolation::TooManyElements {
                limit: self.max_elements,
            });
        }
        ber::element(self.message, at, end)
    }

    fn expect(&mut self, at: usize, end: usize, tag: u8) -> Result<Element, ProtocolViolation> {
        let element = self.next(at, end)?;
        if element.tag == tag {
            Ok(element)
        } else {
            Err(ProtocolViolation::UnexpectedElement)
        }
    }

    fn repair(&mut self, text: Element) -> bool {
        repair_utf8(&mut self.message[text.start..text.end])
    }
}

/// Replaces every octet that is not part of valid UTF-8 by `?`. True if there was one.
fn repair_utf8(mut text: &mut [u8]) -> bool {
    let mut repaired = false;
    while let Err(error) = std::str::from_utf8(text) {
        let bad = error.valid_up_to();
        let length = error.error_len().unwrap_or(text.len() - bad);
        text[bad..bad + length].fill(b'?');
        text = &mut text[bad + length..];
        repaired = true;
    }
    repaired
}

fn is_oid(text: &[u8]) -> bool {
    !text.is_empty() && text.len() <= 256 && text.iter().all(|byte| byte.is_ascii_digit() || *byte == b'.')
}

#[cfg(test)]
#[path = "vet/tests.rs"]
mod tests;
