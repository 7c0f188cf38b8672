//! Ids, identifiers and names as keyed hashes of 128 bits, and sets of them in little more than their bytes.
//!
//! Among ten million two are alike by chance once in 10^24 runs, and nobody can look for a pair, since the key is
//! another one in each run.

use std::collections::HashSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Range;

/// Digests that begin alike: so many are looked at one after the other.
const BUCKET: usize = 8;
/// New members that a set keeps apart at least, and as a share of all, before it sorts them in.
const RECENT: usize = 1024;
const RECENT_SHARE: usize = 8;

/// Stands for an id, an identifier or a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Digest(u64, u64);

/// Makes digests, with a key of their own.
#[derive(Default)]
pub struct Digests(RandomState, RandomState);

impl Digests {
    /// What stands for this value.
    pub fn of(&self, value: &(impl Hash + ?Sized)) -> Digest {
        Digest(self.0.hash_one(value), self.1.hash_one(value))
    }
}

/// Where to look for a digest among sorted ones: hashes are evenly spread, so its place is nearly known.
#[derive(Default)]
pub(crate) struct Buckets {
    /// Where each bucket begins, and where the last one ends.
    starts: Vec<u32>,
}

impl Buckets {
    pub(crate) fn of(sorted: impl ExactSizeIterator<Item = Digest>) -> Self {
        let buckets = sorted.len() / BUCKET + 1;
        let mut starts = vec![0; buckets + 1];
        for digest in sorted {
            starts[bucket(digest, buckets) + 1] += 1;
        }
        for index in 1..starts.len() {
            starts[index] += starts[index - 1];
        }
        Self { starts }
    }

    /// Which of the sorted it can be.
    pub(crate) fn range(&self, digest: Digest) -> Range<usize> {
        match self.starts.len().checked_sub(1) {
            None => 0..0,
            Some(buckets) => {
                let bucket = bucket(digest, buckets);
                self.starts[bucket] as usize..self.starts[bucket + 1] as usize
            }
        }
    }
}

fn bucket(digest: Digest, buckets: usize) -> usize {
    // Less than `buckets`, since the product is less than 2^64 times it.
    ((u128::from(digest.0) * buckets as u128) >> 64) as usize
}

/// Digests that were met. A `HashSet` of a million would take twice the memory, and three times while it grows.
#[derive(Default)]
pub struct DigestSet {
    sorted: Vec<Digest>,
    buckets: Buckets,
    recent: HashSet<Digest>,
}

impl DigestSet {
    /// True if it was met.
    pub fn contains(&self, digest: Digest) -> bool {
        self.recent.contains(&digest) || self.sorted[self.buckets.range(digest)].contains(&digest)
    }

    /// False if it was there.
    pub fn insert(&mut self, digest: Digest) -> bool {
        if self.contains(digest) {
            return false;
        }
        self.recent.insert(digest);
        if self.recent.len() >= RECENT.max(self.sorted.len() / RECENT_SHARE) {
            self.sort_in();
        }
        true
    }

    fn sort_in(&mut self) {
        let mut recent: Vec<Digest> = self.recent.drain().collect();
        recent.sort_unstable();
        self.sorted.reserve_exact(recent.len());
        self.sorted.append(&mut recent);
        // The stable sort finds the two sorted parts, and merges them with a buffer for the lesser.
        self.sorted.sort();
        self.buckets = Buckets::of(self.sorted.iter().copied());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_set_has_what_was_inserted_and_nothing_else() {
        let digests = Digests::default();
        let mut set = DigestSet::default();
        for number in 0..50_000_u32 {
            assert!(!set.contains(digests.of(&number)));
            assert!(set.insert(digests.of(&number)), "{number} is new");
            assert!(!set.insert(digests.of(&(number / 2))), "{number} is not");
        }
        assert!((0..50_000_u32).all(|number| set.contains(digests.of(&number))));
        assert!(!(50_000..60_000_u32).any(|number| set.contains(digests.of(&number))));
        assert!(set.recent.len() < 50_000 / RECENT_SHARE);
    }
}
