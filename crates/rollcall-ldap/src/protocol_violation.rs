//! What a directory can do wrong on the wire. Each of these closes that one connection.

use thiserror::Error;

/// What else seems to be speaking where LDAP was expected.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Spoken {
    /// A TLS record: the port wants TLS from the first byte.
    Tls,
    /// The text of an HTTP server.
    Http,
    /// Nothing that is recognised.
    Unknown,
}

/// For people.
fn size(bytes: usize) -> String {
    match bytes >> 20 {
        0 => format!("{} KiB", bytes >> 10),
        mib => format!("{mib} MiB"),
    }
}

/// How a directory broke the protocol (RFC 4511), or went beyond what it may cost.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum ProtocolViolation {
    /// The first octet of a message is not that of an LDAP message.
    #[error("{}", match .0 {
        Spoken::Tls => "the server speaks TLS where plain LDAP was expected",
        Spoken::Http => "the server speaks HTTP, not LDAP",
        Spoken::Unknown => "the server does not speak LDAP",
    })]
    NotLdap(Spoken),
    /// A length of the indefinite form, which RFC 4511 section 5.1 forbids.
    #[error("an element has no definite length")]
    IndefiniteLength,
    /// A length field of more than eight octets.
    #[error("a length field is too long")]
    LengthField,
    /// A message larger than the connection's limit.
    #[error("an answer is larger than {}, the most that is read of one: an attribute, such as a photo, is far too large", size(*.limit))]
    MessageTooLarge {
        /// The limit in bytes.
        limit: usize,
    },
    /// An element reaches beyond the one that holds it.
    #[error("an element reaches beyond its container")]
    ElementOverrun,
    /// An element that must be there is not.
    #[error("an element is missing")]
    ElementMissing,
    /// An element of another type than the protocol has at this place, or one too many.
    #[error("an element has the wrong type")]
    UnexpectedElement,
    /// A tag number of 31 or more, which LDAP does not have.
    #[error("a tag number is out of range")]
    HighTagNumber,
    /// Deeper nesting than any LDAP message has.
    #[error("elements are nested too deeply")]
    TooDeep,
    /// More elements in one message than its limit.
    #[error("a message has more than {limit} elements")]
    TooManyElements {
        /// The limit.
        limit: u32,
    },
    /// An INTEGER or ENUMERATED without content.
    #[error("a number has no content")]
    EmptyInteger,
    /// A number that is negative or too large for its place.
    #[error("a number is out of range")]
    IntegerOutOfRange,
    /// A BOOLEAN whose content is not one octet.
    #[error("a truth value has the wrong length")]
    BooleanLength,
    /// A control without a valid object identifier, or with parts out of order.
    #[error("a control is malformed")]
    MalformedControl,
    /// More controls than any message needs.
    #[error("a message has too many controls")]
    TooManyControls,
    /// An answer to a question that was not asked, or was answered already.
    #[error("a message answers no request in flight")]
    UnknownMessageId,
    /// An answer of another kind than the request asks for.
    #[error("a message of the wrong kind answers a request")]
    UnexpectedOperation,
    /// More notifications and intermediate answers than anyone needs.
    #[error("the server sends too many messages that nobody asked for")]
    TooMuchNoise,
    /// More entries than were asked for.
    #[error("the server sends more than {limit} entries to one request")]
    TooManyEntries {
        /// The limit.
        limit: u32,
    },
    /// More bytes than the operation's budget.
    #[error("the server sends more than {limit} bytes to one request")]
    TooManyBytes {
        /// The limit in bytes.
        limit: u64,
    },
    /// The connection ended inside a message.
    #[error("the connection ended inside a message")]
    Truncated,
    /// Data between the answer to StartTLS and the TLS handshake: somebody injects plaintext.
    #[error("data arrived between the answer to StartTLS and the TLS handshake")]
    BytesBeforeTls,
    /// The answer's paged-results control cannot be read, or is missing after the first page had it.
    #[error("the paged-results control is malformed or missing")]
    PagedResultsControl,
    /// Page after page without any entry, a few with the same cookie or many with others.
    #[error("the server sends page after page without entries")]
    CookieLoop,
    /// Page after page with entries that came before.
    #[error("the server sends the same entries page after page")]
    EndlessPages,
    /// A range of an attribute's values does not go on where the last one ended.
    #[error("ranges of an attribute's values do not fit together")]
    Range,
    /// The LDAP library met something that the guard let through.
    #[error("an answer could not be decoded")]
    Undecodable,
}
