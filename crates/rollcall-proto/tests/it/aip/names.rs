//! What things are called, and that each has a comment.

use prost_reflect::{DescriptorPool, EnumDescriptor, FieldDescriptor, FileDescriptor, Kind};

use super::{Element, Finding};

pub(super) const RULES: &[&str] = &[
    COMMENTS,
    SNAKE,
    PREPOSITIONS,
    ABBREVIATIONS,
    SUFFIX,
    TIME_NAME,
    TIME_TYPE,
    UNSIGNED,
    UNSPECIFIED,
    UPPER,
    STATUS,
    ETAG,
];
const COMMENTS: &str = "core::0192::has-comments";
const SNAKE: &str = "core::0140::lower-snake";
const PREPOSITIONS: &str = "core::0140::prepositions";
const ABBREVIATIONS: &str = "core::0140::abbreviations";
const SUFFIX: &str = "core::0122::name-suffix";
const TIME_NAME: &str = "core::0142::time-field-names";
const TIME_TYPE: &str = "core::0142::time-field-type";
const UNSIGNED: &str = "core::0141::forbidden-types";
const UNSPECIFIED: &str = "core::0126::unspecified";
const UPPER: &str = "core::0126::upper-snake-values";
const STATUS: &str = "core::0216::synonyms";
const ETAG: &str = "core::0154::field-type";

const AS_PREPOSITIONS: [&str; 22] = [
    "after",
    "at",
    "before",
    "between",
    "but",
    "by",
    "except",
    "for",
    "from",
    "in",
    "including",
    "into",
    "of",
    "over",
    "since",
    "to",
    "toward",
    "under",
    "upon",
    "with",
    "within",
    "without",
];
const LONG: [&str; 5] = [
    "configuration",
    "identifier",
    "information",
    "specification",
    "statistics",
];
/// What may end in "_name".
const NAMES: [&str; 3] = ["display_name", "given_name", "family_name"];

pub(super) fn findings(pool: &DescriptorPool) -> Vec<Finding> {
    let mut found = Vec::new();
    for file in pool.files().filter(|file| file.package_name() == "rollcall.v1") {
        for message in file.messages() {
            found.extend(of_any(&file, message.full_name(), message.path()));
            for message in message.child_messages().filter(|message| !message.is_map_entry()) {
                found.extend(of_any(&file, message.full_name(), message.path()));
            }
        }
        for service in file.services() {
            found.extend(of_any(&file, service.full_name(), service.path()));
            for method in service.methods() {
                found.extend(of_any(&file, method.full_name(), method.path()));
            }
        }
    }
    for message in pool.all_messages() {
        if message.package_name() == "rollcall.v1" && !message.is_map_entry() {
            found.extend(message.fields().flat_map(|field| of_field(&field)));
        }
    }
    for named in pool
        .all_enums()
        .filter(|named| named.package_name() == "rollcall.v1")
    {
        found.extend(of_enum(&named));
    }
    found
}

fn of_any(file: &FileDescriptor, name: &str, path: &[i32]) -> Vec<Finding> {
    let element = Element {
        file: file.name(),
        name,
    };
    let described = file.file_descriptor_proto().source_code_info.as_ref().unwrap();
    let comment = described.location.iter().find(|location| location.path == path);
    let last = name.rsplit('.').next().unwrap();
    let words = words(last);
    [
        element.keeps(
            COMMENTS,
            comment.is_some_and(|comment| !comment.leading_comments().trim().is_empty()),
        ),
        element.keeps(
            ABBREVIATIONS,
            !words.iter().any(|word| LONG.contains(&word.as_str())),
        ),
    ]
    .into_iter()
    .flatten()
    .collect()
}

fn of_field(field: &FieldDescriptor) -> Vec<Finding> {
    let file = field.parent_file();
    let element = Element {
        file: file.name(),
        name: field.full_name(),
    };
    let (name, kind) = (field.name(), field.kind());
    let is_time = kind
        .as_message()
        .is_some_and(|message| message.full_name() == "google.protobuf.Timestamp");
    let is_snake = name
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    let is_unsigned = matches!(kind, Kind::Uint32 | Kind::Uint64 | Kind::Fixed32 | Kind::Fixed64);
    let mut found = of_any(&file, field.full_name(), field.path());
    let rules = [
        (SNAKE, is_snake && !name.contains("__")),
        (
            PREPOSITIONS,
            !name.split('_').any(|word| AS_PREPOSITIONS.contains(&word)),
        ),
        (SUFFIX, !name.ends_with("_name") || NAMES.contains(&name)),
        (TIME_NAME, !is_time || name.ends_with("_time")),
        (TIME_TYPE, is_time || !name.ends_with("_time")),
        (UNSIGNED, !is_unsigned),
        (ETAG, name != "etag" || kind == Kind::String),
    ];
    found.extend(
        rules
            .into_iter()
            .filter_map(|(rule, kept)| element.keeps(rule, kept)),
    );
    found
}

fn of_enum(named: &EnumDescriptor) -> Vec<Finding> {
    let file = named.parent_file();
    let mut found = of_any(&file, named.full_name(), named.path());
    let element = Element {
        file: file.name(),
        name: named.full_name(),
    };
    let prefix = words(named.name()).join("_").to_uppercase();
    let first = named.get_value(0).unwrap();
    found.extend(element.keeps(UNSPECIFIED, first.name() == format!("{prefix}_UNSPECIFIED")));
    found.extend(element.keeps(STATUS, !named.name().ends_with("Status")));
    for value in named.values() {
        let element = Element {
            file: file.name(),
            name: value.full_name(),
        };
        let is_upper = value
            .name()
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        found.extend(element.keeps(UPPER, is_upper));
        found.extend(of_any(&file, value.full_name(), value.path()));
    }
    found
}

/// The words of a name in any writing, in lower case.
pub(super) fn words(name: &str) -> Vec<String> {
    let mut spaced = String::new();
    for (place, letter) in name.char_indices() {
        let begins = letter.is_ascii_uppercase()
            && name[..place].ends_with(|before: char| !before.is_ascii_uppercase());
        if begins {
            spaced.push('_');
        }
        spaced.push(letter.to_ascii_lowercase());
    }
    spaced
        .split('_')
        .filter(|word| !word.is_empty())
        .map(str::to_owned)
        .collect()
}
