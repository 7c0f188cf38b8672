//! What the contract says to tools: which fields are required, which are secret, which name a resource, and what
//! generated code is called in each language.

use std::collections::BTreeSet;

use prost::Message as _;
use prost_reflect::{DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, Value};
use prost_types::FileDescriptorSet;
use rollcall_proto::resource_name;

const REQUIRED: i32 = 2;
pub(crate) const OUTPUT_ONLY: i32 = 3;
const INPUT_ONLY: i32 = 4;
const IDENTIFIER: i32 = 8;

fn pool() -> DescriptorPool {
    DescriptorPool::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap()
}

fn messages(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let ours = pool
        .all_messages()
        .filter(|message| message.package_name() == "rollcall.v1" && !message.is_map_entry());
    ours.collect()
}

/// An option of the public annotations; `None` where it is not set.
pub(crate) fn annotation(pool: &DescriptorPool, options: &DynamicMessage, name: &str) -> Option<Value> {
    let extension = pool.get_extension_by_name(&format!("google.api.{name}"))?;
    options
        .has_extension(&extension)
        .then(|| options.get_extension(&extension).into_owned())
}

pub(crate) fn behaviours(pool: &DescriptorPool, field: &FieldDescriptor) -> Vec<i32> {
    let value = annotation(pool, &field.options(), "field_behavior");
    let list = value.as_ref().and_then(Value::as_list).unwrap_or_default();
    list.iter().filter_map(Value::as_enum_number).collect()
}

pub(crate) fn text(message: &Value, field: &str) -> String {
    let message = message.as_message().unwrap();
    let value = message.get_field_by_name(field).unwrap();
    value.as_str().unwrap_or_default().to_owned()
}

pub(crate) fn pattern(resource: &Value) -> String {
    let patterns = resource
        .as_message()
        .unwrap()
        .get_field_by_name("pattern")
        .unwrap();
    let [pattern] = patterns.as_list().unwrap() else {
        panic!("one pattern: {patterns:?}");
    };
    pattern.as_str().unwrap().to_owned()
}

#[test]
fn every_language_has_a_name_for_the_package() {
    let descriptors = FileDescriptorSet::decode(rollcall_proto::FILE_DESCRIPTOR_SET).unwrap();
    let ours = descriptors
        .file
        .iter()
        .filter(|file| file.package() == "rollcall.v1");
    let mut outer = BTreeSet::new();
    for file in ours {
        let options = file.options.clone().unwrap_or_default();
        let names = [
            options.go_package(),
            options.java_package(),
            options.csharp_namespace(),
            options.objc_class_prefix(),
            options.php_namespace(),
            options.ruby_package(),
        ];
        let expected = [
            "rollcall/v1;rollcallv1",
            "rollcall.v1",
            "Rollcall.V1",
            "RLC",
            "Rollcall\\V1",
            "Rollcall::V1",
        ];
        assert_eq!(names, expected, "{}", file.name());
        assert!(options.java_multiple_files(), "{}", file.name());
        assert!(outer.insert(options.java_outer_classname().to_owned()));
    }
    assert_eq!(outer.len(), 11);
}

#[test]
fn every_secret_is_redacted_and_nothing_else() {
    let pool = pool();
    let mut redacted = BTreeSet::new();
    for message in messages(&pool) {
        for field in message.fields() {
            let name = field.name();
            let secret = matches!(field.kind(), Kind::String | Kind::Bytes)
                && (name.contains("password") || name.contains("private_key"));
            let options = field.options();
            let is_redacted = options
                .get_field_by_name("debug_redact")
                .and_then(|value| value.as_bool());
            assert_eq!(is_redacted, Some(secret), "{}", field.full_name());
            if secret {
                redacted.insert(field.full_name().to_owned());
            }
        }
    }
    let expected = [
        "rollcall.v1.AuthenticateRequest.password",
        "rollcall.v1.Directory.bind_password",
        "rollcall.v1.Directory.client_private_key",
        "rollcall.v1.RotateBindPasswordRequest.bind_password",
    ];
    assert_eq!(redacted, expected.map(str::to_owned).into());
}

