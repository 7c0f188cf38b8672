use rollcall_core::error::Error;
use rollcall_core::field::TextField;
use rollcall_core::id::UserSyncId;
use rollcall_core::issue::HealthLevel;
use rollcall_core::run::RunMode;
use rollcall_core::user::UserDisposition;
use rollcall_core::user_sync::{
    ExistingUsers, LoginChanges, MissingUsers, NewUsers, ReportWhen, RoleCondition, SearchScope,
    UserSyncSettings,
};
use rollcall_proto::convert::check::{CheckUserSync, UserSyncTarget};
use rollcall_proto::convert::user_sync::{
    CloneUserSync, CreateUserSync, DeleteUserSync, ListUserSyncs, RunUserSync, UpdateUserSync,
};
use rollcall_proto::resource_name::TenantScope;
use rollcall_proto::v1;

use crate::{bad_fields, mask};

const STAFF: &str = "tenants/acme/userSyncs/staff";

fn wire() -> v1::UserSync {
    v1::UserSync {
        display_name: "Staff".into(),
        directory: "tenants/acme/directories/main".into(),
        searches: vec![v1::UserSearch {
            base_dn: "ou=people,dc=acme,dc=example".into(),
            scope: 0,
            filter: "(objectClass=person)".into(),
        }],
        role: "user".into(),
        field_mappings: Some(v1::FieldMappings {
            login: vec!["uid".into()],
            email: vec!["mail".into()],
            ..v1::FieldMappings::default()
        }),
        ..v1::UserSync::default()
    }
}

fn create(user_sync: v1::UserSync) -> Result<CreateUserSync, Error> {
    CreateUserSync::try_from(v1::CreateUserSyncRequest {
        parent: "tenants/acme".into(),
        user_sync_id: String::new(),
        user_sync: Some(user_sync),
        request_id: String::new(),
    })
}

fn settings() -> UserSyncSettings {
    create(wire()).unwrap().settings
}

#[test]
fn what_is_left_out_has_the_safe_default() {
    let created = create(wire()).unwrap();
    assert_eq!(created.id, None);
    let settings = created.settings;
    assert_eq!(settings.searches[0].scope, SearchScope::Subtree);
    assert_eq!(settings.new_users, NewUsers::Create);
    assert_eq!(settings.existing_users, ExistingUsers::Update);
    assert_eq!(settings.missing_users, MissingUsers::Ignore);
    assert_eq!(settings.login_changes, LoginChanges::Reject);
    assert!(!settings.overwrite_local_users && !settings.auto_sync);
    assert_eq!(
        (settings.cron.as_str(), settings.time_zone.as_str()),
        ("0 2 * * *", "UTC")
    );
    assert_eq!(
        (
            settings.removal_limit.max_count,
            settings.removal_limit.max_percent
        ),
        (None, None)
    );
    assert_eq!(settings.report.when, ReportWhen::Never);
}

#[test]
fn an_unset_limit_and_a_limit_of_none_are_two_things() {
    let limit = v1::RemovalLimit {
        max_count: Some(0),
        max_percent: None,
    };
    let settings = create(v1::UserSync {
        removal_limit: Some(limit),
        ..wire()
    })
    .unwrap()
    .settings;
    assert_eq!(
        (
            settings.removal_limit.max_count,
            settings.removal_limit.max_percent
        ),
        (Some(0), None)
    );
}

#[test]
fn all_that_is_wrong_with_a_new_user_sync_is_said_at_once() {
    let search = |filter: &str, scope| v1::UserSearch {
        base_dn: String::new(),
        scope,
        filter: filter.into(),
    };
    let rule = v1::RoleRule {
        condition: None,
        role: "admin".into(),
    };
    let custom = [(
        "1x".to_owned(),
        v1::FieldCandidates {
            candidates: vec!["a".into()],
        },
    )];
    let wire = v1::UserSync {
        directory: "tenants/other/directories/main".into(),
        searches: vec![search("(uid=*", 0), search("(uid=*)", 9)],
        role: "no role".into(),
        role_rules: vec![rule],
        field_mappings: Some(v1::FieldMappings {
            custom: custom.into(),
            ..v1::FieldMappings::default()
        }),
        new_users: 42,
        missing_users: -1,
        schedule: "every night".into(),
        time_zone: "Mars/Olympus".into(),
        removal_limit: Some(v1::RemovalLimit {
            max_count: Some(-1),
            max_percent: Some(101),
        }),
        report: Some(v1::ReportSettings {
            when: v1::ReportWhen::Always.into(),
            addresses: vec![],
        }),
        ..v1::UserSync::default()
    };
    let fields = bad_fields(create(wire));
    for field in [
        "user_sync.display_name",
        "user_sync.directory",
        "user_sync.searches[1].scope",
        "user_sync.role",
        "user_sync.role_rules[0]",
        "user_sync.field_mappings.login",
        "user_sync.field_mappings.custom[1x]",
        "user_sync.new_users",
        "user_sync.missing_users",
        "user_sync.time_zone",
        "user_sync.removal_limit.max_count",
        "user_sync.report.addresses",
    ] {
        assert!(
            fields.iter().any(|found| found == field),
            "{field} is missing from {fields:?}"
        );
    }
    let filter = v1::UserSync {
        searches: vec![search("(uid=*", 0)],
        ..self::wire()
    };
    assert_eq!(
        bad_fields(create(filter)),
        ["user_sync.searches[0].base_dn", "user_sync.searches[0].filter"]
    );
    assert_eq!(
        bad_fields(CreateUserSync::try_from(v1::CreateUserSyncRequest::default())),
        ["parent", "user_sync"]
    );
}

