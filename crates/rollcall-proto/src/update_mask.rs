//! Update masks (AIP-134): which fields of a resource a request changes.

use prost_types::FieldMask;
use rollcall_core::violation::Violations;

/// The fields to change: those of the mask; without a mask, those that are set.
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

/// Implements what an update needs to know about a message: which fields can be written, which of them are set, and how
/// to copy one from another message.
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
            pub(crate) const FIELDS: &'static [&'static str] = &[$(stringify!($field)),*];

            pub(crate) fn has_field(&self, path: &str) -> bool {
                Self::FIELDS.contains(&path)
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

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use std::collections::BTreeSet;

    use prost_reflect::{DescriptorPool, MessageDescriptor, Value};

    use crate::v1;

    /// OUTPUT_ONLY, IMMUTABLE and IDENTIFIER (google/api/field_behavior.proto).
    const NOT_WRITTEN: [i32; 3] = [3, 5, 8];

    fn message(name: &str) -> MessageDescriptor {
        let pool = DescriptorPool::decode(crate::FILE_DESCRIPTOR_SET).unwrap();
        pool.get_message_by_name(&format!("rollcall.v1.{name}")).unwrap()
    }

    fn behaviours(options: &prost_reflect::DynamicMessage, pool: &DescriptorPool) -> Vec<i32> {
        let extension = pool.get_extension_by_name("google.api.field_behavior").unwrap();
        let value = options.get_extension(&extension).into_owned();
        let list = value.as_list().unwrap_or_default();
        list.iter().filter_map(Value::as_enum_number).collect()
    }

    /// The fields of a message that a request may write. The etag belongs to the request and is not one of them.
    fn writable(name: &str) -> BTreeSet<String> {
        let message = message(name);
        let pool = message.parent_pool();
        let fields = message.fields().filter(|field| {
            let behaviours = behaviours(&field.options(), pool);
            field.name() != "etag" && !behaviours.iter().any(|behaviour| NOT_WRITTEN.contains(behaviour))
        });
        fields.map(|field| field.name().to_owned()).collect()
    }

    #[test]
    fn a_mask_may_name_each_field_that_the_contract_lets_be_written() {
        let listed =
            |fields: &[&str]| -> BTreeSet<String> { fields.iter().map(ToString::to_string).collect() };
        assert_eq!(listed(v1::Tenant::WRITABLE), writable("Tenant"));
        assert_eq!(listed(v1::Directory::WRITABLE), writable("Directory"));
        assert_eq!(listed(v1::UserSync::WRITABLE), writable("UserSync"));
        assert_eq!(listed(v1::User::WRITABLE), writable("User"));
        assert_eq!(listed(v1::FieldMappings::FIELDS), writable("FieldMappings"));
        assert_eq!(listed(v1::RemovalLimit::FIELDS), writable("RemovalLimit"));
        assert_eq!(listed(v1::GrowthLimit::FIELDS), writable("GrowthLimit"));
        assert_eq!(listed(v1::ReportSettings::FIELDS), writable("ReportSettings"));
        assert_eq!(listed(v1::SoftLock::FIELDS), writable("SoftLock"));
    }
}
