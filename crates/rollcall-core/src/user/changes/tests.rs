#![allow(clippy::unwrap_used)]
use chrono::{DateTime, Utc};

use super::*;
use crate::external_id::{ExternalId, IdKind};
use crate::field::TextField;
use crate::id::{DirectoryId, UserId, UserSyncId, Uuid};
use crate::revision::Revision;

fn origin(user_sync: &str, number: u128) -> Origin {
    let id = Uuid::from_u128(number).to_string();
    Origin {
        user_sync: UserSyncId::parse(user_sync).unwrap(),
        directory: DirectoryId::parse("hq").unwrap(),
        external_id: ExternalId::parse(IdKind::of_attribute("entryUUID").unwrap(), &id).unwrap(),
        dn: format!("uid={number}"),
        linked: false,
    }
}

fn ada() -> User {
    User {
        tenant: TenantId::parse("acme").unwrap(),
        id: UserId(Uuid::from_u128(1)),
        origin: Some(origin("staff", 1)),
        profile: Profile {
            login: "ada".into(),
            email: Some("a@x.example".into()),
            role: "user".into(),
            custom: BTreeMap::from([("badge".into(), "1".into()), ("desk".into(), "7".into())]),
            ..Profile::default()
        },
        state: UserState::Active,
        state_reason: None,
        owner: false,
        block: None,
        login_ambiguous: false,
        login_asked_by: None,
        revision: Revision::FIRST,
        create_time: DateTime::<Utc>::UNIX_EPOCH,
        update_time: DateTime::<Utc>::UNIX_EPOCH,
    }
}

type Row<'a> = (&'a str, Option<&'a str>, Option<&'a str>);

fn rows(changes: &[FieldChange]) -> Vec<Row<'_>> {
    changes
        .iter()
        .map(|change| {
            (
                change.field.as_str(),
                change.old.as_deref(),
                change.new.as_deref(),
            )
        })
        .collect()
}

#[track_caller]
fn differ(edit: impl FnOnce(&mut User), expected: &[Row<'_>]) {
    let before = ada();
    let mut after = ada();
    edit(&mut after);
    let found = changes(Some(&before), after.changeable());
    assert_eq!(rows(&found), expected);
}

#[test]
fn every_difference_is_named_and_nothing_else() {
    differ(|_| {}, &[]);
    differ(
        |user| {
            user.revision = user.revision.next();
            user.update_time = DateTime::<Utc>::MAX_UTC;
        },
        &[],
    );
    differ(
        |user| {
            user.profile.email = None;
            user.profile.set_text(TextField::GivenName, Some("Ada".into()));
            user.profile.custom.remove("desk");
            user.profile.custom.insert("badge".into(), "2".into());
        },
        &[
            ("email", Some("a@x.example"), None),
            ("given_name", None, Some("Ada")),
            ("custom.badge", Some("1"), Some("2")),
            ("custom.desk", Some("7"), None),
        ],
    );
    differ(
        |user| user.owner = true,
        &[("owner", Some("false"), Some("true"))],
    );
    differ(
        |user| user.login_ambiguous = true,
        &[("login_ambiguous", Some("false"), Some("true"))],
    );
    differ(
        |user| user.origin.as_mut().unwrap().dn = "uid=1,ou=new".into(),
        &[("dn", Some("uid=1"), Some("uid=1,ou=new"))],
    );
}

#[test]
fn a_state_is_named_with_its_reason() {
    differ(
        |user| {
            user.state = UserState::Deactivated;
            user.state_reason = Some(StateReason::Gone);
        },
        &[
            ("state", Some("USER_STATE_ACTIVE"), Some("USER_STATE_DEACTIVATED")),
            ("state_reason", None, Some("USER_STATE_REASON_GONE")),
        ],
    );
}

#[test]
fn a_block_is_named_with_its_reason_even_if_that_is_empty() {
    let block = |reason: &str| {
        Some(Block {
            time: DateTime::<Utc>::UNIX_EPOCH,
            reason: reason.into(),
        })
    };
    differ(
        |user| user.block = block("left"),
        &[("block", None, Some("left"))],
    );
    differ(|user| user.block = block(""), &[("block", None, Some(""))]);
    let before = User {
        block: block("left"),
        ..ada()
    };
    let lifted = changes(Some(&before), ada().changeable()).clone();
    assert_eq!(rows(&lifted), [("block", Some("left"), None)]);
}

#[test]
fn who_takes_a_user_over_is_named() {
    differ(
        |user| user.origin = Some(origin("guests", 1)),
        &[(
            "user_sync",
            Some("tenants/acme/userSyncs/staff"),
            Some("tenants/acme/userSyncs/guests"),
        )],
    );
    let local = User {
        origin: None,
        ..ada()
    };
    let linked = changes(Some(&local), ada().changeable());
    let id = Uuid::from_u128(1).to_string();
    assert_eq!(
        rows(&linked),
        [
            ("source", Some("USER_SOURCE_LOCAL"), Some("USER_SOURCE_SYNCED")),
            ("user_sync", None, Some("tenants/acme/userSyncs/staff")),
            ("directory", None, Some("tenants/acme/directories/hq")),
            ("external_id", None, Some(id.as_str())),
            ("external_id_attribute", None, Some("entryUUID")),
            ("dn", None, Some("uid=1")),
        ]
    );
}

#[test]
fn lists_differ_if_any_value_does() {
    let restricted = |values: &[&str]| {
        let mut user = ada();
        user.profile.restrictions = values.iter().map(ToString::to_string).collect();
        user
    };
    let (one, two) = (restricted(&["a, b"]), restricted(&["a", "b"]));
    let found = changes(Some(&one), two.changeable());
    assert_eq!(rows(&found), [("restrictions", Some("a\\, b"), Some("a, b"))]);
    let found = changes(Some(&restricted(&["a\\"])), restricted(&["a"]).changeable());
    assert_eq!(found.len(), 1);
}

#[test]
fn of_a_new_user_only_what_sets_it_apart_is_named() {
    let mut user = ada();
    user.profile.custom.clear();
    let created = changes(None, user.changeable());
    assert_eq!(
        rows(&created),
        [
            ("login", None, Some("ada")),
            ("email", None, Some("a@x.example")),
            ("role", None, Some("user")),
        ]
    );
    user.state = UserState::Deactivated;
    user.state_reason = Some(StateReason::DisabledInDirectory);
    user.owner = true;
    let created = changes(None, user.changeable());
    assert_eq!(
        rows(&created)[3..],
        [
            ("state", None, Some("USER_STATE_DEACTIVATED")),
            (
                "state_reason",
                None,
                Some("USER_STATE_REASON_DISABLED_IN_DIRECTORY")
            ),
            ("owner", None, Some("true")),
        ]
    );
}
