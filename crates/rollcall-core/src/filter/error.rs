//! What can be wrong with a filter, where, and what would be right.

use std::fmt;

use thiserror::Error;

use super::{MAX_FILTER_BYTES, MAX_FILTER_DEPTH};

/// The first mistake in a filter. Its `Display` gives place, mistake and hint in one line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct FilterError {
    /// Where, in bytes from the start of the text.
    pub offset: usize,
    /// The line of `offset`, from 1.
    pub line: usize,
    /// The character of `offset` within its line, from 1.
    pub column: usize,
    /// What is wrong.
    pub kind: FilterErrorKind,
}

impl FilterError {
    pub(super) fn new(text: &str, offset: usize, kind: FilterErrorKind) -> Self {
        let before = text.get(..offset).unwrap_or(text);
        let line_start = before.rfind('\n').map_or(0, |newline| newline + 1);
        Self {
            offset,
            line: before.matches('\n').count() + 1,
            column: before[line_start..].chars().count() + 1,
            kind,
        }
    }

    /// What is wrong, in plain words.
    pub fn message(&self) -> String {
        self.kind.to_string()
    }

    /// What to do about it, in plain words.
    pub fn hint(&self) -> &'static str {
        self.kind.hint()
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.line > 1 {
            write!(f, "line {}, ", self.line)?;
        }
        write!(f, "column {}: {}: {}", self.column, self.kind, self.kind.hint())
    }
}

impl std::error::Error for FilterError {}

/// What is wrong with a filter.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Error)]
pub enum FilterErrorKind {
    /// Nothing but spaces.
    #[error("the filter is empty")]
    Empty,
    /// Longer than [`MAX_FILTER_BYTES`].
    #[error("the filter is longer than {MAX_FILTER_BYTES} bytes")]
    TooLong,
    /// Deeper than [`MAX_FILTER_DEPTH`].
    #[error("the filter is nested deeper than {MAX_FILTER_DEPTH} levels")]
    TooDeep,
    /// The filter as a whole is not in parentheses.
    #[error("the filter does not begin with a parenthesis")]
    MissingParentheses,
    /// A part of `&`, `|` or `!` is not in parentheses.
    #[error("a part of a combined filter is not in parentheses")]
    MissingInnerParentheses,
    /// A parenthesis is never closed.
    #[error("this parenthesis is never closed")]
    Unclosed,
    /// A parenthesis closes nothing.
    #[error("this parenthesis closes nothing")]
    ExtraParenthesis,
    /// `((`.
    #[error("two parentheses open with nothing between them")]
    DoubledParenthesis,
    /// The filter is complete and more follows.
    #[error("the filter ends before this")]
    TrailingText,
    /// `&&` or `||`.
    #[error("the operator is doubled")]
    DoubledOperator,
    /// `()`.
    #[error("there is nothing between these parentheses")]
    EmptyParentheses,
    /// `!` with none or several filters.
    #[error("\"!\" applies to exactly one filter")]
    NotTakesOne,
    /// No comparison.
    #[error("there is no \"=\"")]
    MissingEquals,
    /// `>` or `<` alone.
    #[error("there is no comparison {0:?} in LDAP")]
    BareInequality(char),
    /// `!=` or `<>`.
    #[error("there is no \"unequal\" comparison in LDAP")]
    Unequal,
    /// Nothing before the comparison.
    #[error("the attribute name is missing")]
    MissingAttribute,
    /// A character that no attribute name holds.
    #[error("an attribute name cannot hold {0:?}")]
    IllegalInAttribute(char),
    /// Not a name, OID or option.
    #[error("this is not an attribute name or OID")]
    MalformedAttribute,
    /// Typographic quotation marks.
    #[error("typographic quotation marks are not part of the filter language")]
    TypographicQuotes,
    /// An extensible match of wrong form.
    #[error("this is not a valid matching rule")]
    MalformedExtensible,
    /// A backslash without two hexadecimal digits.
    #[error("a backslash must be followed by two hexadecimal digits")]
    MalformedEscape,
    /// A parenthesis within a value.
    #[error("the value holds a parenthesis")]
    ParenthesisInValue,
    /// A NUL within a value.
    #[error("the value holds a NUL character")]
    NulInValue,
    /// A line break within a value.
    #[error("the value holds a line break")]
    LineBreakInValue,
    /// `**`.
    #[error("two asterisks follow one another")]
    DoubledAsterisk,
    /// An asterisk where the comparison knows no patterns.
    #[error("only \"=\" compares with a pattern")]
    AsteriskInValue,
}

impl FilterErrorKind {
    /// What to do about it, in plain words.
    pub fn hint(self) -> &'static str {
        match self {
            Self::Empty => "for every person write (objectClass=person)",
            Self::TooLong => "select by a group or a subtree instead of by single entries",
            Self::TooDeep => "flatten it: (&(a)(&(b)(c))) is the same as (&(a)(b)(c))",
            Self::MissingParentheses => {
                "put the whole filter in parentheses and nothing around them, e.g. (uid=*)"
            }
            Self::MissingInnerParentheses => {
                "put each part in parentheses of its own, e.g. (&(objectClass=person)(uid=*)) or (!(uid=x))"
            }
            Self::Unclosed => "add the closing parenthesis",
            Self::ExtraParenthesis => "remove it, or add the opening parenthesis that belongs to it",
            Self::DoubledParenthesis => "remove one pair, or write & or | between the two",
            Self::TrailingText => {
                "to combine filters write (&(first)(second)) for and, (|(first)(second)) for or"
            }
            Self::DoubledOperator => "write the operator once: (&(first)(second)) or (|(first)(second))",
            Self::EmptyParentheses => "write a comparison such as (uid=*), or remove the parentheses",
            Self::NotTakesOne => "write (!(a=b)); to exclude several write (!(|(a=b)(c=d)))",
            Self::MissingEquals => "write (attribute=value), or (attribute=*) for \"has the attribute\"",
            Self::BareInequality('>') => "write >=; for \"greater\" write (&(a>=5)(!(a=5)))",
            Self::BareInequality(_) => "write <=; for \"less\" write (&(a<=5)(!(a=5)))",
            Self::Unequal => "write (!(attribute=value))",
            Self::MissingAttribute => "write the attribute before the comparison, e.g. (uid=anna)",
            Self::IllegalInAttribute('_') => {
                "LDAP names have no underscores; the directory's name may have a hyphen, as in msDS-PrincipalName"
            }
            Self::IllegalInAttribute(_) => "names consist of ASCII letters, digits and hyphens",
            Self::MalformedAttribute => {
                "a name begins with a letter; an OID is numbers with dots between, e.g. 2.5.4.3"
            }
            Self::TypographicQuotes => "remove them; values need no quotation marks",
            Self::MalformedExtensible => {
                "write (attribute:rule:=value), e.g. (memberOf:1.2.840.113556.1.4.1941:=cn=x,dc=y)"
            }
            Self::MalformedEscape => r"write \5c for a backslash, \2a for *, \28 for ( and \29 for )",
            Self::ParenthesisInValue => {
                r"in a value write \28 for ( and \29 for ), or close the parenthesis before this"
            }
            Self::NulInValue => r"write \00",
            Self::LineBreakInValue => {
                r"join the lines, or write \0a for a line break that belongs to the value"
            }
            Self::DoubledAsterisk => r"one is enough; write \2a for an asterisk that belongs to the value",
            Self::AsteriskInValue => r"write \2a for an asterisk that belongs to the value",
        }
    }
}

/// A mistake whose line is not yet counted.
pub(super) struct Mistake {
    pub(super) offset: usize,
    pub(super) kind: FilterErrorKind,
}
