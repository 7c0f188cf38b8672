//! The plain texts of a user, each under its own name beside the other fields. A name that only a newer release knows
//! is skipped.

use std::collections::BTreeMap;

use rollcall_core::field::TextField;
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::Value;

/// Writes the texts that are set.
pub(crate) fn serialize<T: Serialize, S: Serializer>(
    texts: &BTreeMap<TextField, T>,
    s: S,
) -> Result<S::Ok, S::Error> {
    s.collect_map(texts.iter().map(|(field, value)| (field.name(), value)))
}

pub(crate) fn deserialize<'de, T: DeserializeOwned, D: Deserializer<'de>>(
    d: D,
) -> Result<BTreeMap<TextField, T>, D::Error> {
    let mut texts = BTreeMap::new();
    for (name, value) in BTreeMap::<String, Value>::deserialize(d)? {
        if let Some(field) = TextField::named(&name)
            && !value.is_null()
        {
            let value = serde_json::from_value(value).map_err(serde::de::Error::custom)?;
            texts.insert(field, value);
        }
    }
    Ok(texts)
}

/// For lists. All are written, even empty ones: a former release does not read settings without one.
pub(crate) mod all {
    use super::*;

    pub(crate) fn serialize<S: Serializer>(
        texts: &BTreeMap<TextField, Vec<String>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let all = TextField::ALL.iter();
        s.collect_map(all.map(|field| (field.name(), texts.get(field).map_or(&[][..], Vec::as_slice))))
    }

    pub(crate) fn deserialize<'de, D: Deserializer<'de>>(
        d: D,
    ) -> Result<BTreeMap<TextField, Vec<String>>, D::Error> {
        let mut texts: BTreeMap<TextField, Vec<String>> = super::deserialize(d)?;
        texts.retain(|_, candidates| !candidates.is_empty());
        Ok(texts)
    }
}
