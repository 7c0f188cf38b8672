//! The committed pages about the contract (`docs/api`) are what the `.proto` files say: one for each service, with all
//! that it takes and returns, and one for the reasons of errors. They are renewed together with the generated code.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::Path;

use protox::prost_reflect::{
    Cardinality, DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind, MessageDescriptor,
    MethodDescriptor, Value,
};

use crate::generated_is_current::{compiler, is_to_be_renewed};

const PACKAGE: &str = "rollcall.v1";
/// Above every page, so that nobody writes into it.
const ORIGIN: &str =
    "<!-- Made from the .proto files; see crates/rollcall-proto/tests/it/generated_pages.rs. -->\n\n";

#[test]
fn generated_pages_are_what_the_proto_files_say() {
    let crate_dir = Path::new(env!("CARGO_MANIFEST_DIR"));
    let committed = crate_dir.join("../../docs/api");
    // Encoded: decoded as prost's own types they would lose the annotations.
    let descriptors = compiler(&crate_dir.join("../../proto")).encode_file_descriptor_set();
    let pool = DescriptorPool::decode(descriptors.as_slice()).unwrap();
    let pages = pages(&pool);
    if is_to_be_renewed() {
        fs::create_dir_all(&committed).unwrap();
        for entry in fs::read_dir(&committed).unwrap() {
            fs::remove_file(entry.unwrap().path()).unwrap();
        }
        for (name, text) in &pages {
            fs::write(committed.join(name), text).unwrap();
        }
    }
    let found: BTreeMap<String, String> = fs::read_dir(&committed)
        .unwrap()
        .map(|entry| {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_str().unwrap().to_owned();
            (name, fs::read_to_string(&path).unwrap())
        })
        .collect();
    for name in found.keys().chain(pages.keys()) {
        assert!(
            found.get(name) == pages.get(name),
            "docs/api/{name} is not what the .proto files say: run \
             `ROLLCALL_REGENERATE=1 cargo test -p rollcall-proto generated`",
        );
    }
}

/// The text of each page by its file name.
fn pages(pool: &DescriptorPool) -> BTreeMap<String, String> {
    let mut ours: Vec<_> = pool
        .files()
        .filter(|file| file.package_name() == PACKAGE)
        .collect();
    ours.sort_by(|one, other| one.name().cmp(other.name()));
    let mut pages: BTreeMap<_, _> = ours
        .iter()
        .map(|file| (page_name(file), page(pool, file)))
        .collect();
    let mut index = format!("{ORIGIN}# The contract, package {PACKAGE}\n\n");
    for file in &ours {
        let name = page_name(file);
        let (title, comment) = match file.services().next() {
            Some(service) => (service.name().to_owned(), comment(file, service.path())),
            None => (
                "ErrorReason".to_owned(),
                "Why a call failed, for programs.".to_owned(),
            ),
        };
        let _ = writeln!(index, "- [{title}]({name}): {}", first_sentence(&comment));
    }
    pages.insert("README.md".to_owned(), index);
    pages
}

fn page_name(file: &FileDescriptor) -> String {
    let stem = file.name().rsplit('/').next().unwrap().trim_end_matches(".proto");
    format!("{stem}.md")
}

fn page(pool: &DescriptorPool, file: &FileDescriptor) -> String {
    let mut page = ORIGIN.to_owned();
    for service in file.services() {
        let server = rollcall_proto::server_of(service.full_name()).unwrap();
        let _ = write!(page, "# {}\n\nServed by `{server}`. ", service.name());
        let _ = writeln!(page, "{}\n\n## Methods\n", comment(file, service.path()));
        for method in service.methods() {
            let _ = writeln!(page, "### {}\n\n{}\n", method.name(), signature(file, &method));
            let _ = writeln!(page, "{}\n", comment(file, method.path()));
        }
        page.push_str("## Messages\n\n");
    }
    for message in file.messages().filter(|message| !message.is_map_entry()) {
        let _ = writeln!(
            page,
            "### {}\n\n{}\n",
            message.name(),
            comment(file, message.path())
        );
        fields(&mut page, pool, file, &message);
    }
    for enumeration in file.enums() {
        values(&mut page, file, &enumeration);
    }
    page.truncate(page.trim_end().len());
    page.push('\n');
    page
}