#[test]
fn settings_survive_the_way_out_and_in() {
    use v1::role_rule::Condition;
    let rules = [
        Condition::GroupDn("cn=admins,dc=acme,dc=example".into()),
        Condition::Filter("(title=boss)".into()),
    ];
    let custom = [(
        "badge".to_owned(),
        v1::FieldCandidates {
            candidates: vec!["{uid}-{sn}".into()],
        },
    )];
    let rich = v1::UserSync {
        disabled: true,
        role_rules: rules
            .map(|condition| v1::RoleRule {
                condition: Some(condition),
                role: "admin".into(),
            })
            .into(),
        field_mappings: Some(v1::FieldMappings {
            custom: custom.into(),
            ..wire().field_mappings.unwrap()
        }),
        missing_users: v1::MissingUserPolicy::Archive.into(),
        overwrite_local_users: true,
        login_changes: v1::LoginChangePolicy::Allow.into(),
        auto_sync: true,
        schedule: "30 3 * * 1-5".into(),
        time_zone: "Europe/Brussels".into(),
        restrictions: vec!["site-1".into()],
        removal_limit: Some(v1::RemovalLimit {
            max_count: Some(3),
            max_percent: Some(2),
        }),
        report: Some(v1::ReportSettings {
            when: v1::ReportWhen::OnIssues.into(),
            addresses: vec!["it@acme.example".into()],
        }),
        ..wire()
    };
    let settings = create(rich).unwrap().settings;
    assert_eq!(
        settings.role_rules[0].condition,
        RoleCondition::GroupDn("cn=admins,dc=acme,dc=example".into())
    );
    let everything = update(v1::UserSync::default(), &["display_name"]);
    assert_eq!(
        bad_fields(everything.unwrap().apply(&settings)),
        ["user_sync.display_name"]
    );
    let nothing_changed = update(
        v1::UserSync {
            display_name: "Staff".into(),
            ..v1::UserSync::default()
        },
        &[],
    );
    assert_eq!(nothing_changed.unwrap().apply(&settings).unwrap(), settings);
}

fn update(wire: v1::UserSync, paths: &[&str]) -> Result<UpdateUserSync, Error> {
    let wire = v1::UserSync {
        name: STAFF.into(),
        ..wire
    };
    UpdateUserSync::try_from(v1::UpdateUserSyncRequest {
        user_sync: Some(wire),
        update_mask: mask(paths),
    })
}

#[test]
fn a_mask_can_name_a_part_of_a_part() {
    let mappings = v1::FieldMappings {
        phone_number: vec!["mobile".into()],
        ..v1::FieldMappings::default()
    };
    let wire = v1::UserSync {
        field_mappings: Some(mappings),
        ..v1::UserSync::default()
    };
    let changed = update(wire.clone(), &["field_mappings.phone_number"])
        .unwrap()
        .apply(&settings())
        .unwrap();
    assert_eq!(changed.field_mappings.text(TextField::PhoneNumber), ["mobile"]);
    assert_eq!(changed.field_mappings.login, ["uid"]);
    let whole = update(wire, &["field_mappings"]).unwrap().apply(&settings());
    assert_eq!(bad_fields(whole), ["user_sync.field_mappings.login"]);
    let nonsense = update(
        v1::UserSync::default(),
        &["field_mappings.nonsense", "report.when", "health"],
    );
    assert_eq!(
        bad_fields(nonsense),
        ["update_mask.paths[0]", "update_mask.paths[2]"]
    );
}

