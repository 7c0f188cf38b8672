//! By brute force: whatever entries hold and ask for, the order in which they come changes nothing, and neither does what the
//! identifiers are called. Every set of entries of a size is tried once, in all of its orders.

#![allow(clippy::unwrap_used)]

use std::collections::HashMap;

use super::Settled::{Granted, Refused, Unasked};
use super::*;

/// The identifiers of the larger size among four entries; `tests/run long` sets it.
const IDENTIFIERS: &str = "ROLLCALL_CLAIMS_IDENTIFIERS";
const NAMES: [&str; 4] = ["a", "b", "c", "d"];

/// What entries hold and ask for.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Breadth {
    /// Logins.
    Logins,
    /// Logins and e-mail addresses.
    Both,
    /// Both, and in vain too; among them are people who are archived, entries that are left out, and others outside.
    Everything,
}

/// What an entry asks for in one field.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Asks {
    Nothing,
    Held,
    For(usize),
    /// Its sync keeps what the person has.
    InVain(usize),
}

#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
enum Standing {
    Enabled,
    Disabled,
    Archived,
    LeftOut { enabled: bool },
}

/// An entry with its person, by the numbers of identifiers.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Debug)]
struct Entry {
    login: Option<usize>,
    email: Option<usize>,
    asks_login: Asks,
    asks_email: Asks,
    standing: Standing,
}

impl Entry {
    /// Every entry that there can be. One that holds nothing and asks for nothing is among them: sets are smaller by it.
    fn all(identifiers: usize, breadth: Breadth) -> Vec<Self> {
        let mut all = Vec::new();
        for login in some_or_none(identifiers) {
            let has_email = breadth > Breadth::Logins && login.is_some();
            let emails = some_or_none(identifiers).into_iter();
            for email in emails.filter(|email| email.is_none() || (has_email && *email != login)) {
                for asks_login in asks(identifiers, login, login.is_some(), breadth) {
                    for asks_email in asks(identifiers, email, login.is_some(), breadth) {
                        let entry = Self {
                            login,
                            email,
                            asks_login,
                            asks_email,
                            standing: Standing::Enabled,
                        };
                        let standings = entry.standings(breadth).into_iter();
                        all.extend(standings.map(|standing| Self { standing, ..entry }));
                    }
                }
            }
        }
        all.retain(|entry| breadth > Breadth::Logins || entry.asks_email == Asks::Nothing);
        // Who keeps the e-mail address keeps all fields.
        all.retain(|entry| {
            let moves = matches!(entry.asks_login, Asks::For(_));
            !(moves && matches!(entry.asks_email, Asks::InVain(_)))
        });
        all.sort_unstable();
        all
    }

    fn standings(&self, breadth: Breadth) -> Vec<Standing> {
        let (asks_nothing, everything) = (self.asks_nothing(), breadth == Breadth::Everything);
        let left_out = [true, false].map(|enabled| Standing::LeftOut { enabled });
        match self.login {
            None if asks_nothing => vec![Standing::Enabled],
            None if everything => [&[Standing::Enabled, Standing::Disabled], left_out.as_slice()].concat(),
            // Somebody who is archived asks for nothing.
            Some(_) if everything && asks_nothing => {
                vec![Standing::Enabled, Standing::Disabled, Standing::Archived]
            }
            _ => vec![Standing::Enabled, Standing::Disabled],
        }
    }

    fn asks_nothing(&self) -> bool {
        let nothing = |asks| matches!(asks, Asks::Nothing | Asks::Held);
        nothing(self.asks_login) && nothing(self.asks_email)
    }

    fn holds(&self) -> impl Iterator<Item = usize> {
        self.login.into_iter().chain(self.email)
    }

    fn renamed(self, names: &[usize]) -> Self {
        let of = |asks| match asks {
            Asks::For(identifier) => Asks::For(names[identifier]),
            Asks::InVain(identifier) => Asks::InVain(names[identifier]),
            Asks::Nothing | Asks::Held => asks,
        };
        Self {
            login: self.login.map(|login| names[login]),
            email: self.email.map(|email| names[email]),
            asks_login: of(self.asks_login),
            asks_email: of(self.asks_email),
            standing: self.standing,
        }
    }

