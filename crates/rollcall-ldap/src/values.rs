//! Reads the values of one entry's attributes one after the other, however many there are: a group may have a million
//! members, and a server that knows no ranges sends them all in one message.
//!
//! This is the only answer that is not read through the guard and ldap3, since both hold a whole message in memory. It
//! does not trust the server either: every length is checked against the element around it, only values are kept, and
//! bytes and time are bounded.

use std::sync::Arc;
use std::time::Duration;

use rollcall_core::secret::Password;
use rollcall_core::verdict::NetscapeControls;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt, BufReader};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Instant, timeout_at};
use zeroize::Zeroizing;

use crate::ber;
use crate::bind::{self, BindAnswer};
use crate::connection_limit::ConnectionPermit;
use crate::directory::LdapDirectory;
use crate::endpoint::Stream;
use crate::error::LdapError;
use crate::exchange;
use crate::pool::{Pools, Role};
use crate::protocol_violation::ProtocolViolation;
use crate::result_code::{ResultClass, ResultCode};
use crate::wire_guard::vet::{self, Answer, Operation, Request};
use crate::wire_guard::{MAX_NOISE, MAX_OTHER};

/// Bytes of one answer. Ten million members have DNs of 100 bytes on average.
const MAX_BYTES: u64 = 1 << 30;
/// Bytes of one value, name or DN.
const MAX_VALUE: u64 = 64 << 10;
/// The longest time for all values. Each wait for more bytes has the operation timeout.
const MAX_TIME: Duration = Duration::from_secs(900);
/// Elements of a message that is no entry.
const MAX_ELEMENTS: u32 = 1_000;
/// The id of the message of [`exchange::message`].
const MESSAGE_ID: u32 = 1;

/// A connection, bound as the service account, that reads entries with any number of values. After an error it must not
/// be used again.
pub struct ValueReader {
    wire: Wire<Box<dyn Io>>,
    _permit: OwnedSemaphorePermit,
    _connection_permit: ConnectionPermit,
}

trait Io: AsyncRead + AsyncWrite + Send + Unpin {}
impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

impl LdapDirectory {
    /// Opens a connection of its own for [`ValueReader::read`].
    ///
    /// # Errors
    /// No host can be used, or the service account is refused.
    pub async fn value_reader(&self) -> Result<ValueReader, LdapError> {
        let mut last = LdapError::CircuitOpen;
        for host in self.pools.admitted() {
            let begun = Instant::now();
            let opened = self.pools.value_reader_on(host).await;
            if let Err(error) = &opened {
                self.pools.judge(host, begun, Some(error));
            }
            match opened {
                Err(error) if error.is_host_failure() => last = error,
                opened => return opened,
            }
        }
        Err(last)
    }
}

impl ValueReader {
    /// Hands every value of these attributes of the entry at `dn` to `take`, with the attribute's name as the server
    /// wrote it. False if there is no such entry. After an error, some values may have been handed over.
    ///
    /// # Errors
    /// No answer, a refusal, or more values than can be read.
    pub async fn read(
        &mut self,
        dn: &str,
        attributes: &[&str],
        mut take: impl FnMut(&str, &[u8]),
    ) -> Result<bool, LdapError> {
        self.wire.begin();
        self.wire.send(&search(dn, attributes)).await?;
        let (answer, found) = self.wire.answer(Operation::Search, &mut take).await?;
        match answer.code {
            ResultCode::SUCCESS => Ok(found),
            ResultCode::NO_SUCH_OBJECT => Ok(false),
            code => Err(LdapError::SearchRefused(code)),
        }
    }
}

impl Pools {
    async fn value_reader_on(&self, host: usize) -> Result<ValueReader, LdapError> {
        if let Some(code) = self.account().refusal() {
            return Err(LdapError::BindRefused(code));
        }
        let deadline = Instant::now() + self.endpoint.connect_timeout + self.operation_timeout;
        let password = self.account().password();
        let code = match self.value_reader_with(host, &password, deadline).await? {
            Ok(reader) => return Ok(reader),
            Err(code) => code,
        };
        // The pool finds out whether there is another password. It knows of the refusal, and sends this one no more.
        if code.class() == ResultClass::Credentials
            && self.open(host, Role::Service, deadline).await.is_ok()
            && let another = self.account().password()
            && !Arc::ptr_eq(&another, &password)
            && let Ok(reader) = self.value_reader_with(host, &another, deadline).await?
        {
            return Ok(reader);
        }
        Err(LdapError::BindRefused(code))
    }

