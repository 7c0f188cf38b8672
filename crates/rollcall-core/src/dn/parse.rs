//! The parser, one pass over the bytes.

use super::{Dn, DnError, DnProblem as Problem, MAX_DN_BYTES, Rdn, Value, split, value_of};
use crate::filter::Attribute;

type Mistake = (usize, Problem);

impl Dn {
    /// Parses RFC 4514, and the older forms that directories still write: spaces around separators, `;`
    /// between parts, values in quotation marks. The empty text is the root of the tree.
    ///
    /// # Errors
    /// The first mistake.
    pub fn parse(text: &str) -> Result<Self, DnError> {
        let rdns = parse(text, By::Person).map_err(|(offset, problem)| {
            let column = text.get(..offset).unwrap_or(text).chars().count() + 1;
            DnError {
                offset,
                column,
                problem,
            }
        })?;
        Ok(Self {
            text: text.to_owned(),
            rdns,
        })
    }

    /// Parses a DN that a server gave. It is never refused: characters that RFC 4514 wants escaped stand for
    /// themselves, and an RDN that cannot be read all the same is compared byte for byte.
    pub fn given(text: &str) -> Self {
        let rdns = parse(text, By::Server).unwrap_or_else(|_| {
            let mut rdns = Vec::new();
            let mut rest = Some(text);
            while let Some(dn) = rest {
                let (rdn, above) = split(dn);
                rdns.push(match parse(rdn, By::Server).as_deref() {
                    Ok([one]) => one.clone(),
                    _ => vec![(String::new(), Value::Bytes(rdn.trim().as_bytes().to_vec()))],
                });
                rest = above;
            }
            rdns
        });
        Self {
            text: text.to_owned(),
            rdns,
        }
    }
}

/// Whose text it is.
#[derive(Clone, Copy, PartialEq, Eq)]
enum By {
    /// A person's: what RFC 4514 wants escaped has to be.
    Person,
    /// A server's, which knows where its values end: what is not escaped stands for itself.
    Server,
}

fn parse(text: &str, by: By) -> Result<Vec<Rdn>, Mistake> {
    if by == By::Person && text.len() > MAX_DN_BYTES {
        return Err((MAX_DN_BYTES, Problem::TooLong));
    }
    let mut parser = Parser {
        text,
        bytes: text.as_bytes(),
        at: 0,
        by,
    };
    parser.skip_space();
    let mut rdns = Vec::new();
    if parser.peek().is_none() {
        return Ok(rdns);
    }
    loop {
        let mut rdn = vec![parser.part()?];
        while parser.peek() == Some(b'+') {
            parser.at += 1;
            rdn.push(parser.part()?);
        }
        rdn.sort();
        rdns.push(rdn);
        match parser.peek() {
            None => return Ok(rdns),
            Some(_) => parser.at += 1, // part() stops at `,`, `;` and `+` only
        }
    }
}

struct Parser<'a> {
    text: &'a str,
    bytes: &'a [u8],
    at: usize,
    by: By,
}

