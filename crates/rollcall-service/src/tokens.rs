//! Page tokens and cursors, which callers send back to go on at a place. Each is signed, so that nobody can make one
//! for a place that was never shown. Neither grants access: every call is checked anew.
//!
//! A page token belongs to one request, made by callers of the same tenants, and is valid for 24 hours. A cursor
//! belongs only to a feed and does not expire: other callers, credentials and filters may use it.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::error::{Error, Reason};
use rollcall_core::feed::Mark;
use rollcall_core::mac::{MacKey, Tag};
use rollcall_core::violation::Violations;
use rollcall_runtime::clock::Clock;
use rollcall_store::{Cursor, Purpose, Store, StoreError};

/// How long a page token is valid. The clocks of replicas may differ: a token from a clock that is ahead is valid
/// longer by that difference, but at most twice this time.
const LIFETIME: TimeDelta = TimeDelta::hours(24);
/// Longest token or cursor, in bytes.
const MAX_BYTES: usize = 2048;
/// First byte of both. A later format gets another one.
const VERSION: u8 = 2;
/// Bytes of a signature.
const SIGNATURE: usize = size_of::<Tag>();
/// Bytes of a mark.
const MARK: usize = 16;

/// Makes and checks page tokens and cursors. Clones share the key.
#[derive(Clone)]
pub struct Tokens {
    pages: MacKey,
    cursors: MacKey,
    clock: Clock,
}

impl Tokens {
    /// With the deployment's keys, which are the same for all replicas of both services.
    ///
    /// # Errors
    /// `Corrupt` if the keys of the store were not read.
    pub fn of(store: &Store, clock: Clock) -> Result<Self, StoreError> {
        let keys = store.keys()?;
        let key = |purpose| keys.of(purpose).clone();
        Ok(Self::new(
            key(Purpose::PageTokens),
            key(Purpose::FeedCursors),
            clock,
        ))
    }

    pub(crate) fn new(pages: MacKey, cursors: MacKey, clock: Clock) -> Self {
        Self {
            pages,
            cursors,
            clock,
        }
    }

    /// The token of the page that begins behind `cursor`.
    pub(crate) fn page_token(&self, cursor: &Cursor, belongs_to: &Belonging) -> String {
        let issued = self.clock.now().timestamp();
        let payload = [&issued.to_be_bytes(), cursor.as_str().as_bytes()].concat();
        seal(&self.pages, &payload, belongs_to)
    }

    /// The cursor of a place in a feed. It has one mark for each sequence that the feed is made of.
    pub fn cursor<const N: usize>(&self, feed: &str, marks: [Mark; N]) -> String {
        let numbers = marks.iter().flat_map(|mark| [mark.position, mark.digest]);
        let payload: Vec<u8> = numbers.flat_map(i64::to_be_bytes).collect();
        seal(&self.cursors, &payload, &Belonging::of("cursor", [feed]))
    }

    /// The place in a feed that a cursor names, which came in the field `field`.
    ///
    /// # Errors
    /// `INVALID_CURSOR`, whatever is wrong with it.
    pub fn marks<const N: usize>(
        &self,
        feed: &str,
        field: &'static str,
        cursor: &str,
    ) -> Result<[Mark; N], Error> {
        let payload = open(&self.cursors, cursor, &Belonging::of("cursor", [feed]));
        payload.and_then(|payload| marks(&payload)).ok_or_else(|| {
            let description = "was not returned for this parent";
            refused(Reason::InvalidCursor, field, description)
        })
    }

    /// The cursor behind which the page of a token begins.
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, whatever is wrong with the token.
    pub(crate) fn page_start(&self, token: &str, belongs_to: &Belonging) -> Result<Cursor, Error> {
        self.open_page_token(token, belongs_to).ok_or_else(|| {
            let description = "was not returned within the last 24 hours by this method for these arguments";
            refused(Reason::InvalidPageToken, "page_token", description)
        })
    }

    fn open_page_token(&self, token: &str, belongs_to: &Belonging) -> Option<Cursor> {
        let payload = open(&self.pages, token, belongs_to)?;
        let (issued, position) = payload.split_first_chunk()?;
        let issued = DateTime::from_timestamp(i64::from_be_bytes(*issued), 0)?;
        is_current(issued, self.clock.now()).then_some(())?;
        Some(Cursor::from_text(String::from_utf8(position.to_vec()).ok()?))
    }
}

/// What a token belongs to. It is not valid for anything else.
#[derive(Clone)]
pub(crate) struct Belonging(Vec<String>);

impl Belonging {
    pub(crate) fn of(kind: &str, parts: impl IntoIterator<Item = impl Into<String>>) -> Self {
        let parts = parts.into_iter().map(Into::into);
        Self(std::iter::once(kind.to_owned()).chain(parts).collect())
    }

    fn with<'a>(&'a self, signed: &'a [u8]) -> Vec<&'a [u8]> {
        let parts = self.0.iter().map(String::as_bytes);
        parts.chain([signed]).collect()
    }
}

fn seal(key: &MacKey, payload: &[u8], belongs_to: &Belonging) -> String {
    let mut bytes = [&[VERSION], payload].concat();
    let signature = key.tag(&belongs_to.with(&bytes));
    bytes.extend(signature);
    URL_SAFE_NO_PAD.encode(bytes)
}

fn open(key: &MacKey, text: &str, belongs_to: &Belonging) -> Option<Vec<u8>> {
    if text.len() > MAX_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(text).ok()?;
    let (signed, signature) = bytes.split_last_chunk::<SIGNATURE>()?;
    let is_ours = key.is_tag(&belongs_to.with(signed), signature);
    let payload = is_ours.then_some(signed)?.strip_prefix(&[VERSION])?;
    Some(payload.to_vec())
}

fn is_current(issued: DateTime<Utc>, now: DateTime<Utc>) -> bool {
    (now - issued).abs() <= LIFETIME
}

fn marks<const N: usize>(payload: &[u8]) -> Option<[Mark; N]> {
    let (marks, rest) = payload.as_chunks::<MARK>();
    let number = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes).ok();
    let mark = |bytes: &[u8; MARK]| {
        let (position, digest) = bytes.split_at(MARK / 2);
        Some(Mark {
            position: number(position)?,
            digest: number(digest)?,
        })
    };
    let marks: Option<Vec<Mark>> = marks.iter().map(mark).collect();
    marks.filter(|_| rest.is_empty())?.try_into().ok()
}

fn refused(reason: Reason, field: &str, description: &str) -> Error {
    let mut found = Violations::new();
    found.add(field, description);
    let mut error = Error::invalid(found);
    error.reason = reason;
    error
}

#[cfg(test)]
mod tests;
