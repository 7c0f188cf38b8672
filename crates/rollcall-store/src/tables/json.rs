//! Domain values that are stored as JSON. The domain does not use serde, so each type has a mirror here. A mirror that
//! no longer fits its type does not compile.
//!
//! Give a field that is added later `#[serde(default)]`: older rows lack it.

pub(crate) mod audit;
pub(crate) mod check;
pub(crate) mod directory;
pub(crate) mod erasure;
#[cfg(test)]
pub(crate) mod golden;
pub(crate) mod plan;
pub(crate) mod run;
pub(crate) mod text_fields;
pub(crate) mod user;
pub(crate) mod user_sync;

use crate::error::{Result, StoreError};

/// A value that is stored as JSON.
pub(crate) trait JsonColumn: Sized {
    fn to_json(&self) -> Result<String>;

    fn from_json(text: &str) -> Result<Self>;
}

pub(crate) fn unreadable(error: serde_json::Error) -> StoreError {
    StoreError::corrupt_by("stored JSON does not fit its type", error)
}

/// Stores a type by its mirror.
macro_rules! json_column {
    ($type:ty, $mirror:ty) => {
        impl $crate::tables::json::JsonColumn for $type {
            fn to_json(&self) -> $crate::error::Result<String> {
                let mut bytes = Vec::new();
                <$mirror>::serialize(self, &mut serde_json::Serializer::new(&mut bytes))
                    .map_err($crate::tables::json::unreadable)?;
                String::from_utf8(bytes).map_err(|_| $crate::error::StoreError::corrupt("JSON is not UTF-8"))
            }

            fn from_json(text: &str) -> $crate::error::Result<Self> {
                <$mirror>::deserialize(&mut serde_json::Deserializer::from_str(text))
                    .map_err($crate::tables::json::unreadable)
            }
        }
    };
}

/// The functions that write and read one mirrored value.
macro_rules! mirrored {
    ($type:ty, $mirror:literal) => {
        use serde::{Deserialize, Deserializer, Serialize, Serializer};

        #[allow(
            clippy::wildcard_imports,
            reason = "what the mirrored type is made of is in scope where the macro is used"
        )]
        use super::*;

        #[derive(Serialize)]
        struct Borrowed<'a>(#[serde(with = $mirror)] &'a $type);

        #[derive(Deserialize)]
        struct Owned(#[serde(with = $mirror)] $type);
    };
}

/// For `#[serde(with = ...)]`: stores a revision by its number.
pub(crate) mod revision {
    use rollcall_core::revision::Revision;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};

    pub(crate) fn serialize<S: Serializer>(revision: &Revision, s: S) -> Result<S::Ok, S::Error> {
        revision.number().serialize(s)
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Revision, D::Error> {
        i64::deserialize(d).map(Revision::new)
    }
}

/// A module for `#[serde(with = ...)]` that stores a list of mirrored values.
macro_rules! list_of {
    ($module:ident, $type:ty, $mirror:literal) => {
        pub(crate) mod $module {
            $crate::tables::json::mirrored!($type, $mirror);

            pub(crate) fn serialize<S: Serializer>(items: &[$type], s: S) -> Result<S::Ok, S::Error> {
                s.collect_seq(items.iter().map(Borrowed))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Vec<$type>, D::Error> {
                Ok(Vec::<Owned>::deserialize(d)?
                    .into_iter()
                    .map(|item| item.0)
                    .collect())
            }
        }
    };
}

/// A module for `#[serde(with = ...)]` that stores an optional mirrored value.
macro_rules! option_of {
    ($module:ident, $type:ty, $mirror:literal) => {
        pub(crate) mod $module {
            $crate::tables::json::mirrored!($type, $mirror);

            pub(crate) fn serialize<S: Serializer>(item: &Option<$type>, s: S) -> Result<S::Ok, S::Error> {
                item.as_ref().map(Borrowed).serialize(s)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<$type>, D::Error> {
                Ok(Option::<Owned>::deserialize(d)?.map(|item| item.0))
            }
        }
    };
}

/// A module for `#[serde(with = ...)]` that stores a value by its text.
macro_rules! text_of {
    ($module:ident, $type:ty, $to:expr, $from:expr) => {
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serializer};

            #[allow(
                clippy::wildcard_imports,
                reason = "what the mirrored type is made of is in scope where the macro is used"
            )]
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &$type, s: S) -> Result<S::Ok, S::Error> {
                let text: fn(&$type) -> String = $to;
                s.serialize_str(&text(value))
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<$type, D::Error> {
                let parse: fn(&str) -> Option<$type> = $from;
                parse(&String::deserialize(d)?).ok_or_else(|| serde::de::Error::custom("malformed text"))
            }
        }
    };
}

/// A module for `#[serde(with = ...)]` that stores an optional value by its text.
macro_rules! optional_text_of {
    ($module:ident, $type:ty, $from:expr) => {
        pub(crate) mod $module {
            use serde::{Deserialize, Deserializer, Serialize, Serializer};

            #[allow(
                clippy::wildcard_imports,
                reason = "what the mirrored type is made of is in scope where the macro is used"
            )]
            use super::*;

            pub(crate) fn serialize<S: Serializer>(value: &Option<$type>, s: S) -> Result<S::Ok, S::Error> {
                value.as_ref().map(ToString::to_string).serialize(s)
            }

            pub(crate) fn deserialize<'de, D: Deserializer<'de>>(d: D) -> Result<Option<$type>, D::Error> {
                let parse: fn(&str) -> Option<$type> = $from;
                let text = Option::<String>::deserialize(d)?;
                text.map(|text| parse(&text).ok_or_else(|| serde::de::Error::custom("malformed text")))
                    .transpose()
            }
        }
    };
}

pub(crate) use {json_column, list_of, mirrored, option_of, optional_text_of, text_of};

text_of!(
    directory_id,
    rollcall_core::id::DirectoryId,
    |id| id.to_string(),
    rollcall_core::id::DirectoryId::parse
);
text_of!(
    user_sync_id,
    rollcall_core::id::UserSyncId,
    |id| id.to_string(),
    rollcall_core::id::UserSyncId::parse
);
text_of!(
    tenant_id,
    rollcall_core::id::TenantId,
    |id| id.to_string(),
    rollcall_core::id::TenantId::parse
);
text_of!(
    user_id,
    rollcall_core::id::UserId,
    |id| id.to_string(),
    rollcall_core::id::UserId::parse
);

optional_text_of!(
    optional_user_id,
    rollcall_core::id::UserId,
    rollcall_core::id::UserId::parse
);
optional_text_of!(
    optional_user_sync_id,
    rollcall_core::id::UserSyncId,
    rollcall_core::id::UserSyncId::parse
);
