#![allow(clippy::unwrap_used, clippy::panic)]

use super::*;
use crate::field::TextField;
use crate::identifier::LoginPolicy;
use crate::mapping::Mapping;
use crate::user_sync::tests::settings;
use crate::user_sync::{FieldMappings, SearchScope};

const UUID: &str = "6a1f7c1e-29d5-4a7c-b17b-6a0d3a0e8f1";

fn survey(dialect: Dialect, id: Option<&str>, fields: &[(&str, &[&str])]) -> Survey {
    let mut sync = settings();
    let list = |candidates: &[&str]| {
        candidates
            .iter()
            .map(|text| (*text).to_owned())
            .collect::<Vec<_>>()
    };
    sync.field_mappings = FieldMappings {
        login: vec!["uid".into()],
        ..FieldMappings::default()
    };
    for (field, candidates) in fields {
        match *field {
            "login" => sync.field_mappings.login = list(candidates),
            "email" => sync.field_mappings.email = list(candidates),
            "display_name" => {
                sync.field_mappings
                    .texts
                    .insert(TextField::DisplayName, list(candidates));
            }
            custom => _ = sync.field_mappings.custom.insert(custom.into(), list(candidates)),
        }
    }
    let mapping = Mapping::new(&sync, LoginPolicy::default());
    Survey::new(EntryReader::new(dialect, id, mapping))
}

fn entry(dn: &str, attributes: &[(&str, &[u8])]) -> Entry {
    let mut entry = Entry {
        dn: dn.to_owned(),
        ..Entry::default()
    };
    for (name, value) in attributes {
        entry
            .attributes
            .entry(name.to_lowercase())
            .or_default()
            .push(value.to_vec());
    }
    entry
}

/// A person with a login and a UUID of their own.
fn person(number: u32, attributes: &[(&str, &[u8])]) -> Entry {
    let (login, uuid) = (format!("user{number}"), format!("{UUID}{number:x}"));
    let mut person = entry(&format!("uid={login}"), attributes);
    let own = [("uid", login), ("entryuuid", uuid)];
    for (name, value) in own {
        person
            .attributes
            .entry(name.into())
            .or_insert(vec![value.into_bytes()]);
    }
    person
}

fn schema(types: &[&str]) -> Schema {
    let types: Vec<(&str, &[u8])> = types
        .iter()
        .map(|text| ("attributetypes", text.as_bytes()))
        .collect();
    Schema::from_entry(&entry("", &types))
}

fn searches() -> [Search; 1] {
    [Search {
        base_dn: "ou=People".into(),
        scope: SearchScope::Subtree,
        filter: "(uid=*)".into(),
    }]
}

fn stages_with(survey: &Survey, schema: &Schema, answered: &[(&str, &str)]) -> Vec<Stage> {
    let answered = answered
        .iter()
        .map(|(asked, name)| ((*asked).to_owned(), (*name).to_owned()));
    let kind = survey.id_kind(&IdKindsInUse::default());
    survey.stages(&searches(), kind.as_ref(), schema, &answered.collect())
}

fn stages(survey: &Survey) -> Vec<Stage> {
    stages_with(survey, &Schema::default(), &[])
}

/// The stage with this subject or word in its message.
fn one<'s>(stages: &'s [Stage], word: &str) -> &'s Stage {
    let fits = |stage: &&Stage| stage.subject == word || stage.message.contains(word);
    stages
        .iter()
        .find(fits)
        .unwrap_or_else(|| panic!("nothing about {word}: {stages:#?}"))
}

#[test]
fn a_candidate_list_in_which_a_later_one_fills_the_gaps_passes_as_it_is_written() {
    let mut survey = survey(
        Dialect::OpenLdap,
        None,
        &[
            ("display_name", &["displayName", "{givenName} {SN}"]),
            ("email", &["mail"]),
        ],
    );
    survey.see(0, &person(1, &[("displayname", b"One")]));
    survey.see(
        0,
        &person(
            2,
            &[
                ("givenname", b"Two"),
                ("sn", b"Too"),
                ("mail", b"two@example.org"),
            ],
        ),
    );
    let stages = stages(&survey);
    let name = one(&stages, "displayName, {givenName} {SN}");
    assert_eq!(
        (name.result, name.message.as_str()),
        (
            StageResult::Pass,
            "display_name: 100 % of 2 entries have a value."
        )
    );
    let mail = one(&stages, "mail");
    assert_eq!(
        (mail.result, mail.message.as_str()),
        (StageResult::Pass, "email: 50 % of 2 entries have a value.")
    );
    assert_eq!(
        one(&stages, "All entries have a stable id").result,
        StageResult::Pass
    );
    assert!(
        stages.iter().all(|stage| stage.result == StageResult::Pass),
        "{stages:#?}"
    );
}

