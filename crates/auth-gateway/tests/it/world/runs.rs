//! What the sync worker does in a world: users appear as from a run.

use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::dialect::AccountStatus;
use rollcall_core::directory::Directory;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::id::{RunId, UserId, Uuid};
use rollcall_core::identifier::{AllowedCharacters, LoginPolicy};
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::judgement::EntryReading;
use rollcall_core::mapping::Mapping;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::role::RoleFinding;
use rollcall_core::run::{PlanOutcome, PlanResult, RunCounts, RunMode, RunState, RunTrigger};
use rollcall_core::user::{Origin, StateReason, User, UserState};
use rollcall_core::user_sync::Search;
use rollcall_ldap::{ConnectionLimit, DirectoryConfig, EgressPolicy, LdapDirectory, PoolLimits, Resolver};
use rollcall_store::{LeaseName, Mailing, NewRun, RunEnd, RunHandle};

use super::{World, now};

impl<S> World<S> {
    /// Creates a user for everybody in the directory whom the sync finds and the store lacks, as a run would.
    pub(crate) async fn import(&self) {
        let settings = self
            .store
            .user_sync(&self.tenant, &self.sync.user_sync)
            .await
            .unwrap()
            .settings;
        let mapping = Mapping::new(&settings, policy());
        let mut changes = Vec::new();
        for search in &settings.searches {
            for entry in self.find(search).await {
                let origin = self.origin(&entry);
                let known = [origin.external_id.clone()];
                let found = self
                    .store
                    .users_by_external_ids(&self.tenant, &self.directory, &known)
                    .await
                    .unwrap();
                if found.is_empty() {
                    changes.push(creation(&mapping, &entry, origin, &settings.role));
                }
            }
        }
        self.run(changes, now()).await;
    }

    /// One run that applies these changes, and whose pull ended Complete at `pulled`.
    pub(crate) async fn run(&self, changes: Vec<Change>, pulled: DateTime<Utc>) {
        let (store, key, now) = (&self.store, &self.sync, now());
        let name = LeaseName::run_of(key);
        let lease = store
            .acquire_lease(&name, "test", Duration::from_secs(60))
            .await
            .unwrap()
            .unwrap();
        let run = NewRun {
            id: RunId(Uuid::from_u128(rand())),
            mode: RunMode::Apply,
            trigger: RunTrigger::Call,
            asked_by: AskedBy::caller("test"),
        };
        let id = run.id;
        store.create_run(&lease, key, run, None, now).await.unwrap();
        let handle = RunHandle {
            lease,
            key: key.clone(),
            id,
        };
        store.begin_pull(&handle, 9).await.unwrap();
        store.append_chunk(&handle, 0, &changes).await.unwrap();
        let plan = PlanResult {
            outcome: PlanOutcome::Apply,
            counts: RunCounts::default(),
            complete: true,
        };
        store
            .finish_plan(&handle, plan, &Mailing::default(), now)
            .await
            .unwrap();
        let outcome = store.apply_chunk(&handle, 0, &changes, now).await.unwrap();
        assert_eq!(outcome.issues, []);
        let end = RunEnd {
            state: RunState::Succeeded,
            failure: None,
            health: Health {
                level: HealthLevel::Ok,
                problems: Vec::new(),
            },
            applied_scope_revision: None,
            complete_pull_time: Some(pulled),
        };
        store
            .end_run(&handle, end, &Mailing::default(), now)
            .await
            .unwrap();
        store.release_lease(&handle.lease).await.unwrap();
    }

    /// Deactivates somebody, as a run does that found them so.
    pub(crate) async fn deactivate(&self, login: &str, reason: StateReason) {
        let user = self.user(login).await;
        let (kind, state) = (ChangeKind::Deactivate, UserState::Deactivated);
        self.run(vec![change(&user, kind, state, Some(reason))], now())
            .await;
    }

    async fn find(&self, search: &Search) -> Vec<Entry> {
        let directory: Directory = self.store.directory(&self.tenant, &self.directory).await.unwrap();
        let ldap = LdapDirectory::new(DirectoryConfig {
            settings: directory.settings,
            bind_password: Arc::new(
                self.store
                    .bind_password(&self.tenant, &self.directory)
                    .await
                    .unwrap()
                    .unwrap(),
            ),
            password_keeper: None,
            client_key: None,
            egress: Arc::new(EgressPolicy::new(
                vec!["127.0.0.0/8".parse().unwrap()],
                self.ports.clone(),
            )),
            resolver: Resolver::system(),
            limits: PoolLimits::default(),
            connections: ConnectionLimit::new(100),
            dialect: Some(self.place.dialect),
        })
        .unwrap();
        let ids = self.id_kinds().iter().map(|kind| kind.attribute().to_owned());
        let attributes: Vec<String> = ids.chain(["*".to_owned()]).collect();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(30);
        let (base, scope, filter) = (&search.base_dn, search.scope, &search.filter);
        ldap.find(base, scope, filter, &attributes, 1_000, deadline)
            .await
            .unwrap()
            .entries
    }

    fn origin(&self, entry: &Entry) -> Origin {
        Origin {
            user_sync: self.sync.user_sync.clone(),
            directory: self.directory.clone(),
            external_id: self
                .id_kinds()
                .iter()
                .find_map(|kind| {
                    let values = entry.values(kind.attribute()).to_vec();
                    ExternalId::from_values(kind.clone(), &values).ok()
                })
                .unwrap(),
            dn: entry.dn.clone(),
            linked: false,
        }
    }

    fn id_kinds(&self) -> &'static [IdKind] {
        self.place.dialect.external_id_kinds()
    }
}

/// A change of a user's state alone.
pub(crate) fn change(
    user: &User,
    kind: ChangeKind,
    state: UserState,
    state_reason: Option<StateReason>,
) -> Change {
    Change {
        kind,
        user: user.id,
        expected_revision: user.revision,
        state_before: Some(user.state),
        origin: user.origin.clone().unwrap(),
        profile: user.profile.clone(),
        state,
        state_reason,
        login_ambiguous: user.login_ambiguous,
        login_asked_by: None,
        changes: Vec::new(),
    }
}

fn creation(mapping: &Mapping, entry: &Entry, origin: Origin, role: &str) -> Change {
    let reading = EntryReading {
        external_id: origin.external_id.clone(),
        dn: entry.dn.clone(),
        dn_unreadable: entry.tainted,
        status: AccountStatus::Enabled,
        unreadable_state: None,
        offers: mapping.read(entry),
    };
    Change {
        kind: ChangeKind::Create,
        user: UserId(Uuid::from_u128(rand())),
        expected_revision: Revision::NONE,
        state_before: None,
        origin,
        profile: reading.for_new(&RoleFinding::certain(role)).unwrap().profile,
        state: UserState::Active,
        state_reason: None,
        login_ambiguous: false,
        login_asked_by: None,
        changes: Vec::new(),
    }
}

fn policy() -> LoginPolicy {
    LoginPolicy {
        allowed: AllowedCharacters::with_punctuation("._-@+").unwrap(),
        ..LoginPolicy::default()
    }
}

fn rand() -> u128 {
    use ring::rand::SecureRandom;
    let mut bytes = [0; 16];
    ring::rand::SystemRandom::new().fill(&mut bytes).unwrap();
    u128::from_be_bytes(bytes)
}
