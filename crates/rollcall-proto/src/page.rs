//! Pages of lists (AIP-158). A token says where the next page begins and which request it belongs to; it grants
//! nothing, since every request is checked anew.

use base64::Engine;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rollcall_core::violation::Violations;

/// Page size when the request names none.
pub const DEFAULT_PAGE_SIZE: u32 = 50;
/// Largest page; more is taken as this.
pub const MAX_PAGE_SIZE: u32 = 1000;
/// Longest page token, in bytes.
const MAX_TOKEN_BYTES: usize = 2048;
/// First byte of a token. A later format gets another one.
const VERSION: u8 = 1;

/// Which page to return.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Page {
    /// At most how many items, 1 to [`MAX_PAGE_SIZE`].
    pub size: u32,
    /// Return what comes after this position, which is whatever was given to [`Page::next_token`]; `None` for the first
    /// page.
    pub after: Option<String>,
    binding: u64,
}

impl Page {
    /// Decodes the page fields of a request. `request` is all else that the token belongs to: the method and its other
    /// arguments.
    pub(crate) fn decode(found: &mut Violations, page_size: i32, page_token: &str, request: &[&str]) -> Self {
        let size = match u32::try_from(page_size) {
            Ok(0) => DEFAULT_PAGE_SIZE,
            Ok(size) => size.min(MAX_PAGE_SIZE),
            Err(_) => {
                found.add("page_size", "must not be negative");
                DEFAULT_PAGE_SIZE
            }
        };
        let binding = fnv1a(request);
        let after = match page_token {
            "" => None,
            token => {
                let position = open(token, binding);
                if position.is_none() {
                    found.add(
                        "page_token",
                        "was not returned by this method for these arguments",
                    );
                }
                position
            }
        };
        Self { size, after, binding }
    }

    /// The token of the page that begins after `position`.
    pub fn next_token(&self, position: &str) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(self.binding.to_be_bytes());
        bytes.extend(position.as_bytes());
        URL_SAFE_NO_PAD.encode(bytes)
    }
}

fn open(token: &str, binding: u64) -> Option<String> {
    if token.len() > MAX_TOKEN_BYTES {
        return None;
    }
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let rest = bytes.strip_prefix(&[VERSION])?;
    let position = rest.strip_prefix(&binding.to_be_bytes())?;
    String::from_utf8(position.to_vec()).ok()
}

/// FNV-1a with lengths in between, so that arguments cannot run into each other. It keeps tokens from being mixed up by
/// mistake; nothing depends on it being hard to forge.
fn fnv1a(parts: &[&str]) -> u64 {
    let step = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
    let mut hash = 0xcbf2_9ce4_8422_2325;
    for part in parts {
        hash = (part.len() as u64).to_be_bytes().into_iter().fold(hash, step);
        hash = part.bytes().fold(hash, step);
    }
    hash
}