    fn claimant(&self) -> Claimant {
        let name = |identifier: usize| NAMES[identifier].to_owned();
        let want = |asks, in_vain: Want| match asks {
            Asks::Nothing => Want::Nothing,
            Asks::Held => Want::Held,
            Asks::For(identifier) => Want::Other(name(identifier)),
            Asks::InVain(_) => in_vain,
        };
        let rejected = |asks| match asks {
            Asks::InVain(identifier) => Want::Other(name(identifier)),
            Asks::Nothing | Asks::Held | Asks::For(_) => Want::Held,
        };
        let taken = !matches!(self.standing, Standing::LeftOut { .. });
        Claimant {
            login: self.login.map(name),
            email: self.email.map(name),
            wants: Wants {
                login: want(self.asks_login, Want::Nothing),
                email: want(self.asks_email, Want::Held),
            },
            rejected: Wants {
                login: rejected(self.asks_login),
                email: rejected(self.asks_email),
            },
            enabled: matches!(
                self.standing,
                Standing::Enabled | Standing::LeftOut { enabled: true }
            ),
            leaves: self.standing == Standing::Archived,
            taken,
            may_link: taken && self.login.is_none(),
        }
    }
}

fn some_or_none(identifiers: usize) -> Vec<Option<usize>> {
    let some = (0..identifiers).map(Some);
    std::iter::once(None).chain(some).collect()
}

/// What can be asked for by somebody who has this. `is_user` is false for those who are new, and for them nothing is kept.
fn asks(identifiers: usize, has: Option<usize>, is_user: bool, breadth: Breadth) -> Vec<Asks> {
    let others = || (0..identifiers).filter(|identifier| Some(*identifier) != has);
    let mut asks = vec![Asks::Nothing];
    asks.extend(has.map(|_| Asks::Held));
    asks.extend(others().map(Asks::For));
    if breadth == Breadth::Everything && is_user {
        asks.extend(others().map(Asks::InVain));
    }
    asks
}

/// What became of somebody, without saying who stands against it: any of several may be named.
fn shape(outcome: &Outcome) -> (u8, u8, bool, bool, bool, usize) {
    let settled = |settled: Settled| match settled {
        Unasked => 0,
        Granted => 1,
        Refused(Refusal::Rival(_)) => 2,
        Refused(Refusal::NotReleased(_)) => 3,
        Refused(Refusal::Outside) => 4,
    };
    (
        settled(outcome.login),
        settled(outcome.email),
        outcome.gives_up_login,
        outcome.gives_up_email.is_some(),
        outcome.ambiguous_with.is_some(),
        outcome.needs.len(),
    )
}

/// What must hold whatever anybody asks for.
fn check(claimants: &[Claimant], outcomes: &[Outcome]) {
    let mut held: HashMap<&str, usize> = HashMap::new();
    for (index, (claimant, outcome)) in claimants.iter().zip(outcomes).enumerate() {
        let mut after: Vec<&str> = Vec::new();
        let is_user = claimant.stays(outcome) && !claimant.leaves;
        if is_user && !outcome.gives_up_login {
            match (&claimant.wants.login, outcome.login) {
                (Want::Other(login), Granted) => after.push(login),
                _ => after.extend(claimant.login.as_deref()),
            }
            match (&claimant.wants.email, outcome.email) {
                (Want::Other(email), Granted) => after.push(email),
                (Want::Held, _) if outcome.gives_up_email.is_none() => {
                    after.extend(claimant.email.as_deref())
                }
                _ => {}
            }
        }
        after.sort_unstable();
        after.dedup();
        for key in after {
            let other = held.insert(key, index);
            assert_eq!(other, None, "{key} is held twice: {claimants:#?} {outcomes:#?}");
        }
        // Nobody loses by another: only a deactivated holder gives anything up.
        let gives_up = outcome.gives_up_login || outcome.gives_up_email.is_some();
        assert!(!gives_up || !claimant.enabled, "{claimants:#?} {outcomes:#?}");
        for (_, holder) in &outcome.needs {
            assert_ne!(*holder, index);
        }
    }
}