#[test]
fn every_resource_has_a_pattern_and_every_name_of_one_refers_to_it() {
    let pool = pool();
    let mut types = BTreeSet::new();
    for message in messages(&pool) {
        let Some(resource) = annotation(&pool, &message.options(), "resource") else {
            continue;
        };
        assert_eq!(text(&resource, "type"), format!("rollcall/{}", message.name()));
        assert!(pattern(&resource).starts_with("tenants/{tenant}"), "{resource:?}");
        let name = message.get_field_by_name("name").unwrap();
        assert_eq!(behaviours(&pool, &name), [IDENTIFIER], "{}", name.full_name());
        types.insert(text(&resource, "type"));
    }
    let resources = [
        "AuditEvent",
        "Directory",
        "SecurityReview",
        "SyncRun",
        "Tenant",
        "User",
        "UserSync",
    ];
    assert_eq!(types, resources.map(|name| format!("rollcall/{name}")).into());

    for message in messages(&pool) {
        for field in message.fields() {
            let reference = annotation(&pool, &field.options(), "resource_reference");
            let request = message.name().ends_with("Request");
            let names_one = request && matches!(field.name(), "name" | "names" | "parent")
                || matches!(
                    field.name(),
                    "user_sync" | "directory" | "tenant" | "user" | "run"
                ) && matches!(field.kind(), Kind::String);
            let Some(reference) = reference else {
                assert!(!names_one, "{} refers to nothing", field.full_name());
                continue;
            };
            let of = [text(&reference, "type"), text(&reference, "child_type")].concat();
            assert!(of == "*" || types.contains(&of), "{}: {of}", field.full_name());
        }
    }
}

/// The names that the conversions read are those of the patterns.
#[test]
fn the_patterns_are_those_of_the_names() {
    let pool = pool();
    let message = pool.get_message_by_name("rollcall.v1.SyncRun").unwrap();
    let resource = annotation(&pool, &message.options(), "resource").unwrap();
    let name = pattern(&resource)
        .replace("{tenant}", "acme")
        .replace("{user_sync}", "staff")
        .replace("{run}", "01890a5d-ac96-774b-bcce-b302099a8057");
    assert!(resource_name::parse_run(&name).is_some(), "{name}");
}

#[test]
fn what_a_request_holds_says_how_it_behaves_and_no_prose_says_it_again() {
    let pool = pool();
    let mut unvisited: Vec<_> = messages(&pool);
    unvisited.retain(|message| message.name().ends_with("Request"));
    let mut seen = BTreeSet::new();
    let mut required = 0;
    while let Some(message) = unvisited.pop() {
        if !seen.insert(message.full_name().to_owned()) {
            continue;
        }
        for field in message.fields() {
            let behaviours = behaviours(&pool, &field);
            let in_oneof = field
                .containing_oneof()
                .is_some_and(|oneof| !oneof.is_synthetic());
            assert!(in_oneof || !behaviours.is_empty(), "{}", field.full_name());
            required += usize::from(behaviours.contains(&REQUIRED));
            if let Kind::Message(inner) = field.kind() {
                let inner = match inner.is_map_entry() {
                    true => inner.map_entry_value_field().kind().as_message().cloned(),
                    false => Some(inner),
                };
                let ours = inner.filter(|inner| inner.package_name() == "rollcall.v1");
                unvisited.extend(ours.filter(|_| !behaviours.contains(&OUTPUT_ONLY)));
            }
        }
    }
    assert!(required > 50, "{required}");
    let password = pool.get_message_by_name("rollcall.v1.Directory").unwrap();
    let password = password.get_field_by_name("bind_password").unwrap();
    assert!(behaviours(&pool, &password).contains(&INPUT_ONLY));

    for file in pool.files().filter(|file| file.package_name() == "rollcall.v1") {
        let file = file.file_descriptor_proto();
        for location in &file.source_code_info.as_ref().unwrap().location {
            let comment = location.leading_comments().trim_start();
            for prose in ["Required. ", "Output only", "Input only"] {
                assert!(!comment.starts_with(prose), "{}: {comment}", file.name());
            }
        }
    }
}
