//! The parser: recursive descent whose depth is checked before each step down.

use std::str::FromStr;

use super::error::{FilterErrorKind as Kind, Mistake};
use super::value::Value;
use super::{Attribute, Comparison, Filter, FilterError, MAX_FILTER_BYTES, MAX_FILTER_DEPTH, MatchingRule};

impl Filter {
    /// Parses a filter as an admin writes it: RFC 4515, plus spaces and line breaks between components.
    ///
    /// Spaces inside a value belong to the value; line breaks around one do not, nor does the indent that
    /// follows them.
    ///
    /// # Errors
    /// The first mistake, with its place and a hint. Longer than [`MAX_FILTER_BYTES`] or deeper than
    /// [`MAX_FILTER_DEPTH`] is a mistake too.
    pub fn parse(text: &str) -> Result<Self, FilterError> {
        let mut parser = Parser { text, at: 0 };
        parser
            .whole()
            .map_err(|mistake| FilterError::new(text, mistake.offset, mistake.kind))
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, FilterError> {
        Self::parse(text)
    }
}

struct Parser<'a> {
    text: &'a str,
    at: usize,
}

impl<'a> Parser<'a> {
    fn whole(&mut self) -> Result<Filter, Mistake> {
        if self.text.len() > MAX_FILTER_BYTES {
            return Err(Mistake {
                offset: MAX_FILTER_BYTES,
                kind: Kind::TooLong,
            });
        }
        self.skip_space();
        match self.peek() {
            None => return Err(self.mistake(Kind::Empty)),
            Some('(') => {}
            Some(')') => return Err(self.mistake(Kind::ExtraParenthesis)),
            Some(c) if is_typographic_quote(c) => return Err(self.mistake(Kind::TypographicQuotes)),
            Some(_) => return Err(self.mistake(Kind::MissingParentheses)),
        }
        let filter = self.parenthesized(1)?;
        self.skip_space();
        match self.peek() {
            None => Ok(filter),
            Some(')') => Err(self.mistake(Kind::ExtraParenthesis)),
            Some(_) => Err(self.mistake(Kind::TrailingText)),
        }
    }

    /// One filter, from its opening to its closing parenthesis.
    fn parenthesized(&mut self, depth: usize) -> Result<Filter, Mistake> {
        let opening = self.at;
        if depth > MAX_FILTER_DEPTH {
            return Err(self.mistake(Kind::TooDeep));
        }
        self.advance();
        self.skip_space();
        let filter = match self.peek() {
            None => {
                return Err(Mistake {
                    offset: opening,
                    kind: Kind::Unclosed,
                });
            }
            Some(')') => {
                return Err(Mistake {
                    offset: opening,
                    kind: Kind::EmptyParentheses,
                });
            }
            Some('(') => return Err(self.mistake(Kind::DoubledParenthesis)),
            Some('&') => Filter::And(self.operands(opening, depth)?),
            Some('|') => Filter::Or(self.operands(opening, depth)?),
            Some('!') => {
                let operator = self.at;
                let mut operands = self.operands(opening, depth)?;
                match (operands.pop(), operands.is_empty()) {
                    (Some(only), true) => Filter::Not(Box::new(only)),
                    _ => {
                        return Err(Mistake {
                            offset: operator,
                            kind: Kind::NotTakesOne,
                        });
                    }
                }
            }
            Some(_) => self.item(opening)?,
        };
        self.advance(); // operands() and item() stop at the closing parenthesis
        Ok(filter)
    }

    fn operands(&mut self, opening: usize, depth: usize) -> Result<Vec<Filter>, Mistake> {
        let operator = self.peek();
        self.advance();
        let mut operands = Vec::new();
        loop {
            self.skip_space();
            match self.peek() {
                None => {
                    return Err(Mistake {
                        offset: opening,
                        kind: Kind::Unclosed,
                    });
                }
                Some(')') => return Ok(operands),
                Some('(') => operands.push(self.parenthesized(depth + 1)?),
                c if c == operator && operands.is_empty() => return Err(self.mistake(Kind::DoubledOperator)),
                Some(c) if is_typographic_quote(c) => return Err(self.mistake(Kind::TypographicQuotes)),
                Some(_) => return Err(self.mistake(Kind::MissingInnerParentheses)),
            }
        }
    }

    /// A comparison, up to its closing parenthesis.
    fn item(&mut self, opening: usize) -> Result<Filter, Mistake> {
        let start = self.at;
        let rest = &self.text[start..];
        let end = rest.find(['(', ')']).map(|length| start + length);
        let body = &self.text[start..end.unwrap_or(self.text.len())];
        let equals = body.find('=').map(|length| start + length);
        match (end, equals) {
            (Some(end), Some(_)) if self.text[end..].starts_with('(') => {
                // `(cn=a(sn=b))`: rather a forgotten parenthesis than one in a value, but both are possible.
                return Err(Mistake {
                    offset: end,
                    kind: Kind::ParenthesisInValue,
                });
            }
            (_, None) => return Err(self.no_equals(start, body, end)),
            (None, _) => {
                return Err(Mistake {
                    offset: opening,
                    kind: Kind::Unclosed,
                });
            }
            _ => {}
        }
        let (Some(end), Some(equals)) = (end, equals) else {
            return Err(self.mistake(Kind::MissingEquals));
        };
        let left = &self.text[start..equals];
        let value = Value {
            offset: equals + 1,
            text: &self.text[equals + 1..end],
        }
        .without_line_breaks();
        self.at = end;

        let (comparison, left) = match left.as_bytes().last() {
            Some(b'~') => (Comparison::Approximate, &left[..left.len() - 1]),
            Some(b'>') if left.ends_with("<>") => {
                return Err(Mistake {
                    offset: equals - 2,
                    kind: Kind::Unequal,
                });
            }
            Some(b'>') => (Comparison::GreaterOrEqual, &left[..left.len() - 1]),
            Some(b'<') => (Comparison::LessOrEqual, &left[..left.len() - 1]),
            Some(b'!') => {
                return Err(Mistake {
                    offset: equals - 1,
                    kind: Kind::Unequal,
                });
            }
            Some(b':') => return extensible(start, &left[..left.len() - 1], value),
            _ => (Comparison::Equal, left),
        };
        let attribute = attribute(start, left)?;
        if comparison == Comparison::Equal {
            return equality_or_pattern(attribute, value);
        }
        Ok(Filter::Compare {
            attribute,
            comparison,
            value: value.unescape()?,
        })
    }