/// All entries of a size, and what is worked out about them once.
struct World {
    entries: Vec<Entry>,
    claimants: Vec<Claimant>,
    /// For each way to name the identifiers, these names and the number of each entry with them.
    renamed: Vec<(Vec<usize>, Vec<usize>)>,
    outside: Vec<Option<Outside>>,
    /// The orders of so many entries.
    orders: Vec<Vec<Vec<usize>>>,
}

impl World {
    fn new(identifiers: usize, breadth: Breadth) -> Self {
        let entries = Entry::all(identifiers, breadth);
        let renamed = orders(identifiers).into_iter().map(|names| {
            let number = |entry: &Entry| entries.binary_search(&entry.renamed(&names)).unwrap();
            let numbers = entries.iter().map(number).collect();
            (names, numbers)
        });
        let others = match breadth {
            Breadth::Everything => vec![None, Some(Outside::Keeps), Some(Outside::Linkable)],
            Breadth::Logins | Breadth::Both => vec![None],
        };
        Self {
            renamed: renamed.collect(),
            claimants: entries.iter().map(Entry::claimant).collect(),
            outside: others,
            orders: (0..=4).map(orders).collect(),
            entries,
        }
    }

    /// Tries all sets of so many entries. Nobody holds what somebody else holds.
    fn try_all(&self, identifiers: usize, count: usize) -> usize {
        let mut tried = 0;
        let mut sets: Vec<Vec<usize>> = vec![Vec::new()];
        while let Some(set) = sets.pop() {
            let held = |identifier| {
                set.iter()
                    .any(|entry| self.entries[*entry].holds().any(|has| has == identifier))
            };
            if set.len() < count {
                let first = set.last().copied().unwrap_or_default();
                let others =
                    (first..self.entries.len()).filter(|entry| !self.entries[*entry].holds().any(held));
                sets.extend(others.map(|entry| [set.as_slice(), &[entry]].concat()));
                continue;
            }
            for outside in self.outsides(identifiers, held) {
                if self.has_first_names(&set, &outside) {
                    self.check_orders(&set, &outside);
                    tried += 1;
                }
            }
        }
        tried
    }

    /// Every way in which others have what nobody of the set holds.
    fn outsides(&self, identifiers: usize, held: impl Fn(usize) -> bool) -> Vec<Vec<Option<Outside>>> {
        let mut all = vec![Vec::new()];
        for identifier in 0..identifiers {
            let others: &[_] = if held(identifier) { &[None] } else { &self.outside };
            let longer = |outside: &Vec<_>| {
                let longer = others
                    .iter()
                    .map(|other| [outside.as_slice(), &[*other]].concat());
                longer.collect::<Vec<_>>()
            };
            all = all.iter().flat_map(longer).collect();
        }
        all
    }

    /// Of sets that differ in the names of identifiers alone, one is enough.
    fn has_first_names(&self, set: &[usize], outside: &[Option<Outside>]) -> bool {
        let rank = |outside: &Option<Outside>| match outside {
            None => 0,
            Some(Outside::Keeps) => 1,
            Some(Outside::Linkable) => 2,
        };
        let own: Vec<u8> = outside.iter().map(rank).collect();
        self.renamed.iter().all(|(names, numbers)| {
            let mut other: Vec<usize> = set.iter().map(|entry| numbers[*entry]).collect();
            other.sort_unstable();
            let mut others = own.clone();
            for (identifier, name) in names.iter().enumerate() {
                others[*name] = own[identifier];
            }
            (set, &own) <= (other.as_slice(), &others)
        })
    }

