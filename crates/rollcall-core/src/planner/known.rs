//! The users of a sync, found by external id in as little memory as it takes: a run knows a million of them.
//!
//! Digests that are equal by chance mix nobody up: a decision looks the user up by the whole id.

use crate::digests::{Buckets, Digest, Digests};
use crate::external_id::ExternalId;
use crate::id::UserId;
use crate::plan::Fingerprint;
use crate::user::UserState;

/// A user of the sync, as far as a run has to know it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct KnownUser {
    /// The user.
    pub user: UserId,
    /// The person's id in the directory.
    pub external_id: ExternalId,
    /// What the sync set on it last. All zero if that is unknown; no content has that fingerprint.
    pub fingerprint: Fingerprint,
    /// Its state.
    pub state: UserState,
    /// Its absence was applied already: it is gone or out of scope.
    pub left: bool,
}

/// The users of a sync. 56 bytes each.
#[derive(Default)]
pub struct KnownUsers {
    digests: Digests,
    slots: Vec<Slot>,
    buckets: Buckets,
}

pub(super) struct Slot {
    digest: Digest,
    pub(super) user: UserId,
    pub(super) state: UserState,
    pub(super) offered: Offered,
    pub(super) left: bool,
    pub(super) sight: Sight,
}

/// Which of a user's identifiers its entry offers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Offered {
    pub(super) login: bool,
    pub(super) email: bool,
}

impl Offered {
    pub(super) const ALL: Self = Self {
        login: true,
        email: true,
    };
}

/// Whether a pull has met the user.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Sight {
    /// Not yet; what the sync set on it last.
    Unseen(Fingerprint),
    /// By an entry with the DN that this stands for.
    Seen([u8; 8]),
}

/// How a pull meets an entry.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Meeting {
    /// For the first time, with what the sync set last on the user who has the entry's id.
    First(Option<Fingerprint>),
    /// Again: two searches found it, or a search began anew.
    Again,
    /// Again, but under another DN. It was moved while the pull went on, or two entries have one id.
    Elsewhere,
}

impl Slot {
    pub(super) fn is_absent(&self) -> bool {
        matches!(self.sight, Sight::Unseen(_))
    }
}

impl KnownUsers {
    pub(super) fn digest(&self, id: &ExternalId) -> Digest {
        self.digests.of(id)
    }

    pub(super) fn mark(&self, dn: &str) -> u64 {
        self.digests.mark_of(dn)
    }

    /// Meets an entry; `None` if nobody has its id.
    pub(super) fn meet(&mut self, id: Digest, dn: u64) -> Option<Meeting> {
        let position = self.position(id)?;
        let sight = &mut self.slots[position].sight;
        let here = Sight::Seen(dn.to_ne_bytes());
        Some(match *sight {
            Sight::Unseen(before) => {
                *sight = here;
                Meeting::First(Some(before))
            }
            seen if seen == here => Meeting::Again,
            Sight::Seen(_) => Meeting::Elsewhere,
        })
    }

    /// Notes what the entry of a user offers. If nothing was noted, the entry asks for nothing new and so offers all
    /// that the user has.
    pub(super) fn note_offered(&mut self, id: &ExternalId, offered: Offered) {
        let digest = self.digest(id);
        if let Some(position) = self.position(digest) {
            self.slots[position].offered = offered;
        }
    }

    /// A user of the sync.
    pub(super) fn slot(&self, id: &ExternalId) -> Option<&Slot> {
        Some(&self.slots[self.position(self.digest(id))?])
    }

    /// Makes users findable. Of several with one id, one is kept.
    pub(super) fn index(&mut self) {
        self.slots.sort_unstable_by_key(|slot| slot.digest);
        self.slots.dedup_by_key(|slot| slot.digest);
        self.buckets = Buckets::of(self.slots.iter().map(|slot| slot.digest));
    }

    pub(super) fn slots(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    fn position(&self, digest: Digest) -> Option<usize> {
        self.buckets
            .range(digest)
            .find(|index| self.slots[*index].digest == digest)
    }
}

impl Extend<KnownUser> for KnownUsers {
    fn extend<I: IntoIterator<Item = KnownUser>>(&mut self, users: I) {
        for known in users {
            self.slots.push(Slot {
                digest: self.digests.of(&known.external_id),
                user: known.user,
                state: known.state,
                offered: Offered::ALL,
                left: known.left,
                sight: Sight::Unseen(known.fingerprint),
            });
        }
    }
}

impl FromIterator<KnownUser> for KnownUsers {
    fn from_iter<I: IntoIterator<Item = KnownUser>>(users: I) -> Self {
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

    fn known(number: u128) -> KnownUser {
        KnownUser {
            user: UserId(Uuid::from_u128(number)),
            external_id: id(IdKind::EntryUuid, number),
            fingerprint: Fingerprint(number.to_be_bytes()),
            state: UserState::Active,
            left: false,
        }
    }

    #[test]
    fn every_user_is_found_by_its_id_and_nobody_else_is() {
        for count in [0, 1, 7, 8, 9, 5000] {
            let mut users: KnownUsers = (0..count).map(known).collect();
            users.index();
            for number in 0..count {
                let digest = users.digest(&id(IdKind::EntryUuid, number));
                let position = users.position(digest).unwrap();
                assert_eq!(users.slots[position].user, known(number).user);
                let first = Meeting::First(Some(known(number).fingerprint));
                assert_eq!(users.meet(digest, 1), Some(first));
                assert_eq!(users.meet(digest, 1), Some(Meeting::Again));
                assert_eq!(users.meet(digest, 2), Some(Meeting::Elsewhere));
            }
            for stranger in [id(IdKind::EntryUuid, count), id(IdKind::Guid, 0)] {
                assert_eq!(users.meet(users.digest(&stranger), 1), None);
            }
        }
    }

    #[test]
    fn a_user_costs_56_bytes() {
        assert_eq!(size_of::<Slot>(), 56);
    }
}
