//! What a change did, field by field, with the contract's names of fields and values.
//!
//! Both states are compared as messages of the contract. So a field that is added to the contract is recorded without
//! further code, and there is no list of fields to maintain.

use prost::Message;
use prost_reflect::{DynamicMessage, FieldDescriptor, SerializeOptions, Value as Reflected};
use rollcall_core::audit::{AuditedFieldChange, ValueChange};
use serde_json::{Map, Value};

use crate::json::CONTRACT;
use crate::v1;

/// A longer value, in bytes, is recorded as its digest and length.
pub const MAX_VALUE: usize = 4_096;

/// A resource whose changes are recorded.
pub trait Resource: Message {
    /// Its message in the contract.
    const MESSAGE: &'static str;
    /// The output-only fields that a change of the resource may change.
    const OUTPUT: &'static [&'static str];
}

impl Resource for v1::Tenant {
    const MESSAGE: &'static str = "rollcall.v1.Tenant";
    const OUTPUT: &'static [&'static str] = &[];
}

impl Resource for v1::Directory {
    const MESSAGE: &'static str = "rollcall.v1.Directory";
    const OUTPUT: &'static [&'static str] = &[];
}

impl Resource for v1::UserSync {
    const MESSAGE: &'static str = "rollcall.v1.UserSync";
    const OUTPUT: &'static [&'static str] = &[];
}

impl Resource for v1::User {
    const MESSAGE: &'static str = "rollcall.v1.User";
    const OUTPUT: &'static [&'static str] = &["source", "user_sync", "dn", "state", "state_reason", "block"];
}

/// The fields that differ, by name. `None` is a resource that did not exist, or does not any more.
///
/// A value is told as the JSON of the contract has it (proto3 JSON mapping, with the names of the fields), a text
/// without its quotes; a list is one value. Of a value of more than [`MAX_VALUE`] bytes its SHA-256 and its length are
/// told.
pub fn changes<R: Resource>(before: Option<&R>, after: Option<&R>) -> Vec<AuditedFieldChange> {
    let mut found = Vec::new();
    compare("", &fields(before), &fields(after), &mut found);
    found
}

/// The fields of a resource that a caller can set, and those of [`Resource::OUTPUT`].
fn fields<R: Resource>(resource: Option<&R>) -> Map<String, Value> {
    let shown = resource.and_then(|resource| {
        let message = CONTRACT.as_ref()?.get_message_by_name(R::MESSAGE)?;
        let mut dynamic = DynamicMessage::new(message.clone());
        dynamic.transcode_from(resource).ok()?;
        for field in message.fields() {
            if !is_recorded(&field) && !R::OUTPUT.contains(&field.name()) {
                dynamic.clear_field(&field);
            }
        }
        let options = SerializeOptions::new().use_proto_field_name(true);
        dynamic
            .serialize_with_options(serde_json::value::Serializer, &options)
            .ok()
    });
    match shown {
        Some(Value::Object(fields)) => fields,
        _ => Map::new(),
    }
}

/// Whether a caller can set the field, and its value may be recorded.
fn is_recorded(field: &FieldDescriptor) -> bool {
    const OUTPUT_ONLY: i32 = 3;
    const INPUT_ONLY: i32 = 4;
    const IDENTIFIER: i32 = 8;
    let options = field.options();
    let pool = field.parent_pool();
    let behaviour = pool.get_extension_by_name("google.api.field_behavior");
    let set = behaviour.map(|behaviour| options.get_extension(&behaviour).into_owned());
    let set = set.as_ref().and_then(Reflected::as_list).unwrap_or_default();
    !set.iter()
        .filter_map(Reflected::as_enum_number)
        .any(|behaviour| [OUTPUT_ONLY, INPUT_ONLY, IDENTIFIER].contains(&behaviour))
}

