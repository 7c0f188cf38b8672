//! Chunks of plans: JSON, compressed with LZ4. A thousand changes are some 600 KB of JSON and a sixth of
//! that compressed, so that the plan of a first import does not fill the database.

use rollcall_core::id::UserId;
use rollcall_core::plan::{Change, ChangeKind};
use rollcall_core::revision::Revision;
use rollcall_core::user::{FieldChange, Origin, OtherEntry, Profile, StateReason, UserState};
use serde::{Deserialize, Serialize};

use crate::error::{Result, StoreError};
use crate::tables::json::user::{OriginMirror, ProfileMirror, field_changes, other_entry};
use crate::tables::json::{list_of, unreadable};
use crate::tables::labels;

/// Largest chunk that is unpacked, in bytes of JSON.
const MAX_CHUNK_BYTES: usize = 256 * 1024 * 1024;

#[derive(Serialize, Deserialize)]
#[serde(remote = "Change")]
struct ChangeMirror {
    #[serde(with = "labels")]
    kind: ChangeKind,
    #[serde(with = "crate::tables::json::user_id")]
    user: UserId,
    #[serde(with = "crate::tables::json::revision")]
    expected_revision: Revision,
    #[serde(with = "labels::optional", default)]
    state_before: Option<UserState>,
    #[serde(with = "OriginMirror")]
    origin: Origin,
    #[serde(with = "ProfileMirror")]
    profile: Profile,
    #[serde(with = "labels")]
    state: UserState,
    #[serde(with = "labels::optional")]
    state_reason: Option<StateReason>,
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    login_ambiguous: bool,
    #[serde(with = "other_entry", default, skip_serializing_if = "Option::is_none")]
    login_asked_by: Option<OtherEntry>,
    #[serde(with = "field_changes")]
    changes: Vec<FieldChange>,
}

list_of!(changes, Change, "ChangeMirror");

pub(crate) fn pack(list: &[Change]) -> Result<Vec<u8>> {
    let mut json = Vec::new();
    changes::serialize(list, &mut serde_json::Serializer::new(&mut json)).map_err(unreadable)?;
    Ok(lz4_flex::compress_prepend_size(&json))
}

pub(crate) fn unpack(packed: &[u8]) -> Result<Vec<Change>> {
    let corrupt = || StoreError::corrupt("a chunk of a plan cannot be unpacked");
    let (size, block) = lz4_flex::block::uncompressed_size(packed).map_err(|_| corrupt())?;
    if size > MAX_CHUNK_BYTES {
        return Err(corrupt());
    }
    let json = lz4_flex::decompress(block, size).map_err(|_| corrupt())?;
    changes::deserialize(&mut serde_json::Deserializer::from_slice(&json)).map_err(unreadable)
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    const NOW: &str = r#"[{"kind":"UPDATE","user":"00000000-0000-0000-0000-000000000001","expected_revision":3,"state_before":"ACTIVE","origin":{"user_sync":"staff","directory":"main","external_id":"entryUUID=00000000-0000-0000-0000-000000000002","dn":"uid=ada","linked":true},"profile":{"login":"ada","role":"user"},"state":"DEACTIVATED","state_reason":"GONE","login_ambiguous":true,"login_asked_by":{"user_sync":"other","external_id":"entryUUID=00000000-0000-0000-0000-000000000003"},"changes":[{"field":"email","old":null,"new":"ada@example.org"}]}]"#;
    const EARLIER: &str = r#"[{"kind":"CREATE","user":"00000000-0000-0000-0000-000000000001","expected_revision":0,"origin":{"user_sync":"staff","directory":"main","external_id":"entryUUID=00000000-0000-0000-0000-000000000002","dn":"uid=ada","linked":false},"profile":{"login":"ada","role":"user"},"state":"ACTIVE","state_reason":null,"changes":[]}]"#;

    fn unpacked(row: &str) -> Vec<Change> {
        unpack(&lz4_flex::compress_prepend_size(row.as_bytes())).unwrap()
    }

    /// As in `golden.rs`: never change a row, add another.
    #[test]
    fn a_chunk_is_read_as_releases_have_written_it() {
        let json = lz4_flex::decompress_size_prepended(&pack(&unpacked(NOW)).unwrap()).unwrap();
        assert_eq!(String::from_utf8(json).unwrap(), NOW);
        assert_eq!(unpacked(EARLIER).len(), 1);
    }
}
