//! UserSyncService. Its checks are in [`check`](super::check).

use std::collections::BTreeMap;

use rollcall_core::erasure::MIN_ERASE_AFTER;
use rollcall_core::guard::{GrowthLimit, RemovalLimit};
use rollcall_core::id::{DirectoryId, TenantId, UserSyncKey, Uuid};
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::revision::Revision;
use rollcall_core::user::UserDisposition;
use rollcall_core::user_sync::{
    ExistingUsers, FieldMappings, LoginChanges, MissingUsers, NewUsers, Report, ReportWhen, RoleCondition,
    RoleRule, Search, SearchScope, UserSync, UserSyncSettings,
};
use rollcall_core::violation::Violations;

use super::text_fields;
use crate::decode::{choice, merge, non_empty, wire_enum};
use crate::etag::etag;
use crate::time::decode_duration;
use crate::{duration, resource_name, timestamp, v1};

mod request;

pub use request::{
    CloneUserSync, CreateUserSync, DeleteUserSync, ListUserSyncs, RunUserSync, UpdateUserSync,
};

wire_enum!(
    SearchScope,
    SearchScope {
        Subtree,
        OneLevel,
        Base
    }
);
wire_enum!(NewUserPolicy, NewUsers { Create, Ignore });
wire_enum!(ExistingUserPolicy, ExistingUsers { Update, Ignore });
wire_enum!(
    MissingUserPolicy,
    MissingUsers {
        Ignore,
        Deactivate,
        Archive
    }
);
wire_enum!(LoginChangePolicy, LoginChanges { Reject, Allow });
wire_enum!(
    ReportWhen,
    ReportWhen {
        Always,
        OnIssues,
        Never
    }
);
wire_enum!(HealthState, HealthLevel { Ok, Warning, Error });
wire_enum!(
    UserDisposition,
    UserDisposition {
        Deactivate,
        Archive,
        MakeLocal
    }
);

impl From<&UserSync> for v1::UserSync {
    fn from(user_sync: &UserSync) -> Self {
        let key = user_sync.key();
        Self {
            name: key.to_string(),
            health: Some((&user_sync.health).into()),
            last_run: user_sync
                .last_run
                .map(|run| resource_name::run(&key, run))
                .unwrap_or_default(),
            next_run_time: user_sync.next_run_time.map(timestamp),
            etag: etag(user_sync.revision),
            create_time: Some(timestamp(user_sync.create_time)),
            update_time: Some(timestamp(user_sync.update_time)),
            ..wire(&user_sync.tenant, &user_sync.settings)
        }
    }
}

/// The configuration of a user sync as it was at a revision.
pub fn configuration(key: &UserSyncKey, settings: &UserSyncSettings, revision: Revision) -> v1::UserSync {
    v1::UserSync {
        name: key.to_string(),
        etag: etag(revision),
        ..wire(&key.tenant, settings)
    }
}

impl From<&Health> for v1::UserSyncHealth {
    fn from(health: &Health) -> Self {
        let problem = |message: &String| v1::HealthProblem {
            message: message.clone(),
        };
        Self {
            state: v1::HealthState::from(health.level).into(),
            problems: health.problems.iter().map(problem).collect(),
        }
    }
}

/// Decodes and checks the settings of a user sync of `tenant`. Paths are those of the message's fields.
pub(super) fn settings(
    found: &mut Violations,
    wire: &v1::UserSync,
    tenant: Option<&TenantId>,
) -> UserSyncSettings {
    let settings = decode(found, wire, tenant);
    merge(found, settings.validate());
    settings
}

