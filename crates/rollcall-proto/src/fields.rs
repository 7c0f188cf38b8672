//! What is known of the messages' fields: which of them an update can change, and which hold text. The lists are made from
//! the contract (`generated/fields.rs`), so that nobody has to keep them.

use crate::v1;

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

/// Gives a message its fields of one type by their names.
macro_rules! texts {
    ($message:ident: $type:ty { $($field:ident),* $(,)? }) => {
        impl v1::$message {
            /// The field of this name; `None` if none of that type has it.
            pub(crate) fn text_mut(&mut self, name: &str) -> Option<&mut $type> {
                match name {
                    $(stringify!($field) => Some(&mut self.$field),)*
                    _ => None,
                }
            }
        }
    };
}

include!("generated/fields.rs");
