use std::collections::{BTreeMap, BTreeSet};

use chrono::DateTime;
use prost::Message;
use prost_reflect::{DescriptorPool, DynamicMessage, Kind, MessageDescriptor};
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::field::TextField;
use rollcall_core::id::{DirectoryId, TenantId, UserId, UserSyncId, Uuid};
use rollcall_core::revision::Revision;
use rollcall_core::user::{Block, Origin, Profile, StateReason, User, UserState, changes};
use rollcall_proto::convert::user::{BatchGetUsers, ListUsers, LookupUser};
use rollcall_proto::resource_name::UserName;
use rollcall_proto::v1;

use crate::annotations::{OUTPUT_ONLY, behaviours};
use crate::bad_fields;

fn user() -> User {
    let id = ExternalId::parse(IdKind::EntryUuid, "9a5b7c6d-0000-4000-8000-000000000001").unwrap();
    User {
        tenant: TenantId::parse("acme").unwrap(),
        id: UserId(Uuid::from_u128(1)),
        origin: Some(Origin {
            user_sync: UserSyncId::parse("staff").unwrap(),
            directory: DirectoryId::parse("main").unwrap(),
            external_id: id,
            dn: "uid=ada,dc=acme".into(),
            linked: true,
        }),
        profile: Profile {
            login: "ada".into(),
            email: None,
            texts: [(TextField::DisplayName, "Ada".to_owned())].into(),
            role: "user".into(),
            custom: BTreeMap::from([("badge".into(), "7".into())]),
            ..Profile::default()
        },
        state: UserState::Deactivated,
        state_reason: Some(StateReason::OutOfScope),
        login_ambiguous: false,
        login_asked_by: None,
        owner: false,
        block: Some(Block {
            time: DateTime::UNIX_EPOCH,
            reason: "left".into(),
        }),
        revision: Revision::new(12),
        create_time: DateTime::UNIX_EPOCH,
        update_time: DateTime::UNIX_EPOCH,
    }
}

#[test]
fn a_synced_user_names_where_it_comes_from() {
    let wire = v1::User::from(&user());
    assert_eq!(
        wire.name,
        "tenants/acme/users/00000000-0000-0000-0000-000000000001"
    );
    assert_eq!(wire.source(), v1::UserSource::Synced);
    assert_eq!(wire.user_sync, "tenants/acme/userSyncs/staff");
    assert_eq!(wire.directory, "tenants/acme/directories/main");
    assert_eq!(wire.external_id, "9a5b7c6d-0000-4000-8000-000000000001");
    assert_eq!(wire.external_id_attribute, "entryUUID");
    assert_eq!(
        (wire.state(), wire.state_reason()),
        (v1::UserState::Deactivated, v1::UserStateReason::OutOfScope)
    );
    assert_eq!((wire.email.as_str(), wire.custom["badge"].as_str()), ("", "7"));
    assert_eq!(wire.block.unwrap().reason, "left");
    assert!(wire.linked);
}

#[test]
fn a_user_goes_out_with_each_field_of_the_contract() {
    let mut full = user();
    full.owner = true;
    full.login_ambiguous = true;
    full.profile.email = Some("ada@acme.example".into());
    full.profile.restrictions = vec!["site-1".into()];
    full.profile.texts = TextField::ALL
        .iter()
        .map(|field| (*field, "Ada".to_owned()))
        .collect();
    let message = message_of_the_contract("User");
    let mut wire = DynamicMessage::new(message.clone());
    wire.transcode_from(&v1::User::from(&full)).unwrap();
    let empty = message.fields().filter(|field| !wire.has_field(field));
    let empty: Vec<String> = empty.map(|field| field.name().to_owned()).collect();
    // It is kept beside the user, and whoever answers adds it.
    assert_eq!(empty, ["last_login_time"]);
}

/// Whoever adds a row to the texts is sent to the contract, and whoever adds a field there to the rows.
#[test]
fn each_plain_text_has_its_field_in_a_user_and_in_a_mapping() {
    for (message, is_list, others) in [
        ("User", false, &["login", "email", "role"][..]),
        ("FieldMappings", true, &["login", "email"]),
    ] {
        let message = message_of_the_contract(message);
        let texts = message
            .fields()
            .filter(|field| field.kind() == Kind::String && field.is_list() == is_list)
            .filter(|field| !behaviours(message.parent_pool(), field).contains(&OUTPUT_ONLY))
            .map(|field| field.name().to_owned())
            .filter(|name| !matches!(name.as_str(), "name" | "etag") && !others.contains(&name.as_str()));
        let rows = TextField::ALL.iter().map(|field| field.name().to_owned());
        assert_eq!(
            texts.collect::<BTreeSet<_>>(),
            rows.collect::<BTreeSet<_>>(),
            "{}: what stands in one alone is missing in the contract, or in rollcall_core::field",
            message.name()
        );
    }
}

fn message_of_the_contract(name: &str) -> MessageDescriptor {
    let pool = DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    pool.get_message_by_name(&format!("rollcall.v1.{name}")).unwrap()
}

#[test]
fn a_local_user_comes_from_nowhere() {
    let local = User {
        origin: None,
        state_reason: None,
        block: None,
        ..user()
    };
    let wire = v1::User::from(&local);
    assert_eq!(wire.source(), v1::UserSource::Local);
    assert_eq!(wire.state_reason(), v1::UserStateReason::Unspecified);
    assert!(wire.block.is_none());
    let empty = [
        wire.user_sync,
        wire.directory,
        wire.external_id,
        wire.external_id_attribute,
        wire.dn,
    ];
    assert!(empty.iter().all(String::is_empty));
}

