//! The guard between a directory and ldap3.
//!
//! ldap3 can be crashed, stalled and flooded by its peer: deep nesting overflows the stack of the process, a dozen
//! malformed shapes panic, and its result channel has no bound. So it never reads a byte that was not vetted. It gets
//! one end of a socket pair; the other end and the stream to the server are held here.
//!
//! One task polls two directions, each with its own buffer: if one is stuck, the other goes on. Entries are forwarded
//! only while the consumer keeps up ([`Link`](link::Link)). A connection carries one request at a time; any message
//! that does not answer it ends the connection with a typed reason.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite};

use self::buffer::Buffer;
use self::large_message_permit::LargeMessagePermit;
use self::link::{Link, Note, Stop};
use self::oversized::Oversized;
use self::vet::{Answer, Operation, Request, Vetted};
use crate::protocol_violation::ProtocolViolation;

mod buffer;
pub(crate) mod frame;
pub(crate) mod large_message_permit;
pub(crate) mod link;
mod oversized;
pub(crate) mod vet;

/// Largest request that this side sends: a filter of 8 KiB and a list of attributes fit many times.
pub(crate) const MAX_REQUEST: usize = 1 << 20;
/// Largest message that is no entry.
pub(crate) const MAX_OTHER: usize = 64 << 10;
/// A message that costs more than this to decode needs the permit for large messages.
const LARGE: usize = 1 << 20;
/// What decoding one element costs in memory, beside its bytes: ldap3 keeps two copies of 48 bytes.
const ELEMENT_COST: usize = 96;
/// Bytes of a passed-over entry that are looked at in one step. The entry's DN may be among the first.
const PASSED_AT_ONCE: usize = 4 << 10;
/// Most messages on one connection that answer no request.
pub(crate) const MAX_NOISE: u32 = 1000;

/// Limits on single messages of a connection.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    /// Bytes of one message.
    pub(crate) message: usize,
    /// Most bytes of an entry that is passed over because it is larger than a message may be. A larger one ends the
    /// connection.
    skip: usize,
    /// Elements of one message.
    pub(crate) elements: u32,
    /// Size of the buffers while nothing is going on.
    buffer: usize,
}

impl Limits {
    /// For a connection that only binds.
    pub(crate) const BIND: Self = Self {
        message: 64 << 10,
        skip: 0,
        elements: 1_000,
        buffer: 4 << 10,
    };
    /// For a connection that searches.
    ///
    /// An entry is in memory up to five times while ldap3 decodes it, and each element takes another 200 bytes. Each
    /// directory has one permit for large messages, so these bounds keep a hostile directory below 64 MB.
    pub(crate) const SEARCH: Self = Self {
        message: 8 << 20,
        skip: 256 << 20,
        elements: 75_000,
        buffer: 64 << 10,
    };
}

/// Drives one connection until it ends; the reason is then in `link`.
pub(crate) struct WireGuard<S, L> {
    server: S,
    library: Option<L>,
    link: Arc<Link>,
    limits: Limits,
    requests: Buffer,
    /// Leading bytes of `requests` that are whole, known requests.
    requests_ready: usize,
    answers: Buffer,
    /// Leading bytes of `answers` that are vetted.
    answers_ready: usize,
    /// How many bytes the message behind the vetted ones needs; 0 while its header is incomplete.
    answer_wanted: usize,
    request: Option<Request>,
    /// The next message, vetted, while it waits for the permit for large messages.
    held: Option<Vetted>,
    /// An entry that is being passed over.
    passing: Option<Oversized>,
    /// The largest attribute of a passed-over entry, for the next message, which stands for that entry.
    oversized: Option<String>,
    large_message_permit: LargeMessagePermit,
    noise: u32,
    unflushed: bool,
    library_closed: bool,
    server_closed: bool,
}

