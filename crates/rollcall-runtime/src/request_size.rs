//! How large requests may be, in bytes without compression.

/// Largest request of an administrative service.
pub const MAX_REQUEST_BYTES: usize = 4 * 1024 * 1024;
/// Largest request of the authentication service.
pub const MAX_AUTHENTICATE_BYTES: usize = SMALL_BYTES;
/// Largest request of health and reflection. Requests up to this size are not counted.
pub(crate) const SMALL_BYTES: usize = 16 * 1024;

/// Largest request of a method.
pub(crate) fn limit(path: &str) -> usize {
    let small = ["/rollcall.v1.AuthService/", "/grpc."];
    match small.iter().any(|prefix| path.starts_with(prefix)) {
        true => SMALL_BYTES,
        false => MAX_REQUEST_BYTES,
    }
}
