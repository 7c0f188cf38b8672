//! Refuses a call whose metadata is too large, with a readable error. The transport's own refusal looks different and
//! cryptic in each client library, so its limit is higher.

use http::{HeaderMap, Request, Response};
use rollcall_core::error::{Error, Reason};
use tonic::body::Body;

use super::refusal;

/// Most bytes of a call's metadata, as HTTP/2 counts them.
const MAX_BYTES: usize = 16 * 1024;
/// The transport's own limit.
pub(crate) const MAX_TRANSPORT_BYTES: u32 = 64 * 1024;

/// The answer to a call with too much metadata.
pub(crate) fn too_large(request: &Request<Body>) -> Option<Response<Body>> {
    (size(request.headers()) > MAX_BYTES).then(|| {
        let message = format!("the metadata of the call is larger than {MAX_BYTES} bytes");
        refusal(Error::new(Reason::MetadataTooLarge, message).with("limit", MAX_BYTES.to_string()))
    })
}

/// Name, value and 32 bytes for each field (RFC 9113, section 6.5.2).
fn size(headers: &HeaderMap) -> usize {
    let fields = headers.iter();
    fields
        .map(|(name, value)| name.as_str().len() + value.len() + 32)
        .sum()
}