fn decode(found: &mut Violations, wire: &v1::UserSync, tenant: Option<&TenantId>) -> UserSyncSettings {
    // Every field is named here and in `wire`, so that neither compiles without one that is added.
    let v1::UserSync {
        display_name,
        directory,
        disabled,
        searches,
        role,
        role_rules,
        field_mappings,
        new_users,
        existing_users,
        missing_users,
        overwrite_local_users,
        login_changes,
        auto_sync,
        schedule,
        time_zone,
        restrictions,
        removal_limit,
        growth_limit,
        report,
        erase_after,
        name: _,
        health: _,
        last_run: _,
        next_run_time: _,
        etag: _,
        create_time: _,
        update_time: _,
    } = wire;
    let default = UserSyncSettings::with_defaults(decode_directory(found, directory, tenant));
    let limit = removal_limit.unwrap_or_default();
    let growth = growth_limit.unwrap_or_default();
    let report = report.clone().unwrap_or_default();
    UserSyncSettings {
        display_name: display_name.clone(),
        directory: default.directory,
        disabled: *disabled,
        searches: decode_searches(found, searches),
        role: role.clone(),
        role_rules: decode_role_rules(found, role_rules),
        field_mappings: decode_mappings(field_mappings.clone().unwrap_or_default()),
        new_users: choice::<v1::NewUserPolicy, _>(found, "new_users", *new_users)
            .unwrap_or(default.new_users),
        existing_users: choice::<v1::ExistingUserPolicy, _>(found, "existing_users", *existing_users)
            .unwrap_or(default.existing_users),
        missing_users: choice::<v1::MissingUserPolicy, _>(found, "missing_users", *missing_users)
            .unwrap_or(default.missing_users),
        overwrite_local_users: *overwrite_local_users,
        login_changes: choice::<v1::LoginChangePolicy, _>(found, "login_changes", *login_changes)
            .unwrap_or(default.login_changes),
        auto_sync: *auto_sync,
        cron: non_empty(schedule).unwrap_or(default.cron),
        time_zone: non_empty(time_zone).unwrap_or(default.time_zone),
        restrictions: restrictions.clone(),
        removal_limit: RemovalLimit {
            max_count: decode_limit(found, "removal_limit.max_count", limit.max_count),
            max_percent: decode_limit(found, "removal_limit.max_percent", limit.max_percent),
        },
        growth_limit: GrowthLimit {
            max_count: decode_limit(found, "growth_limit.max_count", growth.max_count),
            max_percent: decode_limit(found, "growth_limit.max_percent", growth.max_percent),
        },
        report: Report {
            when: choice::<v1::ReportWhen, _>(found, "report.when", report.when)
                .unwrap_or(default.report.when),
            addresses: report.addresses,
        },
        erase_after: erase_after
            .map(|time| decode_duration(found, "erase_after", Some(time), MIN_ERASE_AFTER)),
    }
}

fn decode_limit(found: &mut Violations, field: &str, value: Option<i32>) -> Option<u32> {
    found.take(field, u32::try_from(value?).map_err(|_| "must not be negative"))
}

fn decode_directory(found: &mut Violations, text: &str, tenant: Option<&TenantId>) -> DirectoryId {
    let pattern = resource_name::DIRECTORY;
    match resource_name::decode(found, "directory", text, pattern, resource_name::parse_directory) {
        Some(name) => {
            let same = tenant.is_none_or(|tenant| *tenant == name.tenant);
            found.require(same, "directory", "is not of the same tenant");
            name.directory
        }
        // Never used: the request is refused. It lets the other fields be looked at all the same.
        None => DirectoryId::generate(Uuid::nil()),
    }
}

fn decode_searches(found: &mut Violations, searches: &[v1::UserSearch]) -> Vec<Search> {
    let decode = |(index, search): (usize, &v1::UserSearch)| Search {
        base_dn: search.base_dn.clone(),
        scope: choice::<v1::SearchScope, _>(found, &format!("searches[{index}].scope"), search.scope)
            .unwrap_or(SearchScope::Subtree),
        filter: search.filter.clone(),
    };
    searches.iter().enumerate().map(decode).collect()
}

fn decode_role_rules(found: &mut Violations, rules: &[v1::RoleRule]) -> Vec<RoleRule> {
    use v1::role_rule::Condition;
    let mut decoded = Vec::new();
    for (index, rule) in rules.iter().enumerate() {
        let condition = match &rule.condition {
            Some(Condition::Filter(filter)) => RoleCondition::Filter(filter.clone()),
            Some(Condition::GroupDn(dn)) => RoleCondition::GroupDn(dn.clone()),
            None => {
                found.add(
                    format!("role_rules[{index}]"),
                    "needs a condition: filter or group_dn",
                );
                continue;
            }
        };
        decoded.push(RoleRule {
            condition,
            role: rule.role.clone(),
        });
    }
    decoded
}

