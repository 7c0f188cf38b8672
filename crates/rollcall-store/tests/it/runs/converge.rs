//! Random directories, night after night: a plan applied twice, and a directory read twice, change nothing the
//! second time: no user, no event.

use std::collections::{BTreeMap, HashMap};
use std::sync::atomic::{AtomicU64, Ordering};

use proptest::prelude::*;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use rollcall_core::dialect::AccountStatus;
use rollcall_core::id::{UserSyncKey, Uuid};
use rollcall_core::judgement::EntryReading;
use rollcall_core::mapping::{Offer, Offers};
use rollcall_core::plan::Change;
use rollcall_core::planner::{BatchFacts, Meeting, Planner, ReadEntry};
use rollcall_core::role::RoleFinding;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunState};
use rollcall_core::user::{StateReason, User};
use rollcall_core::user_sync::{MissingUsers, UserSyncSettings};
use rollcall_store::{Mailing, NewRun, Store, UserFilter};
use tokio::runtime::Handle;
use tokio::task::block_in_place;

use crate::engine::{Engine, on_both};
use crate::fixture::*;

on_both! {
    a_plan_applied_twice_and_a_directory_read_twice_change_nothing,
}

const CASES: u32 = 24;

/// What a person's entry says: login, e-mail address, and whether the account is disabled.
type Entry = (String, Option<String>, bool);
/// A directory of one night, by person.
type Night = BTreeMap<u8, Entry>;

fn nights() -> impl Strategy<Value = Vec<Night>> {
    let entry = ("[a-e]{3}", prop::option::of("[a-c]@x\\.org"), any::<bool>());
    prop::collection::vec(prop::collection::btree_map(0u8..8, entry, 0..8), 1..4)
}

async fn a_plan_applied_twice_and_a_directory_read_twice_change_nothing(engine: Engine) {
    let store = engine.store().await;
    let config = Config {
        cases: CASES,
        failure_persistence: None,
        ..Config::default()
    };
    let tenants = AtomicU64::new(0);
    let case = |(nights, archive, chunk): (Vec<Night>, bool, usize)| {
        let tenant = format!("case{}", tenants.fetch_add(1, Ordering::Relaxed));
        block_in_place(|| {
            Handle::current().block_on(async {
                let world = World::begin(&store, &tenant, archive, chunk).await;
                world.live(&nights).await
            })
        })
    };
    let result = TestRunner::new(config).run(&(nights(), any::<bool>(), 1usize..4), case);
    assert_eq!(result, Ok(()));
}

/// A tenant of its own.
struct World<'a> {
    store: &'a Store,
    key: UserSyncKey,
    settings: UserSyncSettings,
    /// Changes in a chunk.
    chunk: usize,
    runs: AtomicU64,
}

/// What must stay as it is: every user and the end of the feed.
type Seen = (Vec<User>, i64);

impl<'a> World<'a> {
    async fn begin(store: &'a Store, tenant: &str, archive: bool, chunk: usize) -> Self {
        set_up_tenant(store, tenant).await;
        let missing_users = if archive {
            MissingUsers::Archive
        } else {
            MissingUsers::Deactivate
        };
        Self {
            store,
            key: key_of(tenant, "staff"),
            settings: UserSyncSettings {
                missing_users,
                ..sync_settings("main")
            },
            chunk,
            runs: AtomicU64::new(0),
        }
    }

    async fn live(&self, nights: &[Night]) -> Result<(), TestCaseError> {
        for night in nights {
            let plan = self.plan(night).await;
            let planned: usize = plan.iter().map(Vec::len).sum();
            let applied = self.apply(&plan).await;
            prop_assert_eq!(
                applied,
                planned as u64,
                "nobody else writes, so nothing is refused"
            );
            let seen = self.seen().await;
            prop_assert_eq!(self.apply(&plan).await, 0);
            prop_assert_eq!(self.seen().await, seen);
        }
        let Some(last) = nights.last() else { return Ok(()) };
        let seen = self.seen().await;
        let plan = self.plan(last).await;
        prop_assert_eq!(&plan, &Vec::<Vec<Change>>::new());
        self.apply(&plan).await;
        prop_assert_eq!(self.seen().await, seen);
        Ok(())
    }

    async fn seen(&self) -> Seen {
        let tenant = &self.key.tenant;
        let users = self
            .store
            .list_users(tenant, &UserFilter::default(), &all())
            .await
            .unwrap();
        let position = self.store.feed_end(Some(tenant)).await.unwrap().position;
        (users.items, position)
    }

