//! What is read from the parts of a message: values, names, texts, controls.

use std::collections::BTreeMap;

use chrono::{DateTime, Utc};
use rollcall_core::dialect::Dialect;
use rollcall_core::dn::Dn;
use rollcall_core::entry::Entry;
use rollcall_core::external_id::{ExternalId, IdKind};
use rollcall_core::filter::Filter;
use rollcall_core::verdict::{NetscapeControls, Verdict};

use crate::bind::BindAnswer;
use crate::result_code::ResultCode;
use crate::root_dse::RootDse;
use rollcall_core::schema::Schema;

/// The text of a bind's answer, in which Active Directory gives its reason: whatever it says, it lets nobody in
/// whom the result code does not.
pub fn diagnostic(text: &[u8]) {
    for &dialect in Dialect::ALL {
        for code in [ResultCode::INVALID_CREDENTIALS, ResultCode::UNWILLING_TO_PERFORM] {
            let answer = BindAnswer {
                code,
                diagnostic: String::from_utf8_lossy(text).into_owned(),
                policy: None,
                netscape: NetscapeControls::default(),
            };
            let verdict = answer.verdict(dialect, dialect.account_state(&Entry::default(), now()), None);
            assert!(!matches!(verdict, Verdict::Authenticated { .. }), "{verdict:?}");
        }
    }
}

/// The value of a control.
pub fn control_value(value: &[u8]) {
    crate::bind::read_control_values(value);
    crate::paging::control::read_control_value(value);
}

/// An attribute name, which may say which range of the values it brings.
pub fn attribute_name(name: &[u8]) {
    let Ok(name) = std::str::from_utf8(name) else {
        return;
    };
    if let Some((attribute, _)) = crate::entry::range(name) {
        assert!(name.starts_with(attribute) && attribute.len() < name.len());
    }
}

/// An id in each of its encodings: what it prints, it reads.
pub fn external_id(value: &[u8]) {
    let kinds = [
        IdKind::ObjectGuid,
        IdKind::EntryUuid,
        IdKind::NsUniqueId,
        IdKind::IpaUniqueId,
        IdKind::Guid,
        IdKind::of_attribute("employeeNumber").expect("an attribute"),
    ];
    for kind in kinds {
        let Ok(id) = ExternalId::from_values(kind.clone(), &[value.to_vec()]) else {
            continue;
        };
        assert_eq!(ExternalId::parse(kind.clone(), &id.to_string()), Ok(id.clone()));
        assert_eq!(ExternalId::from_bytes(kind, id.bytes()), Ok(id.clone()));
        sendable(&id.filter());
    }
}

/// One value of every attribute that tells an account's state, times among them.
pub fn account_state(value: &[u8]) {
    for &dialect in Dialect::ALL {
        for attribute in dialect.state_attributes() {
            dialect.account_state(&entry(&[attribute], &[value.to_vec()]), now());
        }
    }
}

/// A DN as a server writes it.
pub fn distinguished_name(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    if let Ok(dn) = Dn::parse(text) {
        assert_eq!(dn.as_str(), text);
        assert!(dn.is_within(&dn) && !dn.is_child_of(&dn));
        assert_eq!(Dn::parse(text), Ok(dn));
    }
}

/// A filter as an admin writes it: what Rollcall takes can be sent, and means the same when it is read again.
pub fn filter(text: &[u8]) {
    let Ok(text) = std::str::from_utf8(text) else {
        return;
    };
    match Filter::parse(text) {
        Ok(filter) => {
            sendable(&filter);
            assert_eq!(Filter::parse(&filter.to_string()), Ok(filter));
        }
        Err(error) => assert!(!error.message().is_empty() && !error.hint().is_empty()),
    }
}

/// The root DSE and the schema, one value a line.
pub fn server_facts(text: &[u8]) {
    let values: Vec<Vec<u8>> = text.split(|byte| *byte == b'\n').map(<[u8]>::to_vec).collect();
    let names: Vec<String> = crate::root_dse::query().attributes;
    let names: Vec<&str> = names.iter().map(String::as_str).collect();
    let root = RootDse::from_entry(&entry(&names, &values));
    assert!(root.naming_contexts.len() <= 200 && root.data_naming_contexts().len() <= 200);
    let schema = Schema::from_entry(&entry(&["attributeTypes"], &values));
    let _ = schema.is_empty() || schema.defines("cn");
}

/// ldap3 has a parser of its own between Rollcall's filters and the wire.
fn sendable(filter: &Filter) {
    let text = filter.to_string();
    assert!(ldap3::parse_filter(&text).is_ok(), "{text}");
}

fn entry(names: &[&str], values: &[Vec<u8>]) -> Entry {
    let attributes = names
        .iter()
        .map(|name| (name.to_lowercase(), values.to_vec()))
        .collect::<BTreeMap<_, _>>();
    Entry {
        attributes,
        ..Entry::default()
    }
}

fn now() -> DateTime<Utc> {
    DateTime::from_timestamp(1_800_000_000, 0).expect("a time")
}
