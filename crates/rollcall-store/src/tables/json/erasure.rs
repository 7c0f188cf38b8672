//! What a person who is erased is found by.

use std::collections::{BTreeSet, HashSet};

use rollcall_core::erasure::Person;
use rollcall_core::external_id::ExternalId;
use rollcall_core::id::{DirectoryId, UserId};
use serde::{Deserialize, Serialize};

use crate::tables::json::json_column;
use crate::tables::json::user::external_id;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Person")]
struct PersonMirror {
    #[serde(with = "crate::tables::json::user_id")]
    user: UserId,
    #[serde(with = "entries")]
    entries: HashSet<(DirectoryId, ExternalId)>,
    dns: BTreeSet<String>,
    identifiers: BTreeSet<String>,
    names: BTreeSet<String>,
}

#[derive(Serialize, Deserialize)]
struct Entry(
    #[serde(with = "crate::tables::json::directory_id")] DirectoryId,
    #[serde(with = "external_id")] ExternalId,
);

mod entries {
    use serde::{Deserializer, Serializer};

    use super::*;

    pub(super) fn serialize<S: Serializer>(
        entries: &HashSet<(DirectoryId, ExternalId)>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(
            entries
                .iter()
                .cloned()
                .map(|(directory, id)| Entry(directory, id)),
        )
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<HashSet<(DirectoryId, ExternalId)>, D::Error> {
        let entries = Vec::<Entry>::deserialize(deserializer)?;
        Ok(entries
            .into_iter()
            .map(|Entry(directory, id)| (directory, id))
            .collect())
    }
}

json_column!(Person, PersonMirror);
