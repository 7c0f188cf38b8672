#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

fn schema(types: &[&str], classes: &[&str]) -> Schema {
    let values = |texts: &[&str]| {
        texts
            .iter()
            .map(|text| text.as_bytes().to_vec())
            .collect::<Vec<_>>()
    };
    Schema::from_entry(&Entry {
        attributes: BTreeMap::from([
            ("attributetypes".to_owned(), values(types)),
            ("objectclasses".to_owned(), values(classes)),
        ]),
        ..Entry::default()
    })
}

/// As OpenLDAP, Active Directory and 389 Directory Server write them.
fn known() -> Schema {
    schema(
        &[
            "( 2.5.4.41 NAME 'name' DESC 'RFC4519: common supertype' EQUALITY caseIgnoreMatch SUBSTR \
             caseIgnoreSubstringsMatch SYNTAX 1.3.6.1.4.1.1466.115.121.1.15{32768} )",
            "( 2.5.4.3 NAME ( 'cn' 'commonName' ) DESC 'NAME ( ''x'' ) SUP y' SUP name )",
            "(2.5.4.4 NAME('sn' 'surname')SUP name)",
            "( 0.9.2342.19200300.100.1.60 NAME 'jpegPhoto' SYNTAX 1.3.6.1.4.1.1466.115.121.1.28 )",
            "( 1.2.840.113556.1.4.146 NAME 'objectSid' SYNTAX '1.3.6.1.4.1.1466.115.121.1.40' SINGLE-VALUE \
             NO-USER-MODIFICATION )",
            "( 1.3.6.1.1.16.4 NAME 'entryUUID' SYNTAX 1.3.6.1.1.16.1 SINGLE-VALUE NO-USER-MODIFICATION USAGE \
             directoryOperation )",
            "( employeeBadge-oid NAME 'employeeBadge' DESC 'x' X-ORIGIN ( 'a' 'NAME' ) SINGLE-VALUE )",
            "( 1.2.3 DESC 'no name' )",
        ],
        &[
            "( 2.5.6.6 NAME 'person' SUP top STRUCTURAL MUST ( sn $ cn ) )",
            "( 2.5.6.1 NAME 'alias' SUP top STRUCTURAL MUST aliasedObjectName )",
        ],
    )
}

#[test]
fn every_name_of_a_type_and_its_oid_denote_it() {
    let known = known();
    for name in ["cn", "CN", "commonName", "COMMONNAME", "2.5.4.3"] {
        assert_eq!(known.canonical(name), "cn", "{name}");
    }
    assert_eq!(known.canonical("surname"), known.canonical("2.5.4.4"));
    assert_ne!(known.canonical("surname"), known.canonical("cn"));
    assert_eq!(known.canonical("1.2.3"), "1.2.3");
    assert_eq!(known.canonical("unheardOf"), "unheardof");
    assert_eq!(known.name_of("employeebadge;x"), Some("employeeBadge"));
    assert_eq!(known.name_of("employeeBadge-OID"), Some("employeeBadge"));
}

#[test]
fn options_denote_the_same_in_any_order_and_case() {
    for schema in [known(), Schema::default()] {
        assert_eq!(
            schema.canonical("CN;phonetic;LANG-ja"),
            schema.canonical("cn;lang-ja;phonetic")
        );
        assert_ne!(schema.canonical("cn;lang-ja"), schema.canonical("cn"));
    }
    assert_eq!(known().canonical("commonName;lang-ja"), "cn;lang-ja");
    assert_ne!(Schema::default().canonical("commonName"), "cn");
}

#[test]
fn what_a_type_is_comes_from_its_definition_or_from_what_it_inherits() {
    let known = known();
    assert!(known.has_subtypes("name"));
    assert!(!known.has_subtypes("cn") && !known.has_subtypes("unheardOf"));
    assert_eq!(known.is_binary("surname"), Some(false));
    assert_eq!(known.is_binary("jpegPhoto"), Some(true));
    assert_eq!(known.is_binary("objectSID"), Some(true));
    assert_eq!(known.is_binary("employeeBadge"), None);
    assert_eq!(known.is_binary("unheardOf"), None);
    assert_eq!(known.is_kept_by_server("entryUUID"), Some(true));
    assert_eq!(known.is_kept_by_server("cn"), Some(false));
    assert_eq!(known.is_kept_by_server("unheardOf"), None);
    assert!(known.defines("jpegphoto") && !known.defines("y") && !known.defines("x"));
}

