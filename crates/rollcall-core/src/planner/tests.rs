#![allow(clippy::unwrap_used, clippy::panic)]

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::external_id::IdKind;
use crate::id::TenantId;
use crate::issue::IssueKind;
use crate::plan::Fingerprint;
use crate::user::{Origin, Profile, StateReason};
use crate::user_sync::tests::settings;
use crate::user_sync::{ExistingUsers, LoginChanges, MissingUsers, NewUsers};

mod circles;
mod duplicates;
mod identity;

fn external_id(number: u8) -> ExternalId {
    ExternalId::from_values(IdKind::ObjectGuid, &[[number; 16].to_vec()]).unwrap()
}

fn entry(number: u8, login: &str, email: Option<&str>) -> Desired {
    Desired {
        external_id: external_id(number),
        dn: format!("cn={number}"),
        profile: Profile {
            login: login.into(),
            email: email.map(Into::into),
            role: "user".into(),
            ..Profile::default()
        },
        state_reason: None,
    }
}

/// Users in memory, with the store's rules: identifiers are unique among users that are not archived.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    users: BTreeMap<UserId, User>,
    next: u128,
}

impl World {
    fn holders(&self) -> HashMap<String, Holder> {
        let held = self
            .users
            .values()
            .filter(|user| user.state != UserState::Archived);
        held.flat_map(|user| {
            identifiers(&user.profile)
                .into_iter()
                .map(|key| (key, Holder::User(user.id)))
        })
        .collect()
    }

    fn run(
        &mut self,
        sync: &str,
        settings: &UserSyncSettings,
        entries: Vec<Desired>,
    ) -> (Vec<ChangeKind>, Vec<Issue>) {
        self.run_relinked(sync, settings, entries, Vec::new())
    }

    /// A run that takes these ids for these users.
    fn run_relinked(
        &mut self,
        sync: &str,
        settings: &UserSyncSettings,
        entries: Vec<Desired>,
        relinked: Vec<(UserId, ExternalId)>,
    ) -> (Vec<ChangeKind>, Vec<Issue>) {
        let sync = UserSyncId::parse(sync).unwrap();
        let new_ids: HashMap<UserId, ExternalId> = relinked.iter().cloned().collect();
        let known: KnownUsers = self
            .users
            .values()
            .filter_map(|user| {
                let origin = user.origin.as_ref().filter(|origin| origin.user_sync == sync)?;
                let fingerprint = Fingerprint::of(&user.profile, &origin.dn, user.state, user.state_reason);
                let external_id = new_ids.get(&user.id).unwrap_or(&origin.external_id);
                Some((
                    external_id.clone(),
                    Known {
                        user: user.id,
                        fingerprint,
                        state: user.state,
                    },
                ))
            })
            .collect();
        let mut planner = Planner::new(&sync, settings, known);
        planner.relink(relinked.into_iter().map(|(user, id)| (id, user)));
        let context = Context::new(&settings.directory, self.users.values().cloned(), self.holders());
        let mut groups = Vec::new();
        let mut issues = Vec::new();
        for entry in entries {
            if planner.screen(&entry) {
                let next = &mut self.next;
                let decided = planner.decide(vec![entry], &context, || {
                    *next += 1;
                    Uuid::from_u128(*next)
                });
                groups.extend(decided.changes.into_iter().map(|change| vec![change]));
                issues.extend(decided.issues);
            }
        }
        let mut removals = Vec::new();
        for absent in planner.absent() {
            removals.extend(
                planner
                    .remove(&self.users[&absent].clone(), StateReason::Gone)
                    .map(|change| vec![change]),
            );
        }
        let ordered = planner.finish();
        issues.extend(ordered.issues);
        let all: Vec<Vec<Change>> = removals.into_iter().chain(groups).chain(ordered.groups).collect();
        let kinds = all.iter().flatten().map(|change| change.kind).collect();
        assert_eq!(planner.counts().changes(), all.iter().flatten().count() as u64);
        all.into_iter().for_each(|group| self.apply(group));
        (kinds, issues)
    }

