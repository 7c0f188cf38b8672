#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use std::collections::BTreeMap;

use chrono::DateTime;
use proptest::prelude::*;

use super::*;
use crate::dialect::AccountStatus;
use crate::external_id::IdKind;
use crate::id::{TenantId, Uuid};
use crate::identifier::Holder;
use crate::issue::IssueKind;
use crate::mapping::{Gap, Offer, Offers};
use crate::revision::Revision;
use crate::role::RuleAnswer;
use crate::user::{Origin, OtherEntry, Profile, StateReason};
use crate::user_sync::tests::settings;
use crate::user_sync::{ExistingUsers, LoginChanges, MissingUsers, NewUsers};

mod circles;
mod duplicates;
mod identity;
mod neighbours;
mod nobody_loses;
mod several_values;

fn external_id(number: u8) -> ExternalId {
    ExternalId::from_values(IdKind::ObjectGuid, &[[number; 16].to_vec()]).unwrap()
}

fn offer(value: Option<&str>) -> Offer {
    Offer {
        values: value.map(str::to_owned).into_iter().collect(),
        ..Offer::default()
    }
}

fn entry(number: u8, login: &str, email: Option<&str>) -> ReadEntry {
    let reading = EntryReading {
        external_id: external_id(number),
        dn: format!("cn={number}"),
        dn_unreadable: false,
        status: AccountStatus::Enabled,
        unreadable_state: None,
        offers: Offers {
            login: offer(Some(login)),
            email: offer(email),
            ..Offers::default()
        },
    };
    (reading, RoleFinding::certain("user"))
}

fn with_status(mut entry: ReadEntry, status: AccountStatus) -> ReadEntry {
    entry.0.status = status;
    entry
}

fn disabled(entry: ReadEntry) -> ReadEntry {
    with_status(entry, AccountStatus::Disabled)
}

fn with_role(mut entry: ReadEntry, role: &str) -> ReadEntry {
    entry.1 = RoleFinding::certain(role);
    entry
}

/// Meets an entry; true if it needs a decision.
fn screen(planner: &mut Planner<'_>, (reading, role): &ReadEntry) -> bool {
    match planner.meet(&reading.external_id, &reading.dn) {
        Meeting::First(before) => !planner.is_unchanged(reading, role, before),
        Meeting::Again | Meeting::Elsewhere => false,
    }
}

fn fingerprint(user: &User) -> Fingerprint {
    let dn = user.origin.as_ref().map_or("", |origin| &origin.dn);
    Fingerprint::of(
        &user.profile,
        dn,
        user.state,
        user.state_reason,
        user.login_ambiguous,
    )
}

/// Users in memory, with the store's rules: identifiers are unique among users that are not archived.
#[derive(Clone, Debug, Default, PartialEq)]
struct World {
    users: BTreeMap<UserId, User>,
    next: u128,
    /// Other syncs, with what their directories say.
    elsewhere: Vec<(UserSyncId, UserSyncSettings, Vec<ReadEntry>)>,
    /// The pull does not read everybody.
    gaps: bool,
}

impl World {
    fn holders(&self) -> HashMap<String, Holder> {
        let held = self
            .users
            .values()
            .filter(|user| user.state != UserState::Archived);
        held.flat_map(|user| {
            user.profile
                .identifiers()
                .into_iter()
                .map(|key| (key, Holder::User(user.id)))
        })
        .collect()
    }

    /// What the other syncs say about their users, and about those of this one.
    fn ask_elsewhere(&self, sync: &UserSyncId, facts: &mut BatchFacts) {
        for user in self.users.values() {
            let Some(origin) = &user.origin else { continue };
            if origin.user_sync == *sync {
                if let Some(asker) = &user.login_asked_by {
                    facts.note_asker(user.id, self.asker(user, asker));
                }
                continue;
            }
            let neighbour = self.elsewhere(&origin.user_sync).and_then(|(settings, entries)| {
                let own = entries
                    .iter()
                    .find(|(reading, _)| reading.external_id == origin.external_id);
                Neighbour::of(user, &own?.0, settings)
            });
            facts.meet_neighbours(neighbour);
        }
    }

    fn asker(&self, user: &User, asker: &OtherEntry) -> Asker {
        let Some((_, entries)) = self.elsewhere(&asker.user_sync) else {
            return Asker::Ceased;
        };
        let asks = |(reading, _): &&ReadEntry| {
            reading.external_id == asker.external_id
                && reading.is_enabled()
                && reading.offers.login.values.contains(&user.profile.login)
        };
        match entries.iter().find(asks) {
            Some((reading, _)) => Asker::Asks {
                dn: Some(reading.dn.clone()),
                user: None,
            },
            None => Asker::Ceased,
        }
    }

