//! Random people, nights and settings, against what must hold whatever anybody writes into a directory.

use super::*;

/// What an entry says on one night.
#[derive(Clone, Debug)]
struct Said {
    login: Option<&'static str>,
    /// The login is bytes that nobody can decode.
    login_unreadable: bool,
    email: Option<&'static str>,
    email_unreadable: bool,
    status: AccountStatus,
    /// `None`: the rule has no answer.
    role: Option<&'static str>,
}

/// The logins overlap with the e-mail addresses: they share one space.
const LOGINS: [&str; 5] = ["ada", "bob", "eve", "kim@x.org", "sue"];
const EMAILS: [&str; 4] = ["ada@x.org", "kim@x.org", "all@x.org", "sue"];

fn said() -> impl Strategy<Value = Said> {
    let status = prop_oneof![
        4 => Just(AccountStatus::Enabled),
        1 => Just(AccountStatus::NotSet),
        1 => Just(AccountStatus::Locked),
        2 => Just(AccountStatus::Disabled),
        1 => Just(AccountStatus::Expired),
        1 => Just(AccountStatus::Unreadable),
    ];
    let role = prop_oneof![3 => Just(Some("user")), 2 => Just(Some("admin")), 1 => Just(None)];
    (
        prop::option::weighted(0.9, prop::sample::select(&LOGINS[..])),
        prop::bool::weighted(0.1),
        prop::option::weighted(0.7, prop::sample::select(&EMAILS[..])),
        prop::bool::weighted(0.1),
        status,
        role,
    )
        .prop_map(
            |(login, login_unreadable, email, email_unreadable, status, role)| Said {
                login,
                login_unreadable,
                email,
                email_unreadable,
                status,
                role,
            },
        )
}

fn settings_of(
    login_changes: bool,
    missing: u8,
    create: bool,
    update: bool,
    overwrite: bool,
) -> UserSyncSettings {
    UserSyncSettings {
        login_changes: if login_changes {
            LoginChanges::Allow
        } else {
            LoginChanges::Reject
        },
        missing_users: match missing {
            0 => MissingUsers::Ignore,
            1 => MissingUsers::Deactivate,
            _ => MissingUsers::Archive,
        },
        new_users: if create {
            NewUsers::Create
        } else {
            NewUsers::Ignore
        },
        existing_users: if update {
            ExistingUsers::Update
        } else {
            ExistingUsers::Ignore
        },
        overwrite_local_users: overwrite,
        ..settings()
    }
}

fn any_settings() -> impl Strategy<Value = UserSyncSettings> {
    let often = || prop::bool::weighted(0.85);
    (any::<bool>(), 0u8..3, often(), often(), any::<bool>()).prop_map(
        |(login_changes, missing, create, update, overwrite)| {
            settings_of(login_changes, missing, create, update, overwrite)
        },
    )
}

fn read_entry(number: u8, said: &Said) -> ReadEntry {
    let unreadable = |offer: Offer, unreadable: bool| match unreadable {
        true => Offer {
            values: Vec::new(),
            gap: Gap::Unreadable,
            issue: Some(Box::new(Issue::new(
                IssueKind::UndecodableEntry,
                &format!("cn={number}"),
                "not UTF-8",
            ))),
        },
        false => offer,
    };
    let (mut reading, _) = entry(number, "x", None);
    reading.status = said.status;
    reading.offers.login = unreadable(offer(said.login), said.login_unreadable);
    reading.offers.email = unreadable(offer(said.email), said.email_unreadable);
    let rules = [crate::user_sync::RoleRule {
        condition: crate::user_sync::RoleCondition::Filter("(cn=x)".into()),
        role: "admin".into(),
    }];
    let role = match said.role {
        Some(role) => RoleFinding::certain(role),
        None => RoleFinding::of("user", &rules, &[RuleAnswer::Unknown]),
    };
    (reading, role)
}

type Night = BTreeMap<u8, Said>;

fn entries(night: &Night) -> Vec<ReadEntry> {
    night
        .iter()
        .map(|(number, said)| read_entry(*number, said))
        .collect()
}

/// Everybody by external id, without what depends on chance.
fn seen(world: &World) -> Vec<String> {
    let mut seen: Vec<String> = world
        .users
        .values()
        .map(|user| {
            let id = user.origin.as_ref().map(|origin| origin.external_id.clone());
            let fields = (&user.profile, user.state, user.state_reason, user.login_ambiguous);
            format!("{id:?} {fields:?}")
        })
        .collect();
    seen.sort();
    seen
}

