//! What ties the sealed rows together. Each row's hash covers the row and the hash of the row before it, with a key that is not
//! in the database; so no row can be changed, removed, added or moved without the hashes after it telling so.

use rollcall_core::mac::{MacKey, Tag};
use sea_orm::FromQueryResult;
use uuid::Uuid;

/// A sealed row as it is stored.
#[derive(Clone, FromQueryResult)]
pub(crate) struct AuditRow {
    pub(crate) position: i64,
    pub(crate) id: i64,
    pub(crate) time: i64,
    pub(crate) tenant: Option<String>,
    pub(crate) caller: String,
    pub(crate) credential: String,
    pub(crate) method: Option<String>,
    pub(crate) resource: Option<String>,
    pub(crate) outcome: Option<String>,
    pub(crate) reason: Option<String>,
    pub(crate) user_id: Option<Uuid>,
    pub(crate) user_sync: Option<String>,
    pub(crate) directory: Option<String>,
    pub(crate) digest: Vec<u8>,
    pub(crate) hash: Vec<u8>,
}

/// The columns of a row, as an INSERT and a SELECT name them.
pub(crate) const COLUMNS: [&str; 15] = [
    "position",
    "id",
    "time",
    "tenant",
    "caller",
    "credential",
    "method",
    "resource",
    "outcome",
    "reason",
    "user_id",
    "user_sync",
    "directory",
    "digest",
    "hash",
];

/// One of the two ends of the chain.
#[derive(FromQueryResult)]
pub(crate) struct End {
    pub(crate) position: i64,
    pub(crate) hash: Vec<u8>,
    pub(crate) last_id: i64,
    pub(crate) signature: Vec<u8>,
}

impl AuditRow {
    /// What its hash has to be, after a row with the hash `before`.
    pub(crate) fn chained(&self, key: &MacKey, before: &[u8]) -> Tag {
        let user = self.user_id.map(|user| user.simple().to_string());
        let texts = [
            &self.tenant,
            &self.method,
            &self.resource,
            &self.outcome,
            &self.reason,
            &user,
            &self.user_sync,
            &self.directory,
        ]
        .map(|text| present(text.as_deref()));
        let numbers = [self.position, self.id, self.time].map(i64::to_be_bytes);
        let mut parts: Vec<&[u8]> = vec![b"audit row", before];
        parts.extend(numbers.iter().map(<[u8; 8]>::as_slice));
        parts.extend([self.caller.as_bytes(), self.credential.as_bytes()]);
        parts.extend(texts.iter().map(Vec::as_slice));
        parts.push(&self.digest);
        key.tag(&parts)
    }
}

/// The digest of a payload, which its row keeps. Without the salt, nobody can test a guess at the payload.
pub(crate) fn digest(salt: &[u8], payload: &str) -> Tag {
    MacKey::new(salt).tag(&[b"audit payload", payload.as_bytes()])
}

/// The mark that an erasure writes beside what it left of a payload, whose digest no longer fits. Only Rollcall can
/// make it, so nobody else can pass a removal off as an erasure.
pub(crate) fn erasure_mark(key: &MacKey, [position, id, time]: [i64; 3], left: &str) -> Tag {
    let numbers = [position, id, time].map(i64::to_be_bytes);
    let [position, id, time] = numbers.each_ref().map(<[u8; 8]>::as_slice);
    key.tag(&[b"audit erasure", position, id, time, left.as_bytes()])
}

/// The signature that retention leaves where it deleted. Only Rollcall can make it, so nobody else can say where the
/// chain starts.
pub(crate) fn start_signature(key: &MacKey, position: i64, hash: &[u8]) -> Tag {
    key.tag(&[b"audit start", &position.to_be_bytes(), hash])
}

/// The bytes of a text that may be missing. A missing text differs from an empty one.
fn present(text: Option<&str>) -> Vec<u8> {
    match text {
        None => vec![0],
        Some(text) => [&[1], text.as_bytes()].concat(),
    }
}
