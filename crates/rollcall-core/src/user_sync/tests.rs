#![allow(clippy::unwrap_used)]

use super::*;
use crate::field::TextField;

pub(crate) fn settings() -> UserSyncSettings {
    UserSyncSettings {
        display_name: "All".into(),
        searches: vec![Search {
            base_dn: "dc=example".into(),
            scope: SearchScope::Subtree,
            filter: "(uid=*)".into(),
        }],
        role: "user".into(),
        field_mappings: FieldMappings {
            login: vec!["uid".into()],
            ..FieldMappings::default()
        },
        missing_users: MissingUsers::Archive,
        login_changes: LoginChanges::Allow,
        ..UserSyncSettings::with_defaults(DirectoryId::parse("hq").unwrap())
    }
}

#[test]
fn a_proposal_of_bases_is_bounded_and_quoted() {
    let mut empty = settings();
    empty.searches[0].base_dn = " ".into();
    let said = |trees: &[String]| {
        let mut found = empty.validate();
        propose_bases(&mut found, trees);
        let said = found.iter().map(|violation| violation.description.clone());
        said.collect::<Vec<_>>().concat()
    };
    assert!(said(&[]).contains("CheckConnection"));
    assert!(said(&["dc=a".into()]).ends_with("one tree, \"dc=a\", so search there or below"));
    let many: Vec<String> = (0..200).map(|n| format!("dc={n}\n{}", "x".repeat(500))).collect();
    let told = said(&many);
    assert!(told.len() < 3_000 && told.ends_with("and 190 more"), "{told}");
    assert!(!told.contains('\n'), "{told}");
}

#[test]
fn good_settings_pass() {
    assert_eq!(settings().validate(), Violations::new());
}

#[test]
fn every_mistake_is_reported_at_once() {
    let mut bad = settings();
    bad.display_name = String::new();
    bad.searches = vec![
        Search {
            base_dn: "not a dn".into(),
            scope: SearchScope::Base,
            filter: "(a".into(),
        },
        Search {
            base_dn: String::new(),
            scope: SearchScope::Base,
            filter: "(a=b)".into(),
        },
    ];
    bad.role = "no role".into();
    bad.role_rules = vec![
        RoleRule {
            condition: RoleCondition::Filter("x".into()),
            role: String::new(),
        },
        RoleRule {
            condition: RoleCondition::GroupDn(String::new()),
            role: "admin".into(),
        },
    ];
    bad.field_mappings.login = Vec::new();
    bad.field_mappings.email = vec!["{unclosed".into()];
    bad.field_mappings.custom.insert("9".into(), vec!["cn".into()]);
    bad.cron = "every day".into();
    bad.restrictions = vec![String::new()];
    bad.removal_limit.max_percent = Some(101);
    bad.report = Report {
        when: ReportWhen::Always,
        addresses: vec!["nobody".into()],
    };
    let found = bad.validate();
    let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "display_name",
            "searches[0].base_dn",
            "searches[0].filter",
            "searches[1].base_dn",
            "role",
            "role_rules[0].role",
            "role_rules[0].filter",
            "role_rules[1].group_dn",
            "field_mappings.login",
            "field_mappings.email[0]",
            "field_mappings.custom[9]",
            "schedule",
            "restrictions[0]",
            "removal_limit.max_percent",
            "report.addresses[0]",
        ]
    );
}

#[test]
fn attributes_of_bytes_are_refused_where_the_mapping_names_them() {
    let mut sync = settings();
    let names = vec!["cn".into(), "{cn} {jpegPhoto}".into()];
    sync.field_mappings.texts.insert(TextField::DisplayName, names);
    for (field, attribute) in [
        ("sid", "objectSid"),
        ("cert", "userCertificate;binary"),
        ("x", "cn;binary"),
    ] {
        sync.field_mappings
            .custom
            .insert(field.into(), vec![attribute.into()]);
    }
    let found = sync.validate();
    let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
    assert_eq!(
        fields,
        [
            "field_mappings.display_name[1]",
            "field_mappings.custom[cert][0]",
            "field_mappings.custom[x][0]"
        ]
    );
    assert!(
        found
            .iter()
            .all(|violation| violation.description.contains("bytes"))
    );
}

#[test]
fn what_a_sync_takes_and_identifies_is_its_scope() {
    let old = settings();
    let mut new = old.clone();
    new.display_name = "Other".into();
    new.role = "admin".into();
    assert!(!old.changes_scope(&new));
    new.searches[0].filter = "(uid=a*)".into();
    assert!(old.changes_scope(&new));
}

#[test]
fn secrets_cannot_be_mapped_or_asked_for_in_any_way() {
    for attribute in [
        "userPassword",
        "USERPASSWORD;x-y",
        "2.5.4.35",
        "ms-Mcs-AdmPwd",
        "msLAPS-EncryptedPassword",
        "krbPrincipalKey",
        "sambaNTPassword",
    ] {
        for filter in [
            format!("({attribute}=*)"),
            format!("({attribute}>=M)"),
            format!("(&(uid=*)(!({attribute}=a*)))"),
            format!("(|(uid=a)(&({attribute}:2.5.13.17:=M)))"),
            format!("({attribute}:dn:=M)"),
            "(:2.5.13.17:=M)".to_owned(),
        ] {
            let mut bad = settings();
            bad.searches[0].filter = filter.clone();
            bad.role_rules = vec![RoleRule {
                condition: RoleCondition::Filter(filter.clone()),
                role: "admin".into(),
            }];
            let found = bad.validate();
            let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
            assert_eq!(fields, ["searches[0].filter", "role_rules[0].filter"], "{filter}");
        }
        let mut bad = settings();
        bad.field_mappings.login = vec!["uid".into(), attribute.into()];
        let template = format!("{{sn}} {{{attribute}}}");
        bad.field_mappings.custom.insert("pw".into(), vec![template]);
        let found = bad.validate();
        let fields: Vec<_> = found.iter().map(|violation| violation.field.as_str()).collect();
        assert_eq!(
            fields,
            ["field_mappings.login[1]", "field_mappings.custom[pw][0]"]
        );
    }
}
