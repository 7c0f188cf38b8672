//! Field mapping templates: `{givenName} {sn}`, or a bare attribute name.

use std::collections::BTreeSet;

use thiserror::Error;

use crate::dn::Dn;
use crate::entry::Entry;
use crate::filter::Attribute;
use crate::identifier::normalize;
use crate::secret_attribute::is_secret;
use crate::text_form::text_form;

/// Longest template, in bytes.
pub const MAX_TEMPLATE_BYTES: usize = 1024;
/// Most values that one template yields for one entry.
const MAX_RENDERED: usize = 64;

/// One candidate of a field mapping: how to make a value from an entry's attributes.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Template {
    source: String,
    parts: Vec<Part>,
}

#[derive(Clone, PartialEq, Eq, Debug)]
enum Part {
    Text(String),
    Attribute(Attribute),
}

/// What is wrong with a template, and where.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
#[error("column {column}: {problem}")]
pub struct TemplateError {
    /// The character, from 1.
    pub column: usize,
    /// What is wrong there.
    pub problem: TemplateProblem,
}

/// What can be wrong with a template.
#[derive(Clone, PartialEq, Eq, Debug, Error)]
pub enum TemplateProblem {
    /// Nothing but spaces.
    #[error("is empty: write an attribute name, or a template like {{givenName}} {{sn}}")]
    Empty,
    /// Longer than [`MAX_TEMPLATE_BYTES`].
    #[error("is longer than {MAX_TEMPLATE_BYTES} bytes")]
    TooLong,
    /// No placeholder, and no attribute name either.
    #[error("{0:?} is not an attribute name; in a template write {{attribute}} for its value")]
    NoPlaceholder(String),
    /// What stands in a placeholder is no attribute name.
    #[error("{0:?} is not an attribute name")]
    NotAnAttribute(String),
    /// A placeholder is not closed.
    #[error("this placeholder is never closed: add }}, or write {{{{ for a brace")]
    Unclosed,
    /// The attribute holds passwords, hashes or keys.
    #[error("{0} holds secrets and cannot be mapped")]
    SecretAttribute(String),
    /// A brace closes nothing.
    #[error("this brace closes nothing: remove it, or write }}}} for a brace")]
    ExtraBrace,
}

impl Template {
    /// Parses a bare attribute name, or text with `{attribute}` placeholders, where `{{` and `}}` stand for
    /// braces. Attributes may carry options, e.g. `{cn;lang-de}`.
    ///
    /// # Errors
    /// The first mistake. A template without any placeholder is one: it would give everyone the same value.
    pub fn parse(text: &str) -> Result<Self, TemplateError> {
        let mistake = |offset: usize, problem| TemplateError {
            column: text[..offset].chars().count() + 1,
            problem,
        };
        let bare = text.trim();
        if bare.is_empty() {
            return Err(mistake(0, TemplateProblem::Empty));
        }
        if text.len() > MAX_TEMPLATE_BYTES {
            return Err(TemplateError {
                column: 1,
                problem: TemplateProblem::TooLong,
            });
        }
        let open = |offset: usize, attribute: Attribute| match is_secret(attribute.as_str()) {
            true => Err(mistake(
                offset,
                TemplateProblem::SecretAttribute(attribute.as_str().to_owned()),
            )),
            false => Ok(attribute),
        };
        if let Some(attribute) = Attribute::parse(bare) {
            let attribute = open(0, attribute)?;
            return Ok(Self {
                source: bare.to_owned(),
                parts: vec![Part::Attribute(attribute)],
            });
        }
        let mut parts = Vec::new();
        let mut literal = String::new();
        let mut characters = text.char_indices().peekable();
        while let Some((at, c)) = characters.next() {
            let doubled = characters
                .next_if(|(_, next)| *next == c && matches!(c, '{' | '}'))
                .is_some();
            match c {
                '{' if !doubled => {
                    let inner = &text[at + 1..];
                    let length = inner
                        .find(['{', '}'])
                        .filter(|end| inner[*end..].starts_with('}'))
                        .ok_or_else(|| mistake(at, TemplateProblem::Unclosed))?;
                    let name = &inner[..length];
                    let attribute = Attribute::parse(name.trim())
                        .ok_or_else(|| mistake(at + 1, TemplateProblem::NotAnAttribute(name.to_owned())))?;
                    let attribute = open(at + 1, attribute)?;
                    if !literal.is_empty() {
                        parts.push(Part::Text(std::mem::take(&mut literal)));
                    }
                    parts.push(Part::Attribute(attribute));
                    let after = at + 1 + length;
                    while characters.next_if(|(next, _)| *next <= after).is_some() {}
                }
                '}' if !doubled => return Err(mistake(at, TemplateProblem::ExtraBrace)),
                c => literal.push(c),
            }
        }
        if parts.is_empty() {
            return Err(mistake(0, TemplateProblem::NoPlaceholder(bare.to_owned())));
        }
        if !literal.is_empty() {
            parts.push(Part::Text(literal));
        }
        Ok(Self {
            source: text.to_owned(),
            parts,
        })
    }

