#![allow(clippy::unwrap_used)]

use chrono::{DateTime, Utc};

use super::*;
use crate::config::TokenEntry;
use crate::config::{self, certificate_is_optional};

fn now(seconds: i64) -> DateTime<Utc> {
    DateTime::from_timestamp(1_900_000_000 + seconds, 0).unwrap()
}

fn sha256(token: &str) -> String {
    let digest = ring::digest::digest(&ring::digest::SHA256, token.as_bytes());
    digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect()
}

fn entry(name: &str, token: &str, certificate_name: &str) -> CallerEntry {
    CallerEntry {
        name: name.to_owned(),
        token_sha256: if token.is_empty() {
            String::new()
        } else {
            sha256(token)
        },
        certificate_name: certificate_name.to_owned(),
        permissions: vec![Permission::UsersRead],
        tenants: vec!["acme".to_owned()],
        ..CallerEntry::default()
    }
}

fn callers() -> Callers {
    Callers::new(&[
        entry("a", "token-a", ""),
        entry("b", "token-b", "b.example"),
        entry("c", "", "spiffe://c"),
    ])
}

fn check_identity(authorization: Option<&str>, names: &[&str], expected: Option<&str>) {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let found = callers().identify(authorization.map(str::as_bytes), &names, || now(0));
    let name = found
        .as_ref()
        .map(|found| found.name())
        .map_err(|error| error.reason);
    assert_eq!(
        name,
        expected.ok_or(Reason::CallerUnauthenticated),
        "{authorization:?} {names:?}"
    );
}

#[test]
fn callers_are_known_by_token_or_certificate() {
    check_identity(Some("Bearer token-a"), &[], Some("a"));
    check_identity(Some("bearer token-b"), &[], Some("b"));
    check_identity(None, &["x", "b.example"], Some("b"));
    check_identity(None, &["spiffe://c"], Some("c"));
}

/// An old and a new token overlap, until the old one ends.
#[test]
fn tokens_of_one_caller_overlap_and_end() {
    let token = |id: &str, expire_time: Option<i64>| TokenEntry {
        id: id.to_owned(),
        sha256: sha256(id),
        expire_time: expire_time.map_or(String::new(), |seconds| now(seconds).to_rfc3339()),
    };
    let callers = Callers::new(&[CallerEntry {
        tokens: vec![token("old", Some(60)), token("new", None)],
        ..entry("a", "", "")
    }]);
    let used = |token: &str, seconds| {
        let header = format!("Bearer {token}");
        let found = callers.identify(Some(header.as_bytes()), &[], || now(seconds));
        found
            .ok()
            .map(|found| (found.name().to_owned(), found.audited().credential))
    };
    let a = |token: &str| Some(("a".to_owned(), format!("token:{token}")));
    assert_eq!(used("old", 59), a("old"));
    assert_eq!(used("new", 59), a("new"));
    assert_eq!(used("old", 60), None);
    assert_eq!(used("new", 1_000_000), a("new"));
}

#[test]
fn a_caller_is_known_by_what_it_showed() {
    let shown = |authorization: Option<&str>, name: &str| {
        let names = [name.to_owned()];
        let found = callers().identify(authorization.map(str::as_bytes), &names, || now(0));
        found.unwrap().audited()
    };
    let audited = |name: &str, credential: &str| AuditCaller {
        name: name.to_owned(),
        credential: credential.to_owned(),
    };
    assert_eq!(shown(Some("Bearer token-a"), ""), audited("a", "token"));
    assert_eq!(shown(None, "b.example"), audited("b", "certificate:b.example"));
    let anybody = Callers::new(&[]).identify(None, &[], || now(0)).unwrap();
    assert_eq!(anybody.audited(), "local".into());
}

#[test]
fn callers_are_replaced_while_all_clones_know_it_and_quotas_count_on() {
    let limited = |name: &str, token: &str, burst: u32| CallerEntry {
        requests_per_second: 1,
        burst,
        ..entry(name, token, "")
    };
    let callers = Callers::new(&[limited("a", "old", 1), limited("b", "b", 1)]);
    let seen = callers.clone();
    let find = |token: &str| {
        let header = format!("Bearer {token}");
        seen.identify(Some(header.as_bytes()), &[], || now(0))
    };
    find("old").unwrap().spend().unwrap();
    find("b").unwrap().spend().unwrap();
    callers
        .replace(&[limited("a", "new", 1), limited("b", "b", 2)])
        .unwrap();
    assert!(find("old").is_err());
    assert!(
        find("new").unwrap().spend().is_err(),
        "a new token is no new quota"
    );
    assert!(find("b").unwrap().spend().is_ok());

    assert!(callers.replace(&[]).is_err(), "an empty file lets anybody in");
    assert!(find("new").is_ok());
}

