//! Pages of lists: from the page that a request asks for to the parts that the store reads, and back to a token.

use std::future::Future;

use prost::Message;
use rollcall_core::error::Error;
use rollcall_proto::page;
use rollcall_store::{Cursor, PageRequest};

use crate::message_size::fitting_page;

/// Most parts that are read to fill one page.
const MAX_PARTS: usize = 200;
/// Most items that are looked at to fill one page: a filter that matches next to nothing must not read a whole list
/// in one call.
const MAX_SCANNED: usize = 10_000;

/// The part of a list that a request asks for.
pub fn page_request(page: &page::Page) -> PageRequest {
    PageRequest {
        limit: page.size,
        after: page.after.clone().map(Cursor::from_text),
    }
}

/// The page that is asked for, or as much of it as a client takes: see [`fitting_page`].
///
/// # Errors
/// Those of `read`.
pub async fn fitting<M, F>(page: page::Page, read: impl Fn(page::Page) -> F) -> Result<M, Error>
where
    M: Message,
    F: Future<Output = Result<(M, usize), Error>>,
{
    fitting_page(page.size, |size| {
        let mut smaller = page.clone();
        smaller.size = size;
        read(smaller)
    })
    .await
}

/// The token of the page after this one; empty on the last.
pub fn next_token(page: &page::Page, next: Option<&Cursor>) -> String {
    next.map(|cursor| page.next_token(cursor.as_str()))
        .unwrap_or_default()
}

/// Fills a page with the items that are wanted, part by part. It may end up with fewer than asked for.
pub struct Filling<T> {
    size: usize,
    items: Vec<T>,
    /// Where the next part begins; `None` if there is none.
    next: Option<PageRequest>,
    parts: usize,
    scanned: usize,
}

impl<T> Filling<T> {
    /// An empty page of the size that is asked for.
    pub fn new(page: &page::Page) -> Self {
        Self {
            size: page.size as usize,
            items: Vec::new(),
            next: Some(page_request(page)),
            parts: 0,
            scanned: 0,
        }
    }

    /// The part to read next; `None` once there is enough.
    pub fn part(&mut self) -> Option<PageRequest> {
        let room = u32::try_from(self.size - self.items.len()).unwrap_or(u32::MAX);
        if room == 0 || self.parts == MAX_PARTS || self.scanned >= MAX_SCANNED {
            return None;
        }
        self.parts += 1;
        self.next.clone().map(|next| PageRequest { limit: room, ..next })
    }

    /// Takes what is wanted of a part that was read.
    pub fn add(&mut self, part: rollcall_store::Page<T>, wanted: impl Fn(&T) -> bool) {
        self.scanned += part.items.len();
        self.items.extend(part.items.into_iter().filter(wanted));
        self.next = part.next.map(|cursor| PageRequest {
            limit: 1,
            after: Some(cursor),
        });
    }

    /// The items, and the token of the page after them.
    pub fn end(self, page: &page::Page) -> (Vec<T>, String) {
        let cursor = self.next.and_then(|next| next.after);
        (self.items, next_token(page, cursor.as_ref()))
    }
}
