//! What is due, in the order in which one caller starts it: the tenants take turns.

use std::collections::{HashMap, VecDeque};

use rollcall_core::id::TenantId;
use rollcall_store::Due;

use super::due_permits::{DuePermit, DuePermits};

/// The tenants in order, and what is due of each, the longest due first.
#[derive(Default)]
pub(crate) struct DueQueue {
    tenants: VecDeque<TenantId>,
    due: HashMap<TenantId, VecDeque<Due>>,
}

impl DueQueue {
    pub(crate) fn push(&mut self, due: Due) {
        let tenant = &due.key.tenant;
        if !self.due.contains_key(tenant) {
            self.tenants.push_back(tenant.clone());
        }
        self.due.entry(tenant.clone()).or_default().push_back(due);
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.tenants.is_empty()
    }

    /// The next sync for which there is a permit and room at its directory. Its tenant then goes behind the others. A
    /// tenant without room keeps no other from starting.
    pub(crate) fn next(
        &mut self,
        permits: &DuePermits,
        has_room: impl Fn(&Due) -> bool,
    ) -> Option<(Due, DuePermit)> {
        if permits.are_full() {
            return None;
        }
        for turn in 0..self.tenants.len() {
            let due = self.due.get_mut(&self.tenants[turn])?;
            let Some(fitting) = due.iter().position(&has_room) else {
                continue;
            };
            let Some(permit) = permits.take(&self.tenants[turn]) else {
                continue;
            };
            let (next, is_last) = (due.remove(fitting)?, due.is_empty());
            let tenant = self.tenants.remove(turn)?;
            match is_last {
                true => _ = self.due.remove(&tenant),
                false => self.tenants.push_back(tenant),
            }
            return Some((next, permit));
        }
        None
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use chrono::DateTime;
    use rollcall_core::id::{DirectoryId, UserSyncId, UserSyncKey};

    use super::*;

    fn due(tenant: &str, id: &str) -> Due {
        Due {
            key: UserSyncKey {
                tenant: TenantId::parse(tenant).unwrap(),
                user_sync: UserSyncId::parse(id).unwrap(),
            },
            directory: DirectoryId::parse(&format!("of-{id}")).unwrap(),
            time: DateTime::UNIX_EPOCH,
        }
    }

    fn all_in_turn(queue: &mut DueQueue) -> Vec<String> {
        let permits = DuePermits::new(4);
        let next = || queue.next(&permits, |_| true).map(|(due, _)| due.key.to_string());
        std::iter::from_fn(next).collect()
    }

    #[test]
    fn a_tenant_with_much_to_do_waits_for_the_others_each_time() {
        let mut queue = DueQueue::default();
        for id in ["one", "two", "three"] {
            queue.push(due("acme", id));
        }
        queue.push(due("evil", "one"));
        queue.push(due("small", "one"));
        queue.push(due("small", "two"));
        let order = [
            "acme/one",
            "evil/one",
            "small/one",
            "acme/two",
            "small/two",
            "acme/three",
        ];
        let expected = order.map(|name| {
            let (tenant, id) = name.split_once('/').unwrap();
            due(tenant, id).key.to_string()
        });
        assert_eq!(all_in_turn(&mut queue), expected);
        assert!(queue.is_empty());
    }

    #[test]
    fn whoever_has_no_room_keeps_nobody_from_starting() {
        let mut queue = DueQueue::default();
        for (tenant, id) in [
            ("acme", "busy"),
            ("acme", "idle"),
            ("evil", "busy"),
            ("small", "idle"),
        ] {
            queue.push(due(tenant, id));
        }
        let permits = DuePermits::new(4);
        let is_idle = |due: &Due| due.directory.as_str() == "of-idle";
        let mut started = Vec::new();
        let mut held = Vec::new();
        while let Some((due, permit)) = queue.next(&permits, is_idle) {
            started.push(due.key.tenant.to_string());
            held.push(permit);
        }
        assert_eq!(started, ["acme", "small"]);
        assert!(!queue.is_empty());
    }
}