    /// The template as it was written.
    pub fn as_str(&self) -> &str {
        &self.source
    }

    /// The attributes to ask the server for, with options, in lower case.
    pub fn attributes(&self) -> BTreeSet<String> {
        let attribute = |part: &Part| match part {
            Part::Attribute(attribute) => Some(attribute.as_str().to_ascii_lowercase()),
            Part::Text(_) => None,
        };
        self.parts.iter().filter_map(attribute).collect()
    }

    /// The attribute, if the template is nothing else.
    pub fn attribute(&self) -> Option<&Attribute> {
        match self.parts.as_slice() {
            [Part::Attribute(attribute)] => Some(attribute),
            _ => None,
        }
    }

    /// The values that an entry yields, trimmed, each once. A template yields something only if every placeholder
    /// has a value: half a name is no name. A value of spaces counts as none.
    ///
    /// The value in the entry's RDN comes first, then the others in the order of their characters: a server may send
    /// values in any order (RFC 4511 section 4.1.7), so "the first one" would change from run to run.
    pub fn render(&self, entry: &Entry) -> Rendered<'_> {
        let mut values = vec![String::new()];
        for part in &self.parts {
            match part {
                Part::Text(text) => values.iter_mut().for_each(|value| value.push_str(text)),
                Part::Attribute(attribute) => {
                    let found = match texts(entry, attribute) {
                        Rendered::Values(found) => found,
                        none @ (Rendered::Absent | Rendered::Unreadable(_)) => return none,
                    };
                    values = combine(values, found);
                }
            }
        }
        for value in &mut values {
            let trimmed = value.trim();
            if trimmed.len() != value.len() {
                *value = trimmed.to_owned();
            }
        }
        Rendered::Values(values)
    }
}

/// What a template yields.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Rendered<'t> {
    /// An attribute has no value.
    Absent,
    /// The values of this attribute are not UTF-8, or do not have the attribute's form.
    Unreadable(&'t str),
    /// At least one value.
    Values(Vec<String>),
}

fn texts<'t>(entry: &Entry, attribute: &'t Attribute) -> Rendered<'t> {
    let name = attribute.as_str();
    let read = || entry.values(name).iter().map(|value| text_form(name, value));
    let mut texts: Vec<String> = read()
        .flatten()
        .map(|text| text.trim().to_owned())
        .filter(|text| !text.is_empty())
        .collect();
    if texts.is_empty() {
        let undecodable = read().any(|text| text.is_none());
        return if undecodable {
            Rendered::Unreadable(name)
        } else {
            Rendered::Absent
        };
    }
    if texts.len() > 1 {
        texts.sort_unstable();
        texts.dedup();
        let dn = Dn::given(&entry.dn);
        let naming = dn.naming_value(name);
        if let Some(at) = naming.and_then(|naming| texts.iter().position(|text| normalize(text) == naming)) {
            texts[..=at].rotate_right(1);
        }
    }
    Rendered::Values(texts)
}

/// Every beginning with every end, at most [`MAX_RENDERED`].
fn combine(beginnings: Vec<String>, ends: Vec<String>) -> Vec<String> {
    if let ([beginning], [_]) = (beginnings.as_slice(), ends.as_slice()) {
        let mut whole = beginning.clone();
        whole.push_str(&ends[0]);
        return vec![whole];
    }
    let all = beginnings
        .iter()
        .flat_map(|beginning| ends.iter().map(move |end| format!("{beginning}{end}")));
    all.take(MAX_RENDERED).collect()
}

impl std::fmt::Display for Template {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.source)
    }
}