    fn check_orders(&self, set: &[usize], outside: &[Option<Outside>]) {
        let run = |set: &[usize], names: &[usize]| {
            let claimants: Vec<Claimant> = set.iter().map(|entry| self.claimants[*entry].clone()).collect();
            let outside = outside.iter().enumerate();
            let outside = outside
                .filter_map(|(identifier, outside)| Some((NAMES[names[identifier]].to_owned(), (*outside)?)));
            let outcomes = settle(&claimants, &outside.collect());
            (claimants, outcomes)
        };
        let (names, renamed) = &self.renamed[0];
        assert!(names.is_sorted(), "the first names are the entries' own");
        assert_eq!(renamed[set[0]], set[0]);
        let (claimants, outcomes) = run(set, names);
        check(&claimants, &outcomes);
        let expected: Vec<_> = outcomes.iter().map(shape).collect();
        let tell = |order: &[usize]| {
            let entries: Vec<Entry> = set.iter().map(|entry| self.entries[*entry]).collect();
            format!("{entries:#?} beside {outside:?} in {order:?}")
        };
        let twins = |one: usize, other: usize| set[one] == set[other];
        for (one, fate) in expected.iter().enumerate() {
            for (other, fate_of_other) in expected.iter().enumerate().skip(one + 1) {
                let alike = !twins(one, other) || fate == fate_of_other;
                assert!(alike, "two that are the same fare differently: {}", tell(&[]));
            }
        }
        for order in &self.orders[set.len()] {
            // The order of entries that are the same among themselves is no order of its own.
            let is_new = order.iter().enumerate().all(|(place, one)| {
                let mut later = order[place + 1..].iter();
                later.all(|other| one < other || !twins(*one, *other))
            });
            if !is_new || order.is_sorted() {
                continue;
            }
            let turned: Vec<usize> = order.iter().map(|place| set[*place]).collect();
            let (_, outcomes) = run(&turned, names);
            for (outcome, place) in outcomes.iter().zip(order) {
                assert_eq!(shape(outcome), expected[*place], "{}", tell(order));
            }
        }
        for (names, renamed) in self
            .renamed
            .iter()
            .filter(|(names, _)| names.is_sorted_by(|one, other| one > other))
        {
            let other: Vec<usize> = set.iter().map(|entry| renamed[*entry]).collect();
            let (_, outcomes) = run(&other, names);
            let found: Vec<_> = outcomes.iter().map(shape).collect();
            assert_eq!(found, expected, "by other names: {}", tell(&[]));
        }
    }
}

fn orders(count: usize) -> Vec<Vec<usize>> {
    let mut all = vec![Vec::new()];
    for _ in 0..count {
        let longer = |order: &Vec<usize>| {
            let rest = (0..count).filter(|place| !order.contains(place));
            let longer = rest.map(|place| [order.as_slice(), &[place]].concat());
            longer.collect::<Vec<_>>()
        };
        all = all.iter().flat_map(longer).collect();
    }
    all
}

fn try_all(entries: usize, identifiers: usize, breadth: Breadth) {
    assert!(World::new(identifiers, breadth).try_all(identifiers, entries) > 0);
}

/// The identifiers that four entries hold and ask for: two, or as many as a person asks for.
#[expect(
    clippy::disallowed_methods,
    reason = "how large a test is, and nothing that is tested"
)]
fn identifiers_of_four() -> usize {
    let asked = std::env::var(IDENTIFIERS).ok();
    asked.map_or(2, |asked| asked.parse().unwrap())
}

#[test]
fn the_order_of_two_entries_changes_nothing_whatever_they_ask_for() {
    try_all(2, 3, Breadth::Everything);
}

#[test]
fn the_order_of_three_entries_changes_nothing() {
    try_all(3, 3, Breadth::Both);
}

#[test]
fn the_order_of_three_entries_changes_nothing_whatever_they_ask_for() {
    try_all(3, 2, Breadth::Everything);
}

/// Chains and circles through all of them.
#[test]
fn the_order_of_four_entries_changes_nothing_for_their_logins() {
    try_all(4, 4, Breadth::Logins);
}

#[test]
fn the_order_of_four_entries_changes_nothing() {
    try_all(4, identifiers_of_four(), Breadth::Both);
}
