#![allow(clippy::unwrap_used)]

use super::*;
use crate::field::TextField;
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
        fields.texts.insert(
            TextField::DisplayName,
            vec!["displayName".into(), "{givenName} {sn}".into(), "cn".into()],
        );
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
        oversized: None,
    }
}

fn values(offer: &Offer) -> Vec<&str> {
    offer.values.iter().map(String::as_str).collect()
}

fn kinds(offers: &Offers) -> Vec<IssueKind> {
    offers.issues().map(|issue| issue.kind).collect()
}

#[test]
fn the_first_candidate_that_yields_something_wins() {
    let read = |attributes: &[(&str, &[&str])]| standard().read(&entry(attributes));
    let offers = read(&[("uid", &["ada"]), ("givenName", &["Ada"]), ("sn", &["King"])]);
    assert_eq!(values(&offers.texts[&TextField::DisplayName]), ["Ada King"]);
    let offers = read(&[("samaccountname", &["ada"]), ("cn", &["A"]), ("sn", &["K"])]);
    assert_eq!(
        (
            values(&offers.login),
            values(&offers.texts[&TextField::DisplayName])
        ),
        (vec!["ada"], vec!["A"])
    );
    assert_eq!(kinds(&offers), []);
}

#[test]
fn restrictions_and_custom_fields_are_offered() {
    let offers = standard().read(&entry(&[("uid", &["ada"]), ("employeenumber", &["7"])]));
    assert_eq!(offers.restrictions, ["berlin"]);
    assert_eq!(values(&offers.custom["badge"]), ["7"]);
}

#[test]
fn several_values_come_in_one_order_with_that_of_the_rdn_first() {
    let read = |mails: &[&str]| standard().read(&entry(&[("uid", &["ada"]), ("mail", mails)]));
    assert_eq!(read(&["z@x.org", "a@x.org"]), read(&["a@x.org", "z@x.org"]));
    assert_eq!(
        values(&read(&["z@x.org", "a@x.org"]).email),
        ["a@x.org", "z@x.org"]
    );
    let named = |dn: &str| {
        let mut entry = entry(&[("uid", &["bbb.doe", "jdoe", "zed"])]);
        entry.dn = dn.to_owned();
        standard().read(&entry)
    };
    let offers = named("UID=JDoe+cn=x,dc=t");
    assert_eq!(values(&offers.login), ["jdoe", "bbb.doe", "zed"]);
    assert_eq!(offers.naming_login.as_deref(), Some("jdoe"));
    let offers = named("cn=jdoe,dc=t");
    assert_eq!(values(&offers.login), ["bbb.doe", "jdoe", "zed"]);
    assert_eq!(offers.naming_login, None);
}

#[test]
fn a_template_offers_every_combination_up_to_a_limit() {
    let names = mapping(|fields| {
        let names = vec!["{givenName} {sn}".into()];
        fields.texts.insert(TextField::DisplayName, names);
    });
    let many: Vec<String> = (0..20).map(|number| format!("n{number:02}")).collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let offers = names.read(&entry(&[("givenname", &many), ("sn", &many)]));
    assert_eq!(offers.texts[&TextField::DisplayName].values.len(), 64);
    let offers = names.read(&entry(&[("givenname", &["B", "A"]), ("sn", &["D", "C"])]));
    assert_eq!(
        values(&offers.texts[&TextField::DisplayName]),
        ["A C", "A D", "B C", "B D"]
    );
}

#[test]
fn a_login_that_cannot_be_used_is_told_with_what_is_wrong() {
    let read = |login: &str| standard().read(&entry(&[("uid", &[login])]));
    assert_eq!(kinds(&standard().read(&entry(&[("cn", &["x"])]))), []);
    assert_eq!(kinds(&read("ab")), [IssueKind::LoginTooShort]);
    assert_eq!(kinds(&read(&"a".repeat(129))), [IssueKind::LoginTooLong]);
    let offers = read("ada@x.org");
    assert_eq!(offers.login.gap, Gap::Unusable);
    let issue = offers.issues().next().unwrap();
    assert_eq!(issue.kind, IssueKind::LoginIllegalCharacters);
    assert_eq!(
        (issue.attribute.as_deref(), issue.value.as_deref()),
        (Some("uid"), Some("ada@x.org"))
    );
}

#[test]
fn an_issue_of_a_field_names_the_other_values_that_cannot_be_used_either() {
    let of = |mails: &[&str]| {
        let offers = standard().read(&entry(&[("mail", mails)]));
        offers.email.issue.unwrap().message
    };
    assert!(!of(&["nonsense"]).contains("nor"));
    let told = of(&["non\u{202e}sense", "rubbish", "trash"]);
    assert!(told.contains("nor can any other value be used"), "{told}");
    let named = ["sense", "rubbish", "trash"]
        .iter()
        .filter(|value| told.contains(**value))
        .count();
    assert_eq!(named, 2, "the first one is the issue's value: {told}");
    assert!(!told.contains('\u{202e}'), "{told}");
    let many: Vec<String> = (0..50)
        .map(|number| format!("{number}{}", "x".repeat(2_000)))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    assert!(of(&many).len() < 1_000);
}