    /// A reader that is bound, or the code with which it was refused.
    async fn value_reader_with(
        &self,
        host: usize,
        password: &Arc<Password>,
        deadline: Instant,
    ) -> Result<Result<ValueReader, ResultCode>, LdapError> {
        let permit = self.service_permit(deadline).await?;
        let connection_permit = self.connection_permit(deadline).await?;
        let stream = self.endpoint.open(&self.endpoint.hosts[host], deadline).await?;
        let stream: Box<dyn Io> = match stream {
            Stream::Plain(tcp) => Box::new(tcp),
            Stream::Tls(tls) => tls,
        };
        let mut wire = Wire::new(stream, self.operation_timeout);
        wire.send(&bind_request(self.account().dn(), password)).await?;
        let (answer, _) = wire.answer(Operation::Bind, &mut |_, _| {}).await?;
        self.account().note(password, &answer);
        if answer.code != ResultCode::SUCCESS {
            return Ok(Err(answer.code));
        }
        Ok(Ok(ValueReader {
            wire,
            _permit: permit,
            _connection_permit: connection_permit,
        }))
    }
}

fn search(dn: &str, attributes: &[&str]) -> Vec<u8> {
    let mut names = Vec::new();
    for name in attributes {
        ber::put(&mut names, 0x04, name.as_bytes());
    }
    let mut operation = Vec::new();
    ber::put(&mut operation, 0x04, dn.as_bytes());
    ber::put(&mut operation, 0x0a, &[0]); // baseObject
    ber::put(&mut operation, 0x0a, &[0]); // neverDerefAliases
    ber::put(&mut operation, 0x02, &[0]);
    ber::put(&mut operation, 0x02, &[0]);
    ber::put(&mut operation, 0x01, &[0]); // types and values
    ber::put(&mut operation, 0x87, b"objectClass");
    ber::put(&mut operation, 0x30, &names);
    exchange::message(0x63, &operation)
}

fn bind_request(name: &str, password: &Password) -> Zeroizing<Vec<u8>> {
    let mut operation = Zeroizing::new(Vec::new());
    ber::put(&mut operation, 0x02, &[3]);
    ber::put(&mut operation, 0x04, name.as_bytes());
    ber::put(&mut operation, 0x80, password.expose().as_bytes());
    Zeroizing::new(exchange::message(0x60, &operation))
}

/// The header of an element: its tag and the length of its content.
type Header = (u8, u64);

/// A stream, and how many more bytes it may bring.
struct Wire<S> {
    stream: BufReader<S>,
    wait: Duration,
    end: Instant,
    bytes_left: u64,
}

impl<S: AsyncRead + AsyncWrite + Unpin> Wire<S> {
    fn new(stream: S, wait: Duration) -> Self {
        Self {
            stream: BufReader::with_capacity(64 << 10, stream),
            wait,
            end: Instant::now() + MAX_TIME,
            bytes_left: MAX_BYTES,
        }
    }

    fn begin(&mut self) {
        (self.end, self.bytes_left) = (Instant::now() + MAX_TIME, MAX_BYTES);
    }

    async fn send(&mut self, message: &[u8]) -> Result<(), LdapError> {
        let deadline = self.deadline();
        let sending = async {
            self.stream.write_all(message).await?;
            self.stream.flush().await
        };
        match timeout_at(deadline, sending).await {
            Ok(sent) => sent.map_err(|_| LdapError::ConnectionLost),
            Err(_) => Err(LdapError::Timeout),
        }
    }

    /// Reads messages up to the one that ends the request: its result, and whether an entry came.
    async fn answer(
        &mut self,
        operation: Operation,
        take: &mut impl FnMut(&str, &[u8]),
    ) -> Result<(BindAnswer, bool), LdapError> {
        let mut found = false;
        for _ in 0..MAX_NOISE {
            let mut left = u64::MAX;
            let length = self.expect(0x30, &mut left).await?;
            let mut left = length;
            let (tag, id_length) = self.header(&mut left).await?;
            if tag != 0x02 || id_length > 5 {
                return Err(violation(ProtocolViolation::UnexpectedElement));
            }
            let id = self.content(id_length, &mut left).await?;
            let (tag, length) = self.header(&mut left).await?;
            if tag == 0x64 && operation == Operation::Search && !found {
                if ber::unsigned(&id).map_err(violation)? != MESSAGE_ID {
                    return Err(violation(ProtocolViolation::UnknownMessageId));
                }
                found = true;
                self.entry(length, take).await?;
                left = left.checked_sub(length).ok_or_else(overrun)?;
                // Controls, which are not needed.
                self.skip(left).await?;
                continue;
            }
            if left > MAX_OTHER as u64 {
                let limit = MAX_OTHER;
                return Err(violation(ProtocolViolation::MessageTooLarge { limit }));
            }
            let rest = self.content(length, &mut left).await?;
            let behind = left;
            let controls = self.content(behind, &mut left).await?;
            let mut body = Vec::new();
            ber::put(&mut body, 0x02, &id);
            ber::put(&mut body, tag, &rest);
            body.extend_from_slice(&controls);
            let mut message = Vec::new();
            ber::put(&mut message, 0x30, &body);
            let asked = Request {
                id: MESSAGE_ID,
                operation,
            };
            let vetted = vet::vet(&mut message, Some(asked), MAX_ELEMENTS).map_err(violation)?;
            match vetted.answer {
                Answer::Final => return Ok((result(&rest)?, found)),
                Answer::Disconnection(notice) => return Err(LdapError::Disconnected(notice)),
                Answer::SearchResultReference | Answer::Noise => {}
                Answer::Entry { .. } => {
                    return Err(violation(ProtocolViolation::TooManyEntries { limit: 1 }));
                }
            }
        }
        Err(violation(ProtocolViolation::TooMuchNoise))
    }