fn told(issues: &[Issue]) -> Vec<String> {
    let mut told: Vec<String> = issues.iter().map(|issue| format!("{issue:?}")).collect();
    told.sort();
    told
}

/// What nobody else's entry can change: state, role and what is unreadable.
fn check(before: &World, after: &World, settings: &UserSyncSettings, night: &Night) {
    for (number, said) in night {
        let (old, Some(new)) = (before.find(*number), after.find(*number)) else {
            continue;
        };
        let enabled = matches!(
            said.status,
            AccountStatus::Enabled | AccountStatus::NotSet | AccountStatus::Locked
        );
        let about = || format!("{number} {said:?}\n{old:#?}\n{new:#?}");
        match said.status {
            AccountStatus::Disabled | AccountStatus::Expired => {
                assert_ne!(new.state, UserState::Active, "keeps access: {}", about());
            }
            AccountStatus::Unreadable => {
                let old = old.unwrap_or_else(|| panic!("created in a state that nobody knows: {}", about()));
                let lost_way = new.state == UserState::Archived && old.state == UserState::Deactivated;
                assert!(
                    new.state == old.state || lost_way,
                    "changed by nothing: {}",
                    about()
                );
                if old.state == UserState::Archived {
                    assert_eq!(new.profile, old.profile, "back in part: {}", about());
                }
            }
            AccountStatus::Enabled | AccountStatus::NotSet | AccountStatus::Locked => {}
        }
        let Some(old) = old else {
            assert!(
                said.role.is_some(),
                "created with a role that nobody knows: {}",
                about()
            );
            continue;
        };
        if enabled && old.state == UserState::Active {
            assert_eq!(
                new.state,
                UserState::Active,
                "lost access by another: {}",
                about()
            );
        }
        if settings.existing_users == ExistingUsers::Update && new.state != UserState::Archived {
            let role = said.role.unwrap_or(&old.profile.role);
            assert_eq!(new.profile.role, role, "{}", about());
        }
        let holds = old.state != UserState::Archived && new.state != UserState::Archived;
        if holds && said.login_unreadable {
            assert_eq!(new.profile.login, old.profile.login, "{}", about());
        }
        if holds && enabled && said.email_unreadable && settings.existing_users == ExistingUsers::Update {
            assert_eq!(
                new.profile.email,
                old.profile.email,
                "unreadable is not absent: {}",
                about()
            );
        }
        // What one holds and offers is not taken by anybody, while one is enabled.
        let kept_login = said.login == Some(old.profile.login.as_str()) && !said.login_unreadable;
        if holds && enabled && old.state == UserState::Active && kept_login {
            assert_eq!(new.profile.login, old.profile.login, "{}", about());
            assert!(!new.login_ambiguous, "{}", about());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn nobody_keeps_what_they_lost_nor_loses_by_another(
        nights in prop::collection::vec(prop::collection::btree_map(0u8..6, said(), 0..6), 1..5),
        settings in any_settings(),
        locals in prop::collection::btree_set(prop::sample::select(&LOGINS[..]), 0..2),
        turn in 1usize..6,
    ) {
        let mut world = World::default();
        for login in locals {
            world.local(login, false);
        }
        for night in &nights {
            let before = world.clone();
            let (_, issues) = world.run("all", &settings, entries(night));
            check(&before, &world, &settings, night);

            // In another order the same comes of it, and the same is told.
            let mut other = before.clone();
            let mut turned = entries(night);
            turned.reverse();
            let by = turn % turned.len().max(1);
            turned.rotate_left(by);
            let (_, told_otherwise) = other.run("all", &settings, turned);
            prop_assert_eq!(seen(&other), seen(&world));
            prop_assert_eq!(told(&told_otherwise), told(&issues));

            // A second run without changes is idle, and tells the same.
            let settled = world.clone();
            let (kinds, again) = world.run("all", &settings, entries(night));
            prop_assert_eq!(kinds, vec![]);
            prop_assert_eq!(&world.users, &settled.users);
            let kinds_told = |issues: &[Issue]| {
                let mut told: Vec<_> = issues.iter().map(|issue| (issue.dn.clone(), issue.kind)).collect();
                told.sort();
                told
            };
            // Fields that are left alone are told of only once their user holds no login any more.
            if settings.existing_users == ExistingUsers::Ignore {
                continue;
            }
            for fact in kinds_told(&again) {
                prop_assert!(kinds_told(&issues).contains(&fact), "{:?} is new on the second night", fact);
            }
        }
    }
}
