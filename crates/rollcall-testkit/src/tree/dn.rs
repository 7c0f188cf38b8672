//! Distinguished names (RFC 4514), compared as directories do.

/// The name in one spelling: types and values in lower case, unescaped, without space around them. Components
/// come from the entry upwards.
pub(super) fn normal(dn: &str) -> Vec<String> {
    split(dn).into_iter().map(|rdn| normal_rdn(&rdn)).collect()
}

/// Attribute and value of the first component.
pub(super) fn rdn(dn: &str) -> Option<(String, String)> {
    let first = split(dn).into_iter().next()?;
    let (name, value) = first.split_once('=')?;
    Some((name.trim().to_owned(), unescaped(value.trim())))
}

fn split(dn: &str) -> Vec<String> {
    let (mut parts, mut part, mut escaped) = (Vec::new(), String::new(), false);
    for character in dn.chars() {
        match character {
            ',' if !escaped => parts.push(std::mem::take(&mut part)),
            _ => part.push(character),
        }
        escaped = character == '\\' && !escaped;
    }
    if !part.is_empty() {
        parts.push(part);
    }
    parts
}

fn normal_rdn(rdn: &str) -> String {
    let (name, value) = rdn.split_once('=').unwrap_or((rdn, ""));
    format!(
        "{}={}",
        name.trim().to_lowercase(),
        unescaped(value.trim()).to_lowercase()
    )
}

fn unescaped(value: &str) -> String {
    let (mut bytes, mut rest) = (Vec::new(), value.as_bytes());
    while let Some((first, after)) = rest.split_first() {
        rest = after;
        if *first != b'\\' {
            bytes.push(*first);
            continue;
        }
        let pair = rest.get(..2).and_then(|pair| std::str::from_utf8(pair).ok());
        if let Some(byte) = pair.and_then(|pair| u8::from_str_radix(pair, 16).ok()) {
            bytes.push(byte);
            rest = &rest[2..];
        } else if let Some((next, after)) = rest.split_first() {
            bytes.push(*next);
            rest = after;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
