//! The canonical text of a filter, and the one place where assertion values are escaped.

use std::fmt::{self, Display, Formatter, Write};

use super::{Attribute, Comparison, Filter, MatchingRule};

impl Display for Attribute {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for MatchingRule {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Display for Filter {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.write_char('(')?;
        match self {
            Self::And(inner) => write_operands(f, '&', inner)?,
            Self::Or(inner) => write_operands(f, '|', inner)?,
            Self::Not(inner) => write!(f, "!{inner}")?,
            Self::Present(attribute) => write!(f, "{attribute}=*")?,
            Self::Compare {
                attribute,
                comparison,
                value,
            } => {
                write!(f, "{attribute}{}{}", comparison.symbol(), Escaped(value))?;
            }
            Self::Substrings {
                attribute,
                initial,
                any,
                last,
            } => {
                write!(
                    f,
                    "{attribute}={}*",
                    Escaped(initial.as_deref().unwrap_or_default())
                )?;
                any.iter().try_for_each(|part| write!(f, "{}*", Escaped(part)))?;
                write!(f, "{}", Escaped(last.as_deref().unwrap_or_default()))?;
            }
            Self::Extensible {
                attribute,
                dn_attributes,
                rule,
                value,
            } => {
                attribute
                    .iter()
                    .try_for_each(|attribute| write!(f, "{attribute}"))?;
                f.write_str(if *dn_attributes { ":dn" } else { "" })?;
                rule.iter().try_for_each(|rule| write!(f, ":{rule}"))?;
                write!(f, ":={}", Escaped(value))?;
            }
        }
        f.write_char(')')
    }
}

impl Comparison {
    fn symbol(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::GreaterOrEqual => ">=",
            Self::LessOrEqual => "<=",
            Self::Approximate => "~=",
        }
    }
}

fn write_operands(f: &mut Formatter<'_>, operator: char, operands: &[Filter]) -> fmt::Result {
    f.write_char(operator)?;
    operands.iter().try_for_each(|operand| write!(f, "{operand}"))
}

/// Escapes what has a meaning, what cannot be seen, what is not UTF-8, and spaces and quotation marks at
/// the ends, which people and tools like to strip.
struct Escaped<'a>(&'a [u8]);

impl Display for Escaped<'_> {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        let mut at = 0;
        for chunk in self.0.utf8_chunks() {
            for c in chunk.valid().chars() {
                let edge = at == 0 || at + c.len_utf8() == self.0.len();
                let escape = matches!(c, '(' | ')' | '*' | '\\')
                    || c.is_control()
                    || (c.is_whitespace() && (edge || c != ' '))
                    || (edge && matches!(c, '\u{201c}'..='\u{201f}' | '\u{ab}' | '\u{bb}'));
                if escape {
                    write_bytes(f, c.encode_utf8(&mut [0; 4]).as_bytes())?;
                } else {
                    f.write_char(c)?;
                }
                at += c.len_utf8();
            }
            write_bytes(f, chunk.invalid())?;
            at += chunk.invalid().len();
        }
        Ok(())
    }
}

fn write_bytes(f: &mut Formatter<'_>, bytes: &[u8]) -> fmt::Result {
    bytes.iter().try_for_each(|byte| write!(f, "\\{byte:02x}"))
}