fn compare(
    prefix: &str,
    before: &Map<String, Value>,
    after: &Map<String, Value>,
    found: &mut Vec<AuditedFieldChange>,
) {
    let mut names: Vec<&String> = before.keys().collect();
    names.extend(after.keys().filter(|name| !before.contains_key(*name)));
    for name in names {
        let (old, new) = (before.get(name), after.get(name));
        if old == new {
            continue;
        }
        let path = path(prefix, name);
        match (old, new) {
            (Some(Value::Object(old)), Some(Value::Object(new))) => compare(&path, old, new, found),
            (Some(Value::Object(old)), None) => compare(&path, old, &Map::new(), found),
            (None, Some(Value::Object(new))) => compare(&path, &Map::new(), new, found),
            (old, new) => found.push(AuditedFieldChange {
                path,
                value: ValueChange::Shown {
                    before: old.map(shown),
                    after: new.map(shown),
                },
            }),
        }
    }
}

/// A key of a map that is no plain name is quoted.
fn path(prefix: &str, name: &str) -> String {
    let plain = |character: char| character.is_ascii_alphanumeric() || character == '_';
    match (prefix, name.chars().all(plain)) {
        ("", true) => name.to_owned(),
        (prefix, true) => format!("{prefix}.{name}"),
        (prefix, false) => format!("{prefix}[{}]", Value::from(name)),
    }
}

