//! The committed lists of the messages' fields (`src/generated/fields.rs`) are what the `.proto` files say: which fields an
//! update can change, and which hold text. They are renewed together with the generated code.

use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use protox::prost_reflect::{DescriptorPool, FieldDescriptor, Kind, MessageDescriptor, Value};

use crate::generated_is_current::{compiler, is_to_be_renewed};

/// OUTPUT_ONLY, IMMUTABLE and IDENTIFIER (google/api/field_behavior.proto).
const NOT_WRITTEN: [i32; 3] = [3, 5, 8];

#[test]
fn generated_fields_are_what_the_proto_files_say() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = crate_dir.join("src/generated/fields.rs");
    // Encoded: decoded as prost's own types they would lose the annotations.
    let descriptors = compiler(&crate_dir.join("../../proto")).encode_file_descriptor_set();
    let pool = DescriptorPool::decode(descriptors.as_slice()).unwrap();
    let fresh = fields(&pool);
    if is_to_be_renewed() {
        fs::write(&committed, &fresh).unwrap();
    }
    assert!(
        fs::read_to_string(&committed).unwrap_or_default() == fresh,
        "fields.rs is not what the .proto files say: run \
         `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated` and build again",
    );
}

fn fields(pool: &DescriptorPool) -> String {
    let mut text = "// Made from the .proto files; see tests/it/generated_fields.rs.\n".to_owned();
    let mut parts = Vec::new();
    for resource in updated(pool) {
        let own: Vec<FieldDescriptor> = resource.fields().filter(|field| part(field).is_some()).collect();
        let own: Vec<_> = own.into_iter().filter(is_writable).collect();
        let _ = writeln!(
            text,
            "\nwritable_fields!({} {{\n{}}} parts {{ {} }});",
            resource.name(),
            lines(resource.fields().filter(is_writable)),
            own.iter()
                .map(FieldDescriptor::name)
                .collect::<Vec<_>>()
                .join(", ")
        );
        parts.extend(own.iter().filter_map(part));
    }
    for part in parts {
        let list = lines(part.fields().filter(is_writable));
        let _ = writeln!(text, "\npart_fields!({} {{\n{list}}});", part.name());
    }
    for (message, holds, lists) in [("User", "String", false), ("FieldMappings", "Vec<String>", true)] {
        let message = pool
            .get_message_by_name(&format!("rollcall.v1.{message}"))
            .unwrap();
        let texts = message
            .fields()
            .filter(|field| field.kind() == Kind::String && field.is_list() == lists);
        let _ = writeln!(
            text,
            "\ntexts!({}: {holds} {{\n{}}});",
            message.name(),
            lines(texts)
        );
    }
    text
}

fn lines(fields: impl Iterator<Item = FieldDescriptor>) -> String {
    fields.map(|field| format!("    {},\n", field.name())).collect()
}

/// The resources that some method updates.
fn updated(pool: &DescriptorPool) -> Vec<MessageDescriptor> {
    let messages = pool.all_messages();
    let mut all: Vec<_> = messages
        .filter(|message| message.package_name() == "rollcall.v1")
        .filter(|message| {
            let request = format!("rollcall.v1.Update{}Request", message.name());
            pool.get_message_by_name(&request).is_some()
        })
        .collect();
    all.sort_by(|one, other| one.full_name().cmp(other.full_name()));
    all
}

/// The message of ours that the field holds at most one of, whose fields can then be named one by one.
fn part(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    let message = field.kind().as_message().cloned()?;
    let ours = message.package_name() == "rollcall.v1" && !field.is_list() && !field.is_map();
    ours.then_some(message)
}

/// True for what a request may write. The etag goes with the request and is no field of its own.
fn is_writable(field: &FieldDescriptor) -> bool {
    let message = field.parent_message();
    let extension = message
        .parent_pool()
        .get_extension_by_name("google.api.field_behavior")
        .unwrap();
    let options = field.options();
    let value = options.get_extension(&extension);
    let list = value.as_list().unwrap_or_default();
    let mut numbers = list.iter().filter_map(Value::as_enum_number);
    field.name() != "etag" && !numbers.any(|number| NOT_WRITTEN.contains(&number))
}
