//! Rows as releases have written them, which must be read for ever. Never change one: add another when a form changes. The
//! current form is also written so, byte for byte, so that a field that is added shows here.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use rollcall_core::audit::{Actor, AskedBy, AuditKind, Decision};
use rollcall_core::check::CheckReport;
use rollcall_core::directory::{DirectoryObservations, DirectorySettings};
use rollcall_core::erasure::Person;
use rollcall_core::guard::HoldReason;
use rollcall_core::issue::{Health, IssueKind};
use rollcall_core::run::RunCounts;
use rollcall_core::user::{FieldChange, Profile, User};
use rollcall_core::user_sync::UserSyncSettings;

use super::JsonColumn;

#[track_caller]
fn current<T: JsonColumn>(row: &str) {
    assert_eq!(T::from_json(row).unwrap().to_json().unwrap(), row);
}

#[track_caller]
fn earlier<T: JsonColumn>(row: &str) {
    let _: T = T::from_json(row).unwrap();
}

#[test]
fn users() {
    current::<Profile>(
        r#"{"login":"ada","email":"ada@example.org","display_name":"Ada L","given_name":"Ada","family_name":"L","phone_number":"+1","role":"user","restrictions":["a, b"],"custom":{"desk":"7"}}"#,
    );
    current::<Profile>(r#"{"login":"ada","role":"user"}"#);
    current::<User>(
        r#"{"tenant":"acme","id":"00000000-0000-0000-0000-000000000001","origin":{"user_sync":"staff","directory":"main","external_id":"entryUUID=00000000-0000-0000-0000-000000000002","dn":"uid=ada","linked":true},"profile":{"login":"ada","role":"user"},"state":"DEACTIVATED","state_reason":"GONE","owner":false,"block":{"time":1700000000000000,"reason":"keys lost"},"login_ambiguous":true,"login_asked_by":{"user_sync":"other","external_id":"entryUUID=00000000-0000-0000-0000-000000000003"},"revision":3,"create_time":1,"update_time":2}"#,
    );
    earlier::<User>(
        r#"{"tenant":"acme","id":"00000000-0000-0000-0000-000000000001","origin":null,"profile":{"login":"ada","role":"user"},"state":"ACTIVE","state_reason":null,"owner":true,"block":null,"revision":1,"create_time":1,"update_time":2}"#,
    );
    current::<Vec<FieldChange>>(r#"[{"field":"email","old":null,"new":"ada@example.org"}]"#);
}

#[test]
fn settings() {
    let directory = |end: &str| {
        r#"{"display_name":"Main","disabled":false,"hosts":"ldaps://dc1.example.com ldap://dc2.example.com:3268","port":636,"transport_security":"LDAPS","allow_plaintext":false,"ca_certificates":"","tls_server_name":null,"client_certificate":null,"bind_dn":"cn=reader","connect_timeout":{"secs":5,"nanos":0},"operation_timeout":{"secs":30,"nanos":0},"page_size":500,"external_id_attribute":null"#
            .to_owned()
            + end
    };
    let soft_lock =
        r#","soft_lock":{"limit":4,"window":{"secs":1800,"nanos":0},"duration":null,"mode":"LOG"}"#;
    current::<DirectorySettings>(&directory(&format!(
        r#"{soft_lock},"bind_password_max_age":{{"secs":86400,"nanos":0}},"contact_addresses":["it@acme.example"]}}"#
    )));
    earlier::<DirectorySettings>(&directory(&format!("{soft_lock}}}")));
    earlier::<DirectorySettings>(&directory("}"));
    current::<DirectoryObservations>(
        r#"{"dialect":"OPEN_LDAP","vendor":"OpenLDAP","capabilities":["paged results"],"lockout_threshold":5,"lockout_window":null,"hidden_state":"staff:pwdEndTime","bind_password_expire_time":1800000000000000,"certificate_end":1800000000000001,"unreachable_since":1700000000000000,"observe_time":1700000000000000}"#,
    );
    earlier::<DirectoryObservations>(
        r#"{"dialect":"OPEN_LDAP","vendor":"OpenLDAP","capabilities":["paged results"],"lockout_threshold":5,"lockout_window":null,"hidden_state":"staff:pwdEndTime","observe_time":1700000000000000}"#,
    );
    earlier::<DirectoryObservations>(
        r#"{"dialect":null,"vendor":null,"capabilities":[],"lockout_threshold":null,"lockout_window":null,"observe_time":null}"#,
    );
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

#[test]
fn runs() {
    let counts = |relinked: &str| {
        format!(
            r#"{{"entries":1,"created":2,"linked":3,"updated":4,"reactivated":5,"deactivated":6,"archived":7,"transferred":8,{relinked}"unchanged":9,"ignored":10,"issues":11,"referrals":12,"applied":13}}"#
        )
    };
    current::<RunCounts>(&counts(r#""relinked":14,"#));
    earlier::<RunCounts>(&counts(""));
    current::<BTreeMap<IssueKind, u64>>(r#"{"LOGIN_TAKEN":2,"OVERLAP":1}"#);
    current::<Vec<HoldReason>>(r#"[{"rule":"LOST_FIELD","field":"email","message":"all would lose it"}]"#);
    earlier::<Vec<HoldReason>>(r#"["all would lose it"]"#);
    current::<CheckReport>(
        r#"{"stages":[{"kind":"DNS","subject":"dc1","result":"PASS","duration":{"secs":0,"nanos":5},"message":"","hint":""}]}"#,
    );
}

#[test]
fn people_and_their_deeds() {
    current::<Actor>(r#"{"name":"eve","address":"192.0.2.1","reason":"ticket 7"}"#);
    current::<Actor>(r#"{"name":"eve"}"#);
    current::<AskedBy>(r#"{"caller":"web","actor":{"name":"eve"}}"#);
    earlier::<AskedBy>(r#"{"caller":"web"}"#);
    current::<Decision>(r#"{"by":{"caller":"web"},"time":1700000000000000}"#);
    earlier::<AuditKind>(
        r#"{"type":"login","outcome":"DENIED","reason":"ENTRY_GONE","user":"00000000-0000-0000-0000-000000000001","user_sync":"staff","directory":"main","unknown_login":null,"client_address":"192.0.2.1"}"#,
    );
    earlier::<AuditKind>(
        r#"{"type":"change","method":"TenantService.CreateTenant","resource":"tenants/acme","details":{"display_name":"Acme"}}"#,
    );
    current::<AuditKind>(
        r#"{"type":"change","method":"UserService.UpdateUser","resource":"tenants/acme/users/1","changes":[{"path":"email","before":"a@x.org"},{"path":"bind_password","secret":"replaced"}]}"#,
    );
    current::<Person>(
        r#"{"user":"00000000-0000-0000-0000-000000000001","entries":[["main","entryUUID=00000000-0000-0000-0000-000000000002"]],"dns":["uid=ada"],"identifiers":["ada"],"names":["Ada L"]}"#,
    );
}
