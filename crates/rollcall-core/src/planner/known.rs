//! The users of a sync, found by external id in as little memory as it takes: a run knows a million of them.
//!
//! Ids are kept as keyed hashes of 128 bits. Among ten million ids two are alike by chance once in 10^24 runs, and
//! nobody can look for a pair, since the key is another one in each run. Even so a hash takes nobody for somebody
//! else: who an entry is, a decision asks by the whole id.

use std::hash::{BuildHasher, Hash, RandomState};

use crate::external_id::ExternalId;
use crate::id::UserId;
use crate::plan::Fingerprint;
use crate::user::UserState;

/// Users whose hashes begin alike: so many are looked at one after the other.
const BUCKET_USERS: usize = 8;

/// A user of the sync, as far as a run has to know it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct Known {
    /// The user.
    pub user: UserId,
    /// What the sync set on it last.
    pub fingerprint: Fingerprint,
    /// Its state.
    pub state: UserState,
}

/// The users of a sync. 56 bytes each.
#[derive(Default)]
pub struct KnownUsers {
    digests: Digests,
    slots: Vec<Slot>,
    /// Where each bucket of `slots` begins, and where the last one ends.
    starts: Vec<u32>,
}

pub(super) struct Slot {
    digest: Digest,
    pub(super) known: Known,
    pub(super) seen: bool,
}

/// Stands for an id or an identifier.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
pub(super) struct Digest(u64, u64);

/// Makes digests, with a key of their own.
#[derive(Default)]
pub(super) struct Digests(RandomState, RandomState);

impl Digests {
    pub(super) fn of(&self, value: &(impl Hash + ?Sized)) -> Digest {
        Digest(self.0.hash_one(value), self.1.hash_one(value))
    }
}

impl KnownUsers {
    pub(super) fn digest(&self, id: &ExternalId) -> Digest {
        self.digests.of(id)
    }

    /// Makes users findable. Of several with one id, one is kept.
    pub(super) fn index(&mut self) {
        self.slots.sort_unstable_by_key(|slot| slot.digest);
        self.slots.dedup_by_key(|slot| slot.digest);
        let buckets = self.slots.len() / BUCKET_USERS + 1;
        self.starts = vec![0; buckets + 1];
        for slot in &self.slots {
            self.starts[bucket(slot.digest, buckets) + 1] += 1;
        }
        for index in 1..self.starts.len() {
            self.starts[index] += self.starts[index - 1];
        }
    }

    pub(super) fn get(&self, digest: Digest) -> Option<&Slot> {
        self.position(digest).map(|index| &self.slots[index])
    }

    pub(super) fn get_mut(&mut self, digest: Digest) -> Option<&mut Slot> {
        self.position(digest).map(|index| &mut self.slots[index])
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    fn position(&self, digest: Digest) -> Option<usize> {
        let buckets = self.starts.len().checked_sub(1)?;
        let bucket = bucket(digest, buckets);
        let range = self.starts[bucket] as usize..self.starts[bucket + 1] as usize;
        range
            .into_iter()
            .find(|index| self.slots[*index].digest == digest)
    }
}

/// Hashes are evenly spread, so the place of one among the sorted is nearly known.
fn bucket(digest: Digest, buckets: usize) -> usize {
    // Less than `buckets`, since the product is less than 2^64 times it.
    ((u128::from(digest.0) * buckets as u128) >> 64) as usize
}

impl Extend<(ExternalId, Known)> for KnownUsers {
    fn extend<I: IntoIterator<Item = (ExternalId, Known)>>(&mut self, users: I) {
        for (id, known) in users {
            let digest = self.digests.of(&id);
            self.slots.push(Slot {
                digest,
                known,
                seen: false,
            });
        }
    }
}

impl FromIterator<(ExternalId, Known)> for KnownUsers {
    fn from_iter<I: IntoIterator<Item = (ExternalId, Known)>>(users: I) -> Self {
        let mut known = Self::default();
        known.extend(users);
        known
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;
    use crate::external_id::IdKind;
    use crate::id::Uuid;

    fn id(kind: IdKind, number: u128) -> ExternalId {
        ExternalId::from_bytes(kind, &number.to_be_bytes()).unwrap()
    }

    fn known(number: u128) -> Known {
        Known {
            user: UserId(Uuid::from_u128(number)),
            fingerprint: Fingerprint([0; 16]),
            state: UserState::Active,
        }
    }

    #[test]
    fn every_user_is_found_by_its_id_and_nobody_else_is() {
        for count in [0, 1, 7, 8, 9, 5000] {
            let mut users: KnownUsers = (0..count)
                .map(|number| (id(IdKind::EntryUuid, number), known(number)))
                .collect();
            users.index();
            for number in 0..count {
                let digest = users.digest(&id(IdKind::EntryUuid, number));
                assert_eq!(users.get(digest).unwrap().known, known(number));
            }
            for stranger in [id(IdKind::EntryUuid, count), id(IdKind::Guid, 0)] {
                assert!(users.get(users.digest(&stranger)).is_none());
            }
        }
    }

    #[test]
    fn a_user_costs_56_bytes() {
        assert_eq!(size_of::<Slot>(), 56);
    }
}
