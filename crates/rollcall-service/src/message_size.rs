//! Keeps answers below what a client takes.

use std::future::Future;

use prost::Message;
use rollcall_core::error::Error;

/// Largest answer in bytes: what the client libraries of all languages take unless they are told to take more.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;

/// A page of a list with as many items as a client takes in one message: reads at most `size`, and fewer once more if
/// they turn out to be too large together. `read` returns the answer and how many items are in it.
///
/// A single item is returned whatever its size is.
///
/// # Errors
/// Those of `read`.
pub async fn fitting_page<M, F>(size: u32, read: impl Fn(u32) -> F) -> Result<M, Error>
where
    M: Message,
    F: Future<Output = Result<(M, usize), Error>>,
{
    let mut size = size;
    loop {
        let (answer, items) = read(size).await?;
        let bytes = answer.encoded_len();
        if bytes <= MAX_ANSWER_BYTES || items <= 1 {
            return Ok(answer);
        }
        // The first ones may be the largest, so that the average says little: half of them at most.
        let fit = (items * MAX_ANSWER_BYTES / bytes).min(items / 2);
        size = u32::try_from(fit.max(1)).unwrap_or(1);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use rollcall_proto::v1::{ListUsersResponse, User};

    /// A list of users of these sizes, and how often it was read.
    async fn read(sizes: &[usize], wanted: u32) -> (usize, usize) {
        let reads = std::cell::Cell::new(0);
        let page = fitting_page(wanted, |size| {
            reads.set(reads.get() + 1);
            let users = sizes.iter().take(size as usize).map(|size| User {
                display_name: "x".repeat(*size),
                ..User::default()
            });
            let users: Vec<User> = users.collect();
            let items = users.len();
            let page = ListUsersResponse {
                users,
                ..ListUsersResponse::default()
            };
            std::future::ready(Ok((page, items)))
        });
        let page = page.await.unwrap();
        assert!(page.users.len() <= 1 || page.encoded_len() <= MAX_ANSWER_BYTES);
        (page.users.len(), reads.get())
    }

    #[tokio::test]
    async fn a_page_that_fits_is_read_once() {
        assert_eq!(read(&[1000; 1000], 1000).await, (1000, 1));
        assert_eq!(read(&[], 1000).await, (0, 1));
    }

    #[tokio::test]
    async fn a_page_that_is_too_large_becomes_one_that_fits() {
        assert_eq!(read(&[50_000; 100], 1000).await, (50, 2));
        // The largest come first.
        let mut sizes = vec![2_000_000; 3];
        sizes.resize(900, 1_000);
        let (items, reads) = read(&sizes, 1000).await;
        assert!(items >= 1 && reads <= 11, "{items} items after {reads} reads");
    }

    #[tokio::test]
    async fn one_item_is_told_however_large_it_is() {
        assert_eq!(read(&[5_000_000, 1], 1000).await.0, 1);
    }
}