impl Parser<'_> {
    /// `type=value` with the spaces around both.
    fn part(&mut self) -> Result<(String, Value), Mistake> {
        self.skip_space();
        let start = self.at;
        let length = self.text[start..]
            .find(['=', ',', ';', '+', '"', '\\'])
            .filter(|length| self.bytes[start + length] == b'=');
        let Some(length) = length else {
            return Err((start, Problem::MissingEquals));
        };
        let attribute =
            attribute_type(&self.text[start..start + length]).ok_or((start, Problem::AttributeType))?;
        self.at = start + length + 1;
        self.skip_space();
        let value = match self.peek() {
            Some(b'#') => self.hex_string()?,
            Some(b'"') => self.quoted()?,
            _ => self.string()?,
        };
        self.skip_space();
        match self.peek() {
            None | Some(b',' | b';' | b'+') => Ok((attribute, value)),
            Some(_) => Err((self.at, Problem::Unescaped(self.character()))),
        }
    }

    fn string(&mut self) -> Result<Value, Mistake> {
        let mut value = Vec::new();
        let mut significant = 0; // what is escaped is never a trailing space
        while let Some(byte) = self.peek() {
            match byte {
                b',' | b';' | b'+' => break,
                b'\\' => {
                    value.push(self.escaped()?);
                    significant = value.len();
                    continue;
                }
                // `=` needs no escape (RFC 4514 3), the others do.
                b'"' | b'<' | b'>' if self.by == By::Server => value.push(byte),
                b'"' | b'<' | b'>' | 0 => return Err((self.at, Problem::Unescaped(byte as char))),
                other => value.push(other),
            }
            if !byte.is_ascii_whitespace() {
                significant = value.len();
            }
            self.at += 1;
        }
        value.truncate(significant);
        Ok(value_of(value))
    }

    fn quoted(&mut self) -> Result<Value, Mistake> {
        let start = self.at;
        self.at += 1;
        let mut value = Vec::new();
        loop {
            match self.peek() {
                None => return Err((start, Problem::Quotes)),
                Some(b'"') => break,
                Some(b'\\') => value.push(self.escaped()?),
                Some(other) => {
                    value.push(other);
                    self.at += 1;
                }
            }
        }
        self.at += 1;
        Ok(value_of(value))
    }

    /// `#` and the BER of the value, in hexadecimal.
    fn hex_string(&mut self) -> Result<Value, Mistake> {
        let start = self.at;
        self.at += 1;
        let mut value = Vec::new();
        while let (Some(high), Some(low)) = (self.hex_digit(0), self.hex_digit(1)) {
            value.push(high * 16 + low);
            self.at += 2;
        }
        let ends = matches!(self.peek(), None | Some(b',' | b';' | b'+' | b' '));
        if value.is_empty() || !ends {
            return Err((start, Problem::HexString));
        }
        Ok(ber_text(&value).map_or(Value::Bytes(value.clone()), |text| value_of(text.to_vec())))
    }

    /// One byte from `\,` or `\2C`.
    fn escaped(&mut self) -> Result<u8, Mistake> {
        let start = self.at;
        self.at += 1;
        if let (Some(high), Some(low)) = (self.hex_digit(0), self.hex_digit(1)) {
            self.at += 2;
            return Ok(high * 16 + low);
        }
        match self.peek() {
            Some(byte @ (b'"' | b'+' | b',' | b';' | b'<' | b'>' | b'\\' | b' ' | b'#' | b'=')) => {
                self.at += 1;
                Ok(byte)
            }
            _ => Err((start, Problem::Escape)),
        }
    }

    fn hex_digit(&self, ahead: usize) -> Option<u8> {
        let digit = (*self.bytes.get(self.at + ahead)? as char).to_digit(16)?;
        u8::try_from(digit).ok()
    }

    fn peek(&self) -> Option<u8> {
        self.bytes.get(self.at).copied()
    }

    fn character(&self) -> char {
        self.text
            .get(self.at..)
            .and_then(|rest| rest.chars().next())
            .unwrap_or_default()
    }

    fn skip_space(&mut self) {
        while self.peek().is_some_and(|byte| byte.is_ascii_whitespace()) {
            self.at += 1;
        }
    }
}

/// The type as it is compared. `OID.2.5.4.3` is an old way to write `2.5.4.3` (RFC 1779).
fn attribute_type(text: &str) -> Option<String> {
    let name = text.trim().to_ascii_lowercase();
    let name = name.strip_prefix("oid.").unwrap_or(&name);
    let short = match name {
        "2.5.4.3" | "commonname" => "cn",
        "2.5.4.6" | "countryname" => "c",
        "2.5.4.7" | "localityname" => "l",
        "2.5.4.8" | "stateorprovincename" => "st",
        "2.5.4.10" | "organizationname" => "o",
        "2.5.4.11" | "organizationalunitname" => "ou",
        "0.9.2342.19200300.100.1.1" | "userid" => "uid",
        "0.9.2342.19200300.100.1.25" | "domaincomponent" => "dc",
        other => other,
    };
    is_type(short).then(|| short.to_owned())
}

fn is_type(name: &str) -> bool {
    // Some directories name attributes with underscores, which filters cannot hold but DNs do.
    Attribute::parse(&name.replace('_', "-")).is_some()
}

/// The content of a BER OCTET STRING, UTF8String, PrintableString or IA5String of definite short length.
fn ber_text(bytes: &[u8]) -> Option<&[u8]> {
    match bytes {
        [0x04 | 0x0c | 0x13 | 0x16, length, content @ ..]
            if *length < 0x80 && usize::from(*length) == content.len() =>
        {
            Some(content)
        }
        _ => None,
    }
}