#[test]
fn a_login_that_nobody_has_fails_and_one_that_some_lack_warns() {
    let of = |entries: &[Entry]| {
        let mut survey = survey(Dialect::OpenLdap, None, &[("login", &["employeeNumber"])]);
        entries.iter().for_each(|entry| survey.see(0, entry));
        one(&stages(&survey), "employeeNumber").clone()
    };
    let (without, with) = (person(1, &[]), person(2, &[("employeenumber", b"e007")]));
    let nobody = of(std::slice::from_ref(&without));
    assert_eq!(nobody.result, StageResult::Fail, "{nobody:?}");
    assert!(nobody.hint.contains("Nobody would become a user"));
    assert_eq!(of(&[without, with]).result, StageResult::Warn);
}

#[test]
fn one_in_many_is_less_than_one_per_cent() {
    let mut survey = survey(Dialect::OpenLdap, None, &[("x", &["title"])]);
    survey.see(0, &person(0, &[("title", b"Dr")]));
    for number in 1..150 {
        survey.see(0, &entry(&format!("cn={number}"), &[("uid", b"many")]));
    }
    let stages = stages(&survey);
    assert!(
        one(&stages, "title")
            .message
            .starts_with("custom.x: Less than 1 % of 150 entries")
    );
}

#[test]
fn an_entry_that_two_searches_find_is_one() {
    let mut survey = survey(Dialect::OpenLdap, None, &[]);
    survey.see(0, &person(1, &[]));
    survey.see(1, &person(1, &[]));
    let stages = stages(&survey);
    assert!(one(&stages, "uid").message.contains("100 % of 1 entry has"));
    assert!(
        stages.iter().all(|stage| stage.result == StageResult::Pass),
        "{stages:#?}"
    );
}

#[test]
fn aliases_alone_fail_and_some_warn() {
    let alias = entry("cn=a", &[("objectclass", b"alias"), ("uid", b"ada")]);
    let mut survey = survey(Dialect::OpenLdap, None, &[]);
    survey.see(0, &alias);
    let found = stages(&survey);
    let failed = one(&found, "ou=People (uid=*)");
    assert_eq!(
        (failed.kind, failed.result),
        (StageKind::SearchFilter, StageResult::Fail)
    );
    assert!(failed.message.contains("alias") && failed.hint.contains("objectClass=alias"));
    survey.see(0, &person(1, &[]));
    let found = stages(&survey);
    let warned = one(&found, "ou=People (uid=*)");
    assert!(
        warned.result == StageResult::Warn && warned.message.starts_with("1 of 2 entries"),
        "{warned:?}"
    );
}

#[test]
fn attributes_of_bytes_and_supertypes_are_refused_by_the_schema() {
    let schema = schema(&[
        "( 2.5.4.41 NAME 'name' )",
        "( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )",
        "( 0.9.2342.19200300.100.1.1 NAME 'uid' )",
        "( 1.1 NAME 'badgeScan' SYNTAX 1.3.6.1.4.1.1466.115.121.1.5 )",
        "( 1.2 NAME 'objectSid' SYNTAX '1.3.6.1.4.1.1466.115.121.1.40' )",
        "( 1.3.6.1.1.16.4 NAME 'entryUUID' NO-USER-MODIFICATION USAGE directoryOperation )",
    ]);
    let fields: &[(&str, &[&str])] = &[
        ("a", &["{Name} x"]),
        ("b", &["cn", "badgeScan"]),
        ("c", &["objectSid"]),
        ("d", &["typo", "commonName"]),
    ];
    let mut survey = survey(Dialect::OpenLdap, None, fields);
    let sid = b"\x01\x01\0\0\0\0\0\x05\x01\0\0\0";
    let seen: &[(&str, &[u8])] = &[
        ("objectsid", sid),
        ("badgescan", b"x"),
        ("cn", b"A"),
        ("commonname", b"A"),
    ];
    survey.see(0, &person(1, seen));
    let found = stages_with(&survey, &schema, &[]);
    let name = one(&found, "{Name} x");
    assert_eq!(name.result, StageResult::Fail);
    assert!(
        name.message
            .starts_with("custom.a: Name is what several attributes have in common"),
        "{name:?}"
    );
    let badge = one(&found, "cn, badgeScan");
    assert!(
        badge.result == StageResult::Fail && badge.message.contains("badgeScan holds bytes"),
        "{badge:?}"
    );
    assert_eq!(one(&found, "objectSid").result, StageResult::Pass);
    let typo = one(&found, "typo, commonName");
    assert!(
        typo.result == StageResult::Pass && typo.message.contains("does not know typo"),
        "{typo:?}"
    );
    // Where people have the supertype itself, it can be mapped.
    survey.see(0, &person(2, &[("name", b"A")]));
    assert_eq!(
        one(&stages_with(&survey, &schema, &[]), "{Name} x").result,
        StageResult::Pass
    );
}

