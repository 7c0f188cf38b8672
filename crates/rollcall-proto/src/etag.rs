//! Etags: revisions, made opaque.

use rollcall_core::revision::Revision;
use rollcall_core::violation::Violations;

/// The etag of a resource with this revision.
pub fn etag(revision: Revision) -> String {
    format!("r{:x}", revision.number())
}

/// The revision that a caller expects, if it sent an etag.
pub(crate) fn decode_etag(found: &mut Violations, field: &str, text: &str) -> Option<Revision> {
    if text.is_empty() {
        return None;
    }
    let revision = text
        .strip_prefix('r')
        .and_then(|hex| i64::from_str_radix(hex, 16).ok())
        .map(Revision::new);
    let revision = revision.filter(|revision| etag(*revision) == text);
    if revision.is_none() {
        found.add(field, "is not an etag of this service");
    }
    revision
}
