//! Several entries with one id: the strictest state of all of them applies, and nothing else (DESIGN.md 2.1, step 1).

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use rollcall_testkit::{Tree, TreeEntry};

use super::judgement::{Judged, Standing, standing_of};
use super::{Change, Event, Issue, Model, Run, State, User, Why};

/// The ids that several of these entries have. Reading: a run that meets one of them alone takes it for the person.
pub(super) fn shared_ids<'t>(tree: &'t Tree, met: &[Judged]) -> BTreeMap<String, Vec<&'t TreeEntry>> {
    let has = |entry: &TreeEntry, id: &str| tree.is_shown(&entry.dn) && entry.text("entryUUID") == Some(id);
    let mut shared = BTreeMap::new();
    for judged in met {
        let same = met.iter().filter(|other| other.id == judged.id);
        if judged.id.is_empty() || same.count() < 2 {
            continue;
        }
        // All of them, those that the searches do not find too.
        let all = tree.entries().iter().filter(|entry| has(entry, &judged.id));
        shared.insert(judged.id.clone(), all.collect());
    }
    shared
}

impl Model {
    /// Who has such an id loses access if one of the entries says so, and stays as it is otherwise; nobody is created.
    pub(super) fn share(
        &self,
        number: usize,
        tree: &Tree,
        shared: &BTreeMap<String, Vec<&TreeEntry>>,
        run: &mut Run,
        now: DateTime<Utc>,
    ) {
        for (id, entries) in shared {
            let dns: BTreeSet<String> = entries.iter().map(|entry| entry.dn.clone()).collect();
            for dn in &dns {
                let mut others = dns.clone();
                others.remove(dn);
                run.issues.push(Issue {
                    others,
                    ..Issue::of("DUPLICATE_IN_DIRECTORY", "", "entryUUID").at(dn)
                });
            }
            let own = |user: &&User| user.id == *id && user.sync == Some(number);
            let Some(user) = self.users.iter().find(own) else {
                continue;
            };
            let states: Vec<Standing> = entries
                .iter()
                .map(|entry| standing_of(tree, entry, now))
                .collect();
            let why = match () {
                () if states.contains(&Standing::Disabled) => Some(Why::Disabled),
                () if states.contains(&Standing::Expired) => Some(Why::Expired),
                () => None,
            };
            // Reading: who has no access already keeps the reason.
            let Some(why) = why.filter(|_| user.state == State::Active) else {
                run.count("unchanged");
                continue;
            };
            run.count("deactivated");
            run.applied.push(Change {
                event: Event::Deactivated,
                before: Some(user.clone()),
                after: User {
                    state: State::Deactivated(why),
                    ..user.clone()
                },
            });
        }
    }
}
