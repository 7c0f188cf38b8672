//! Identifiers that move from one user to another within a plan: logins swapped, e-mails passed on.

use std::collections::{HashMap, HashSet, VecDeque};

use crate::id::UserId;
use crate::issue::{Issue, IssueKind};
use crate::plan::{CHUNK_CHANGES, Change};
use crate::planner::Waiting;

/// The claims in an order in which each finds its identifiers free.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct OrderedClaims {
    /// Groups in order. A group with several changes is a circle of users who wait for each other; it must be
    /// written in one transaction.
    pub groups: Vec<Vec<Change>>,
    /// Claims that cannot be met.
    pub issues: Vec<Issue>,
}

/// Orders waiting claims so that each comes after the change that frees what it needs.
///
/// `released` tells which identifiers the plan's changes free, and by whom. A claim on anything else, or on
/// something whose own release fails, becomes an issue.
pub fn order_claims(waiting: Vec<Waiting>, released: &HashMap<String, UserId>) -> OrderedClaims {
    let (alive, mut issues) = drop_unmet(waiting, released);
    let index: HashMap<UserId, usize> = alive
        .iter()
        .enumerate()
        .map(|(i, claim)| (claim.change.user, i))
        .collect();
    let before: Vec<Vec<usize>> = alive
        .iter()
        .map(|claim| {
            claim
                .needs
                .iter()
                .filter_map(|(_, holder)| index.get(holder).copied())
                .collect()
        })
        .collect();
    let mut after = vec![Vec::new(); alive.len()];
    for (claim, needed) in before.iter().enumerate() {
        needed.iter().for_each(|&needed| after[needed].push(claim));
    }
    let first = peel(&before, &after, &HashSet::new());
    let mut placed: HashSet<usize> = first.iter().copied().collect();
    // Of what is left, the claims that nobody waits for come last; circles remain between the two.
    let mut last = peel(&after, &before, &placed);
    last.reverse();
    placed.extend(&last);
    let circles = components(&before, &after, &placed);

    let mut changes: Vec<Option<Change>> = alive.into_iter().map(|claim| Some(claim.change)).collect();
    let singles = |indexes: Vec<usize>| indexes.into_iter().map(|i| vec![i]);
    // A circle goes into one transaction or not at all; who waits for one of it is refused when applied.
    let (circles, too_large): (Vec<_>, Vec<_>) = circles
        .into_iter()
        .partition(|circle| circle.len() <= CHUNK_CHANGES);
    for change in too_large.into_iter().flatten().filter_map(|i| changes[i].take()) {
        let key = crate::identifier::normalize(&change.profile.login);
        issues.push(unmet_issue(&change, &key));
    }
    let order: Vec<Vec<usize>> = singles(first).chain(circles).chain(singles(last)).collect();
    let groups = order
        .into_iter()
        .map(|group| group.into_iter().filter_map(|i| changes[i].take()).collect());
    OrderedClaims {
        groups: groups.collect(),
        issues,
    }
}

/// Keeps the claims whose needs are released by somebody who does change.
fn drop_unmet(mut alive: Vec<Waiting>, released: &HashMap<String, UserId>) -> (Vec<Waiting>, Vec<Issue>) {
    let mut issues = Vec::new();
    let mut dropped: HashSet<UserId> = HashSet::new();
    loop {
        let before = alive.len();
        alive.retain(|claim| {
            let unmet = claim
                .needs
                .iter()
                .find(|(key, holder)| released.get(key) != Some(holder) || dropped.contains(holder));
            if let Some((key, _)) = unmet {
                issues.push(unmet_issue(&claim.change, key));
                dropped.insert(claim.change.user);
            }
            unmet.is_none()
        });
        if alive.len() == before {
            return (alive, issues);
        }
    }
}

fn unmet_issue(change: &Change, key: &str) -> Issue {
    let profile = &change.profile;
    let message = "another user of this tenant has it";
    if crate::identifier::normalize(&profile.login) == key {
        Issue::new(IssueKind::LoginTaken, &change.origin.dn, message).about("login", &profile.login)
    } else {
        let email = profile.email.as_deref().unwrap_or_default();
        Issue::new(IssueKind::EmailTaken, &change.origin.dn, message).about("email", email)
    }
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