    fn no_equals(&self, start: usize, body: &str, end: Option<usize>) -> Mistake {
        if let Some(at) = body.find(['>', '<']) {
            let bare = body[at..].chars().next().unwrap_or('>');
            let kind = if body[at..].starts_with("<>") {
                Kind::Unequal
            } else {
                Kind::BareInequality(bare)
            };
            return Mistake {
                offset: start + at,
                kind,
            };
        }
        let word = body.trim().to_ascii_lowercase();
        if end.is_some_and(|end| self.text[end..].starts_with('(')) && ["and", "or", "not"].contains(&&*word)
        {
            return Mistake {
                offset: start,
                kind: Kind::TrailingText,
            };
        }
        Mistake {
            offset: start + body.trim_end().len(),
            kind: Kind::MissingEquals,
        }
    }

    fn peek(&self) -> Option<char> {
        self.text[self.at..].chars().next()
    }

    fn advance(&mut self) {
        self.at += self.peek().map_or(0, char::len_utf8);
    }

    fn skip_space(&mut self) {
        // The byte order mark and the no-break space come along with text from editors and web pages.
        let is_space = |c: char| c.is_whitespace() || c == '\u{feff}';
        let rest = &self.text[self.at..];
        self.at += rest.len() - rest.trim_start_matches(is_space).len();
    }

    fn mistake(&self, kind: Kind) -> Mistake {
        Mistake {
            offset: self.at,
            kind,
        }
    }
}

fn is_typographic_quote(c: char) -> bool {
    matches!(c, '\u{2018}'..='\u{201f}' | '\u{ab}' | '\u{bb}')
}

fn attribute(offset: usize, text: &str) -> Result<Attribute, Mistake> {
    let name = text.trim();
    let offset = offset + (text.len() - text.trim_start().len());
    if name.is_empty() {
        return Err(Mistake {
            offset,
            kind: Kind::MissingAttribute,
        });
    }
    let legal = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | ';');
    if let Some((at, c)) = name.char_indices().find(|(_, c)| !legal(*c)) {
        let kind = match c {
            '>' | '<' => Kind::BareInequality(c),
            c if is_typographic_quote(c) => Kind::TypographicQuotes,
            c => Kind::IllegalInAttribute(c),
        };
        return Err(Mistake {
            offset: offset + at,
            kind,
        });
    }
    Attribute::parse(name).ok_or(Mistake {
        offset,
        kind: Kind::MalformedAttribute,
    })
}

/// `left` is what stands before `:=`.
fn extensible(offset: usize, left: &str, value: Value<'_>) -> Result<Filter, Mistake> {
    let malformed = || Mistake {
        offset,
        kind: Kind::MalformedExtensible,
    };
    let mut parts = left.split(':');
    let first = parts.next().unwrap_or_default();
    let attribute = if first.trim().is_empty() {
        None
    } else {
        Some(attribute(offset, first)?)
    };
    let mut next = parts.next().map(str::trim);
    let dn_attributes = next.is_some_and(|part| part.eq_ignore_ascii_case("dn"));
    if dn_attributes {
        next = parts.next().map(str::trim);
    }
    let rule = match next {
        Some(part) => Some(MatchingRule::parse(part).ok_or_else(malformed)?),
        None => None,
    };
    if parts.next().is_some() || (attribute.is_none() && rule.is_none()) {
        return Err(malformed());
    }
    Ok(Filter::Extensible {
        attribute,
        dn_attributes,
        rule,
        value: value.unescape()?,
    })
}

fn equality_or_pattern(attribute: Attribute, value: Value<'_>) -> Result<Filter, Mistake> {
    if value.is_typographically_quoted() {
        return Err(Mistake {
            offset: value.offset,
            kind: Kind::TypographicQuotes,
        });
    }
    if value.text.trim() == "*" {
        return Ok(Filter::Present(attribute));
    }
    let Some(first) = value.text.find('*') else {
        return Ok(Filter::Compare {
            attribute,
            comparison: Comparison::Equal,
            value: value.unescape()?,
        });
    };
    if let Some(at) = value.text.find("**") {
        return Err(Mistake {
            offset: value.offset + at,
            kind: Kind::DoubledAsterisk,
        });
    }
    let mut pieces = vec![value.part(0, first).unescape()?];
    let mut at = first + 1;
    for piece in value.text[at..].split('*') {
        pieces.push(value.part(at, at + piece.len()).unescape()?);
        at += piece.len() + 1;
    }
    let given = |piece: Vec<u8>| if piece.is_empty() { None } else { Some(piece) };
    let last = pieces.pop().and_then(given);
    let mut pieces = pieces.into_iter();
    let initial = pieces.next().and_then(given);
    Ok(Filter::Substrings {
        attribute,
        initial,
        any: pieces.collect(),
        last,
    })
}
