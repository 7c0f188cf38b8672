//! Update masks (AIP-134): which fields of a resource a request changes.

use prost_types::FieldMask;
use rollcall_core::violation::Violations;

/// The fields to change: those of the mask, or those that hold something where there is no mask.
pub(crate) fn paths(
    found: &mut Violations,
    mask: Option<FieldMask>,
    writable: &[&str],
    is_writable: impl Fn(&str) -> bool,
    populated: Vec<&'static str>,
) -> Vec<String> {
    let mask = mask.map(|mask| mask.paths).unwrap_or_default();
    if mask.is_empty() {
        return populated.into_iter().map(str::to_owned).collect();
    }
    if mask == ["*"] {
        return writable.iter().map(|field| (*field).to_owned()).collect();
    }
    for (index, path) in mask.iter().enumerate() {
        found.require(
            is_writable(path),
            format!("update_mask.paths[{index}]"),
            format!(
                "is no field that can be changed; these can: {}",
                writable.join(", ")
            ),
        );
    }
    mask
}

/// Gives a message of the wire what an update needs to know about it: which fields can be written, which of them hold
/// something, and how one is taken over from another message.
macro_rules! writable_fields {
    ($message:ident { $($field:ident),* $(,)? } parts { $($part:ident),* $(,)? }) => {
        impl v1::$message {
            pub(crate) const WRITABLE: &'static [&'static str] = &[$(stringify!($field)),*];

            pub(crate) fn is_writable(path: &str) -> bool {
                $(if let Some(rest) = path.strip_prefix(concat!(stringify!($part), ".")) {
                    return Self::default().$part.unwrap_or_default().has_field(rest);
                })*
                Self::WRITABLE.contains(&path)
            }

            pub(crate) fn populated(&self) -> Vec<&'static str> {
                let empty = Self::default();
                let mut fields = Vec::new();
                $(if self.$field != empty.$field {
                    fields.push(stringify!($field));
                })*
                fields
            }

            pub(crate) fn overlay(&mut self, from: &Self, path: &str) {
                $(if let Some(rest) = path.strip_prefix(concat!(stringify!($part), ".")) {
                    let part = from.$part.clone().unwrap_or_default();
                    self.$part.get_or_insert_default().overlay(&part, rest);
                })*
                match path {
                    $(stringify!($field) => self.$field.clone_from(&from.$field),)*
                    _ => {}
                }
            }
        }
    };
}

/// The same for a message inside another, whose fields can be named one by one.
macro_rules! part_fields {
    ($message:ident { $($field:ident),* $(,)? }) => {
        impl v1::$message {
            pub(crate) fn has_field(&self, path: &str) -> bool {
                [$(stringify!($field)),*].contains(&path)
            }

            pub(crate) fn overlay(&mut self, from: &Self, path: &str) {
                match path {
                    $(stringify!($field) => self.$field.clone_from(&from.$field),)*
                    _ => {}
                }
            }
        }
    };
}

pub(crate) use {part_fields, writable_fields};