    fn apply(&mut self, group: Vec<Change>) {
        for change in group {
            let old = self.users.get(&change.user);
            assert_eq!(old.map_or(0, |user| user.revision), change.expected_revision);
            let user = User {
                tenant: TenantId::parse("acme").unwrap(),
                id: change.user,
                origin: Some(change.origin),
                profile: change.profile,
                state: change.state,
                state_reason: change.state_reason,
                owner: false,
                block: old.and_then(|user| user.block.clone()),
                revision: change.expected_revision + 1,
                create_time: DateTime::UNIX_EPOCH,
                update_time: DateTime::UNIX_EPOCH,
            };
            self.users.insert(user.id, user);
        }
        let mut keys = HashSet::new();
        for user in self
            .users
            .values()
            .filter(|user| user.state != UserState::Archived)
        {
            for key in identifiers(&user.profile) {
                assert!(
                    keys.insert(key.clone()),
                    "{key} is held twice after a transaction"
                );
            }
        }
    }

    fn local(&mut self, login: &str, owner: bool) -> UserId {
        self.next += 1;
        let id = UserId(Uuid::from_u128(self.next));
        let user = User {
            tenant: TenantId::parse("acme").unwrap(),
            id,
            origin: None,
            profile: Profile {
                login: login.into(),
                role: "admin".into(),
                ..Profile::default()
            },
            state: UserState::Active,
            state_reason: None,
            owner,
            block: None,
            revision: 1,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
        };
        self.users.insert(id, user);
        id
    }

    fn login_of(&self, number: u8) -> Option<&str> {
        let id = external_id(number);
        let is_it = |user: &&User| {
            user.origin
                .as_ref()
                .is_some_and(|origin| origin.external_id == id)
        };
        self.users
            .values()
            .find(is_it)
            .map(|user| user.profile.login.as_str())
    }
}

fn kinds_of(issues: &[Issue]) -> Vec<IssueKind> {
    issues.iter().map(|issue| issue.kind).collect()
}

#[test]
fn a_second_run_changes_nothing() {
    let mut world = World::default();
    let entries = vec![entry(1, "ada", Some("ada@x.org")), entry(2, "bob", None)];
    assert_eq!(
        world.run("all", &settings(), entries.clone()),
        (vec![ChangeKind::Create; 2], vec![])
    );
    assert_eq!(world.run("all", &settings(), entries), (vec![], vec![]));
}

#[test]
fn an_entry_found_twice_is_one_user() {
    let mut world = World::default();
    let (kinds, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "ada", None), entry(1, "ada", None)],
    );
    assert_eq!((kinds, issues), (vec![ChangeKind::Create], vec![]));
}

#[test]
fn two_people_may_swap_logins_and_emails() {
    let mut world = World::default();
    world.run(
        "all",
        &settings(),
        vec![entry(1, "ada", Some("a@x.org")), entry(2, "bob", Some("b@x.org"))],
    );
    let (kinds, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "bob", Some("b@x.org")), entry(2, "ada", Some("a@x.org"))],
    );
    assert_eq!((kinds, issues), (vec![ChangeKind::Update; 2], vec![]));
    assert_eq!(world.login_of(1), Some("bob"));
}

#[test]
fn a_login_passed_on_by_somebody_who_left_is_not_the_old_user() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let (kinds, issues) = world.run("all", &settings(), vec![entry(2, "ada", None)]);
    assert_eq!(
        (kinds, issues),
        (vec![ChangeKind::Archive, ChangeKind::Create], vec![])
    );
    assert_eq!(world.users.len(), 2);
}

#[test]
fn a_deactivated_user_keeps_the_login() {
    let mut world = World::default();
    let settings = UserSyncSettings {
        missing_users: MissingUsers::Deactivate,
        ..settings()
    };
    world.run("all", &settings, vec![entry(1, "ada", None)]);
    let (kinds, issues) = world.run("all", &settings, vec![entry(2, "ada", None)]);
    assert_eq!(kinds, [ChangeKind::Deactivate]);
    assert_eq!(kinds_of(&issues), [IssueKind::LoginTaken]);
}