#[test]
fn a_certificate_is_demanded_of_everybody_only_if_everybody_has_one() {
    let (token, certificate) = (entry("a", "t", ""), entry("c", "", "c.example"));
    assert!(certificate_is_optional(&[]));
    assert!(certificate_is_optional(&[token, certificate]));
    assert!(!certificate_is_optional(&[entry("c", "", "c.example")]));
}

#[test]
fn anything_else_is_a_stranger() {
    check_identity(None, &[], None);
    check_identity(None, &["a"], None);
    check_identity(None, &[""], None);
    for header in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer token-",
        "Bearer token-aa",
        "Basic token-a",
        "token-a",
    ] {
        check_identity(Some(header), &[], None);
    }
    // A caller that sends a token means it: a good certificate does not save a bad one.
    check_identity(Some("Bearer wrong"), &["b.example"], None);
}

fn extensions(permissions: &[Permission], tenants: &[&str]) -> http::Extensions {
    let entry = CallerEntry {
        name: "a".to_owned(),
        permissions: permissions.to_vec(),
        tenants: tenants.iter().map(|tenant| (*tenant).to_owned()).collect(),
        ..CallerEntry::default()
    };
    let caller = Caller::new(&entry, String::new(), None, Room::new(ROOM));
    let mut extensions = http::Extensions::new();
    extensions.insert(Arc::new(caller));
    extensions
}

#[test]
fn access_needs_caller_permission_and_tenant() {
    let acme = TenantId::parse("acme").unwrap();
    let globex = TenantId::parse("globex").unwrap();
    let reason = |error: Error| error.reason;
    let read = |extensions: &http::Extensions| authorize(extensions, Permission::UsersRead).map_err(reason);
    let nobody = read(&http::Extensions::new()).err();
    assert_eq!(nobody, Some(Reason::CallerUnauthenticated));
    let other = extensions(&[Permission::UsersWrite, Permission::Runs], &["*"]);
    assert_eq!(read(&other).err(), Some(Reason::PermissionMissing));

    let one = read(&extensions(&[Permission::UsersRead], &["acme"])).unwrap();
    assert!(one.may_touch(&acme).is_ok());
    let denied = one.may_touch(&globex).unwrap_err();
    assert_eq!(denied.reason, Reason::TenantAccessDenied);
    assert_eq!(
        one.may_touch_all().unwrap_err().reason,
        Reason::TenantAccessDenied
    );
    assert_eq!(one.tenants(), Some(&["acme".to_owned()][..]));

    let all = read(&extensions(&[Permission::UsersRead], &["*"])).unwrap();
    assert!(all.may_touch(&globex).is_ok() && all.may_touch_all().is_ok());
    assert_eq!(all.tenants(), None);

    // Only whoever may act for all tenants learns that there is none of this name.
    let missing = one.no_such_tenant(&globex);
    assert_eq!(format!("{missing:?}"), format!("{denied:?}"));
    assert_eq!(all.no_such_tenant(&globex).reason, Reason::TenantNotFound);
}

#[test]
fn hashes_are_64_hex_digits() {
    let digits = "00ff".repeat(16);
    assert_eq!(config::parse_sha256(&digits).unwrap()[..2], [0, 255]);
    assert_eq!(
        config::parse_sha256(&digits.to_uppercase()),
        config::parse_sha256(&digits)
    );
    for bad in ["", "0", &"g".repeat(64), &digits[1..], &"é".repeat(32)] {
        assert_eq!(config::parse_sha256(bad), None, "{bad}");
    }
}

#[test]
fn names_of_permissions_are_those_of_the_configuration() {
    let reference = include_str!("../config/default.toml");
    for permission in Permission::ALL {
        let words = || reference.split([' ', ',', '"', '#', '\n', ']', '[']);
        let name = permission.as_str();
        assert!(
            words().any(|word| word == name),
            "default.toml does not name {name}"
        );
        let table: toml::Table = format!("p = \"{}\"", permission.as_str()).parse().unwrap();
        assert_eq!(table["p"].clone().try_into::<Permission>().unwrap(), *permission);
    }
}
