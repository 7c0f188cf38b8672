//! What every program does, and what each answer has to be.

use anyhow::Result;
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use serde_json::{Value, json};

use crate::attempts::attempts;
use crate::feature::Feature;
use crate::gateways::Gateways;
use crate::language::Language;
use crate::raw::{self, Raw};
use crate::world::{LARGE_USERS, World, dn, login, password};

/// How the answer to what is no gRPC begins.
const NOT_GRPC: &str = "This is a gRPC endpoint";

/// What a program is told.
pub(crate) fn task(world: &World, language: Language, gateways: &Gateways) -> Result<Value> {
    let [a, b] = gateways.addresses();
    let attempts: Vec<Value> = attempts(world, language)
        .iter()
        .map(|attempt| {
            json!({
                "name": attempt.name,
                "token": format!("token of the {}", attempt.token),
                "tenant": attempt.tenant,
                "login": attempt.login,
                "password": attempt.password,
                "request_id": attempt.request_id,
            })
        })
        .collect();
    let person = |tenant: &str, who: &str| {
        let login = login(language, who);
        json!({"tenant": tenant, "password": password(&login), "login": login})
    };
    let raw: Vec<Value> = raw::messages(language)?
        .iter()
        .map(|raw| json!({"name": raw.name, "path": raw.path, "message": BASE64_STANDARD.encode(&raw.message)}))
        .collect();
    Ok(json!({
        "a": a,
        "b": b,
        "ca_file": world.ca.file(),
        "token": "token of the product",
        "reader_token": "token of the reader",
        "attempts": attempts,
        "raw": raw,
        "right": person("tenants/acme", "right"),
        "hurried": person("tenants/acme", "hurried"),
        "held": person("tenants/held", "held"),
        "twice": person("tenants/held", "twice"),
        "careful": person("tenants/held", "careful"),
        "away": {"tenant": "tenants/away", "login": "go-right", "password": password("go-right")},
        "web": person("tenants/acme", "framed"),
        "framed": BASE64_STANDARD.encode(raw::framed_login(language)),
        "own": format!("tenants/{}", language.id()),
        "large": "tenants/large",
        "archive": "tenants/archive",
        // Each program blocks another user there.
        "place": Language::ALL.iter().position(|other| *other == language),
        "expired_cursor": world.expired_cursor,
    }))
}

/// The other cases, and their answers.
fn others(language: Language) -> Vec<(Feature, &'static str, String)> {
    let right = format!("AUTHENTICATED {}", login(language, "right"));
    let web = match language {
        // Their HTTP libraries have no HTTP/2.
        Language::Python => format!("505 {NOT_GRPC}"),
        // Connect keeps the text to itself.
        Language::Node => "[unknown] HTTP 415".to_owned(),
        Language::Go | Language::Java => format!("415 {NOT_GRPC}"),
    };
    let all_large = format!("{LARGE_USERS} users, {LARGE_USERS} events");
    let connect = [
        (Feature::Login, "Connect", right.clone()),
        (
            Feature::Errors,
            "Connect, bad fields",
            "InvalidArgument INVALID_FIELD fields=login,password,tenant".to_owned(),
        ),
        (Feature::Feed, "Connect, events", "15 events in order".to_owned()),
    ];
    let connect = connect.into_iter().filter(|_| language == Language::Node);
    let everywhere = vec![
        (
            Feature::Errors,
            "the worker's service",
            "UNIMPLEMENTED UNIMPLEMENTED method=rollcall.v1.TenantService.GetTenant served_by=sync-worker"
                .to_owned(),
        ),
        (Feature::Deadline, "1 ms", "DEADLINE_EXCEEDED".to_owned()),
        (
            Feature::Retry,
            "killed while binding",
            "ABORTED BIND_OUTCOME_UNKNOWN, 1 bind".to_owned(),
        ),
        (
            Feature::Retry,
            "killed while binding, retrying ours alone",
            "UNAVAILABLE, 1 call, 1 bind".to_owned(),
        ),
        (
            Feature::Retry,
            "directory away, retrying ours alone",
            "UNAVAILABLE DIRECTORY_UNAVAILABLE retry, 3 call".to_owned(),
        ),
        (
            Feature::Control,
            "killed while binding, without a request_id",
            "ABORTED BIND_OUTCOME_UNKNOWN, 2 bind".to_owned(),
        ),
        (Feature::Feed, "events", "15 events in order".to_owned()),
        (
            Feature::ListAnew,
            "expired cursor",
            "FAILED_PRECONDITION CURSOR_EXPIRED parent=tenants/archive, then 4 users and the next event"
                .to_owned(),
        ),
        (Feature::Gzip, "login", right.clone()),
        (Feature::Gzip, "list", format!("{LARGE_USERS} users")),
        (Feature::FourMiB, "pages", all_large),
        (
            Feature::Keepalive,
            "silence",
            format!("UNAVAILABLE, then {right}"),
        ),
        (Feature::Balance, "both", "30 of 30, both served".to_owned()),
        (Feature::Balance, "one killed", "30 of 30".to_owned()),
        (
            Feature::Metadata,
            "20 KB of metadata",
            "RESOURCE_EXHAUSTED METADATA_TOO_LARGE limit=16384".to_owned(),
        ),
        (Feature::NotGrpc, "HTTP/1.1", format!("505 {NOT_GRPC}")),
        (Feature::NotGrpc, "gRPC-Web", web),
        (
            Feature::Unread,
            "streams",
            "30 of 30 for another caller, within its memory".to_owned(),
        ),
    ];
    everywhere.into_iter().chain(connect).collect()
}

/// Where the answers of a feature are not what they should be.
pub(crate) fn faults(
    world: &World,
    language: Language,
    feature: Feature,
    told: &[(String, String)],
) -> Result<Vec<String>> {
    let mut expected: Vec<(String, String)> = attempts(world, language)
        .into_iter()
        .filter(|attempt| attempt.feature == feature)
        .map(|attempt| (format!("login: {}", attempt.name), attempt.expected))
        .collect();
    for (of, name, answer) in others(language) {
        if of == feature {
            expected.push((name.to_owned(), answer));
        }
    }
    let raw = raw::messages(language)?;
    let raw = raw.into_iter().filter(|raw| raw.feature == feature);
    expected.extend(raw.map(|Raw { name, expected, .. }| (format!("raw: {name}"), expected)));
    let mut rest: Vec<&(String, String)> = told.iter().collect();
    let mut faults = Vec::new();
    for (name, answer) in expected {
        match rest.iter().position(|(told, _)| *told == name) {
            None => faults.push(format!("{name}: not told")),
            Some(place) => {
                let (_, told) = rest.remove(place);
                if *told != answer {
                    faults.push(format!("{name}: {told}, and not {answer}"));
                }
            }
        }
    }
    for (of, who) in [(Feature::Deadline, "hurried"), (Feature::NotGrpc, "framed")] {
        if of == feature && world.slapd.bind_count(&dn(&login(language, who)))? > 0 {
            faults.push(format!("{who} was bound"));
        }
    }
    Ok(faults)
}