#[test]
fn a_chain_falls_when_its_end_does_not_move() {
    let mut world = World::default();
    world.local("taken", false);
    world.run(
        "all",
        &settings(),
        vec![entry(1, "one", None), entry(2, "two", None)],
    );
    let (kinds, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "two", None), entry(2, "taken", None)],
    );
    assert_eq!(kinds, []);
    assert_eq!(kinds_of(&issues), [IssueKind::LoginTaken, IssueKind::LoginTaken]);
}

#[test]
fn a_person_who_returns_is_the_same_user() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let id = world.users.keys().copied().next().unwrap();
    world.run("all", &settings(), vec![]);
    let (kinds, _) = world.run("all", &settings(), vec![entry(1, "ada2", None)]);
    assert_eq!(kinds, [ChangeKind::Reactivate]);
    assert_eq!(world.users[&id].profile.login, "ada2");
}

#[test]
fn a_local_user_is_linked_only_where_that_is_asked_and_the_owner_never() {
    let mut world = World::default();
    let local = world.local("Ada", false);
    let (kinds, issues) = world.run("all", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!((kinds, kinds_of(&issues)), (vec![], vec![IssueKind::LoginTaken]));
    let linking = UserSyncSettings {
        overwrite_local_users: true,
        ..settings()
    };
    let (kinds, _) = world.run("all", &linking, vec![entry(1, "ada", None)]);
    assert_eq!(kinds, [ChangeKind::Link]);
    assert!(world.users[&local].origin.as_ref().unwrap().linked);

    let mut world = World::default();
    world.local("root", true);
    let (kinds, issues) = world.run("all", &linking, vec![entry(1, "root", None)]);
    assert_eq!(
        (kinds, kinds_of(&issues)),
        (vec![], vec![IssueKind::OwnerProtected])
    );
}

#[test]
fn another_sync_s_user_is_an_overlap_until_that_sync_gave_it_up() {
    let mut world = World::default();
    world.run("first", &settings(), vec![entry(1, "ada", None)]);
    let (kinds, issues) = world.run("second", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!((kinds, kinds_of(&issues)), (vec![], vec![IssueKind::Overlap]));
    assert_eq!(issues[0].other_user_sync.as_ref().unwrap().as_str(), "first");
    world.run("first", &settings(), vec![]);
    let (kinds, _) = world.run("second", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!(kinds, [ChangeKind::Transfer]);
    assert_eq!(world.users.len(), 1);
}

#[test]
fn a_rejected_login_change_lets_the_other_fields_follow() {
    let mut world = World::default();
    let settings = UserSyncSettings {
        login_changes: LoginChanges::Reject,
        ..settings()
    };
    world.run("all", &settings, vec![entry(1, "ada", None)]);
    let renamed = vec![entry(1, "eve", Some("e@x.org"))];
    let (kinds, issues) = world.run("all", &settings, renamed.clone());
    assert_eq!(
        (kinds, kinds_of(&issues)),
        (vec![ChangeKind::Update], vec![IssueKind::LoginChangeRejected])
    );
    assert_eq!(world.login_of(1), Some("ada"));
    let (kinds, issues) = world.run("all", &settings, renamed);
    assert_eq!(
        (kinds, kinds_of(&issues)),
        (vec![], vec![IssueKind::LoginChangeRejected])
    );
}

#[test]
fn a_disabled_account_is_deactivated_and_comes_back() {
    let mut world = World::default();
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let disabled = Desired {
        state_reason: Some(StateReason::DisabledInDirectory),
        ..entry(1, "ada", None)
    };
    let (kinds, _) = world.run("all", &settings(), vec![disabled]);
    assert_eq!(kinds, [ChangeKind::Deactivate]);
    let (kinds, _) = world.run("all", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!(kinds, [ChangeKind::Reactivate]);
}

#[test]
fn unknown_roles_keep_everybody_s_and_create_nobody() {
    let mut world = World::default();
    let admin = Desired {
        profile: Profile {
            role: "admin".into(),
            ..entry(1, "ada", None).profile
        },
        ..entry(1, "ada", None)
    };
    world.run("all", &settings(), vec![admin]);
    let sync = UserSyncId::parse("all").unwrap();
    let user = world.users.values().next().unwrap().clone();
    let settings = settings();
    let known = Known {
        user: user.id,
        fingerprint: Fingerprint::of(&user.profile, "cn=1", UserState::Active, None),
        state: UserState::Active,
    };
    let mut planner = Planner::new(&sync, &settings, KnownUsers::from_iter([(external_id(1), known)]));
    planner.keep_roles();
    let entries = vec![entry(1, "ada", None), entry(2, "bob", None)];
    let pending = entries
        .into_iter()
        .filter(|entry| planner.screen(entry))
        .collect();
    let context = Context::new(&settings.directory, [user], world.holders());
    let decided = planner.decide(pending, &context, || Uuid::from_u128(99));
    assert_eq!(decided, Decisions::default());
    assert_eq!((planner.counts().unchanged, planner.counts().ignored), (1, 1));
}

#[test]
fn the_same_id_in_another_directory_is_somebody_else() {
    let mut world = World::default();
    world.run("first", &settings(), vec![entry(1, "ada", None)]);
    let copy = UserSyncSettings {
        directory: crate::id::DirectoryId::parse("copy").unwrap(),
        ..settings()
    };
    let (kinds, issues) = world.run("second", &copy, vec![entry(1, "eve", None)]);
    assert_eq!((kinds, issues), (vec![ChangeKind::Create], vec![]));
    assert_eq!(world.users.len(), 2);
}

#[test]
fn the_second_entry_with_a_login_is_an_issue() {
    let mut world = World::default();
    let (kinds, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "ada", None), entry(2, "ADA", None)],
    );
    assert_eq!(kinds, [ChangeKind::Create]);
    assert_eq!(kinds_of(&issues), [IssueKind::DuplicateInDirectory]);
}

#[test]
fn logins_and_emails_share_one_space() {
    let mut world = World::default();
    let (_, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "a@x.org", None), entry(2, "bob", Some("A@x.org"))],
    );
    assert_eq!(kinds_of(&issues), [IssueKind::DuplicateInDirectory]);
}

