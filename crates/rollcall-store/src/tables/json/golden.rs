//! Rows as releases have written them, which must be readable for ever. Never change one: when a form changes, add
//! another. The current form must also be written exactly so, byte for byte, so that an added field fails here. The
//! rows of settings stand beside their forms.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use rollcall_core::audit::{Actor, AskedBy, AuditKind, Decision};
use rollcall_core::check::CheckReport;
use rollcall_core::erasure::Person;
use rollcall_core::guard::HoldReason;
use rollcall_core::issue::IssueKind;
use rollcall_core::run::RunCounts;
use rollcall_core::user::{FieldChange, Profile, User};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::JsonColumn;

/// The form that is written now.
#[track_caller]
pub(super) fn current<T: JsonColumn>(row: &str) {
    assert_eq!(T::from_json(row).unwrap().to_json().unwrap(), row);
}

/// A form that an earlier release wrote.
#[track_caller]
pub(super) fn earlier<T: JsonColumn>(row: &str) {
    let _: T = T::from_json(row).unwrap();
}

/// The form that is written now, of a type that needs no mirror.
#[track_caller]
pub(crate) fn current_plain<T: Serialize + DeserializeOwned>(row: &str) {
    let read: T = serde_json::from_str(row).unwrap();
    assert_eq!(serde_json::to_string(&read).unwrap(), row);
}

/// A form of such a type that an earlier release wrote.
#[track_caller]
pub(crate) fn earlier_plain<T: DeserializeOwned>(row: &str) {
    let _: T = serde_json::from_str(row).unwrap();
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

fn sources(folder: &std::path::Path, found: &mut Vec<(std::path::PathBuf, String)>) {
    for item in std::fs::read_dir(folder).unwrap() {
        let path = item.unwrap().path();
        match path.is_dir() {
            true => sources(&path, found),
            false => found.push((path.clone(), std::fs::read_to_string(&path).unwrap())),
        }
    }
}

/// A form without a row could change, and nobody would see that older rows cannot be read.
#[test]
fn each_stored_form_has_a_row() {
    let mut found = Vec::new();
    sources(concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(), &mut found);
    let (json, others): (Vec<_>, Vec<_>) = found
        .iter()
        // What helps to write the forms is none itself.
        .filter(|(path, _)| !path.ends_with("tables/json.rs"))
        .partition(|(path, _)| path.parent().unwrap().ends_with("tables/json"));
    let text: String = json.iter().map(|(_, text)| text.as_str()).collect();
    let name = |rest: &'static str| move |part: &str| part.split_once(rest).unwrap().0.to_owned();
    let by_macro = text.split("\njson_column!(").skip(1).map(name(", "));
    let by_hand = text.split("\nimpl JsonColumn for ").skip(1).map(name(" {"));
    let forms: Vec<String> = by_macro.chain(by_hand).collect();
    assert!(forms.len() > 13, "{forms:?}");
    for form in forms {
        assert!(text.contains(&format!("current::<{form}>(")), "{form} has no row");
    }
    for (path, text) in others {
        let plain = text.split("#[derive(").skip(1).filter(|rest| {
            let (derived, item) = rest.split_once(")]").unwrap();
            derived.contains("Serialize") && !item.split("struct").next().unwrap().contains("remote")
        });
        for form in plain {
            let (_, form) = form.split_once("struct ").unwrap();
            let form = form.split([' ', '<']).next().unwrap();
            let row = format!("current_plain::<{form}>(");
            assert!(text.contains(&row), "{form} of {} has no row", path.display());
        }
    }
}
