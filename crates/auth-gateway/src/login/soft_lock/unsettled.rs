//! Slots of the soft lock that could not be settled, by the password that was tried. If the directory goes away, the
//! outcome of a bind stays unknown. The same password then takes the same slot again, so that an outage does not count
//! as three wrong passwords.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use parking_lot::Mutex;
use rollcall_core::soft_lock::{Slot, SoftLockSubject};
use rollcall_store::HeldSlot;

use crate::login::memory::keyed_hash::Fingerprint;

/// Passwords that are remembered. Beyond it the oldest is forgotten early, and then counts once more.
const CAPACITY: usize = 100_000;

/// The slots, by password. Clones share them.
#[derive(Clone, Default)]
pub struct Unsettled(Arc<Mutex<Inner>>);

#[derive(Default)]
struct Inner {
    slots: HashMap<Fingerprint, Vec<HeldSlot>>,
    order: VecDeque<Fingerprint>,
}

/// Slots that an attempt holds. If dropped before they were settled, the same password may use them again.
pub struct Held {
    unsettled: Unsettled,
    fingerprint: Fingerprint,
    slots: Vec<HeldSlot>,
}

impl Unsettled {
    /// The slot of this subject that an earlier attempt with this password left.
    pub fn slot(&self, fingerprint: &Fingerprint, subject: &SoftLockSubject) -> Option<Slot> {
        let inner = self.0.lock();
        let left = inner.slots.get(fingerprint)?;
        let held = left.iter().find(|held| held.subject == *subject)?;
        Some(held.slot)
    }

    /// Holds slots for an attempt with this password. A slot that an earlier attempt left now belongs to this one.
    pub fn hold(&self, fingerprint: Fingerprint, slots: Vec<HeldSlot>) -> Held {
        let mut inner = self.0.lock();
        if inner.slots.remove(&fingerprint).is_some() {
            inner.order.retain(|kept| *kept != fingerprint);
        }
        Held {
            unsettled: self.clone(),
            fingerprint,
            slots,
        }
    }
}

impl Held {
    /// No slots.
    pub fn none() -> Self {
        Self {
            unsettled: Unsettled::default(),
            fingerprint: [0; 32],
            slots: Vec::new(),
        }
    }

    /// The slots.
    pub fn slots(&self) -> &[HeldSlot] {
        &self.slots
    }

    /// Notes that the slots were settled, and belong to no attempt any more.
    pub fn settled(&mut self) {
        self.slots.clear();
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        if self.slots.is_empty() {
            return;
        }
        let mut inner = self.unsettled.0.lock();
        if inner.order.len() >= CAPACITY
            && let Some(oldest) = inner.order.pop_front()
        {
            inner.slots.remove(&oldest);
        }
        let slots = std::mem::take(&mut self.slots);
        if inner.slots.insert(self.fingerprint, slots).is_none() {
            inner.order.push_back(self.fingerprint);
        }
    }
}

#[cfg(test)]
mod tests {
    use chrono::DateTime;

    use super::*;

    #[test]
    fn only_what_was_not_settled_is_left_for_the_same_password() {
        let unsettled = Unsettled::default();
        let subject = SoftLockSubject::UnknownLogin("x".into());
        let slot = Slot {
            window_start: DateTime::UNIX_EPOCH,
        };
        let held = || {
            vec![HeldSlot {
                subject: subject.clone(),
                slot,
            }]
        };
        unsettled.hold([1; 32], held()).settled();
        assert_eq!(unsettled.slot(&[1; 32], &subject), None);
        drop(unsettled.hold([1; 32], held()));
        assert_eq!(unsettled.slot(&[1; 32], &subject), Some(slot));
        assert_eq!(unsettled.slot(&[2; 32], &subject), None);
        let client = SoftLockSubject::Client("x".into());
        assert_eq!(unsettled.slot(&[1; 32], &client), None);
        let again = unsettled.hold([1; 32], held());
        assert_eq!(unsettled.slot(&[1; 32], &subject), None);
        drop(again);
        assert_eq!(unsettled.slot(&[1; 32], &subject), Some(slot));
    }
}
