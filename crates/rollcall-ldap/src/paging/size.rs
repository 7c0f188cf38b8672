//! Entries that are far larger than any user. Callers collect entries, so such an entry must not come whole.

use rollcall_core::entry::Entry;

/// An entry with more bytes of values than this is cut down.
const MAX_ENTRY_BYTES: usize = 256 << 10;
/// Attributes with at most this many bytes stay as they are.
const MAX_KEPT_BYTES: usize = 1 << 10;
/// The bytes that a value of another attribute keeps: more than any field of a user may have, so that it is still
/// recognised as too long.
const MAX_VALUE_BYTES: usize = 5 << 10;
/// How many values such an attribute keeps: the smallest, which stand for an attribute of several values.
const MAX_VALUES: usize = 2;

/// Cuts down an entry that is too large. Somebody who can write one large value must not keep other people of the
/// directory from being removed. So the result is a whole entry, with values that are too long.
pub(super) fn limit(entry: &mut Entry) {
    let size = |values: &Vec<Vec<u8>>| values.iter().map(|value| value.len() + 24).sum::<usize>();
    if entry.attributes.values().map(size).sum::<usize>() <= MAX_ENTRY_BYTES {
        return;
    }
    for values in entry.attributes.values_mut() {
        if size(values) > MAX_KEPT_BYTES {
            values.sort_unstable();
            values.truncate(MAX_VALUES);
            values.iter_mut().for_each(cut);
            values.shrink_to_fit();
        }
    }
}

/// Cuts a value between two characters, if it is text.
fn cut(value: &mut Vec<u8>) {
    if value.len() <= MAX_VALUE_BYTES {
        return;
    }
    let continues = |byte: &u8| byte & 0xc0 == 0x80;
    let mut end = MAX_VALUE_BYTES;
    while end > MAX_VALUE_BYTES - 4 && value.get(end).is_some_and(continues) {
        end -= 1;
    }
    value.truncate(end);
    value.shrink_to_fit();
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    fn entry(attributes: &[(&str, Vec<Vec<u8>>)]) -> Entry {
        Entry {
            dn: "cn=1".into(),
            attributes: attributes
                .iter()
                .map(|(name, values)| ((*name).to_owned(), values.clone()))
                .collect(),
            tainted: false,
            oversized: None,
        }
    }

    #[test]
    fn what_is_too_large_is_cut_and_the_rest_of_the_entry_stays() {
        let photo = vec![0xff; 300_000];
        let mut large = entry(&[("uid", vec![b"ada".to_vec()]), ("jpegphoto", vec![photo])]);
        limit(&mut large);
        assert_eq!(large.text("uid"), Some("ada"));
        assert_eq!(large.values("jpegphoto")[0].len(), MAX_VALUE_BYTES);
        let usual = entry(&[("jpegphoto", vec![vec![0xff; 200_000]])]);
        let mut same = usual.clone();
        limit(&mut same);
        assert_eq!(same, usual);
    }

    #[test]
    fn text_stays_text_and_several_values_stay_several() {
        for character in ["x", "é", "山", "🎉"] {
            for shift in 0..4 {
                let text = "a".repeat(shift) + &character.repeat(300_000);
                let mut large = entry(&[("cn", vec![text.clone().into_bytes()])]);
                limit(&mut large);
                let kept = large.text("cn").unwrap();
                assert!(
                    text.starts_with(kept) && kept.chars().count() > 1024,
                    "{character}"
                );
            }
        }
        let many: Vec<Vec<u8>> = (0..50_000)
            .rev()
            .map(|n| format!("{n:06}").into_bytes())
            .collect();
        let mut large = entry(&[("mail", many)]);
        limit(&mut large);
        assert_eq!(large.values("mail"), [b"000000".to_vec(), b"000001".to_vec()]);
    }
}