#[test]
fn ignoring_settings_are_obeyed() {
    let mut world = World::default();
    let ignore_new = UserSyncSettings {
        new_users: NewUsers::Ignore,
        ..settings()
    };
    assert_eq!(world.run("all", &ignore_new, vec![entry(1, "ada", None)]).0, []);
    world.run("all", &settings(), vec![entry(1, "ada", None)]);
    let ignore_existing = UserSyncSettings {
        existing_users: ExistingUsers::Ignore,
        missing_users: MissingUsers::Ignore,
        ..settings()
    };
    assert_eq!(
        world.run("all", &ignore_existing, vec![entry(1, "eve", None)]).0,
        []
    );
    assert_eq!(world.run("all", &ignore_existing, vec![]).0, []);
}

proptest! {
    /// Any sequence of directories leaves no identifier held twice (asserted by the world after every
    /// transaction), and running the last one again changes nothing more once claims have settled.
    #[test]
    fn any_directory_converges(
        nights in prop::collection::vec(
            prop::collection::btree_map(0u8..8, ("[a-e]{3}", prop::option::of("[a-c]@x\\.org")), 0..8), 1..5),
        archive in any::<bool>(),
    ) {
        let missing_users = if archive { MissingUsers::Archive } else { MissingUsers::Deactivate };
        let settings = UserSyncSettings { missing_users, ..settings() };
        let mut world = World::default();
        let mut last = Vec::new();
        for night in nights {
            last = night.iter().map(|(number, (login, email))| entry(*number, login, email.as_deref())).collect();
            world.run("all", &settings, last.clone());
        }
        for _ in 0..10 {
            world.run("all", &settings, last.clone());
        }
        let settled = world.clone();
        let (kinds, _) = world.run("all", &settings, last);
        prop_assert_eq!(kinds, vec![]);
        prop_assert_eq!(world.users, settled.users);
    }
}
