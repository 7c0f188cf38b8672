//! The actor for whom a calling service says that it acts: metadata that any call may carry.

use rollcall_core::audit::Actor;
use rollcall_core::violation::Violations;
use tonic::metadata::MetadataMap;

/// Who.
const NAME: &str = "rollcall-actor";
/// From which network address.
const ADDRESS: &str = "rollcall-actor-address";
/// Why.
const REASON: &str = "rollcall-reason";

/// Reads the actor. Mistakes are named by their metadata key.
pub(crate) fn read(metadata: &MetadataMap, found: &mut Violations) -> Actor {
    let before = found.iter().count();
    let actor = Actor {
        name: text(metadata, NAME, found),
        address: text(metadata, ADDRESS, found),
        reason: text(metadata, REASON, found),
    };
    if found.iter().count() == before {
        actor.check(found);
    }
    actor
}

fn text(metadata: &MetadataMap, key: &str, found: &mut Violations) -> String {
    let mut values = metadata.get_all(key).iter();
    let Some(value) = values.next() else {
        return String::new();
    };
    found.require(values.next().is_none(), key, "must be sent once");
    match std::str::from_utf8(value.as_bytes()) {
        Ok(text) => text.to_owned(),
        Err(_) => {
            found.add(key, "must be UTF-8");
            String::new()
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use tonic::metadata::MetadataValue;

    use super::*;

    fn read_from(values: &[(&'static str, &[u8])]) -> (Actor, Vec<String>) {
        let mut headers = http::HeaderMap::new();
        for (key, value) in values {
            headers.append(*key, http::HeaderValue::from_bytes(value).unwrap());
        }
        let metadata = MetadataMap::from_headers(headers);
        let mut found = Violations::new();
        let actor = read(&metadata, &mut found);
        let fields = found.iter().map(|violation| violation.field.clone());
        (actor, fields.collect())
    }

    #[test]
    fn whoever_is_named_is_read_and_nobody_is_nobody() {
        let (actor, found) = read_from(&[(NAME, "zoë@example.com".as_bytes()), (REASON, b"ticket 12")]);
        assert_eq!(
            (actor.name.as_str(), actor.reason.as_str()),
            ("zoë@example.com", "ticket 12")
        );
        assert_eq!(found, [""; 0]);
        assert_eq!(read_from(&[]), (Actor::default(), Vec::new()));
    }

    #[test]
    fn what_is_no_line_of_text_is_refused_by_its_key() {
        let long = vec![b'a'; 10_000];
        for (values, expected) in [
            (vec![(NAME, &b"\xff"[..])], vec![NAME]),
            (vec![(NAME, &long[..])], vec![NAME]),
            (vec![(NAME, b"a\tb"), (REASON, b"\xff")], vec![REASON]),
            (vec![(NAME, b"a\tb")], vec![NAME]),
            (vec![(NAME, b"ada"), (NAME, b"bob")], vec![NAME]),
            (vec![(ADDRESS, b"192.0.2.7")], vec![NAME]),
        ] {
            assert_eq!(read_from(&values).1, expected, "{values:?}");
        }
        // Neither a client nor HTTP/2 allows a line break or a NUL.
        assert!(MetadataValue::try_from("a\nb").is_err());
    }
}
