//! Identifiers that move from one user to another within a plan: logins swapped, e-mails passed on.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::id::UserId;
use crate::issue::Issue;
use crate::plan::{CHUNK_CHANGES, Change};
use crate::user::Profile;

/// The claims in an order in which each finds its identifiers free.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrderedClaims {
    /// Groups in order. A group with several changes is a circle of users who wait for each other; it must be
    /// written in one transaction.
    pub groups: Vec<Vec<Change>>,
    /// Claims that cannot be met.
    pub issues: Vec<Issue>,
}

/// A change, and whose changes it has to wait for.
pub(super) struct Ordered {
    pub(super) change: Change,
    pub(super) after: Vec<UserId>,
    /// The fields of the user as they are now.
    pub(super) before: Option<Profile>,
}

/// Orders changes so that each comes after those that release what it needs. Returned apart: circles that are too large
/// for one transaction.
pub(super) fn order_claims(waiting: Vec<Ordered>) -> (Vec<Vec<Change>>, Vec<Ordered>) {
    let index: HashMap<UserId, usize> = waiting
        .iter()
        .enumerate()
        .map(|(i, ordered)| (ordered.change.user, i))
        .collect();
    let before: Vec<Vec<usize>> = waiting
        .iter()
        .map(|ordered| {
            let needed = ordered.after.iter();
            needed.filter_map(|holder| index.get(holder).copied()).collect()
        })
        .collect();
    let mut after = vec![Vec::new(); waiting.len()];
    for (claim, needed) in before.iter().enumerate() {
        needed.iter().for_each(|&needed| after[needed].push(claim));
    }
    let first = peel(&before, &after, &HashSet::new());
    let mut placed: HashSet<usize> = first.iter().copied().collect();
    // Of the rest, claims that no other claim waits for come last. Circles remain between the first and the last.
    let mut last = peel(&after, &before, &placed);
    last.reverse();
    placed.extend(&last);
    let circles = components(&before, &after, &placed);

    let mut changes: Vec<Option<Ordered>> = waiting.into_iter().map(Some).collect();
    let singles = |indexes: Vec<usize>| indexes.into_iter().map(|i| vec![i]);
    // A circle goes into one transaction or not at all. A claim that waits for one of a circle that is too large is
    // refused when it is applied.
    let (circles, too_large): (Vec<_>, Vec<_>) = circles
        .into_iter()
        .partition(|circle| circle.len() <= CHUNK_CHANGES);
    let too_large = too_large.into_iter().flatten().filter_map(|i| changes[i].take());
    let too_large = too_large.collect();
    let order: Vec<Vec<usize>> = singles(first).chain(circles).chain(singles(last)).collect();
    let groups = order.into_iter().map(|group| {
        let taken = group.into_iter().filter_map(|i| changes[i].take());
        taken.map(|ordered| ordered.change).collect()
    });
    (groups.collect(), too_large)
}

/// Takes off, one by one, what has nothing left in `before` (Kahn's algorithm).
fn peel(before: &[Vec<usize>], after: &[Vec<usize>], skip: &HashSet<usize>) -> Vec<usize> {
    let mut left: Vec<usize> = before
        .iter()
        .map(|needed| needed.iter().filter(|needed| !skip.contains(needed)).count())
        .collect();
    let mut free: VecDeque<usize> = (0..before.len())
        .filter(|i| left[*i] == 0 && !skip.contains(i))
        .collect();
    let mut order = Vec::new();
    while let Some(next) = free.pop_front() {
        order.push(next);
        for &waiting in &after[next] {
            if skip.contains(&waiting) {
                continue;
            }
            left[waiting] -= 1;
            if left[waiting] == 0 {
                free.push_back(waiting);
            }
        }
    }
    order
}

/// The connected groups of what is not placed.
fn components(before: &[Vec<usize>], after: &[Vec<usize>], placed: &HashSet<usize>) -> Vec<Vec<usize>> {
    let mut seen = placed.clone();
    let mut groups = Vec::new();
    for start in 0..before.len() {
        if !seen.insert(start) {
            continue;
        }
        let mut group = vec![start];
        let mut next = 0;
        while let Some(&member) = group.get(next) {
            next += 1;
            for &neighbour in before[member].iter().chain(&after[member]) {
                if seen.insert(neighbour) {
                    group.push(neighbour);
                }
            }
        }
        groups.push(group);
    }
    groups
}