#[test]
fn users_are_asked_for_by_name() {
    let name = "tenants/acme/users/00000000-0000-0000-0000-000000000001";
    let get = UserName::try_from(v1::GetUserRequest { name: name.into() }).unwrap();
    assert_eq!(
        (get.tenant.as_str(), get.user),
        ("acme", UserId(Uuid::from_u128(1)))
    );
    assert_eq!(
        bad_fields(UserName::try_from(v1::GetUserRequest::default())),
        ["name"]
    );
    let batch = |names: Vec<String>| {
        BatchGetUsers::try_from(v1::BatchGetUsersRequest {
            parent: "tenants/acme".into(),
            names,
        })
    };
    assert_eq!(
        batch(vec![name.into()]).unwrap().users,
        [UserId(Uuid::from_u128(1))]
    );
    assert_eq!(bad_fields(batch(vec![])), ["names"]);
    assert_eq!(bad_fields(batch(vec![name.into(); 101])), ["names"]);
    let mixed = vec![name.into(), name.replace("acme", "other"), "x".into()];
    assert_eq!(bad_fields(batch(mixed)), ["names[1]", "names[2]"]);
}

#[test]
fn a_filter_is_decoded_whole_or_refused_whole() {
    let list = |filter| {
        ListUsers::try_from(v1::ListUsersRequest {
            parent: "tenants/acme".into(),
            filter: Some(filter),
            ..v1::ListUsersRequest::default()
        })
    };
    let filter = list(v1::UserFilter {
        states: vec![v1::UserState::Active.into()],
        source: v1::UserSource::Local.into(),
        user_sync: "tenants/acme/userSyncs/staff".into(),
        blocked: Some(false),
        prefix: "ad".into(),
        ..v1::UserFilter::default()
    });
    let filter = filter.unwrap().filter;
    assert_eq!(filter.states, [UserState::Active]);
    assert_eq!(
        (filter.synced, filter.blocked, filter.owner),
        (Some(false), Some(false), None)
    );
    assert_eq!(filter.user_sync, UserSyncId::parse("staff"));
    let wrong = v1::UserFilter {
        states: vec![1, 0, 77],
        source: 5,
        user_sync: "tenants/other/userSyncs/staff".into(),
        role: "x".repeat(65),
        prefix: "a\0".into(),
        external_id: "1".into(),
        ..v1::UserFilter::default()
    };
    let mut fields = bad_fields(list(wrong));
    fields.sort();
    let expected = [
        "filter.directory",
        "filter.prefix",
        "filter.role",
        "filter.source",
        "filter.states[1]",
        "filter.states[2]",
        "filter.user_sync",
    ];
    assert_eq!(fields, expected);
}

#[test]
fn a_lookup_takes_one_identifier() {
    let lookup = |identifier: String| {
        LookupUser::try_from(v1::LookupUserRequest {
            parent: "tenants/acme".into(),
            identifier,
        })
    };
    assert_eq!(
        lookup("Ada@Example.com".into()).unwrap().identifier,
        "Ada@Example.com"
    );
    assert_eq!(bad_fields(lookup(String::new())), ["identifier"]);
    assert_eq!(bad_fields(lookup("x".repeat(321))), ["identifier"]);
}

#[test]
fn changes_name_states_as_the_contract_does() {
    for state in [UserState::Active, UserState::Deactivated, UserState::Archived] {
        assert_eq!(state.contract_name(), v1::UserState::from(state).as_str_name());
    }
    for reason in [
        StateReason::Gone,
        StateReason::OutOfScope,
        StateReason::DisabledInDirectory,
        StateReason::ExpiredInDirectory,
        StateReason::ByProduct,
        StateReason::SyncDeleted,
    ] {
        assert_eq!(
            reason.contract_name(),
            v1::UserStateReason::from(reason).as_str_name()
        );
    }
}

/// Every field of the contract's `User` that can change is told under its name there, and nothing else is.
#[test]
fn changes_name_the_fields_of_the_contract() {
    let text = || Some("x".to_owned());
    let mut after = user();
    after.profile = Profile {
        email: text(),
        texts: TextField::ALL
            .iter()
            .map(|field| (*field, "x".to_owned()))
            .collect(),
        restrictions: vec!["x".into()],
        ..after.profile
    };
    let before = User {
        origin: None,
        profile: Profile::default(),
        state: UserState::Active,
        state_reason: None,
        owner: true,
        block: None,
        login_ambiguous: !after.login_ambiguous,
        ..after.clone()
    };
    let told: BTreeSet<String> = changes(Some(&before), after.changeable())
        .into_iter()
        .map(|change| change.field.replace("custom.badge", "custom"))
        .collect();
    let descriptors = prost_types::FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let mut messages = descriptors.file.iter().flat_map(|file| &file.message_type);
    let message = messages.find(|message| message.name() == "User").unwrap();
    // A login changes nobody.
    let fixed = [
        "name",
        "revision",
        "etag",
        "create_time",
        "update_time",
        "last_login_time",
    ];
    let names = message.field.iter().map(|field| field.name().to_owned());
    let changing: BTreeSet<String> = names.filter(|name| !fixed.contains(&name.as_str())).collect();
    assert_eq!(told, changing);
}
