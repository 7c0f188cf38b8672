//! Whether an entry matches a filter: true, false or undefined (`None`), as RFC 4511 section 4.5.1.7 says.

use super::dn;
use crate::scripted::filter::Filter;

/// What a filter is evaluated on.
pub(super) trait Values {
    /// The values of an attribute; `None` if there is no such type, or it may not be read.
    fn values(&self, attribute: &str) -> Option<Vec<Vec<u8>>>;
    /// Whether it is in the group of this name, be it through other groups; `None` if the server does not follow those.
    fn is_in_chain(&self, group: &[u8]) -> Option<bool>;
}

/// MS-ADTS 3.1.1.3.4.4.3.
const IN_CHAIN: &str = "1.2.840.113556.1.4.1941";

pub(super) fn matches(filter: &Filter, entry: &impl Values) -> Option<bool> {
    let any = |attribute: &str, test: &dyn Fn(&[u8]) -> bool| {
        Some(entry.values(attribute)?.iter().any(|value| test(value)))
    };
    match filter {
        Filter::And(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| matches(part, entry)).collect();
            if parts.contains(&Some(false)) {
                Some(false)
            } else {
                (!parts.contains(&None)).then_some(true)
            }
        }
        Filter::Or(parts) => {
            let parts: Vec<_> = parts.iter().map(|part| matches(part, entry)).collect();
            if parts.contains(&Some(true)) {
                Some(true)
            } else {
                (!parts.contains(&None)).then_some(false)
            }
        }
        Filter::Not(part) => matches(part, entry).map(|holds| !holds),
        Filter::Present(name) => any(name, &|_| true),
        Filter::Equal(name, wanted) => {
            let wanted = folded(name, wanted);
            any(name, &|value| folded(name, value) == wanted)
        }
        Filter::AtLeast(name, bound) => any(name, &|value| ordered(value, bound).is_ge()),
        Filter::AtMost(name, bound) => any(name, &|value| ordered(value, bound).is_le()),
        Filter::Substrings {
            attribute,
            initial,
            any: middle,
            end,
        } => any(attribute, &|value| contains(value, initial, middle, end)),
        Filter::Extensible {
            rule: Some(rule),
            attribute: Some(attribute),
            value,
        } if rule == IN_CHAIN && attribute.eq_ignore_ascii_case("memberOf") => entry.is_in_chain(value),
        Filter::Extensible { .. } => None,
    }
}

/// A value as equality compares it: as a name where the type holds names, byte by byte where it holds passwords,
/// and without case elsewhere.
pub(super) fn folded(attribute: &str, value: &[u8]) -> Vec<u8> {
    const NAMES: [&str; 6] = [
        "member",
        "memberof",
        "uniquemember",
        "manager",
        "entrydn",
        "seealso",
    ];
    let name = attribute.to_lowercase();
    match std::str::from_utf8(value) {
        Ok(text) if NAMES.contains(&name.as_str()) => dn::normal(text).join(",").into_bytes(),
        Ok(text) if name != "userpassword" && name != "objectguid" => text.trim().to_lowercase().into_bytes(),
        _ => value.to_vec(),
    }
}

fn ordered(value: &[u8], bound: &[u8]) -> std::cmp::Ordering {
    let number = |bytes: &[u8]| std::str::from_utf8(bytes).ok()?.parse::<i128>().ok();
    match (number(value), number(bound)) {
        (Some(value), Some(bound)) => value.cmp(&bound),
        _ => folded("", value).cmp(&folded("", bound)),
    }
}

fn contains(value: &[u8], initial: &Option<Vec<u8>>, any: &[Vec<u8>], end: &Option<Vec<u8>>) -> bool {
    let value = folded("", value);
    let mut rest = value.as_slice();
    if let Some(initial) = initial {
        match rest.strip_prefix(folded("", initial).as_slice()) {
            Some(after) => rest = after,
            None => return false,
        }
    }
    for part in any {
        let part = folded("", part);
        match rest.windows(part.len().max(1)).position(|window| window == part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    end.as_ref()
        .is_none_or(|end| rest.ends_with(folded("", end).as_slice()))
}