impl<S, L> WireGuard<S, L>
where
    S: AsyncRead + AsyncWrite + Unpin,
    L: AsyncRead + AsyncWrite + Unpin,
{
    /// A guard between the stream to the server and ldap3's peer socket.
    pub(crate) fn new(
        server: S,
        library: L,
        link: Arc<Link>,
        limits: Limits,
        large_message_permit: LargeMessagePermit,
    ) -> Self {
        Self {
            server,
            library: Some(library),
            link,
            limits,
            requests: Buffer::new(4 << 10),
            requests_ready: 0,
            answers: Buffer::new(limits.buffer),
            answers_ready: 0,
            answer_wanted: 0,
            request: None,
            held: None,
            passing: None,
            oversized: None,
            large_message_permit,
            noise: 0,
            unflushed: false,
            library_closed: false,
            server_closed: false,
        }
    }

    /// Runs until the connection ends.
    pub(crate) async fn run(mut self) {
        let stop = std::future::poll_fn(|cx| self.poll(cx)).await;
        self.link.set_stop(stop.clone());
        if stop != Stop::LocalClosed {
            std::future::poll_fn(|cx| self.poll_deliver_rest(cx)).await;
        }
        // Only now does ldap3 see the end, so that the reason is known before anybody asks for it.
        self.library = None;
        let _ = std::future::poll_fn(|cx| Pin::new(&mut self.server).poll_shutdown(cx)).await;
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Stop> {
        loop {
            let outgoing = match self.poll_requests(cx) {
                Ok(progress) => progress,
                Err(stop) => return Poll::Ready(stop),
            };
            let incoming = match self.poll_answers(cx) {
                Ok(progress) => progress,
                Err(stop) => return Poll::Ready(stop),
            };
            if !outgoing && !incoming {
                return Poll::Pending;
            }
        }
    }

    /// ldap3 to server. True if anything moved.
    fn poll_requests(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut progress = false;
        if self.requests_ready > 0 {
            match self
                .requests
                .poll_drain(cx, Pin::new(&mut self.server), self.requests_ready)
            {
                Poll::Ready(Ok(written)) => {
                    self.requests_ready -= written;
                    self.requests.wipe();
                    self.unflushed = true;
                    progress = true;
                }
                Poll::Ready(Err(_)) => return Err(Stop::PeerClosed),
                Poll::Pending => {}
            }
        }
        if self.unflushed && self.requests_ready == 0 {
            match Pin::new(&mut self.server).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.unflushed = false,
                Poll::Ready(Err(_)) => return Err(Stop::PeerClosed),
                Poll::Pending => {}
            }
        }
        if self.requests_ready == 0 && !self.library_closed {
            let Some(library) = self.library.as_mut() else {
                return Err(Stop::LocalClosed);
            };
            match self.requests.poll_fill(cx, Pin::new(library), MAX_REQUEST) {
                Poll::Ready(Ok(0)) | Poll::Ready(Err(_)) => self.library_closed = true,
                Poll::Ready(Ok(_)) => {
                    self.admit_requests()?;
                    progress = true;
                }
                Poll::Pending => {}
            }
        }
        if self.library_closed && self.requests_ready == 0 && !self.unflushed {
            return Err(Stop::LocalClosed);
        }
        Ok(progress)
    }

    /// Looks at whole requests from ldap3 and lets them out.
    fn admit_requests(&mut self) -> Result<(), Stop> {
        loop {
            let pending = &self.requests.bytes()[self.requests_ready..];
            let length = frame::message_length(pending, MAX_REQUEST).map_err(|_| Stop::LocalClosed)?;
            let Some(length) = length else { return Ok(()) };
            if pending.len() < length {
                return Ok(());
            }
            // UnbindRequest and AbandonRequest have no answer.
            if let Some(request) = read_request(&pending[..length]) {
                if !self.link.may_write() {
                    return Err(Stop::LocalClosed);
                }
                self.request = Some(request);
            }
            self.requests_ready += length;
        }
    }

    /// Server to ldap3. True if anything moved.
    fn poll_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        let mut progress = false;
        let needs_more = self.vet_answers(cx)?;
        if self.answers_ready > 0 {
            let Some(library) = self.library.as_mut() else {
                return Err(Stop::LocalClosed);
            };
            match self.answers.poll_drain(cx, Pin::new(library), self.answers_ready) {
                Poll::Ready(Ok(written)) => {
                    self.answers_ready -= written;
                    return Ok(true);
                }
                Poll::Ready(Err(_)) => return Err(Stop::LocalClosed),
                Poll::Pending => return Ok(false),
            }
        }
        if needs_more {
            if self.server_closed {
                return Err(match self.answers.len() {
                    0 if self.passing.is_none() => Stop::PeerClosed,
                    _ => Stop::Violation(ProtocolViolation::Truncated),
                });
            }
            match self
                .answers
                .poll_fill(cx, Pin::new(&mut self.server), self.answer_wanted)
            {
                Poll::Ready(Ok(0)) => {
                    self.server_closed = true;
                    progress = true;
                }
                Poll::Ready(Ok(count)) => {
                    self.link.note_bytes(count).map_err(Stop::Violation)?;
                    progress = true;
                }
                // rustls reports an end without close_notify as an error; LDAP messages carry their length.
                Poll::Ready(Err(error)) if error.kind() == io::ErrorKind::UnexpectedEof => {
                    self.server_closed = true;
                    progress = true;
                }
                Poll::Ready(Err(_)) => return Err(Stop::PeerClosed),
                Poll::Pending => {}
            }
        }
        Ok(progress)
    }

    /// Vets what is there. True if the next message is incomplete, false if it has to wait.
    fn vet_answers(&mut self, cx: &mut Context<'_>) -> Result<bool, Stop> {
        loop {
            if self.passing.is_some() && !self.pass_over().map_err(Stop::Violation)? {
                return Ok(true);
            }
            let pending = &self.answers.bytes()[self.answers_ready..];
            let length = match frame::message_length(pending, self.limits.message) {
                Err(ProtocolViolation::MessageTooLarge { .. }) if self.may_pass_over() => {
                    // A message that is not forwarded must be at the front, so that it can be taken out.
                    if self.answers_ready > 0 {
                        return Ok(false);
                    }
                    let length = frame::message_length(pending, self.limits.skip).map_err(Stop::Violation)?;
                    self.passing = length.map(|length| Oversized::new(length as u64));
                    continue;
                }
                length => length.map_err(Stop::Violation)?,
            };
            self.answer_wanted = length.unwrap_or(0);
            let missing = length.is_none_or(|length| length > pending.len());
            if length.is_some_and(|length| length > LARGE) && self.poll_large_message_permit(cx).is_pending()
            {
                return Ok(false);
            }
            let Some(length) = length.filter(|_| !missing) else {
                return Ok(true);
            };
            if !self.link.has_credit(cx.waker()) {
                return Ok(false);
            }
            let range = self.answers_ready..self.answers_ready + length;
            let message = &mut self.answers.bytes_mut()[range];
            let vetted = match self.held.take() {
                Some(vetted) => vetted,
                None => vet::vet(message, self.request, self.limits.elements).map_err(Stop::Violation)?,
            };
            match vetted.answer {
                Answer::Entry { tainted } => {
                    let cost = length + vetted.elements as usize * ELEMENT_COST;
                    if cost > LARGE && self.poll_large_message_permit(cx).is_pending() {
                        self.held = Some(vetted);
                        return Ok(false);
                    }
                    self.link
                        .note_entry(Note {
                            cost,
                            tainted,
                            oversized: self.oversized.take(),
                        })
                        .map_err(Stop::Violation)?;
                    self.answers_ready += length;
                }
                _ if length > MAX_OTHER => {
                    return Err(Stop::Violation(ProtocolViolation::MessageTooLarge {
                        limit: MAX_OTHER,
                    }));
                }
                Answer::Final => {
                    self.request = None;
                    self.answers_ready += length;
                }
                // A message that is not forwarded must be at the front, so that it can be taken out.
                Answer::SearchResultReference | Answer::Noise if self.answers_ready > 0 => return Ok(false),
                Answer::SearchResultReference => {
                    self.link.note_search_result_reference();
                    self.answers.consume(length);
                }
                Answer::Noise => {
                    self.noise += 1;
                    if self.noise > MAX_NOISE {
                        return Err(Stop::Violation(ProtocolViolation::TooMuchNoise));
                    }
                    self.answers.consume(length);
                }
                Answer::Disconnection(notice) => return Err(Stop::Disconnected(notice)),
            }
        }
    }

    /// True if the answer to the present request may contain entries that are passed over.
    fn may_pass_over(&self) -> bool {
        self.limits.skip > 0
            && self
                .request
                .is_some_and(|request| request.operation == Operation::Search)
    }

    /// Passes over the bytes of an entry that is too large to be kept. At its end, puts the same entry without
    /// attributes at the end of the buffer in its place, and returns true.
    fn pass_over(&mut self) -> Result<bool, ProtocolViolation> {
        let Some(passing) = self.passing.as_mut() else {
            return Ok(true);
        };
        loop {
            let there = self.answers.len();
            let left = usize::try_from(passing.left()).unwrap_or(usize::MAX);
            // The last bytes give way to the entry that stands for this one.
            let stand_in = passing.without_attributes();
            let kept = stand_in.as_ref().map_or(0, Vec::len);
            if let Some(stand_in) = stand_in
                && left <= kept
            {
                self.answer_wanted = left;
                if there < left {
                    return Ok(false);
                }
                passing.pass(&self.answers.bytes()[..left])?;
                if kept > left || !passing.is_whole() {
                    return Err(ProtocolViolation::Undecodable);
                }
                self.answers.bytes_mut()[..left].copy_from_slice(&stand_in);
                self.oversized = self.passing.take().map(Oversized::into_attribute);
                return Ok(true);
            }
            // Passed over in small steps at first: the DN comes early, and the bytes around it need not be kept.
            let step = there.min(left - kept).min(PASSED_AT_ONCE);
            if step == 0 {
                self.answer_wanted = PASSED_AT_ONCE;
                return Ok(false);
            }
            passing.pass(&self.answers.bytes()[..step])?;
            self.answers.consume(step);
        }
    }

    fn poll_large_message_permit(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.link.note_large();
        self.large_message_permit.poll(cx)
    }

    /// Hands over what was vetted before the end.
    fn poll_deliver_rest(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        while self.answers_ready > 0 {
            let Some(library) = self.library.as_mut() else {
                return Poll::Ready(());
            };
            match self.answers.poll_drain(cx, Pin::new(library), self.answers_ready) {
                Poll::Ready(Ok(written)) => self.answers_ready -= written,
                Poll::Ready(Err(_)) => return Poll::Ready(()),
                Poll::Pending => return Poll::Pending,
            }
        }
        Poll::Ready(())
    }
}

/// Message id and kind of a request that ldap3 wrote.
fn read_request(message: &[u8]) -> Option<Request> {
    let outer = crate::ber::element(message, 0, message.len()).ok()?;
    let id = crate::ber::element(message, outer.start, outer.end).ok()?;
    let operation = match message.get(id.end)? {
        0x60 => Operation::Bind,
        0x63 => Operation::Search,
        0x77 => Operation::Extended,
        _ => return None,
    };
    Some(Request {
        id: crate::ber::unsigned(id.content(message)).ok()?,
        operation,
    })
}

#[cfg(test)]
mod tests;