fn decode_mappings(mut wire: v1::FieldMappings) -> FieldMappings {
    let texts = text_fields::take_from_mappings(&mut wire);
    let custom = wire
        .custom
        .into_iter()
        .map(|(field, mapping)| (field, mapping.candidates));
    FieldMappings {
        login: wire.login,
        email: wire.email,
        texts,
        custom: custom.collect(),
    }
}

/// The settings on the wire. What the service itself says of a user sync is empty.
fn wire(tenant: &TenantId, settings: &UserSyncSettings) -> v1::UserSync {
    let limit = |value: Option<u32>| value.map(|value| i32::try_from(value).unwrap_or(i32::MAX));
    v1::UserSync {
        display_name: settings.display_name.clone(),
        directory: resource_name::directory(tenant, &settings.directory),
        disabled: settings.disabled,
        searches: settings.searches.iter().map(wire_search).collect(),
        role: settings.role.clone(),
        role_rules: settings.role_rules.iter().map(wire_role_rule).collect(),
        field_mappings: Some(wire_mappings(&settings.field_mappings)),
        new_users: v1::NewUserPolicy::from(settings.new_users).into(),
        existing_users: v1::ExistingUserPolicy::from(settings.existing_users).into(),
        missing_users: v1::MissingUserPolicy::from(settings.missing_users).into(),
        overwrite_local_users: settings.overwrite_local_users,
        login_changes: v1::LoginChangePolicy::from(settings.login_changes).into(),
        auto_sync: settings.auto_sync,
        schedule: settings.cron.clone(),
        time_zone: settings.time_zone.clone(),
        restrictions: settings.restrictions.clone(),
        removal_limit: Some(v1::RemovalLimit {
            max_count: limit(settings.removal_limit.max_count),
            max_percent: limit(settings.removal_limit.max_percent),
        }),
        growth_limit: Some(v1::GrowthLimit {
            max_count: limit(settings.growth_limit.max_count),
            max_percent: limit(settings.growth_limit.max_percent),
        }),
        report: Some(v1::ReportSettings {
            when: v1::ReportWhen::from(settings.report.when).into(),
            addresses: settings.report.addresses.clone(),
        }),
        erase_after: settings.erase_after.map(duration),
        name: String::new(),
        health: None,
        last_run: String::new(),
        next_run_time: None,
        etag: String::new(),
        create_time: None,
        update_time: None,
    }
}

fn wire_search(search: &Search) -> v1::UserSearch {
    v1::UserSearch {
        base_dn: search.base_dn.clone(),
        scope: v1::SearchScope::from(search.scope).into(),
        filter: search.filter.clone(),
    }
}

fn wire_role_rule(rule: &RoleRule) -> v1::RoleRule {
    use v1::role_rule::Condition;
    let condition = match &rule.condition {
        RoleCondition::Filter(filter) => Condition::Filter(filter.clone()),
        RoleCondition::GroupDn(dn) => Condition::GroupDn(dn.clone()),
    };
    v1::RoleRule {
        condition: Some(condition),
        role: rule.role.clone(),
    }
}

fn wire_mappings(mappings: &FieldMappings) -> v1::FieldMappings {
    let custom: BTreeMap<_, _> = mappings
        .custom
        .iter()
        .map(|(field, candidates)| {
            (
                field.clone(),
                v1::FieldCandidates {
                    candidates: candidates.clone(),
                },
            )
        })
        .collect();
    let mut wire = v1::FieldMappings {
        login: mappings.login.clone(),
        email: mappings.email.clone(),
        custom,
        ..v1::FieldMappings::default()
    };
    text_fields::put_into_mappings(&mut wire, &mappings.texts);
    wire
}