    fn elsewhere(&self, sync: &UserSyncId) -> Option<(&UserSyncSettings, &Vec<ReadEntry>)> {
        let found = self.elsewhere.iter().find(|(name, ..)| name == sync);
        found.map(|(_, settings, entries)| (settings, entries))
    }

    fn run(
        &mut self,
        sync: &str,
        settings: &UserSyncSettings,
        entries: Vec<ReadEntry>,
    ) -> (Vec<ChangeKind>, Vec<Issue>) {
        self.run_relinked(sync, settings, entries, Vec::new())
    }

    /// A run that takes these ids for these users.
    fn run_relinked(
        &mut self,
        sync: &str,
        settings: &UserSyncSettings,
        entries: Vec<ReadEntry>,
        relinked: Vec<(UserId, ExternalId)>,
    ) -> (Vec<ChangeKind>, Vec<Issue>) {
        let sync = UserSyncId::parse(sync).unwrap();
        let new_ids: HashMap<UserId, ExternalId> = relinked.iter().cloned().collect();
        let known: KnownUsers = self
            .users
            .values()
            .filter_map(|user| {
                let origin = user.origin.as_ref().filter(|origin| origin.user_sync == sync)?;
                let external_id = new_ids.get(&user.id).unwrap_or(&origin.external_id);
                Some(KnownUser {
                    user: user.id,
                    external_id: external_id.clone(),
                    fingerprint: fingerprint(user),
                    state: user.state,
                    left: user.state_reason.is_some_and(StateReason::has_left),
                })
            })
            .collect();
        let mut planner = Planner::new(&sync, settings, known);
        planner.relink(relinked.into_iter().map(|(user, id)| (id, user)));
        let mut facts = BatchFacts::new(&settings.directory, self.users.values().cloned(), self.holders());
        self.ask_elsewhere(&sync, &mut facts);
        let mut groups = Vec::new();
        let mut issues = Vec::new();
        for entry in entries {
            if screen(&mut planner, &entry) {
                let next = &mut self.next;
                let decided = planner.decide(vec![entry], &facts, || {
                    *next += 1;
                    Uuid::from_u128(*next)
                });
                groups.extend(decided.changes.into_iter().map(|change| vec![change]));
                issues.extend(decided.issues);
            } else {
                // Told on every night, and once for an entry that was found twice.
                let told = entry.0.offers.issues().filter(|issue| !issues.contains(issue));
                issues.extend(told.cloned().collect::<Vec<_>>());
            }
        }
        let absent = if self.gaps { Vec::new() } else { planner.absent() };
        for absent in absent {
            let removal = planner.remove(&self.users[&absent].clone(), StateReason::Gone);
            groups.extend(removal.map(|change| vec![change]));
        }
        if let Some(contested) = planner.contested() {
            let (taken, kept) = groups
                .into_iter()
                .flatten()
                .partition(|change| contested.concerns(change));
            let users: Vec<User> = self.users.values().cloned().collect();
            planner.rejoin(taken, users);
            groups = Vec::<Change>::into_iter(kept)
                .map(|change| vec![change])
                .collect();
        }
        if self.gaps {
            planner.had_gaps();
        }
        let ordered = planner.finish();
        issues.extend(ordered.issues);
        // Removals come first.
        groups.sort_by_key(|group| !group[0].is_removal());
        let all: Vec<Vec<Change>> = groups.into_iter().chain(ordered.groups).collect();
        let kinds = all.iter().flatten().map(|change| change.kind).collect();
        assert_eq!(planner.counts().changes(), all.iter().flatten().count() as u64);
        all.into_iter().for_each(|group| self.apply(group));
        (kinds, issues)
    }

