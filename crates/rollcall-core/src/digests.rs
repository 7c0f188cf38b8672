//! Ids, identifiers and names as keyed hashes of 128 bits, and sets of them in little more than their bytes.
//!
//! Among ten million digests, two are equal by chance once in 10^24 runs. Nobody can search for such a pair, since each
//! run has a key of its own.

use std::collections::BTreeSet;
use std::hash::{BuildHasher, Hash, RandomState};
use std::ops::Range;

/// How many digests a bucket has on average. The digests of a bucket are compared one after the other.
const BUCKET: usize = 8;
/// A set keeps new members apart until there are this many of them, and a share of all; then it sorts them in.
const RECENT: usize = 1024;
const RECENT_SHARE: usize = 8;

/// Stands for an id, an identifier or a name.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub struct Digest(u64, u64);

/// Makes digests, with a key of their own.
#[derive(Default)]
pub struct Digests(RandomState, RandomState);

impl Digests {
    /// The digest of this value.
    pub fn of(&self, value: &(impl Hash + ?Sized)) -> Digest {
        Digest(self.0.hash_one(value), self.mark_of(value))
    }

    /// Half of a digest, for what is compared with one other value only.
    pub(crate) fn mark_of(&self, value: &(impl Hash + ?Sized)) -> u64 {
        self.1.hash_one(value)
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

    /// The range of the sorted digests in which this one can be.
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

/// Digests that were met. A `HashSet` of a million would take twice the memory, and three times as much while it grows.
#[derive(Default)]
pub struct DigestSet {
    sorted: Vec<Digest>,
    buckets: Buckets,
    recent: BTreeSet<Digest>,
}

impl DigestSet {
    /// A member with the same first half.
    fn like(&self, digest: Digest) -> Option<Digest> {
        let alike = Digest(digest.0, 0)..=Digest(digest.0, u64::MAX);
        let recent = self.recent.range(alike).next().copied();
        recent.or_else(|| {
            let sorted = &self.sorted[self.buckets.range(digest)];
            sorted.iter().find(|member| member.0 == digest.0).copied()
        })
    }

    /// True if the set has this digest.
    pub fn contains(&self, digest: Digest) -> bool {
        self.recent.contains(&digest) || self.sorted[self.buckets.range(digest)].contains(&digest)
    }

    /// Adds a digest; false if the set had it already.
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
        let recent = std::mem::take(&mut self.recent);
        self.sorted.reserve_exact(recent.len());
        self.sorted.extend(recent);
        // The stable sort finds the two sorted parts, and merges them with a buffer for the lesser.
        self.sorted.sort();
        self.buckets = Buckets::of(self.sorted.iter().copied());
    }
}

/// Who was met, and in which place: 16 bytes each, 8 for the person and 8 for the place. Two people whose 8 bytes are
/// equal by chance pass for one who was met in two places.
#[derive(Default)]
pub struct Met(DigestSet);

impl Met {
    /// Notes that somebody was met in this place. `None` for the first time; later, whether it was this place then.
    pub fn meet(&mut self, who: Digest, place: u64) -> Option<bool> {
        let before = self.0.like(who);
        if before.is_none() {
            self.0.insert(Digest(who.0, place));
        }
        before.map(|before| before.1 == place)
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

    #[test]
    fn who_was_met_is_known_and_whether_it_was_here() {
        let digests = Digests::default();
        let mut met = Met::default();
        for number in 0..20_000_u32 {
            let (who, here) = (digests.of(&number), digests.mark_of("here"));
            assert_eq!(met.meet(who, here), None, "{number} is new");
            assert_eq!(met.meet(who, here), Some(true));
            assert_eq!(
                met.meet(digests.of(&(number / 2)), digests.mark_of("there")),
                Some(false)
            );
        }
    }
}
