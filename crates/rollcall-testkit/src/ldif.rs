use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// Writes LDIF content records (RFC 2849); every value that is not plainly safe goes in base64.
#[derive(Default)]
pub struct Ldif {
    text: String,
}

impl Ldif {
    /// An empty file.
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins an entry. `dn` is a DN string, escaped by the caller as RFC 4514 asks.
    pub fn entry(&mut self, dn: &str) -> &mut Self {
        if !self.text.is_empty() {
            self.text.push('\n');
        }
        self.attribute("dn", dn)
    }

    /// Adds one value to the entry begun last.
    pub fn attribute(&mut self, name: &str, value: impl AsRef<[u8]>) -> &mut Self {
        let value = value.as_ref();
        self.text.push_str(name);
        match std::str::from_utf8(value) {
            Ok(plain) if is_safe(plain) => {
                self.text.push_str(": ");
                self.text.push_str(plain);
            }
            _ => {
                self.text.push_str(":: ");
                STANDARD.encode_string(value, &mut self.text);
            }
        }
        self.text.push('\n');
        self
    }

    /// The text so far.
    pub fn as_str(&self) -> &str {
        &self.text
    }
}

fn is_safe(value: &str) -> bool {
    let plain = value.bytes().all(|byte| byte.is_ascii_graphic() || byte == b' ');
    plain && !value.starts_with([' ', ':', '<']) && !value.ends_with(' ')
}