/// An attribute, given in lower case, as it stands in the text.
pub(crate) fn as_written<'t>(text: &'t str, attribute: &'t str) -> &'t str {
    let lower = text.to_ascii_lowercase();
    let is_part = |byte: Option<&u8>| {
        byte.is_some_and(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b';'))
    };
    let stands = |at: &usize| {
        let bytes = lower.as_bytes();
        let before = at.checked_sub(1).and_then(|before| bytes.get(before));
        !is_part(before) && !is_part(bytes.get(at + attribute.len()))
    };
    let mut found = lower.match_indices(attribute).map(|(at, _)| at);
    found
        .find(stands)
        .map_or(attribute, |at| &text[at..at + attribute.len()])
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use proptest::prelude::*;

    use super::*;

    fn anna() -> Entry {
        let values = [
            ("givenname", " Anna "),
            ("sn", "M\u{fc}ller"),
            ("cn;lang-de", "{x}"),
            ("title", "  "),
        ];
        let attributes = values.map(|(name, value)| (name.to_owned(), vec![value.as_bytes().to_vec()]));
        Entry {
            attributes: attributes.into_iter().collect(),
            ..Entry::default()
        }
    }

    #[test]
    fn placeholders_are_replaced() {
        for (template, value) in [
            ("sn", Some("M\u{fc}ller")),
            (" givenName ", Some("Anna")),
            ("{givenName} {sn}", Some("Anna M\u{fc}ller")),
            ("{ sn }, {GIVENNAME}", Some("M\u{fc}ller, Anna")),
            (" {sn} ", Some("M\u{fc}ller")),
            ("{{{sn}}}", Some("{M\u{fc}ller}")),
            ("{cn;lang-de}", Some("{x}")),
            ("{sn} {initials}", None),
            ("{sn} {title}", None),
            ("title", None),
            ("\u{e9}{sn}\u{1f600}", Some("\u{e9}M\u{fc}ller\u{1f600}")),
        ] {
            let expected = match value {
                Some(value) => Rendered::Values(vec![value.to_owned()]),
                None => Rendered::Absent,
            };
            assert_eq!(
                Template::parse(template).unwrap().render(&anna()),
                expected,
                "{template}"
            );
        }
    }

    #[test]
    fn mistakes_are_named_where_they_are() {
        use TemplateProblem::*;
        for (template, column, problem) in [
            ("", 1, Empty),
            ("  ", 1, Empty),
            ("\u{e9} {sn", 3, Unclosed),
            ("{sn {cn}", 1, Unclosed),
            ("{sn} x}", 7, ExtraBrace),
            ("{}", 2, NotAnAttribute(String::new())),
            ("{given_name}", 2, NotAnAttribute("given_name".into())),
            (
                "UserPassword;binary",
                1,
                SecretAttribute("UserPassword;binary".into()),
            ),
            ("{sn} {2.5.4.35}", 7, SecretAttribute("2.5.4.35".into())),
            ("given name", 1, NoPlaceholder("given name".into())),
            ("{{sn}}", 1, NoPlaceholder("{{sn}}".into())),
        ] {
            assert_eq!(
                Template::parse(template),
                Err(TemplateError { column, problem }),
                "{template}"
            );
        }
        let long = format!("{{sn}}{}", "x".repeat(MAX_TEMPLATE_BYTES));
        assert_eq!(Template::parse(&long).unwrap_err().problem, TooLong);
    }

    #[test]
    fn every_attribute_is_asked_for_once() {
        let template = Template::parse("{sn} {SN} {cn;lang-DE}").unwrap();
        assert_eq!(
            template.attributes().into_iter().collect::<Vec<_>>(),
            ["cn;lang-de", "sn"]
        );
    }

    #[test]
    fn identifiers_of_bytes_read_as_people_write_them_even_if_they_are_text() {
        let entry = |value: &[u8]| Entry {
            attributes: [("objectsid".to_owned(), vec![value.to_vec()])].into(),
            ..Entry::default()
        };
        let template = Template::parse("sid:{objectSid}").unwrap();
        let bert = entry(b"\x01\x05\0\0\0\0\0\x05\x15\0\0\0DCBA$#\"!4321P\x04\0\0");
        let text = "sid:S-1-5-21-1094861636-555885348-825373492-1104".to_owned();
        assert_eq!(template.render(&bert), Rendered::Values(vec![text]));
        assert_eq!(
            template.render(&entry(b"\x01\x05")),
            Rendered::Unreadable("objectSid")
        );
    }

    proptest! {
        #[test]
        fn any_text_gets_an_answer(text in any::<String>(), soup in "[{}a \u{e9}]{0,20}") {
            for text in [text, soup] {
                if let Ok(template) = Template::parse(&text) {
                    prop_assert!(!template.attributes().is_empty());
                    prop_assert_eq!(Template::parse(template.as_str()), Ok(template.clone()));
                    let values = template.attributes().into_iter().map(|name| (name, vec![b"v".to_vec()]));
                    let entry = Entry { attributes: values.collect(), ..Entry::default() };
                    prop_assert!(matches!(template.render(&entry), Rendered::Values(values) if values.len() == 1));
                }
            }
        }
    }
}