#[test]
fn without_a_schema_the_name_that_the_server_answers_by_is_told() {
    let mut survey = survey(Dialect::OpenLdap, None, &[("display_name", &["{Surname}"])]);
    assert_eq!(survey.unanswered(), None);
    survey.see(0, &person(1, &[("sn", b"One")]));
    assert_eq!(
        survey.unanswered(),
        Some((vec!["surname".to_owned()], "uid=user1"))
    );
    let found = stages_with(&survey, &Schema::default(), &[("surname", "sn")]);
    let failed = one(&found, "{Surname}");
    assert_eq!(failed.result, StageResult::Fail);
    assert!(
        failed
            .message
            .contains("The server answers sn when it is asked for Surname"),
        "{failed:?}"
    );
}

#[test]
fn ids_that_are_missing_shared_of_another_form_or_anybody_s_to_write_are_named() {
    let result = |survey: &Survey, schema: &Schema, word: &str| {
        let found = stages_with(survey, schema, &[]);
        let found: Vec<Stage> = found
            .into_iter()
            .filter(|stage| stage.kind == StageKind::ExternalId)
            .collect();
        one(&found, word).result
    };
    let none = Schema::default();
    let mut ipa = survey(Dialect::Dirsrv389, None, &[]);
    let ns: (&str, &[u8]) = ("nsuniqueid", b"6a1f7c1e-29d54a7c-b17b6a0d-3a0e8f11");
    ipa.see(
        0,
        &entry(
            "uid=a",
            &[
                ("uid", b"aaa"),
                ns,
                ("ipauniqueid", format!("{UUID}1").as_bytes()),
            ],
        ),
    );
    ipa.see(
        0,
        &entry(
            "uid=b",
            &[("uid", b"bbb"), ("ipauniqueid", format!("{UUID}2").as_bytes())],
        ),
    );
    assert_eq!(ipa.id_kind(&IdKindsInUse::default()), Some(IdKind::IpaUniqueId));
    assert_eq!(result(&ipa, &none, "All entries"), StageResult::Pass);
    ipa.see(0, &entry("uid=c", &[("uid", b"ccc"), ns]));
    assert_eq!(
        result(&ipa, &none, "2 of 3 entries have a stable id in ipaUniqueID"),
        StageResult::Warn
    );

    let mut own = survey(Dialect::OpenLdap, Some("employeeNumber"), &[]);
    own.see(0, &person(1, &[("employeenumber", b"7")]));
    own.see(0, &person(2, &[("employeenumber", b"7")]));
    assert_eq!(result(&own, &none, "uid=user1 and uid=user2"), StageResult::Fail);
    let writable = schema(&["( 2.16.840.1.113730.3.1.3 NAME 'employeeNumber' )"]);
    assert_eq!(result(&own, &writable, "people may write"), StageResult::Warn);

    let mut ad = survey(Dialect::ActiveDirectory, None, &[]);
    ad.see(0, &person(1, &[("objectguid", b"100")]));
    let found = stages(&ad);
    let failed = one(&found, "No entry has a usable stable id in objectGUID");
    assert_eq!(failed.result, StageResult::Fail);
    assert!(
        failed.message.contains("\"100\"") && !failed.hint.contains("read"),
        "{failed:?}"
    );
}
