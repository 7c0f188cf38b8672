//! E-mail addresses: the syntax that mail systems deliver to on the internet (RFC 5321 section 4.1.2, and RFC 6531 for
//! other scripts), no more of RFC 5322 than that.

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
    /// Accepts an address that mail systems deliver to: a local part, as words between dots or in quotes, an `@`, and a
    /// domain of at least two valid labels. Surrounding spaces are no part of it.
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
    /// No `@`, or more than one outside of quotes.
    #[error("an e-mail address has exactly one @")]
    NotOneAt,
    /// The part before the `@` is empty, over 64 bytes, has a dot too many, or holds a space, a control or
    /// `()<>[]:;,\"` outside of quotes.
    #[error("the part before the @ is empty, too long, or holds an illegal character or a misplaced dot")]
    LocalPart,
    /// The part after the `@` is not the name of a host on the internet.
    #[error("the part after the @ is not a full domain, like example.com")]
    Domain,
}

fn check_email_syntax(text: &str) -> Result<(), EmailProblem> {
    if text.len() > MAX_EMAIL_BYTES {
        return Err(EmailProblem::TooLong);
    }
    let (local, domain) = text.rsplit_once('@').ok_or(EmailProblem::NotOneAt)?;
    let quoted = local.len() >= 2 && local.starts_with('"') && local.ends_with('"');
    if !quoted && local.contains('@') {
        return Err(EmailProblem::NotOneAt);
    }
    let valid = match quoted {
        true => is_quoted_content(&local[1..local.len() - 1]),
        false => local.split('.').all(is_atom),
    };
    if !valid || local.len() > MAX_LOCAL_PART_BYTES {
        return Err(EmailProblem::LocalPart);
    }
    // A last label of digits alone is that of an IPv4 address.
    let top = domain.rsplit_once('.').map(|(_, top)| top);
    let is_name = top.is_some_and(|top| !top.bytes().all(|b| b.is_ascii_digit()));
    if is_name && domain.split('.').all(is_domain_label) {
        Ok(())
    } else {
        Err(EmailProblem::Domain)
    }
}

/// An `Atom` of RFC 5321, or of RFC 6531.
fn is_atom(text: &str) -> bool {
    let illegal = |c: char| c.is_whitespace() || is_invisible(c) || r#"()<>[]:;,\"@"#.contains(c);
    !text.is_empty() && !text.contains(illegal)
}

/// What may stand between the quotes of a `Quoted-string`: a backslash makes the next character, printable ASCII, plain.
fn is_quoted_content(text: &str) -> bool {
    let mut characters = text.chars();
    while let Some(c) = characters.next() {
        let legal = match c {
            '\\' => characters.next().is_some_and(|next| matches!(next, ' '..='~')),
            '"' => false,
            ' '..='~' => true,
            c => !c.is_ascii() && !c.is_whitespace() && !is_invisible(c),
        };
        if !legal {
            return false;
        }
    }
    !text.is_empty()
}

fn is_domain_label(label: &str) -> bool {
    let legal = |c: char| (c.is_alphanumeric() || is_combining_mark(c) || c == '-') && !is_invisible(c);
    !label.is_empty()
        && label.len() <= MAX_DOMAIN_LABEL_BYTES
        && !label.starts_with('-')
        && !label.ends_with('-')
        && label.chars().all(legal)
}

/// The normalized domain of what may be an e-mail address; none if it is not one.
pub fn email_domain(text: &str) -> Option<String> {
    let email = Email::parse(text).ok()?;
    email.key.rsplit_once('@').map(|(_, domain)| domain.to_owned())
}
