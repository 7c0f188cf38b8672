#![allow(clippy::unwrap_used)]

use super::*;
use crate::user_sync::FieldMappings;
use crate::user_sync::tests::settings;

fn mapping(change: impl FnOnce(&mut FieldMappings)) -> Mapping {
    let mut settings = settings();
    settings.restrictions = vec!["berlin".into()];
    change(&mut settings.field_mappings);
    Mapping::new(&settings, LoginPolicy::default())
}

fn standard() -> Mapping {
    mapping(|fields| {
        fields.login = vec!["uid".into(), "sAMAccountName".into()];
        fields.email = vec!["mail".into()];
        fields.display_name = vec!["displayName".into(), "{givenName} {sn}".into(), "cn".into()];
        fields
            .custom
            .insert("badge".into(), vec!["employeeNumber".into()]);
    })
}

fn entry(attributes: &[(&str, &[&str])]) -> Entry {
    Entry {
        dn: "cn=x".into(),
        attributes: attributes
            .iter()
            .map(|(name, values)| {
                (
                    name.to_lowercase(),
                    values.iter().map(|v| v.as_bytes().to_vec()).collect(),
                )
            })
            .collect(),
        tainted: false,
    }
}

fn kind(result: Result<Mapped, Box<Issue>>) -> IssueKind {
    result.unwrap_err().kind
}

#[test]
fn the_first_candidate_that_yields_something_wins() {
    let mapped = standard()
        .map(
            &entry(&[("uid", &["ada"]), ("givenName", &["Ada"]), ("sn", &["King"])]),
            "user",
        )
        .unwrap();
    assert_eq!(mapped.profile.display_name.as_deref(), Some("Ada King"));
    let mapped = standard()
        .map(
            &entry(&[("samaccountname", &["ada"]), ("cn", &["A"]), ("sn", &["K"])]),
            "user",
        )
        .unwrap();
    assert_eq!(
        (
            mapped.profile.login.as_str(),
            mapped.profile.display_name.as_deref()
        ),
        ("ada", Some("A"))
    );
    assert_eq!(mapped.issues, []);
}

#[test]
fn role_restrictions_and_custom_fields_are_stamped() {
    let mapped = standard()
        .map(&entry(&[("uid", &["ada"]), ("employeenumber", &["7"])]), "admin")
        .unwrap();
    assert_eq!(mapped.profile.role, "admin");
    assert_eq!(mapped.profile.restrictions, ["berlin"]);
    assert_eq!(mapped.profile.custom["badge"], "7");
}

#[test]
fn several_values_map_the_same_in_any_order() {
    let one = standard()
        .map(
            &entry(&[("uid", &["ada"]), ("mail", &["z@x.org", "a@x.org"])]),
            "user",
        )
        .unwrap();
    let other = standard()
        .map(
            &entry(&[("uid", &["ada"]), ("mail", &["a@x.org", "z@x.org"])]),
            "user",
        )
        .unwrap();
    assert_eq!(one, other);
    assert_eq!(one.profile.email.as_deref(), Some("a@x.org"));
}

#[test]
fn entries_without_a_usable_login_are_issues() {
    let map = |login: &str| standard().map(&entry(&[("uid", &[login])]), "user");
    assert_eq!(
        kind(standard().map(&entry(&[("cn", &["x"])]), "user")),
        IssueKind::MissingRequiredField
    );
    assert_eq!(kind(map("ab")), IssueKind::LoginTooShort);
    assert_eq!(kind(map(&"a".repeat(129))), IssueKind::LoginTooLong);
    assert_eq!(kind(map("ada@x.org")), IssueKind::LoginIllegalCharacters);
    let issue = map("ada@x.org").unwrap_err();
    assert_eq!(
        (issue.attribute.as_deref(), issue.value.as_deref()),
        (Some("uid"), Some("ada@x.org"))
    );
}

#[test]
fn a_bad_email_or_a_huge_value_costs_the_field_only() {
    let huge = "x".repeat(1025);
    let mapped = standard()
        .map(
            &entry(&[
                ("uid", &["ada"]),
                ("mail", &["nonsense"]),
                ("displayname", &[&huge]),
            ]),
            "user",
        )
        .unwrap();
    assert_eq!((mapped.profile.email, mapped.profile.display_name), (None, None));
    let kinds: Vec<_> = mapped.issues.iter().map(|issue| issue.kind).collect();
    assert_eq!(kinds, [IssueKind::EmailInvalid, IssueKind::ValueTooLong]);
    assert!(mapped.issues[1].value.as_ref().unwrap().chars().count() <= crate::issue::MAX_SHOWN_VALUE);
}

#[test]
fn tainted_entries_are_not_taken() {
    let tainted = Entry {
        tainted: true,
        ..entry(&[("uid", &["ada"])])
    };
    assert_eq!(
        kind(standard().map(&tainted, "user")),
        IssueKind::UndecodableEntry
    );
}

#[test]
fn every_attribute_is_asked_for_once() {
    let expected = [
        "cn",
        "displayname",
        "employeenumber",
        "givenname",
        "mail",
        "samaccountname",
        "sn",
        "uid",
    ];
    assert_eq!(standard().attributes(), expected);
}
