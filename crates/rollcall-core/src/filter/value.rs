//! Assertion values as they stand in a filter.

use super::error::{FilterErrorKind as Kind, Mistake};

/// An assertion value as it stands in the filter.
#[derive(Clone, Copy)]
pub(super) struct Value<'a> {
    pub(super) offset: usize,
    pub(super) text: &'a str,
}

impl<'a> Value<'a> {
    /// Line breaks around a value come from laying out the filter, and so do the spaces next to them.
    pub(super) fn without_line_breaks(self) -> Self {
        let breaks = ['\r', '\n'];
        let left = self.text.trim_start();
        let leading = &self.text[..self.text.len() - left.len()];
        let (text, skipped) = if leading.contains(breaks) {
            (left, leading.len())
        } else {
            (self.text, 0)
        };
        let right = text.trim_end();
        let text = if text[right.len()..].contains(breaks) {
            right
        } else {
            text
        };
        Self {
            offset: self.offset + skipped,
            text,
        }
    }

    pub(super) fn part(self, from: usize, to: usize) -> Self {
        Self {
            offset: self.offset + from,
            text: &self.text[from..to],
        }
    }

    /// Single marks are left alone: an apostrophe can be part of a name.
    pub(super) fn is_typographically_quoted(self) -> bool {
        self.text
            .trim()
            .starts_with(['\u{201c}', '\u{201d}', '\u{201e}', '\u{ab}'])
    }

    pub(super) fn unescape(self) -> Result<Vec<u8>, Mistake> {
        let bytes = self.text.as_bytes();
        let mut result = Vec::with_capacity(bytes.len());
        let mut at = 0;
        while let Some(&byte) = bytes.get(at) {
            let mistake = |kind| Mistake {
                offset: self.offset + at,
                kind,
            };
            match byte {
                b'\\' => {
                    let digit = |i: usize| bytes.get(at + i).and_then(|b| (*b as char).to_digit(16));
                    let (Some(high), Some(low)) = (digit(1), digit(2)) else {
                        return Err(mistake(Kind::MalformedEscape));
                    };
                    result.push((high * 16 + low) as u8);
                    at += 2;
                }
                b'*' => return Err(mistake(Kind::AsteriskInValue)),
                0 => return Err(mistake(Kind::NulInValue)),
                b'\r' | b'\n' => return Err(mistake(Kind::LineBreakInValue)),
                other => result.push(other),
            }
            at += 1;
        }
        Ok(result)
    }
}
