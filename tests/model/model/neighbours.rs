//! People of other user syncs: DESIGN.md 2.1, "Claims", where it is between syncs.
//!
//! Reading: a run of one user sync changes people of another one in two ways alone. It exchanges logins in a circle, which
//! can only be done together; and it says that a login is ambiguous. All else is for the runs of their own user sync.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use super::claims::Wishes;
use super::judgement::{Judged, Standing, judge};
use super::{Model, State, Sync, entries_of};

/// What becomes of a login that somebody of another user sync would have instead.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It leads to somebody of the run's own user sync, who may release it.
    Here,
    /// It leads to somebody who keeps it.
    Blocked,
    /// It leads to what nobody has any more: the next run of the own user sync gives it.
    Free,
}

impl Model {
    /// Adds to what a run's entries ask for whatever people of other user syncs have to do with it.
    pub(super) fn ask_elsewhere(
        &self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        wishes: &mut Wishes,
        now: DateTime<Utc>,
    ) {
        self.remembered(number, syncs, tree, wishes, now);
        let mut neighbours = BTreeMap::<usize, Option<String>>::new();
        let mut seen = BTreeSet::new();
        let mut asked = wishes.asked();
        while let Some(wanted) = asked.pop() {
            let Some((at, _)) = wishes.holder(&wanted) else {
                continue;
            };
            let user = &self.users[at];
            let has_it = user.login.to_lowercase() == wanted.to_lowercase();
            if user.sync.is_none_or(|sync| sync == number) || !has_it || !seen.insert(at) {
                continue;
            }
            let target = self.leaves_login(at, syncs, tree, now);
            asked.extend(target.clone().flatten());
            neighbours.extend(target.map(|target| (at, target)));
        }
        for (at, target) in &neighbours {
            match self.way(*at, &neighbours, wishes) {
                Way::Here => wishes.neighbour(*at, target.as_deref()),
                Way::Blocked => wishes.neighbour(*at, None),
                Way::Free => {}
            }
        }
    }

    /// Entries of other user syncs that made logins of this one ambiguous ask for them still, unless they say otherwise.
    fn remembered(
        &self,
        number: usize,
        syncs: &[Sync],
        tree: &Tree,
        wishes: &mut Wishes,
        now: DateTime<Utc>,
    ) {
        for (at, user) in self.users.iter().enumerate() {
            let Some((sync, id)) = user.asked_by.clone().filter(|_| user.ambiguous) else {
                continue;
            };
            // Whoever is not met tonight has nothing asked of it.
            if user.sync != Some(number) || !wishes.takes_part(at) {
                continue;
            }
            if self.waits(sync) {
                wishes.asks_elsewhere(&user.login, "", (sync, id));
                continue;
            }
            let asks = |judged: &Judged| {
                let mut values = judged.login.values.iter();
                let has_it = values.any(|value| value.to_lowercase() == user.login.to_lowercase());
                judged.standing == Standing::Enabled && has_it
            };
            let found = self.in_other(sync, &id, syncs, tree, now).filter(asks);
            if let Some(judged) = found {
                wishes.asks_elsewhere(&user.login, judged.dn(), (sync, id));
            }
        }
    }

    /// The one entry with this id that another user sync finds, as that one judges it.
    fn in_other<'t>(
        &self,
        sync: usize,
        id: &str,
        syncs: &[Sync],
        tree: &'t Tree,
        now: DateTime<Utc>,
    ) -> Option<Judged<'t>> {
        let in_force = self.in_force.get(&sync).unwrap_or(&syncs[sync]);
        let known = self.users.iter().find(|user| user.id == id);
        let has_id =
            |entry: &&TreeEntry| tree.is_readable("entryUUID") && entry.text("entryUUID") == Some(id);
        let found: Vec<&TreeEntry> = entries_of(in_force, tree).into_iter().filter(has_id).collect();
        let [entry] = found.as_slice() else { return None };
        Some(judge(in_force, tree, entry, known, self.hidden(sync), now))
    }

    /// The login that a user of another sync has in the entry instead of its own, if that one is left; nothing in it if
    /// the user keeps its login all the same. `None` if nothing of the kind is so, or nobody may be touched.
    fn leaves_login(
        &self,
        at: usize,
        syncs: &[Sync],
        tree: &Tree,
        now: DateTime<Utc>,
    ) -> Option<Option<String>> {
        let user = &self.users[at];
        let sync = user.sync?;
        if user.state != State::Active || self.waits(sync) {
            return None;
        }
        let judged = self.in_other(sync, &user.id, syncs, tree, now)?;
        let offers = judged.login.values.iter();
        let offered = offers
            .clone()
            .any(|value| value.to_lowercase() == user.login.to_lowercase());
        if judged.standing != Standing::Enabled || offered || judged.login.unreadable {
            return None;
        }
        let renames = self.in_force.get(&sync).unwrap_or(&syncs[sync]).renames;
        let target = offers.clone().next().filter(|_| renames).cloned();
        // More of them than the guard of that sync lets change are for a person to look at.
        if target.is_some() && !self.log.may_move(sync, &self.users, now) {
            return None;
        }
        Some(target)
    }

    fn way(&self, from: usize, neighbours: &BTreeMap<usize, Option<String>>, wishes: &Wishes) -> Way {
        let mut seen = BTreeSet::from([from]);
        let mut at = from;
        loop {
            let Some(Some(target)) = neighbours.get(&at) else {
                return Way::Blocked;
            };
            let Some((holder, _)) = wishes.holder(target) else {
                return Way::Free;
            };
            let user = &self.users[holder];
            if user.sync.is_some() && user.state != State::Active {
                return Way::Free;
            }
            if wishes.takes_part(holder) {
                return Way::Here;
            }
            if !neighbours.contains_key(&holder) {
                return Way::Blocked;
            }
            if !seen.insert(holder) {
                return Way::Free;
            }
            at = holder;
        }
    }
}
