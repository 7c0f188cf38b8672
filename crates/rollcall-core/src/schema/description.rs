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
        let mut words = Words(text.get(..).filter(|text| text.len() <= MAX_BYTES)?);
        if words.next()? != Word::Open {
            return None;
        }
        let Word::Bare(oid) = words.next()? else {
            return None;
        };
        let mut read = Self {
            oid: name(oid)?,
            ..Self::default()
        };
        while let Some(word) = words.next() {
            let Word::Bare(keyword) = word else { continue };
            match keyword.to_ascii_uppercase().as_str() {
                "NAME" => read.names = words.values().iter().copied().filter_map(name).collect(),
                "SUP" => read.superior = words.values().first().copied().and_then(name),
                "SYNTAX" => {
                    let syntax = words.values().first().copied();
                    // A length may follow: `1.3.6.1{64}`.
                    read.syntax = syntax.and_then(|oid| oid.split('{').next()).and_then(name);
                }
                "NO-USER-MODIFICATION" => read.kept_by_server = true,
                // What a description says is text, whatever words are in it.
                "DESC" | "EQUALITY" | "ORDERING" | "SUBSTR" | "USAGE" => _ = words.values(),
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
enum Word<'t> {
    Open,
    Close,
    Quoted(&'t str),
    Bare(&'t str),
}

/// The words of a definition that are not read yet.
struct Words<'t>(&'t str);

impl<'t> Words<'t> {
    /// The value or the list of values that follows a keyword.
    fn values(&mut self) -> Vec<&'t str> {
        let mut values = Vec::new();
        match self.next() {
            Some(Word::Quoted(one) | Word::Bare(one)) => values.push(one),
            Some(Word::Open) => {
                while let Some(Word::Quoted(one) | Word::Bare(one)) = self.next() {
                    if one != "$" && values.len() < MAX_NAMES {
                        values.push(one);
                    }
                }
            }
            Some(Word::Close) | None => {}
        }
        values
    }
}

impl<'t> Iterator for Words<'t> {
    type Item = Word<'t>;

    fn next(&mut self) -> Option<Word<'t>> {
        let rest = self.0.trim_start();
        let first = rest.chars().next()?;
        let (word, length) = match first {
            '(' => (Word::Open, 1),
            ')' => (Word::Close, 1),
            '\'' => {
                // A quote within is written `\27`.
                let end = rest[1..].find('\'').map_or(rest.len(), |end| end + 1);
                (Word::Quoted(&rest[1..end]), (end + 1).min(rest.len()))
            }
            _ => {
                let end = rest
                    .find(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | '\''))
                    .unwrap_or(rest.len());
                (Word::Bare(&rest[..end]), end)
            }
        };
        self.0 = &rest[length..];
        Some(word)
    }
}