#[test]
fn classes_are_known_or_nothing_is_said_of_them() {
    let known = known();
    assert!(known.may_define_class("PERSON") && known.may_define_class("2.5.6.1"));
    assert!(!known.may_define_class("persn"));
    assert!(Schema::default().may_define_class("persn"));
    assert!(Schema::default().is_empty() && !known.is_empty());
}

#[test]
fn a_name_that_two_types_claim_is_one_of_theirs_whatever_the_order() {
    let (first, second) = ("( 1.1 NAME ( 'a' 'b' ) )", "( 1.2 NAME ( 'b' 'c' ) )");
    let orders = [schema(&[first, second], &[]), schema(&[second, first], &[])];
    for schema in orders {
        assert_eq!(schema.canonical("b"), "a");
        assert_eq!(schema.canonical("1.2"), "c");
    }
}

#[test]
fn types_that_inherit_in_a_circle_end() {
    let circle = schema(
        &[
            "( 1.1 NAME 'a' SUP b )",
            "( 1.2 NAME 'b' SUP a )",
            "( 1.3 NAME 'c' SUP c )",
        ],
        &[],
    );
    assert_eq!(circle.is_binary("a"), None);
    assert!(!circle.has_subtypes("c"));
}

#[test]
fn what_is_too_much_is_left_out() {
    let long = format!("( 1.1 NAME '{}' )", "x".repeat(70_000));
    assert!(schema(&[&long], &[]).is_empty());
    let many: Vec<String> = (0..MAX_DEFINITIONS + 10)
        .map(|n| format!("( 1.{n} NAME '{}{n}' )", "y".repeat(200)))
        .collect();
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let bounded = schema(&many, &[]);
    assert_eq!(bounded.types.len(), MAX_DEFINITIONS);
    assert!(bounded.names.iter().map(|(name, _)| name.len()).sum::<usize>() <= MAX_NAME_BYTES);
}

proptest! {
    #[test]
    fn any_definition_gets_an_answer(text in any::<String>(), soup in "[()' a-zNAMESUPXT0-9.\\\\{}$]{0,60}") {
        for text in [text.as_str(), soup.as_str(), &format!("( 1.1 {soup}"), &format!("( {text} NAME '{soup}")] {
            let one = schema(&[text], &[text]);
            for name in one.names.iter().map(|(name, _)| name.to_string()).collect::<Vec<_>>() {
                prop_assert!(one.defines(&name));
                one.is_binary(&name);
                prop_assert_eq!(one.canonical(&one.canonical(&name)), one.canonical(&name));
            }
        }
    }
}

#[test]
fn names_that_ask_for_a_secret_are_known_whatever_they_say() {
    let named = schema(
        &[
            "( 1.9.1 NAME 'corpText' )",
            "( 1.9.2 NAME ( 'corpPin' 'clearPassword' ) SUP corpText )",
            "( 1.9.3 NAME 'corpOldPin' SUP corpPin )",
            "( 1.9.4 NAME 'corpOlderPin' SUP corpOldPin )",
            "( 1.9.5 NAME 'corpName' SUP corpText )",
            "( 2.5.4.35 NAME 'userPassword' )",
        ],
        &[],
    );
    let others: Vec<String> = named.other_names_of_secrets().into_iter().collect();
    let expected = [
        "1.9.1",
        "1.9.2",
        "1.9.3",
        "1.9.4",
        "corpolderpin",
        "corpoldpin",
        "corppin",
        "corptext",
    ];
    assert_eq!(others, expected);
    assert_eq!(known().other_names_of_secrets(), BTreeSet::new());
    // Types that come from each other in a circle end.
    let circle = schema(
        &[
            "( 1.9.1 NAME 'a' SUP b )",
            "( 1.9.2 NAME ( 'b' 'nspmPassword' ) SUP a )",
        ],
        &[],
    );
    assert_eq!(circle.other_names_of_secrets().len(), 4);
}