    fn apply(&mut self, group: Vec<Change>) {
        for change in group {
            let old = self.users.get(&change.user);
            assert_eq!(
                old.map_or(Revision::NONE, |user| user.revision),
                change.expected_revision
            );
            let user = User {
                tenant: TenantId::parse("acme").unwrap(),
                id: change.user,
                origin: Some(change.origin),
                profile: change.profile,
                state: change.state,
                state_reason: change.state_reason,
                owner: false,
                block: old.and_then(|user| user.block.clone()),
                login_ambiguous: change.login_ambiguous,
                login_asked_by: change.login_asked_by,
                revision: change.expected_revision.next(),
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
            for key in user.profile.identifiers() {
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
            login_ambiguous: false,
            login_asked_by: None,
            revision: Revision::FIRST,
            create_time: DateTime::UNIX_EPOCH,
            update_time: DateTime::UNIX_EPOCH,
        };
        self.users.insert(id, user);
        id
    }

    fn user(&self, number: u8) -> &User {
        self.find(number).unwrap()
    }

    fn find(&self, number: u8) -> Option<&User> {
        let id = external_id(number);
        let is_it = |user: &&User| {
            user.origin
                .as_ref()
                .is_some_and(|origin| origin.external_id == id)
        };
        self.users.values().find(is_it)
    }

    fn login_of(&self, number: u8) -> Option<&str> {
        self.find(number).map(|user| user.profile.login.as_str())
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
fn a_deactivated_user_keeps_the_login_while_no_enabled_entry_asks_for_it() {
    let mut world = World::default();
    let settings = UserSyncSettings {
        missing_users: MissingUsers::Deactivate,
        ..settings()
    };
    world.run("all", &settings, vec![entry(1, "ada", None)]);
    world.run("all", &settings, vec![disabled(entry(1, "ada", None))]);
    let both = vec![disabled(entry(1, "ada", None)), disabled(entry(2, "ada", None))];
    let (kinds, issues) = world.run("all", &settings, both);
    assert_eq!(kinds, []);
    assert_eq!(kinds_of(&issues), [IssueKind::DuplicateInDirectory]);
    assert_eq!(world.login_of(1), Some("ada"));
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
    // Whoever types "two" may be either of them.
    assert_eq!(kinds, [ChangeKind::Update]);
    let mut found = kinds_of(&issues);
    found.sort_unstable();
    let expected = [
        IssueKind::LoginTaken,
        IssueKind::LoginAmbiguous,
        IssueKind::LoginAmbiguous,
    ];
    assert_eq!(found, expected);
    assert_eq!((world.login_of(1), world.login_of(2)), (Some("one"), Some("two")));
    assert!(world.user(2).login_ambiguous && !world.user(1).login_ambiguous);
}

/// The same fact is the same issue on every night, that on which not everybody was read too.
#[test]
fn a_login_stays_ambiguous_and_says_so_while_who_asks_for_it_is_not_met() {
    let mut world = World::default();
    let keeping = || UserSyncSettings {
        login_changes: LoginChanges::Reject,
        ..settings()
    };
    let (ada, hire) = (entry(1, "ada.l", None), entry(2, "ada", None));
    world.run("all", &keeping(), vec![entry(1, "ada", None)]);
    let ambiguous = |issues: &[Issue]| {
        let kinds = kinds_of(issues);
        let kinds = kinds.into_iter();
        kinds.filter(|kind| *kind == IssueKind::LoginAmbiguous).count()
    };
    for gaps in [false, true] {
        world.gaps = gaps;
        let (_, issues) = world.run("all", &keeping(), vec![ada.clone(), hire.clone()]);
        assert_eq!(ambiguous(&issues), 2, "{issues:#?}");
    }
    for _ in 0..2 {
        let (kinds, issues) = world.run("all", &keeping(), vec![ada.clone()]);
        assert_eq!(kinds, []);
        assert_eq!(ambiguous(&issues), 1, "{issues:#?}");
        assert!(world.user(1).login_ambiguous);
    }
    world.gaps = false;
    let (_, issues) = world.run("all", &keeping(), vec![ada]);
    assert_eq!(ambiguous(&issues), 0, "{issues:#?}");
    assert!(!world.user(1).login_ambiguous);
}

/// Who left asks for nothing, so that nothing is refused to them.
#[test]
fn an_address_that_goes_on_from_somebody_who_left_is_no_issue() {
    let mut world = World::default();
    let settings = || UserSyncSettings {
        missing_users: MissingUsers::Deactivate,
        ..settings()
    };
    let both = vec![entry(1, "ada", Some("a@x.org")), entry(2, "ben", None)];
    world.run("all", &settings(), both);
    let (_, issues) = world.run("all", &settings(), vec![entry(2, "ben", Some("a@x.org"))]);
    assert_eq!(issues, []);
    assert_eq!(world.user(2).profile.email.as_deref(), Some("a@x.org"));
    assert_eq!(world.user(1).profile.email, None);
    // Whose entry says both is told, as on every night.
    let (off, on) = (disabled(entry(1, "ada", Some("c@x.org"))), entry(2, "ben", None));
    world.run("all", &settings(), vec![off.clone(), on]);
    for _ in 0..2 {
        let (_, issues) = world.run(
            "all",
            &settings(),
            vec![off.clone(), entry(2, "ben", Some("c@x.org"))],
        );
        assert_eq!(kinds_of(&issues), [IssueKind::DuplicateInDirectory]);
        assert_eq!(world.user(2).profile.email.as_deref(), Some("c@x.org"));
    }
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

    // Whom the product has deactivated, no directory brings back.
    let mut world = World::default();
    let local = world.local("ada", false);
    let user = world.users.get_mut(&local).unwrap();
    (user.state, user.state_reason) = (UserState::Deactivated, Some(StateReason::ByProduct));
    let (kinds, issues) = world.run("all", &linking, vec![entry(1, "ada", None)]);
    assert_eq!((kinds, kinds_of(&issues)), (vec![], vec![IssueKind::LoginTaken]));

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
    let (kinds, _) = world.run("all", &settings(), vec![disabled(entry(1, "ada", None))]);
    assert_eq!(kinds, [ChangeKind::Deactivate]);
    let (kinds, _) = world.run("all", &settings(), vec![entry(1, "ada", None)]);
    assert_eq!(kinds, [ChangeKind::Reactivate]);
}

#[test]
fn a_rule_without_an_answer_keeps_a_possible_role_and_makes_a_new_person_wait() {
    let mut world = World::default();
    let ada = with_role(entry(1, "ada", None), "admin");
    let eve = with_role(entry(3, "eve", None), "auditor");
    world.run("all", &settings(), vec![ada, eve]);
    let rules = [crate::user_sync::RoleRule {
        condition: crate::user_sync::RoleCondition::Filter("(cn=x)".into()),
        role: "admin".into(),
    }];
    let open = RoleFinding::of("user", &rules, &[RuleAnswer::Unknown]);
    let unknown = |number, login| (entry(number, login, None).0, open.clone());
    let people = vec![unknown(1, "ada"), unknown(2, "bob"), unknown(3, "eve")];
    let (kinds, issues) = world.run("all", &settings(), people);
    assert_eq!(kinds, [ChangeKind::Update], "nobody is created");
    assert_eq!(
        kinds_of(&issues),
        [IssueKind::RoleRuleFailed; 2],
        "of bob, who waits, and eve, who lost a role"
    );
    assert_eq!(world.user(1).profile.role, "admin", "is possible");
    assert_eq!(world.user(3).profile.role, "user", "an auditor is impossible");
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
fn a_login_that_two_entries_ask_for_is_nobody_s() {
    let mut world = World::default();
    let (kinds, issues) = world.run(
        "all",
        &settings(),
        vec![entry(1, "ada", None), entry(2, "ADA", None)],
    );
    assert_eq!(kinds, [], "nobody can tell whose it is");
    assert_eq!(kinds_of(&issues), [IssueKind::DuplicateInDirectory; 2]);
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
        let settled = world.clone();
        let (kinds, _) = world.run("all", &settings, last);
        prop_assert_eq!(kinds, vec![]);
        prop_assert_eq!(world.users, settled.users);
    }
}

/// Archived, it asks for nothing any more: neither for what it wanted, nor is it told that it does not get it.
#[test]
fn whoever_gives_up_its_login_shows_what_it_had() {
    let allowing = UserSyncSettings {
        login_changes: LoginChanges::Allow,
        ..settings()
    };
    let mut world = World::default();
    let ada = |login, email| disabled(entry(1, login, Some(email)));
    let bob = || entry(2, "bob", Some("b@x.org"));
    world.run("all", &allowing, vec![ada("ada", "a@x.org"), bob()]);
    let wanted = vec![ada("bob", "b@x.org"), bob(), entry(3, "ada", None)];
    let (mut kinds, issues) = world.run("all", &allowing, wanted);
    kinds.sort_by_key(|kind| format!("{kind:?}"));
    assert_eq!(
        (kinds, issues),
        (vec![ChangeKind::Archive, ChangeKind::Create], vec![])
    );
    let ada = world.user(1);
    assert_eq!(ada.state, UserState::Archived);
    assert_eq!(
        (ada.profile.login.as_str(), ada.profile.email.as_deref()),
        ("ada", Some("a@x.org"))
    );
}
