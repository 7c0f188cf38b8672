use super::ber::PAGED_RESULTS;
use super::filter::{self, Filter};
use lber::common::TagClass;
use lber::parse::parse_tag;
use lber::structure::{PL, StructureTag};

/// A request as it came over the wire.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Request {
    /// The message id to answer with.
    pub id: i64,
    /// What is asked for.
    pub operation: Operation,
    /// The OIDs of the request's controls.
    pub controls: Vec<String>,
    /// The connection it came on, counted from 0 in the order of acceptance.
    pub connection: usize,
}

/// The operations that Rollcall has a reason to send; the rest by tag number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Operation {
    /// A simple bind; SASL binds are [`Operation::Other`].
    Bind {
        /// The name.
        dn: String,
        /// The password's bytes.
        password: Vec<u8>,
    },
    /// The end of the connection, which has no answer.
    Unbind,
    /// A search.
    Search {
        /// The base object.
        base: String,
        /// 0 base, 1 one level, 2 subtree.
        scope: i64,
        /// At most how many entries; 0 is as many as there are.
        size_limit: i64,
        /// Whom to find.
        filter: Filter,
        /// The requested attributes.
        attributes: Vec<String>,
        /// Page size and cookie of the paged results control.
        page: Option<(i64, Vec<u8>)>,
    },
    /// Gives up the operation with this id; has no answer.
    Abandon(i64),
    /// An extended operation, e.g. 1.3.6.1.4.1.1466.20037 for StartTLS.
    Extended(String),
    /// Anything else: the tag number of RFC 4511 section 4.2 and following.
    Other(u64),
}

impl Request {
    /// A base search of the root DSE for no attribute.
    pub(super) fn asks_for_nothing(&self) -> bool {
        matches!(&self.operation, Operation::Search { base, scope: 0, attributes, page: None, .. }
            if base.is_empty() && attributes == &["1.1"])
    }
}

/// What the bytes received so far amount to.
pub(super) enum Parsed {
    Message { request: Box<Request>, length: usize },
    Incomplete,
    Malformed,
}

pub(super) fn parse(bytes: &[u8], connection: usize) -> Parsed {
    match parse_tag(bytes) {
        Ok((rest, tag)) => match request(tag, connection) {
            Some(request) => Parsed::Message {
                request: Box::new(request),
                length: bytes.len() - rest.len(),
            },
            None => Parsed::Malformed,
        },
        Err(lber::Err::Incomplete(_)) => Parsed::Incomplete,
        Err(_) => Parsed::Malformed,
    }
}

fn request(message: StructureTag, connection: usize) -> Option<Request> {
    let mut parts = message.expect_constructed()?.into_iter();
    let id = number(&parts.next()?)?;
    let operation = parts.next()?.match_class(TagClass::Application)?;
    let controls: Vec<(String, Vec<u8>)> = match parts.next() {
        Some(controls) => controls
            .expect_constructed()?
            .into_iter()
            .map(control)
            .collect::<Option<_>>()?,
        None => Vec::new(),
    };
    let page = controls
        .iter()
        .find(|(oid, _)| oid == PAGED_RESULTS)
        .and_then(|(_, value)| page(value));
    let operation = parse_operation(operation, page)?;
    let controls = controls.into_iter().map(|(oid, _)| oid).collect();
    Some(Request {
        id,
        operation,
        controls,
        connection,
    })
}

fn parse_operation(tag: StructureTag, page: Option<(i64, Vec<u8>)>) -> Option<Operation> {
    Some(match (tag.id, tag.payload) {
        (0, PL::C(parts)) => match parts.as_slice() {
            [_, dn, credentials] if credentials.id == 0 => Operation::Bind {
                dn: text(dn)?,
                password: bytes(credentials)?,
            },
            _ => Operation::Other(0),
        },
        (2, _) => Operation::Unbind,
        (3, PL::C(parts)) => match parts.as_slice() {
            [base, scope, _, size_limit, _, _, filter, attributes] => Operation::Search {
                base: text(base)?,
                scope: number(scope)?,
                size_limit: number(size_limit)?,
                filter: filter::parse(filter)?,
                attributes: children(attributes)?.iter().map(text).collect::<Option<_>>()?,
                page,
            },
            _ => return None,
        },
        (16, PL::P(id)) => Operation::Abandon(big_endian(&id)),
        (23, PL::C(parts)) => Operation::Extended(text(parts.first()?)?),
        (other, _) => Operation::Other(other),
    })
}

fn control(tag: StructureTag) -> Option<(String, Vec<u8>)> {
    let parts = tag.expect_constructed()?;
    let (oid, rest) = parts.split_first()?;
    // Criticality (BOOLEAN, tag 1) and value (OCTET STRING, tag 4) may each be absent.
    let value = rest
        .iter()
        .find(|part| part.id == 4)
        .and_then(bytes)
        .unwrap_or_default();
    Some((text(oid)?, value))
}

fn page(value: &[u8]) -> Option<(i64, Vec<u8>)> {
    let (_, tag) = parse_tag(value).ok()?;
    match children(&tag)? {
        [size, cookie] => Some((number(size)?, bytes(cookie)?)),
        _ => None,
    }
}

fn children(tag: &StructureTag) -> Option<&[StructureTag]> {
    match &tag.payload {
        PL::C(children) => Some(children),
        PL::P(_) => None,
    }
}

fn bytes(tag: &StructureTag) -> Option<Vec<u8>> {
    match &tag.payload {
        PL::P(bytes) => Some(bytes.clone()),
        PL::C(_) => None,
    }
}

fn text(tag: &StructureTag) -> Option<String> {
    String::from_utf8(bytes(tag)?).ok()
}

fn number(tag: &StructureTag) -> Option<i64> {
    bytes(tag).map(|bytes| big_endian(&bytes))
}

fn big_endian(bytes: &[u8]) -> i64 {
    bytes
        .iter()
        .fold(0, |value, byte| (value << 8) | i64::from(*byte))
}
