//! Which page of a list a request asks for (AIP-158). The token is not checked here, since that takes the key which
//! signs tokens.

use rollcall_core::violation::Violations;

/// Page size when the request names none.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// Largest page; more is taken as this.
pub const MAX_PAGE_SIZE: u32 = 1000;

/// Which page a request asks for.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct AskedPage {
    /// At most how many items, 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
    /// The token as it came; empty for the first page.
    pub token: String,
    /// All else that a token belongs to: the method and its other arguments.
    pub request: Vec<String>,
}

impl AskedPage {
    /// Decodes the page fields of a request. `request` is all else that the token belongs to: the method and its other
    /// arguments.
    pub(crate) fn decode(
        found: &mut Violations,
        page_size: i32,
        page_token: String,
        request: &[&str],
    ) -> Self {
        let size = match u32::try_from(page_size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => {
                found.add("page_size", "must not be negative");
                DEFAULT_PAGE_SIZE
            }
        };
        Self {
            size,
            token: page_token,
            request: request.iter().map(|&part| part.to_owned()).collect(),
        }
    }
}
