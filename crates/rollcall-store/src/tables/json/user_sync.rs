//! Settings and health of user syncs.

use std::collections::BTreeMap;
use std::time::Duration;

use rollcall_core::field::TextField;
use rollcall_core::guard::{GrowthLimit, RemovalLimit};
use rollcall_core::id::DirectoryId;
use rollcall_core::issue::{Health, HealthLevel};
use rollcall_core::user_sync::{
    ExistingUsers, FieldMappings, LoginChanges, MissingUsers, NewUsers, Report, ReportWhen, RoleCondition,
    RoleRule, Search, SearchScope, UserSyncSettings,
};
use serde::{Deserialize, Serialize};

use crate::tables::json::{json_column, list_of};
use crate::tables::labels;

#[derive(Serialize, Deserialize)]
#[serde(remote = "UserSyncSettings")]
struct SettingsMirror {
    display_name: String,
    #[serde(with = "crate::tables::json::directory_id")]
    directory: DirectoryId,
    disabled: bool,
    #[serde(with = "searches")]
    searches: Vec<Search>,
    role: String,
    #[serde(with = "role_rules")]
    role_rules: Vec<RoleRule>,
    #[serde(with = "FieldMappingsMirror")]
    field_mappings: FieldMappings,
    #[serde(with = "labels")]
    new_users: NewUsers,
    #[serde(with = "labels")]
    existing_users: ExistingUsers,
    #[serde(with = "labels")]
    missing_users: MissingUsers,
    overwrite_local_users: bool,
    #[serde(with = "labels")]
    login_changes: LoginChanges,
    auto_sync: bool,
    cron: String,
    time_zone: String,
    restrictions: Vec<String>,
    #[serde(with = "RemovalLimitMirror")]
    removal_limit: RemovalLimit,
    #[serde(with = "GrowthLimitMirror", default)]
    growth_limit: GrowthLimit,
    #[serde(with = "ReportMirror")]
    report: Report,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    erase_after: Option<Duration>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Search")]
struct SearchMirror {
    base_dn: String,
    #[serde(with = "labels")]
    scope: SearchScope,
    filter: String,
}

list_of!(searches, Search, "SearchMirror");

#[derive(Serialize, Deserialize)]
#[serde(remote = "RoleRule")]
struct RoleRuleMirror {
    #[serde(with = "RoleConditionMirror")]
    condition: RoleCondition,
    role: String,
}

list_of!(role_rules, RoleRule, "RoleRuleMirror");

#[derive(Serialize, Deserialize)]
#[serde(remote = "RoleCondition", rename_all = "snake_case")]
enum RoleConditionMirror {
    Filter(String),
    GroupDn(String),
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "FieldMappings")]
struct FieldMappingsMirror {
    login: Vec<String>,
    email: Vec<String>,
    #[serde(flatten, with = "crate::tables::json::text_fields::all")]
    texts: BTreeMap<TextField, Vec<String>>,
    custom: BTreeMap<String, Vec<String>>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "RemovalLimit")]
struct RemovalLimitMirror {
    max_count: Option<u32>,
    max_percent: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "GrowthLimit")]
struct GrowthLimitMirror {
    max_count: Option<u32>,
    max_percent: Option<u32>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Report")]
struct ReportMirror {
    #[serde(with = "labels")]
    when: ReportWhen,
    addresses: Vec<String>,
}

#[derive(Serialize, Deserialize)]
#[serde(remote = "Health")]
struct HealthMirror {
    #[serde(with = "labels")]
    level: HealthLevel,
    problems: Vec<String>,
}

json_column!(UserSyncSettings, SettingsMirror);
json_column!(Health, HealthMirror);

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tables::json::golden::{current, earlier};

    #[test]
    fn rows_of_each_release_are_read() {
        let user_sync = |limits: &str, end: &str| {
            let begin = r#"{"display_name":"Staff","directory":"main","disabled":false,"searches":[{"base_dn":"ou=people","scope":"SUBTREE","filter":"(uid=*)"}],"role":"member","role_rules":[{"condition":{"group_dn":"cn=admins"},"role":"admin"},{"condition":{"filter":"(title=Boss)"},"role":"boss"}],"field_mappings":{"login":["uid"],"email":["mail"],"display_name":[],"given_name":[],"family_name":[],"phone_number":[],"custom":{"desk":["roomNumber"]}},"new_users":"CREATE","existing_users":"UPDATE","missing_users":"DEACTIVATE","overwrite_local_users":false,"login_changes":"ALLOW","auto_sync":true,"cron":"0 2 * * *","time_zone":"Europe/Berlin","restrictions":["berlin"],"removal_limit":{"max_count":0,"max_percent":null}"#;
            format!(r#"{begin}{limits},"report":{{"when":"NEVER","addresses":[]}}{end}}}"#)
        };
        let growth = r#","growth_limit":{"max_count":7,"max_percent":null}"#;
        current::<UserSyncSettings>(&user_sync(growth, r#","erase_after":{"secs":86400,"nanos":0}"#));
        current::<UserSyncSettings>(&user_sync(growth, ""));
        earlier::<UserSyncSettings>(&user_sync("", ""));
        current::<Health>(r#"{"level":"WARNING","problems":["The last run left 1 issue."]}"#);
    }
}
