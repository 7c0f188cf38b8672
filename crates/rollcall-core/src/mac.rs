//! Keyed hashes: without the key one can neither make one nor test a guess against one.

use ring::hmac;

/// HMAC-SHA-256 of a list of byte strings.
pub type Tag = [u8; 32];

/// A key of keyed hashes.
#[derive(Clone)]
pub struct MacKey(hmac::Key);

impl MacKey {
    /// Takes a secret of at least 32 random bytes.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// The hash of these parts. The first part names what they are, since one key may serve several purposes. Lengths
    /// are hashed too, so that two different lists of parts never hash the same bytes.
    pub fn tag(&self, parts: &[&[u8]]) -> Tag {
        let mut context = hmac::Context::with_key(&self.0);
        for part in parts {
            context.update(&(part.len() as u64).to_be_bytes());
            context.update(part);
        }
        let mut tag = [0; 32];
        tag.copy_from_slice(context.sign().as_ref());
        tag
    }

    /// Whether this is the tag of these parts. Takes the same time wherever it differs.
    pub fn is_tag(&self, parts: &[&[u8]], tag: &[u8]) -> bool {
        let framed: Vec<u8> = parts
            .iter()
            .flat_map(|part| [&(part.len() as u64).to_be_bytes(), *part].concat())
            .collect();
        hmac::verify(&self.0, &framed, tag).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_tag_is_of_one_key_and_one_list_of_parts() {
        let key = MacKey::new(&[7; 32]);
        let tag = key.tag(&[b"page", b"acme"]);
        assert!(key.is_tag(&[b"page", b"acme"], &tag));
        assert!(!key.is_tag(&[b"page", b"evil"], &tag));
        assert!(!MacKey::new(&[8; 32]).is_tag(&[b"page", b"acme"], &tag));
        for index in 0..tag.len() {
            let mut altered = tag;
            altered[index] ^= 1;
            assert!(!key.is_tag(&[b"page", b"acme"], &altered), "byte {index}");
            assert!(!key.is_tag(&[b"page", b"acme"], &tag[..index]), "cut at {index}");
        }
    }

    #[test]
    fn parts_do_not_run_together() {
        let key = MacKey::new(&[7; 32]);
        assert_ne!(key.tag(&[b"ab", b"c"]), key.tag(&[b"a", b"bc"]));
        assert_ne!(key.tag(&[b"ab"]), key.tag(&[b"ab", b""]));
        assert_ne!(key.tag(&[]), key.tag(&[b""]));
    }
}