fn signature(file: &FileDescriptor, method: &MethodDescriptor) -> String {
    let stream = if method.is_server_streaming() {
        "a stream of "
    } else {
        ""
    };
    let (input, output) = (method.input(), method.output());
    format!(
        "Takes {}, returns {stream}{}.",
        link(file, &input.parent_file(), input.name()),
        link(file, &output.parent_file(), output.name()),
    )
}

fn fields(page: &mut String, pool: &DescriptorPool, file: &FileDescriptor, message: &MessageDescriptor) {
    for field in message.fields() {
        let mut about = vec![type_of(file, &field)];
        about.extend(behaviours(pool, &field));
        // Proto3 makes a oneof of each `optional` field too.
        match field.containing_oneof() {
            Some(oneof) if oneof.name().starts_with('_') => about.push("may be absent".to_owned()),
            Some(oneof) => about.push(format!("one of `{}`", oneof.name())),
            None => {}
        }
        let text = comment(file, field.path()).replace("\n\n", "\n\n  ");
        let _ = writeln!(page, "- `{}` ({}): {text}", field.name(), about.join(", "));
    }
    if message.fields().len() > 0 {
        page.push('\n');
    }
}

fn values(page: &mut String, file: &FileDescriptor, enumeration: &EnumDescriptor) {
    let level = if file.services().len() > 0 { "###" } else { "#" };
    let _ = writeln!(
        page,
        "{level} {}\n\n{}\n",
        enumeration.name(),
        comment(file, enumeration.path())
    );
    for value in enumeration.values() {
        let text = comment(file, value.path()).replace("\n\n", "\n\n  ");
        let _ = writeln!(page, "- `{}` = {}: {text}", value.name(), value.number());
    }
    page.push('\n');
}

fn type_of(file: &FileDescriptor, field: &FieldDescriptor) -> String {
    if field.is_map() {
        let Kind::Message(entry) = field.kind() else {
            unreachable!()
        };
        let of = |name: &str| kind(file, &entry.get_field_by_name(name).unwrap().kind());
        return format!("map of {} to {}", of("key"), of("value"));
    }
    let kind = kind(file, &field.kind());
    match field.cardinality() {
        Cardinality::Repeated => format!("list of {kind}"),
        Cardinality::Optional | Cardinality::Required => kind,
    }
}

fn kind(file: &FileDescriptor, kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => link(file, &message.parent_file(), message.name()),
        Kind::Enum(enumeration) => link(file, &enumeration.parent_file(), enumeration.name()),
        scalar => format!("{scalar:?}"),
    }
}

/// The name of a type, with a link to where it is described.
fn link(from: &FileDescriptor, at: &FileDescriptor, name: &str) -> String {
    let anchor = name.to_lowercase();
    if at.package_name() != PACKAGE {
        format!("`{}.{name}`", at.package_name())
    } else if at == from {
        format!("[{name}](#{anchor})")
    } else {
        format!("[{name}]({}#{anchor})", page_name(at))
    }
}

/// What a field is to callers, in the words of the annotation.
fn behaviours(pool: &DescriptorPool, field: &FieldDescriptor) -> Vec<String> {
    let extension = pool.get_extension_by_name("google.api.field_behavior").unwrap();
    let options = field.options();
    let value = options.get_extension(&extension);
    let numbers = value
        .as_list()
        .unwrap_or_default()
        .iter()
        .filter_map(Value::as_enum_number);
    let Kind::Enum(names) = extension.kind() else {
        unreachable!()
    };
    numbers
        .filter_map(|number| names.get_value(number))
        .map(|value| value.name().to_lowercase().replace('_', " "))
        .collect()
}

/// The comment above an element, as Markdown.
fn comment(file: &FileDescriptor, path: &[i32]) -> String {
    let info = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let location = info
        .location
        .iter()
        .find(|location| location.path == path)
        .unwrap();
    let lines = location.leading_comments().lines().map(str::trim);
    let mut paragraphs = vec![String::new()];
    for line in lines {
        match (line, paragraphs.last_mut().unwrap()) {
            ("", last) if !last.is_empty() => paragraphs.push(String::new()),
            ("", _) => {}
            (line, last) if last.is_empty() => last.push_str(line),
            (line, last) => {
                last.push(' ');
                last.push_str(line);
            }
        }
    }
    let text = paragraphs.join("\n\n");
    text.trim_end()
        .replace('\\', "\\\\")
        .replace('*', "\\*")
        .replace('<', "\\<")
}

fn first_sentence(text: &str) -> &str {
    text.split_inclusive(['.', '\n'])
        .next()
        .unwrap_or(text)
        .trim_end()
}