    /// `SearchResultEntry`: DN, then a list of (name, set of values).
    async fn entry(&mut self, length: u64, take: &mut impl FnMut(&str, &[u8])) -> Result<(), LdapError> {
        let mut left = length;
        let dn = self.expect(0x04, &mut left).await?;
        self.content(dn, &mut left).await?;
        let mut attributes = self.expect(0x30, &mut left).await?;
        if attributes != left {
            return Err(violation(ProtocolViolation::UnexpectedElement));
        }
        while attributes > 0 {
            let mut attribute = self.expect(0x30, &mut attributes).await?;
            attributes = attributes.checked_sub(attribute).ok_or_else(overrun)?;
            let name = self.expect(0x04, &mut attribute).await?;
            let name = self.content(name, &mut attribute).await?;
            let name = String::from_utf8_lossy(&name).into_owned();
            if name.contains(';') && name.to_ascii_lowercase().contains(";range=") {
                return Err(violation(ProtocolViolation::Range));
            }
            let mut values = self.expect(0x31, &mut attribute).await?;
            if values != attribute {
                return Err(violation(ProtocolViolation::UnexpectedElement));
            }
            while values > 0 {
                let value = self.expect(0x04, &mut values).await?;
                take(&name, &self.content(value, &mut values).await?);
            }
        }
        Ok(())
    }

    /// The length of an element that must have this tag. `left` is what its container still holds.
    async fn expect(&mut self, tag: u8, left: &mut u64) -> Result<u64, LdapError> {
        match self.header(left).await? {
            (found, length) if found == tag => Ok(length),
            _ => Err(violation(ProtocolViolation::UnexpectedElement)),
        }
    }

    async fn header(&mut self, left: &mut u64) -> Result<Header, LdapError> {
        let mut bytes = Vec::with_capacity(10);
        bytes.extend(self.content(2, left).await?);
        loop {
            match ber::length(&bytes[1..]).map_err(violation)? {
                Some((_, length)) if length <= *left => return Ok((bytes[0], length)),
                Some(_) => return Err(overrun()),
                // The first octet of the length says how many octets follow: at most eight.
                None => bytes.extend(self.content(1, left).await?),
            }
        }
    }

    async fn content(&mut self, length: u64, left: &mut u64) -> Result<Vec<u8>, LdapError> {
        *left = left.checked_sub(length).ok_or_else(overrun)?;
        if length > MAX_VALUE {
            let limit = MAX_VALUE as usize;
            return Err(violation(ProtocolViolation::MessageTooLarge { limit }));
        }
        self.spend(length)?;
        let mut content = vec![0; usize::try_from(length).unwrap_or(0)];
        let deadline = self.deadline();
        match timeout_at(deadline, self.stream.read_exact(&mut content)).await {
            Ok(Ok(_)) => Ok(content),
            Ok(Err(_)) => Err(LdapError::ConnectionLost),
            Err(_) => Err(LdapError::Timeout),
        }
    }

    async fn skip(&mut self, length: u64) -> Result<(), LdapError> {
        let mut left = length;
        while left > 0 {
            self.content(left.min(MAX_VALUE), &mut left).await?;
        }
        Ok(())
    }

    fn spend(&mut self, bytes: u64) -> Result<(), LdapError> {
        let limit = MAX_BYTES;
        let left = self.bytes_left.checked_sub(bytes);
        self.bytes_left = left.ok_or_else(|| violation(ProtocolViolation::TooManyBytes { limit }))?;
        Ok(())
    }

    fn deadline(&self) -> Instant {
        self.end.min(Instant::now() + self.wait)
    }
}

fn violation(violation: ProtocolViolation) -> LdapError {
    LdapError::Protocol(violation)
}

fn overrun() -> LdapError {
    violation(ProtocolViolation::ElementOverrun)
}

/// What an `LDAPResult` says that was vetted, without its controls.
fn result(result: &[u8]) -> Result<BindAnswer, LdapError> {
    let code = ber::element(result, 0, result.len()).map_err(violation)?;
    let matched = ber::element(result, code.end, result.len()).map_err(violation)?;
    let text = ber::element(result, matched.end, result.len()).map_err(violation)?;
    Ok(BindAnswer {
        code: ResultCode(ber::unsigned(code.content(result)).map_err(violation)?),
        diagnostic: bind::diagnostic(&String::from_utf8_lossy(text.content(result))),
        policy: None,
        netscape: NetscapeControls::default(),
    })
}

#[cfg(test)]
#[path = "values/tests.rs"]
mod tests;
