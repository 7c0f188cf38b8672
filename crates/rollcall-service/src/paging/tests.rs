#![allow(clippy::unwrap_used)]

use std::cell::Cell;

use chrono::DateTime;
use rollcall_core::mac::MacKey;
use rollcall_proto::page::AskedPage;
use rollcall_proto::v1::User;
use rollcall_runtime::clock::{Clock, ManualClock};

use super::*;

/// A list of users whose names are so long. Says how much was read at once, at most.
struct List {
    sizes: Vec<usize>,
    most: Cell<usize>,
    reads: Cell<usize>,
}

impl List {
    fn of(sizes: Vec<usize>) -> Self {
        Self {
            sizes,
            most: Cell::new(0),
            reads: Cell::new(0),
        }
    }

    fn read(&self, part: PageRequest) -> Result<Page<(usize, usize)>, StoreError> {
        let begin = part.after.map_or(0, |cursor| cursor.as_str().parse().unwrap());
        let end = (begin + part.limit as usize).min(self.sizes.len());
        let items: Vec<_> = (begin..end).map(|index| (index, self.sizes[index])).collect();
        let bytes = items.iter().map(|(_, size)| size).sum();
        self.most.set(self.most.get().max(bytes));
        self.reads.set(self.reads.get() + 1);
        let next = (end < self.sizes.len()).then(|| Cursor::from_text(end.to_string()));
        Ok(Page { items, next })
    }

    /// The sizes of the pages, read to the end with this page size; each item comes once, in its order.
    async fn pages(&self, size: u32, wanted: impl Fn(usize) -> bool) -> Vec<usize> {
        let clock = Clock::Manual(ManualClock::new(DateTime::UNIX_EPOCH));
        let key = MacKey::new(&[1; 32]);
        let tokens = Tokens::new(key.clone(), key, clock);
        let (mut pages, mut seen, mut token) = (Vec::new(), Vec::new(), String::new());
        loop {
            let asked = AskedPage {
                size,
                token,
                request: Vec::new(),
            };
            let page = tokens.page(None, asked).unwrap();
            let show = |(index, size): &(usize, usize)| {
                wanted(*index).then(|| User {
                    name: index.to_string(),
                    display_name: "x".repeat(*size),
                    ..User::default()
                })
            };
            let read = |part| std::future::ready(self.read(part));
            let (users, next) = fill(&page, read, show).await.unwrap();
            let bytes: usize = users.iter().map(Message::encoded_len).sum();
            assert!(users.len() <= 1 || bytes <= PAGE_BYTES);
            pages.push(users.len());
            seen.extend(users.into_iter().map(|user| user.name.parse::<usize>().unwrap()));
            token = next;
            if token.is_empty() {
                let expected: Vec<usize> = (0..self.sizes.len()).filter(|index| wanted(*index)).collect();
                assert_eq!(seen, expected);
                return pages;
            }
        }
    }
}

#[tokio::test]
async fn small_items_come_as_many_as_are_asked_for() {
    let list = List::of(vec![1000; 1500]);
    assert_eq!(list.pages(1000, |_| true).await, [1000, 500]);
    assert!(list.reads.get() <= 18, "{} reads", list.reads.get());
    assert_eq!(List::of(Vec::new()).pages(10, |_| true).await, [0]);
    assert_eq!(List::of(vec![1; 10]).pages(10, |_| true).await, [10]);
}

#[tokio::test]
async fn of_large_items_little_more_is_read_than_fits() {
    let list = List::of(vec![320_000; 100]);
    let pages = list.pages(1000, |_| true).await;
    assert_eq!(pages.iter().max(), Some(&9));
    assert!(list.most.get() <= PAGE_BYTES, "{} bytes at once", list.most.get());
}

#[tokio::test]
async fn large_ones_behind_small_ones_make_the_page_end_there() {
    let mut sizes = vec![10; 200];
    sizes.extend([320_000; 200]);
    sizes.extend([10; 200]);
    let list = List::of(sizes);
    let pages = list.pages(1000, |_| true).await;
    assert!(pages.len() > 20, "{pages:?}");
    assert!(
        list.most.get() <= 128 * 320_000,
        "{} bytes at once",
        list.most.get()
    );
}

#[tokio::test]
async fn one_item_is_told_however_large_it_is() {
    let list = List::of(vec![5_000_000, 1, 5_000_000]);
    assert_eq!(list.pages(1000, |_| true).await, [1, 1, 1]);
}

#[tokio::test]
async fn what_is_not_wanted_is_passed_over() {
    let list = List::of(vec![10; 3000]);
    assert_eq!(list.pages(50, |index| index % 100 == 0).await, [30]);
    let list = List::of(vec![10; 25_000]);
    let pages = list.pages(50, |index| index == 24_999).await;
    assert_eq!(pages.iter().sum::<usize>(), 1);
    assert!(pages.len() == 3, "no page looks at a whole list: {pages:?}");
}