fn shown(value: &Value) -> String {
    let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    if text.len() <= MAX_VALUE {
        return text;
    }
    let digest = ring::digest::digest(&ring::digest::SHA256, text.as_bytes());
    let hex: String = digest.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}, {} bytes", text.len())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, clippy::panic, clippy::wildcard_enum_match_arm)]
    use prost_reflect::{Kind, MapKey};

    use super::*;

    fn told(changes: &[AuditedFieldChange]) -> Vec<(String, Option<String>, Option<String>)> {
        let told = changes.iter().map(|change| match &change.value {
            ValueChange::Shown { before, after } => (change.path.clone(), before.clone(), after.clone()),
            ValueChange::Secret(_) => unreachable!("no secret is in a resource"),
        });
        told.collect()
    }

    fn sync() -> v1::UserSync {
        v1::UserSync {
            name: "tenants/acme/userSyncs/staff".into(),
            display_name: "Staff".into(),
            role: "member".into(),
            etag: "1".into(),
            searches: vec![v1::UserSearch {
                base_dn: "ou=people".into(),
                ..v1::UserSearch::default()
            }],
            removal_limit: Some(v1::RemovalLimit {
                max_count: Some(5),
                max_percent: None,
            }),
            ..v1::UserSync::default()
        }
    }

    #[test]
    fn a_change_is_told_field_by_field_with_both_values() {
        let mut after = sync();
        after.etag = "2".into();
        after.role = "admin".into();
        after.removal_limit.as_mut().unwrap().max_count = Some(0);
        after.searches[0].filter = "(uid=*)".into();
        assert_eq!(
            told(&changes(Some(&sync()), Some(&after))),
            [
                (
                    "removal_limit.max_count".into(),
                    Some("5".into()),
                    Some("0".into())
                ),
                ("role".into(), Some("member".into()), Some("admin".into())),
                (
                    "searches".into(),
                    Some(r#"[{"base_dn":"ou=people"}]"#.into()),
                    Some(r#"[{"base_dn":"ou=people","filter":"(uid=*)"}]"#.into())
                ),
            ]
        );
    }

    #[test]
    fn what_is_made_or_deleted_is_told_whole_and_nothing_of_what_stayed() {
        let made = told(&changes(None, Some(&sync())));
        assert_eq!(made.len(), 4, "{made:?}");
        assert!(
            made.iter()
                .all(|(path, before, _)| before.is_none() && path != "name" && path != "etag")
        );
        let deleted = told(&changes(Some(&sync()), None));
        assert!(deleted.iter().all(|(_, _, after)| after.is_none()));
        assert_eq!(told(&changes(Some(&sync()), Some(&sync()))), []);
    }

    #[test]
    fn no_secret_is_ever_looked_at() {
        let after = v1::Directory {
            bind_password: "canary".into(),
            client_private_key: "canary".into(),
            ..v1::Directory::default()
        };
        assert_eq!(changes(Some(&v1::Directory::default()), Some(&after)), []);
    }

    /// Of a resource of which this field alone is set, the fields that are told as changed.
    fn told_of<R: Resource + Default>(field: &FieldDescriptor) -> Vec<String> {
        let mut dynamic = DynamicMessage::new(field.parent_message().clone());
        let kind = field.kind();
        let one = match &kind {
            Kind::Bool => Reflected::Bool(true),
            Kind::Int32 => Reflected::I32(1),
            Kind::Enum(_) => Reflected::EnumNumber(1),
            Kind::String => Reflected::String("x".into()),
            Kind::Message(message) if field.is_map() => {
                assert_eq!(message.map_entry_key_field().kind(), Kind::String);
                let value = Reflected::default_value(&message.map_entry_value_field().kind());
                Reflected::Map([(MapKey::String("x".into()), value)].into())
            }
            Kind::Message(message) => {
                let mut inner = DynamicMessage::new(message.clone());
                if let Some(first) = message.fields().next().filter(|first| !first.is_list()) {
                    let first_value = match first.kind() {
                        Kind::Int32 => Some(Reflected::I32(1)),
                        Kind::Int64 => Some(Reflected::I64(1)),
                        Kind::Enum(_) => Some(Reflected::EnumNumber(1)),
                        Kind::String => Some(Reflected::String("x".into())),
                        _ => None,
                    };
                    first_value
                        .into_iter()
                        .for_each(|value| inner.set_field(&first, value));
                } else if let Some(list) = message.fields().next() {
                    inner.set_field(&list, Reflected::List(vec![Reflected::String("x".into())]));
                }
                Reflected::Message(inner)
            }
            kind => panic!("{kind:?} needs a value here"),
        };
        let value = if field.is_list() {
            Reflected::List(vec![one])
        } else {
            one
        };
        dynamic.set_field(field, value);
        let after: R = dynamic.transcode_to().unwrap();
        told(&changes(Some(&R::default()), Some(&after)))
            .into_iter()
            .map(|(path, ..)| path)
            .collect()
    }

    fn each_written_field_is_told<R: Resource + Default>() {
        let message = CONTRACT
            .as_ref()
            .unwrap()
            .get_message_by_name(R::MESSAGE)
            .unwrap();
        let mut tried = 0;
        for field in message.fields().filter(is_recorded) {
            let told = told_of::<R>(&field);
            assert_eq!(told.len(), 1, "{}: {told:?}", field.full_name());
            assert!(
                told[0].starts_with(field.name()),
                "{}: {told:?}",
                field.full_name()
            );
            tried += 1;
        }
        assert!(tried > 2);
    }

    /// The soft lock of a directory was forgotten once, when this was a list.
    #[test]
    fn a_change_of_each_field_is_told_of_the_soft_lock_too() {
        each_written_field_is_told::<v1::Tenant>();
        each_written_field_is_told::<v1::Directory>();
        each_written_field_is_told::<v1::UserSync>();
        each_written_field_is_told::<v1::User>();
        let after = v1::Directory {
            soft_lock: Some(v1::SoftLock {
                limit: 3,
                ..v1::SoftLock::default()
            }),
            ..v1::Directory::default()
        };
        assert_eq!(
            told(&changes(Some(&v1::Directory::default()), Some(&after))),
            [("soft_lock.limit".into(), None, Some("3".into()))]
        );
    }

    #[test]
    fn a_key_of_a_map_is_part_of_the_path() {
        let mut after = v1::User::default();
        after.custom.insert("cost centre".into(), "7".into());
        after.block = Some(v1::UserBlock {
            reason: "left".into(),
            ..v1::UserBlock::default()
        });
        assert_eq!(
            told(&changes(Some(&v1::User::default()), Some(&after))),
            [
                ("block.reason".into(), None, Some("left".into())),
                (r#"custom["cost centre"]"#.into(), None, Some("7".into())),
            ]
        );
    }

    #[test]
    fn a_long_value_is_told_by_digest_and_length() {
        let after = v1::Tenant {
            display_name: "x".repeat(MAX_VALUE + 1),
            ..v1::Tenant::default()
        };
        let told = told(&changes(Some(&v1::Tenant::default()), Some(&after)));
        let value = told[0].2.as_deref().unwrap();
        assert!(
            value.starts_with("sha256:") && value.ends_with(", 4097 bytes"),
            "{value}"
        );
    }
}