#[test]
fn values_that_cannot_be_used_hide_no_others() {
    let huge = "x".repeat(257);
    let offers = standard().read(&entry(&[
        ("uid", &["a", "ada"]),
        ("mail", &["-", "ada@x.org"]),
        ("displayname", &[&huge]),
        ("cn", &["Ada"]),
    ]));
    assert_eq!(values(&offers.login), ["ada"]);
    assert_eq!(values(&offers.email), ["ada@x.org"]);
    assert_eq!(values(&offers.texts[&TextField::DisplayName]), ["Ada"]);
    assert_eq!(kinds(&offers), [], "something could be used everywhere");

    let offers = standard().read(&entry(&[("mail", &["nonsense"]), ("displayname", &[&huge])]));
    assert_eq!(
        (offers.email.gap, offers.texts[&TextField::DisplayName].gap),
        (Gap::Unusable, Gap::Unusable)
    );
    assert_eq!(kinds(&offers), [IssueKind::EmailInvalid, IssueKind::ValueTooLong]);
    let shown = offers.texts[&TextField::DisplayName]
        .issue
        .clone()
        .unwrap()
        .value
        .unwrap();
    assert!(shown.chars().count() <= crate::issue::MAX_SHOWN_VALUE);
}

#[test]
fn bytes_that_are_no_text_are_unreadable_and_not_absent() {
    let latin1 = |name: &str, value: &[u8], others: &[(&str, &[&str])]| {
        let mut entry = entry(others);
        entry.attributes.insert(name.to_owned(), vec![value.to_vec()]);
        standard().read(&entry)
    };
    let offers = latin1(
        "displayname",
        b"J\xfcrgen",
        &[("uid", &["ada"]), ("cn", &["Ada"])],
    );
    assert_eq!(
        (
            values(&offers.texts[&TextField::DisplayName]),
            offers.texts[&TextField::DisplayName].gap
        ),
        (vec!["Ada"], Gap::Unreadable)
    );
    assert_eq!(kinds(&offers), [IssueKind::UndecodableEntry]);
    let issue = offers.texts[&TextField::DisplayName].issue.clone().unwrap();
    assert_eq!(issue.attribute.as_deref(), Some("displayName"));
    let offers = latin1("uid", b"j\xfcrgen", &[]);
    assert_eq!(
        (values(&offers.login), offers.login.gap),
        (vec![], Gap::Unreadable)
    );
    let offers = latin1("sn", b"M\xfcller", &[("givenname", &["Ada"])]);
    assert_eq!(
        offers.texts[&TextField::DisplayName].gap,
        Gap::Unreadable,
        "half a name is no name"
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

#[test]
fn what_cannot_be_used_is_passed_over_and_an_issue_only_if_nothing_can() {
    let mapping = mapping(|fields| {
        fields.login = vec!["uid".into()];
        fields.email = vec!["mail".into(), "userPrincipalName".into()];
        fields
            .texts
            .insert(TextField::DisplayName, vec!["displayName".into(), "cn".into()]);
        fields
            .texts
            .insert(TextField::GivenName, vec!["givenName".into()]);
        fields.texts.insert(TextField::FamilyName, vec!["sn".into()]);
        fields
            .texts
            .insert(TextField::PhoneNumber, vec!["telephoneNumber".into()]);
        fields.custom.insert("street".into(), vec!["street".into()]);
    });
    let (long, digits) = ("x".repeat(257), "1".repeat(65));
    let offers = mapping.read(&entry(&[
        ("uid", &["ada"]),
        ("mail", &["-", "a..b@x.example", "ada@localhost"]),
        ("userPrincipalName", &["n/a", "ada@x.example"]),
        ("displayName", &[&long, "Ada\u{202e}gnik"]),
        ("cn", &["\u{feff}Ada King"]),
        ("givenName", &[&long]),
        ("sn", &["K\0ing"]),
        ("telephoneNumber", &[&digits]),
        ("street", &["Main Street 1\r\nFloor 2"]),
    ]));
    assert_eq!(values(&offers.email), ["ada@x.example"]);
    assert_eq!(values(&offers.texts[&TextField::DisplayName]), ["Ada King"]);
    assert_eq!(values(&offers.custom["street"]), ["Main Street 1 Floor 2"]);
    let told: Vec<_> = offers
        .issues()
        .map(|issue| {
            (
                issue.kind,
                issue.field.as_deref().unwrap(),
                issue.attribute.as_deref().unwrap(),
            )
        })
        .collect();
    assert_eq!(
        told,
        [
            (IssueKind::ValueTooLong, "given_name", "givenName"),
            (IssueKind::ValueIllegalCharacters, "family_name", "sn"),
            (IssueKind::ValueTooLong, "phone_number", "telephoneNumber"),
        ]
    );
}