#[test]
fn an_update_speaks_of_what_it_changes_only() {
    let wrong = v1::UserSync {
        new_users: 42,
        role_rules: vec![v1::RoleRule::default()],
        ..v1::UserSync::default()
    };
    assert_eq!(
        bad_fields(update(wrong.clone(), &["new_users"])),
        ["user_sync.new_users"]
    );
    assert!(update(wrong, &["disabled"]).is_ok());
}

#[test]
fn what_must_be_chosen_has_no_default() {
    let delete = |disposition: i32| {
        DeleteUserSync::try_from(v1::DeleteUserSyncRequest {
            name: STAFF.into(),
            etag: String::new(),
            user_disposition: disposition,
        })
    };
    assert_eq!(delete(3).unwrap().disposition, UserDisposition::MakeLocal);
    assert_eq!(bad_fields(delete(0)), ["user_disposition"]);
    assert_eq!(bad_fields(delete(9)), ["user_disposition"]);
    let run = |name: &str, mode: i32, id: &str| {
        RunUserSync::try_from(v1::RunUserSyncRequest {
            name: name.into(),
            mode,
            request_id: id.into(),
        })
    };
    assert_eq!(run(STAFF, 2, "").unwrap().mode, RunMode::Preview);
    assert_eq!(
        bad_fields(run("x", 0, &"y".repeat(129))),
        ["name", "mode", "request_id"]
    );
}

#[test]
fn copies_and_lists_are_decoded() {
    let clone = |id: &str, name: String| {
        CloneUserSync::try_from(v1::CloneUserSyncRequest {
            name: STAFF.into(),
            user_sync_id: id.into(),
            display_name: name,
            request_id: String::new(),
        })
    };
    assert_eq!(
        clone("copy", String::new()).unwrap().id,
        UserSyncId::parse("copy")
    );
    assert_eq!(clone("", String::new()).unwrap().display_name, None);
    assert_eq!(
        bad_fields(clone("Copy", "x".repeat(201))),
        ["user_sync_id", "display_name"]
    );
    let list = |directory: &str| {
        ListUserSyncs::try_from(v1::ListUserSyncsRequest {
            parent: "tenants/acme".into(),
            directory: directory.into(),
            ..v1::ListUserSyncsRequest::default()
        })
    };
    assert_eq!(list("").unwrap().directory, None);
    assert_eq!(
        list("tenants/acme/directories/main")
            .unwrap()
            .directory
            .unwrap()
            .as_str(),
        "main"
    );
    assert_eq!(bad_fields(list("tenants/other/directories/main")), ["directory"]);
    let of_all = |directory: &str, states: &[i32]| {
        ListUserSyncs::try_from(v1::ListUserSyncsRequest {
            parent: "tenants/-".into(),
            directory: directory.into(),
            health_states: states.to_vec(),
            ..v1::ListUserSyncsRequest::default()
        })
    };
    let broken = of_all("", &[v1::HealthState::Error.into()]).unwrap();
    assert_eq!(broken.scope, TenantScope::All);
    assert_eq!(broken.health, [HealthLevel::Error]);
    assert_eq!(
        bad_fields(of_all("tenants/acme/directories/main", &[])),
        ["directory"]
    );
    assert_eq!(
        bad_fields(of_all("", &[0, 99])),
        ["health_states[0]", "health_states[1]"]
    );
}

#[test]
fn a_check_takes_a_stored_user_sync_or_a_draft() {
    use v1::check_user_sync_request::Target;
    let check = |target, sample_size| {
        CheckUserSync::try_from(v1::CheckUserSyncRequest {
            parent: "tenants/acme".into(),
            target,
            sample_size,
        })
    };
    let stored = check(Some(Target::UserSync(STAFF.into())), 0).unwrap();
    assert_eq!(
        stored.target,
        UserSyncTarget::Stored(UserSyncId::parse("staff").unwrap())
    );
    assert_eq!(stored.sample_size, 10);
    let draft = check(Some(Target::Draft(wire())), 5000).unwrap();
    assert_eq!(draft.sample_size, 100);
    assert_eq!(
        draft.target,
        UserSyncTarget::Draft {
            stored: None,
            settings: Box::new(settings())
        }
    );
    let wrong = v1::UserSync {
        role: String::new(),
        ..wire()
    };
    assert_eq!(
        bad_fields(check(Some(Target::Draft(wrong)), -1)),
        ["draft.role", "sample_size"]
    );
}