    /// The chunks of a plan that makes the users what the directory has.
    async fn plan(&self, night: &Night) -> Vec<Vec<Change>> {
        let (store, tenant) = (self.store, &self.key.tenant);
        let known = store.known_users(tenant, &self.key.user_sync, 100).await.unwrap();
        let mut planner = Planner::new(&self.key.user_sync, &self.settings, known.into_iter().collect());
        let mut pending: Vec<ReadEntry> = Vec::new();
        for (person, entry) in night {
            let (reading, role) = read(*person, entry);
            if let Meeting::First(before) = planner.meet(&reading.external_id, &reading.dn)
                && !planner.is_unchanged(&reading, &role, before)
            {
                pending.push((reading, role));
            }
        }
        let keys: Vec<String> = pending
            .iter()
            .flat_map(|(reading, _)| reading.offers.identifiers())
            .collect();
        let holders: HashMap<_, _> = store
            .identifier_holders(tenant, &keys)
            .await
            .unwrap()
            .into_iter()
            .collect();
        let (users, _) = self.seen().await;
        let facts = BatchFacts::new(&self.settings.directory, users.clone(), holders);
        let mut changes = planner.decide(pending, &facts, Uuid::new_v4).changes;
        let absent = planner.absent();
        let absent = users.iter().filter(|user| absent.contains(&user.id));
        let mut removals: Vec<Change> = absent
            .filter_map(|user| planner.remove(user, StateReason::Gone))
            .collect();
        if let Some(contested) = planner.contested() {
            let mut taken: Vec<Change> = removals
                .extract_if(.., |change| contested.concerns(change))
                .collect();
            taken.extend(changes.extract_if(.., |change| contested.concerns(change)));
            planner.rejoin(taken, users.clone());
        }
        let mut chunks: Vec<Vec<Change>> = removals.chunks(self.chunk).map(<[Change]>::to_vec).collect();
        chunks.extend(changes.chunks(self.chunk).map(<[Change]>::to_vec));
        chunks.extend(planner.finish().groups);
        chunks
    }

    /// A run with this plan; returns how many changes were written.
    async fn apply(&self, plan: &[Vec<Change>]) -> u64 {
        let (store, key) = (self.store, &self.key);
        let number = self.runs.fetch_add(1, Ordering::Relaxed);
        let run = NewRun {
            id: run_id(u128::from(number)),
            ..new_run(0)
        };
        let id = run.id;
        let lease = lease(store, key).await;
        store.create_run(&lease, key, run, None, at(1)).await.unwrap();
        store.begin_pull(&handle(&lease, key, id), 9).await.unwrap();
        for (index, chunk) in (0..).zip(plan) {
            store
                .append_chunk(&handle(&lease, key, id), index, chunk)
                .await
                .unwrap();
        }
        let result = PlanResult {
            outcome: PlanOutcome::Apply,
            counts: RunCounts::default(),
            complete: true,
        };
        store
            .finish_plan(&handle(&lease, key, id), result, &Mailing::default(), at(2))
            .await
            .unwrap();
        let mut applied = 0;
        for index in 0..u32::try_from(plan.len()).unwrap() {
            let changes = store.read_chunk(key, id, index).await.unwrap();
            let outcome = store
                .apply_chunk(&handle(&lease, key, id), index, &changes, at(3))
                .await
                .unwrap();
            applied += outcome.applied;
        }
        store
            .end_run(
                &handle(&lease, key, id),
                ended(RunState::Succeeded),
                &Mailing::default(),
                at(4),
            )
            .await
            .unwrap();
        store.release_lease(&lease).await.unwrap();
        applied
    }
}

fn read(person: u8, (login, email, disabled): &Entry) -> ReadEntry {
    let offer = |value: Option<&String>| Offer {
        values: value.into_iter().cloned().collect(),
        ..Offer::default()
    };
    let reading = EntryReading {
        external_id: external_id(u128::from(person)),
        dn: format!("cn={person}"),
        dn_unreadable: false,
        unreadable_state: None,
        status: if *disabled {
            AccountStatus::Disabled
        } else {
            AccountStatus::Enabled
        },
        offers: Offers {
            login: offer(Some(login)),
            email: offer(email.as_ref()),
            ..Offers::default()
        },
    };
    (reading, RoleFinding::certain("member"))
}
