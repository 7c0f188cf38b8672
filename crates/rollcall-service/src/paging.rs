//! Pages of lists: from the page that a request asks for to the parts that the store reads, and back to a token.

use std::future::Future;

use prost::Message;
use rollcall_core::error::Error;
use rollcall_proto::page::AskedPage;
use rollcall_store::{Cursor, Page, PageRequest, StoreError};

use crate::message_size::{AROUND, PAGE_BYTES, Portion};
use crate::tokens::{Belonging, Tokens};

/// Most parts that are read to fill one page, counting those that are read again.
const MAX_PARTS: usize = 400;
/// Most items that are looked at to fill one page: a filter that matches almost nothing must not read a whole list in
/// one call.
const MAX_SCANNED: usize = 10_000;

/// The page that a request asks for, once its token was found good.
#[derive(Clone)]
pub struct Paging {
    size: u32,
    after: Option<Cursor>,
    tokens: Tokens,
    belongs_to: Belonging,
}

impl Tokens {
    /// The page that a request of a caller of these tenants asks for; see [`Caller::tenants`].
    ///
    /// [`Caller::tenants`]: rollcall_runtime::caller::Caller::tenants
    ///
    /// # Errors
    /// `INVALID_PAGE_TOKEN`, whatever is wrong with the token.
    pub fn page(&self, tenants: Option<&[String]>, asked: AskedPage) -> Result<Paging, Error> {
        let AskedPage {
            size,
            token,
            mut request,
        } = asked;
        match tenants {
            None => request.push("*".to_owned()),
            Some(tenants) => request.extend(tenants.iter().cloned()),
        }
        let belongs_to = Belonging::of("page", request);
        let after = match token.as_str() {
            "" => None,
            token => Some(self.page_start(token, &belongs_to)?),
        };
        Ok(Paging {
            size,
            after,
            tokens: self.clone(),
            belongs_to,
        })
    }
}

impl Paging {
    /// The part of the list that the store reads.
    pub fn request(&self) -> PageRequest {
        PageRequest {
            limit: self.size,
            after: self.after.clone(),
        }
    }

    /// Whether the list begins with this page.
    pub fn is_first(&self) -> bool {
        self.after.is_none()
    }

    /// The token of the page after this one; empty on the last.
    pub(crate) fn next_token(&self, next: Option<&Cursor>) -> String {
        next.map(|cursor| self.tokens.page_token(cursor, &self.belongs_to))
            .unwrap_or_default()
    }
}

/// Fills a page with wanted items, part by part: as many as were asked for, or as many as a client accepts in one
/// message. There may be fewer. `show` returns an item as it is shown, or `None` if it is not wanted. Returns the items
/// with the token of the next page.
///
/// A single item is returned however large it is.
///
/// # Errors
/// Those of `read`.
pub async fn fill<T, W, F>(
    page: &Paging,
    read: impl Fn(PageRequest) -> F,
    show: impl Fn(&T) -> Option<W>,
) -> Result<(Vec<W>, String), Error>
where
    W: Message,
    F: Future<Output = Result<Page<T>, StoreError>>,
{
    let (mut shown, mut bytes, mut scanned) = (Vec::new(), 0, 0);
    let (mut next, mut portion) = (Some(page.request().after), Portion::default());
    for _ in 0..MAX_PARTS {
        let room = page.size as usize - shown.len();
        let Some(after) = next.clone() else { break };
        if room == 0 || scanned >= MAX_SCANNED {
            break;
        }
        let limit = portion.of(room);
        let found = read(PageRequest { limit, after }).await?;
        let (mut part, mut part_bytes, mut fitting) = (Vec::new(), 0, 0);
        for item in &found.items {
            if let Some(item) = show(item) {
                let size = item.encoded_len() + AROUND;
                let is_first = shown.is_empty() && part.is_empty();
                if bytes + part_bytes + size > PAGE_BYTES && !is_first {
                    break;
                }
                part_bytes += size;
                part.push(item);
            }
            fitting += 1;
        }
        if fitting < found.items.len() {
            if fitting == 0 {
                break;
            }
            // Read again only up to the last item that fits, since the next page begins behind it.
            portion = portion.cut(fitting);
            continue;
        }
        portion = portion.after(part.len(), part_bytes, PAGE_BYTES.saturating_sub(bytes));
        bytes += part_bytes;
        scanned += found.items.len();
        shown.append(&mut part);
        next = found.next.map(Some);
    }
    let token = next.and_then(|after| after.map(|after| page.next_token(Some(&after))));
    Ok((shown, token.unwrap_or_default()))
}

#[cfg(test)]
mod tests;
