//! Pages of lists. They go on after the last key that was shown, so that rows which come or go between two
//! pages neither repeat nor hide others.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::{Result, StoreError};

/// Most items of a page; more are never returned, whatever is asked.
pub const MAX_PAGE: u32 = 1000;

/// Where a list goes on. Opaque; belongs to one list with one filter.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Cursor(String);

/// Which part of a list is wanted.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct PageRequest {
    /// At most so many items, cut to [`MAX_PAGE`].
    pub limit: u32,
    /// Go on here; `None` starts at the beginning.
    pub after: Option<Cursor>,
}

/// A part of a list.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page<T> {
    /// The items.
    pub items: Vec<T>,
    /// Where the list goes on; `None` at its end.
    pub next: Option<Cursor>,
}

impl Cursor {
    /// Takes a cursor back from the text that [`Cursor::as_str`] gave.
    pub fn from_text(text: String) -> Self {
        Self(text)
    }

    /// The cursor as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    fn of(key: &impl Serialize) -> Result<Self> {
        serde_json::to_string(key)
            .map(Self)
            .map_err(|error| StoreError::corrupt_by("a key is not JSON", error))
    }

    fn key<K: DeserializeOwned>(&self) -> Result<K> {
        serde_json::from_str(&self.0).map_err(|_| StoreError::InvalidCursor)
    }
}

impl PageRequest {
    /// The first page.
    pub fn first(limit: u32) -> Self {
        Self { limit, after: None }
    }

    pub(crate) fn limit(&self) -> usize {
        self.limit.clamp(1, MAX_PAGE) as usize
    }

    /// ` LIMIT n` with one row more than the page, which tells whether another page follows.
    pub(crate) fn limit_sql(&self) -> String {
        format!(" LIMIT {}", self.limit() + 1)
    }

    /// The key after which to go on.
    pub(crate) fn key<K: DeserializeOwned>(&self) -> Result<Option<K>> {
        self.after.as_ref().map(Cursor::key).transpose()
    }
}

/// The rows of several lists as one list in the same order. Each list is read by its index. The database merges them,
/// since only it knows in which order it puts texts.
pub(crate) fn merged(lists: &[String], order: &str, page: &PageRequest) -> String {
    match lists {
        [list] => list.clone(),
        lists => {
            let lists = lists
                .iter()
                .enumerate()
                .map(|(number, list)| format!("SELECT * FROM ({list}) AS list{number}"));
            let lists = lists.collect::<Vec<_>>().join(" UNION ALL ");
            let limit = page.limit_sql();
            format!("SELECT * FROM ({lists}) AS lists ORDER BY {order}{limit}")
        }
    }
}

impl<T> Page<T> {
    /// Cuts rows that were fetched with [`PageRequest::limit_sql`].
    pub(crate) fn cut<R, K: Serialize>(
        mut rows: Vec<R>,
        request: &PageRequest,
        key: impl Fn(&R) -> K,
        item: impl Fn(R) -> Result<T>,
    ) -> Result<Self> {
        let more = rows.len() > request.limit();
        rows.truncate(request.limit());
        let next = match rows.last() {
            Some(last) if more => Some(Cursor::of(&key(last))?),
            _ => None,
        };
        Ok(Self {
            items: rows.into_iter().map(item).collect::<Result<_>>()?,
            next,
        })
    }

    /// A page whose continuation the caller works out itself.
    pub(crate) fn with_next(items: Vec<T>, next: Option<impl Serialize>) -> Result<Self> {
        let next = next.as_ref().map(Cursor::of).transpose()?;
        Ok(Self { items, next })
    }
}
