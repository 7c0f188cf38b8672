//! Values that must never be printed. The types here have no `Debug`, `Display` or `Clone`, and their
//! memory is overwritten when they go.

use zeroize::Zeroizing;

/// Longest password accepted, in bytes.
pub const MAX_PASSWORD_BYTES: usize = 1024;

/// A password as it was typed: never trimmed, never normalised, never empty.
///
/// An empty password would be an unauthenticated bind (RFC 4513 section 5.1.2), which some servers answer
/// with success; so there is no way to build one.
pub struct Password(Zeroizing<String>);

/// Why a password was refused before anything was sent.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum PasswordProblem {
    /// No character at all.
    #[error("must not be empty")]
    Empty,
    /// Longer than [`MAX_PASSWORD_BYTES`].
    #[error("is longer than 1024 bytes")]
    TooLong,
    /// Holds a NUL, at which some servers end the password.
    #[error("must not hold a NUL character")]
    Nul,
}

impl Password {
    /// Takes a password over. The caller's string becomes this one, so no copy is left behind.
    pub fn new(text: String) -> Result<Self, PasswordProblem> {
        let text = Zeroizing::new(text);
        match text.as_str() {
            "" => Err(PasswordProblem::Empty),
            long if long.len() > MAX_PASSWORD_BYTES => Err(PasswordProblem::TooLong),
            nul if nul.contains('\0') => Err(PasswordProblem::Nul),
            _ => Ok(Self(text)),
        }
    }

    /// The password itself, for the bind and for sealing; nowhere else.
    pub fn expose(&self) -> &str {
        &self.0
    }
}

/// Secret bytes: a private key, a data key.
pub struct SecretBytes(Zeroizing<Vec<u8>>);

impl SecretBytes {
    /// Takes the bytes over.
    pub fn new(bytes: Vec<u8>) -> Self {
        Self(Zeroizing::new(bytes))
    }

    /// The bytes themselves.
    pub fn expose(&self) -> &[u8] {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn passwords_are_taken_exactly_or_not_at_all() {
        assert_eq!(Password::new("  pw ".into()).ok().unwrap().expose(), "  pw ");
        assert_eq!(Password::new(" ".into()).ok().unwrap().expose(), " ");
        assert_eq!(Password::new(String::new()).err(), Some(PasswordProblem::Empty));
        assert_eq!(Password::new("a\0b".into()).err(), Some(PasswordProblem::Nul));
        assert!(Password::new("x".repeat(1024)).is_ok());
        assert_eq!(
            Password::new("x".repeat(1025)).err(),
            Some(PasswordProblem::TooLong)
        );
    }
}
