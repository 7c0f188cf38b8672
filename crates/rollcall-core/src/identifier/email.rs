//! E-mail addresses: the syntax that mail systems deliver to, no more of RFC 5322 than that.

use thiserror::Error;
use unicode_normalization::char::is_combining_mark;

use super::{is_invisible, normalize};

/// Longest e-mail address, in bytes (RFC 5321, 4.5.3.1.3 less the angle brackets).
pub const MAX_EMAIL_BYTES: usize = 254;
const MAX_LOCAL_PART_BYTES: usize = 64;
const MAX_DOMAIN_LABEL_BYTES: usize = 63;

/// An e-mail address of acceptable syntax.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Email {
    text: String,
    key: String,
}

impl Email {
    /// Accepts an address that mail systems deliver to: one `@`, a local part without spaces, quotes or
    /// brackets, a domain of valid labels. Surrounding spaces are no part of it.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn parse(text: &str) -> Result<Self, EmailProblem> {
        let text = text.trim();
        check_email_syntax(text)?;
        let key = normalize(text);
        check_email_syntax(&key)?;
        Ok(Self {
            text: text.to_owned(),
            key,
        })
    }

    /// The address as it was written, without surrounding spaces.
    pub fn as_str(&self) -> &str {
        &self.text
    }

    /// The address as it is compared; see [`normalize`].
    pub fn key(&self) -> &str {
        &self.key
    }
}

/// Why a text is no e-mail address.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum EmailProblem {
    /// Longer than [`MAX_EMAIL_BYTES`].
    #[error("an e-mail address has at most {MAX_EMAIL_BYTES} bytes")]
    TooLong,
    /// No `@`, or more than one.
    #[error("an e-mail address has exactly one @")]
    NotOneAt,
    /// The part before the `@` is empty, over 64 bytes, or holds a space, a control or `()<>[]:;,\"`.
    #[error("the part before the @ is empty, too long or holds an illegal character")]
    LocalPart,
    /// The part after the `@` is not a host name.
    #[error("the part after the @ is not a domain")]
    Domain,
}

fn check_email_syntax(text: &str) -> Result<(), EmailProblem> {
    if text.len() > MAX_EMAIL_BYTES {
        return Err(EmailProblem::TooLong);
    }
    let (local, domain) = text.split_once('@').ok_or(EmailProblem::NotOneAt)?;
    if domain.contains('@') {
        return Err(EmailProblem::NotOneAt);
    }
    let illegal = |c: char| c.is_whitespace() || is_invisible(c) || r#"()<>[]:;,\""#.contains(c);
    if local.is_empty() || local.len() > MAX_LOCAL_PART_BYTES || local.contains(illegal) {
        return Err(EmailProblem::LocalPart);
    }
    if domain.split('.').all(is_domain_label) {
        Ok(())
    } else {
        Err(EmailProblem::Domain)
    }
}

fn is_domain_label(label: &str) -> bool {
    let legal = |c: char| (c.is_alphanumeric() || is_combining_mark(c) || c == '-') && !is_invisible(c);
    !label.is_empty()
        && label.len() <= MAX_DOMAIN_LABEL_BYTES
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(legal)
}

/// True if [`Email::parse`] accepts the text.
pub fn is_email(text: &str) -> bool {
    Email::parse(text).is_ok()
}

/// The normalized domain of what may be an e-mail address; none if it is not one.
pub fn email_domain(text: &str) -> Option<String> {
    let email = Email::parse(text).ok()?;
    email.key.split_once('@').map(|(_, domain)| domain.to_owned())
}
