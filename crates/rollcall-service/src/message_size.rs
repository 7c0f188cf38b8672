//! Keeps answers below what a client accepts, and reads little more for them than they need.

use prost::Message;

/// Largest answer in bytes: what client libraries of all languages accept by default.
pub const MAX_ANSWER_BYTES: usize = 4 * 1024 * 1024;
/// Bytes of the items of a page. That leaves room for the rest of the answer, and for one item that is larger than
/// others.
pub const PAGE_BYTES: usize = 3 * 1024 * 1024;
/// Bytes around an item in an answer, at most: its tag and its length.
pub const AROUND: usize = 8;

/// As many of the first items as a client accepts in one answer, but at least one. For answers without pages.
pub fn as_fit<W: Message>(items: Vec<W>) -> Vec<W> {
    let mut bytes = 0;
    let mut fits = |item: &W| {
        let is_first = bytes == 0;
        bytes += item.encoded_len() + AROUND;
        bytes <= PAGE_BYTES || is_first
    };
    let fitting = items.iter().take_while(|item| fits(item)).count();
    items.into_iter().take(fitting).collect()
}

/// Items that are read first, while their size is unknown.
const FIRST: usize = 8;
/// Most items that are read at once.
const MOST: usize = 128;

/// How many items to read next: few while they are large, and then gradually more.
#[derive(Clone, Copy, Debug)]
pub struct Portion(usize);

impl Default for Portion {
    fn default() -> Self {
        Self(FIRST)
    }
}

impl Portion {
    /// At most so many as there is room for.
    pub fn of(self, room: usize) -> u32 {
        u32::try_from(self.0.min(room)).unwrap_or(u32::MAX)
    }

    /// The portion after one with this many items and bytes, when this many bytes are left.
    pub fn after(self, items: usize, bytes: usize, left: usize) -> Self {
        let average = (bytes / items.max(1)).max(1);
        Self((self.0 * 4).min(MOST).min(left / average).max(1))
    }

    /// The portion to read again with only the items that fit.
    pub fn cut(self, items: usize) -> Self {
        Self(items.max(1))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_without_pages_has_what_fits() {
        let items = |sizes: &[usize]| {
            sizes
                .iter()
                .map(|size| "x".repeat(*size))
                .collect::<Vec<String>>()
        };
        let fitting = |sizes: &[usize]| as_fit(items(sizes)).len();
        let half = PAGE_BYTES / 2;
        assert_eq!(fitting(&[]), 0);
        assert_eq!(fitting(&[1, 2, 3]), 3);
        assert_eq!(fitting(&[half, half - 100, 100, 1]), 2);
        assert_eq!(
            fitting(&[half, half, 1]),
            1,
            "a smaller one later does not stand for one left out"
        );
        assert_eq!(fitting(&[PAGE_BYTES + 1, 1]), 1);
    }

    #[test]
    fn portions_of_small_items_grow_and_those_of_large_ones_do_not() {
        let mut portion = Portion::default();
        let mut small = Vec::new();
        for _ in 0..4 {
            small.push(portion.of(1000));
            portion = portion.after(small.len(), small.len() * 100, PAGE_BYTES);
        }
        assert_eq!(small, [8, 32, 128, 128]);
        let large = Portion::default().after(8, 8 * 300_000, PAGE_BYTES - 8 * 300_000);
        assert_eq!(large.of(1000), 2);
        assert_eq!(large.of(1), 1);
        assert_eq!(Portion::default().after(8, 9_000_000, 0).of(1000), 1);
    }
}
