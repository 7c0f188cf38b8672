//! The counters of a batch of jobs in memory. Does no I/O.

use std::collections::{BTreeMap, HashMap};

use chrono::{DateTime, TimeDelta, Utc};
use rollcall_core::id::TenantId;
use rollcall_core::soft_lock::{Settlement, Slot, SoftLockCounter, SoftLockPolicy, SoftLockSubject};

use super::rows::{Key, key};
use super::{HeldSlot, OwnCount, Reservation, Reserved};

/// Counters as they were read, and what changed in them since.
pub(in crate::login) struct Counters {
    states: HashMap<Key, SoftLockCounter>,
    /// The counters that changed, as they were read; `None` if they did not exist.
    changed: BTreeMap<Key, Option<SoftLockCounter>>,
}

impl Counters {
    pub(in crate::login) fn new(states: HashMap<Key, SoftLockCounter>) -> Self {
        Self {
            states,
            changed: BTreeMap::new(),
        }
    }

    pub(in crate::login) fn has(&self, key: &Key) -> bool {
        self.states.contains_key(key)
    }

    /// The counters that changed and existed before, as they were.
    pub(in crate::login) fn before(&self) -> impl Iterator<Item = (&Key, &SoftLockCounter)> {
        let existed = |(key, was)| Some((key, Option::as_ref(was)?));
        self.changed.iter().filter_map(existed)
    }

    /// The counters that changed, as they are now.
    pub(in crate::login) fn after(&self) -> impl Iterator<Item = (&Key, &SoftLockCounter)> {
        self.changed
            .keys()
            .filter_map(|key| Some((key, self.states.get(key)?)))
    }

    /// Takes a slot for each reservation, or none at all.
    pub(in crate::login) fn reserve(
        &mut self,
        tenant: &TenantId,
        reservations: &[Reservation],
        now: DateTime<Utc>,
    ) -> Reserved {
        let mut taken: HashMap<Key, SoftLockCounter> = HashMap::new();
        let mut set_back = Vec::new();
        let mut slots = Vec::with_capacity(reservations.len());
        let mut refused: Option<(TimeDelta, SoftLockSubject)> = None;
        let mut may_come_free = true;
        let wanted = reservations
            .iter()
            .flat_map(|reservation| self.wanted(tenant, reservation, now));
        for (subject, policy, shared) in wanted {
            let key = key(tenant, subject);
            let state = taken.get(&key).or_else(|| self.states.get(&key)).copied();
            if let Some(ahead) = state
                && ahead != ahead.no_later_than(now)
            {
                set_back.push((key.clone(), ahead.no_later_than(now)));
            }
            match policy.reserve(state, shared, now) {
                Ok((state, slot)) => {
                    taken.insert(key, state);
                    slots.push(HeldSlot {
                        subject: subject.clone(),
                        slot,
                    });
                }
                Err(wait) => {
                    let (longest, _) = refused.get_or_insert_with(|| (wait, subject.clone()));
                    *longest = wait.max(*longest);
                    may_come_free &= state.is_some_and(|state| policy.may_come_free(&state, now));
                }
            }
        }
        if let Some((time, subject)) = refused {
            self.change(set_back);
            return Reserved::Wait {
                time,
                subject,
                may_come_free,
            };
        }
        self.change(taken);
        Reserved::Taken(slots)
    }

    fn change(&mut self, states: impl IntoIterator<Item = (Key, SoftLockCounter)>) {
        for (key, state) in states {
            let was = self.states.insert(key.clone(), state);
            self.changed.entry(key).or_insert(was);
        }
    }

    /// The slots that a reservation needs. At an address that is known to be the user's it needs two: one of the
    /// address's own count, and one of the user's count with a higher limit, which keeps the user below the directory's
    /// threshold.
    fn wanted<'r>(
        &self,
        tenant: &TenantId,
        reservation: &'r Reservation,
        now: DateTime<Utc>,
    ) -> Vec<(&'r SoftLockSubject, SoftLockPolicy, Option<Slot>)> {
        let Reservation {
            subject,
            policy,
            shared,
            own,
        } = reservation;
        let is_known = |own: &&OwnCount| {
            let state = self.states.get(&key(tenant, &own.subject));
            state.is_some_and(|state| state.is_known(now))
        };
        match own.as_ref().filter(is_known) {
            None => vec![(subject, *policy, *shared)],
            Some(own) => {
                let together = SoftLockPolicy {
                    limit: own.ceiling.unwrap_or(u32::MAX),
                    ..*policy
                };
                vec![(&own.subject, *policy, own.shared), (subject, together, *shared)]
            }
        }
    }

    /// Records that a user's password was right at an address.
    pub(in crate::login) fn prove(
        &mut self,
        tenant: &TenantId,
        user_at: &SoftLockSubject,
        now: DateTime<Utc>,
    ) {
        let key = key(tenant, user_at);
        let was = self.states.get(&key).copied();
        self.changed.entry(key.clone()).or_insert(was);
        let state = self.states.entry(key).or_insert(SoftLockCounter::new(now));
        state.proven_time = Some(now);
    }

    /// Settles slots.
    pub(in crate::login) fn settle(&mut self, tenant: &TenantId, slots: &[HeldSlot], settlement: Settlement) {
        for held in slots {
            let key = key(tenant, &held.subject);
            // A counter that is gone was deleted by an unlock, or is older than every window.
            if let Some(state) = self.states.get_mut(&key) {
                self.changed.entry(key).or_insert(Some(*state));
                *state = state.settle(held.slot, settlement.of(&held.subject));
            }
        }
    }
}
