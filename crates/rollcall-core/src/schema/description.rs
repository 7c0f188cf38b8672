//! One definition as a server writes it: `( 2.5.4.3 NAME ( 'cn' 'commonName' ) SUP name )` (RFC 4512 section 4.1).

/// Longest definition, in bytes.
const MAX_BYTES: usize = 64 << 10;
/// Longest name or OID, in bytes.
const MAX_NAME: usize = 256;
/// Most names of one type.
const MAX_NAMES: usize = 32;

/// What matters of an attribute type or an object class.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub(super) struct Description {
    pub(super) oid: String,
    pub(super) names: Vec<String>,
    pub(super) superior: Option<String>,
    pub(super) syntax: Option<String>,
    /// Only the server writes its values.
    pub(super) kept_by_server: bool,
}

impl Description {
    /// `None` if it is no definition. Keywords in any order and of any case; what has no meaning here is passed over.
    pub(super) fn parse(text: &str) -> Option<Self> {
        let mut tokens = Tokens(text.get(..).filter(|text| text.len() <= MAX_BYTES)?);
        if tokens.next()? != Token::Open {
            return None;
        }
        let Token::Descr(oid) = tokens.next()? else {
            return None;
        };
        let mut read = Self {
            oid: name(oid)?,
            ..Self::default()
        };
        while let Some(word) = tokens.next() {
            let Token::Descr(keyword) = word else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "NAME" => read.names = tokens.values().iter().copied().filter_map(name).collect(),
                "SUP" => read.superior = tokens.values().first().copied().and_then(name),
                "SYNTAX" => {
                    let syntax = tokens.values().first().copied();
                    // A length may follow: `1.3.6.1{64}`.
                    read.syntax = syntax.and_then(|oid| oid.split('{').next()).and_then(name);
                }
                "NO-USER-MODIFICATION" => read.kept_by_server = true,
                // What a description says is text, whatever words are in it.
                "DESC" | "EQUALITY" | "ORDERING" | "SUBSTR" | "USAGE" => _ = tokens.values(),
                _ => {}
            }
        }
        Some(read)
    }
}

/// A name or OID that is one.
fn name(text: &str) -> Option<String> {
    let valid = (1..=MAX_NAME).contains(&text.len())
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_'));
    valid.then(|| text.to_owned())
}

#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Token<'t> {
    Open,
    Close,
    Quoted(&'t str),
    Descr(&'t str),
}

/// The tokens of a definition that are not read yet.
struct Tokens<'t>(&'t str);

impl<'t> Tokens<'t> {
    /// The value or the list of values that follows a keyword.
    fn values(&mut self) -> Vec<&'t str> {
        let mut values = Vec::new();
        match self.next() {
            Some(Token::Quoted(one) | Token::Descr(one)) => values.push(one),
            Some(Token::Open) => {
                while let Some(Token::Quoted(one) | Token::Descr(one)) = self.next() {
                    if one != "$" && values.len() < MAX_NAMES {
                        values.push(one);
                    }
                }
            }
            Some(Token::Close) | None => {}
        }
        values
    }
}

impl<'t> Iterator for Tokens<'t> {
    type Item = Token<'t>;

    fn next(&mut self) -> Option<Token<'t>> {
        let rest = self.0.trim_start();
        let first = rest.chars().next()?;
        let (word, length) = match first {
            '(' => (Token::Open, 1),
            ')' => (Token::Close, 1),
            '\'' => {
                // A quote within is written `\27`.
                let end = rest[1..].find('\'').map_or(rest.len(), |end| end + 1);
                (Token::Quoted(&rest[1..end]), (end + 1).min(rest.len()))
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '\''))
                    .unwrap_or(rest.len());
                (Token::Descr(&rest[..end]), end)
            }
        };
        self.0 = &rest[length..];
        Some(word)
    }
}
