//! The entries that a check has read, for its forecast.

use std::collections::HashSet;

use rollcall_core::entry::Entry;

/// Entries that are kept, and their size in bytes. A check must not take the memory of a run.
const MAX_ENTRIES: usize = 10_000;
const MAX_BYTES: usize = 16 << 20;

/// The entries that a check has read, each once, as many as it may keep.
#[derive(Default)]
pub(in crate::checks) struct Kept {
    pub(in crate::checks) entries: Vec<Entry>,
    pub(in crate::checks) dns: HashSet<String>,
    bytes: usize,
    /// There were more.
    pub(in crate::checks) left_out: bool,
}

impl Kept {
    pub(in crate::checks) fn keep(&mut self, entry: &Entry) {
        if self.left_out || self.dns.contains(&entry.dn) {
            return;
        }
        let bytes = self.bytes + size(entry);
        if self.entries.len() == MAX_ENTRIES || bytes > MAX_BYTES {
            self.left_out = true;
            return;
        }
        self.bytes = bytes;
        self.dns.insert(entry.dn.clone());
        self.entries.push(entry.clone());
    }
}

fn size(entry: &Entry) -> usize {
    let attributes = entry.attributes.iter();
    let values = attributes.map(|(name, values)| name.len() + values.iter().map(Vec::len).sum::<usize>());
    entry.dn.len() + values.sum::<usize>()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: usize, bytes: usize) -> Entry {
        Entry {
            dn: format!("uid={number}"),
            attributes: [("photo".to_owned(), vec![vec![0; bytes]])].into(),
            ..Entry::default()
        }
    }

    #[test]
    fn an_entry_is_kept_once_and_no_more_than_the_first_of_many() {
        let mut kept = Kept::default();
        for number in 0..MAX_ENTRIES {
            kept.keep(&entry(number, 1));
            kept.keep(&entry(number, 1));
        }
        assert!((kept.entries.len(), kept.left_out) == (MAX_ENTRIES, false));
        kept.keep(&entry(MAX_ENTRIES, 1));
        assert!((kept.entries.len(), kept.left_out) == (MAX_ENTRIES, true));
    }

    #[test]
    fn large_entries_end_it_early() {
        let mut kept = Kept::default();
        for number in 0..20 {
            kept.keep(&entry(number, 1 << 20));
        }
        assert!((kept.entries.len(), kept.left_out) == (15, true));
    }
}
