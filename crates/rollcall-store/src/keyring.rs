//! Secrets at rest: each is sealed with a data key of its own, which is sealed with a key of the keyring.
//!
//! Somebody who reads the database reads no secret. Rotating the keyring seals the data keys anew, not the secrets.
//! Tenant, directory and kind are associated data, so a sealed secret moved to another row opens nowhere.
//!
//! The keys of each purpose are sealed in the same way.
//!
//! Sealed form: version (1 byte), length of the key id (1), key id, nonce and sealed data key (12 + 32 + 16), nonce and
//! sealed secret (12 + n + 16). AES-256-GCM throughout; nonces are random, and a data key seals once, so they cannot
//! repeat in numbers that matter.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use ring::aead::{AES_256_GCM, Aad, LessSafeKey, NONCE_LEN, Nonce, UnboundKey};
use ring::rand::{SecureRandom, SystemRandom};
use rollcall_core::id::is_resource_id;
use zeroize::Zeroizing;

use crate::error::{Result, StoreError};

const VERSION: u8 = 1;
const KEY_LEN: usize = 32;
const TAG_LEN: usize = 16;
const WRAPPED_LEN: usize = NONCE_LEN + KEY_LEN + TAG_LEN;

/// The keys that seal the stored secrets. The first seals; all of them open.
pub struct Keyring {
    keys: Vec<(String, LessSafeKey)>,
}

/// Why a text is no keyring. Names a line, never what is in it.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum KeyringProblem {
    /// No key at all.
    #[error("holds no key")]
    Empty,
    /// A line that is not an id, a blank and a key.
    #[error(
        "line {0} is not an id, a blank and 32 bytes in base64; the id is lower-case letters, digits and hyphens"
    )]
    Line(usize),
    /// Two keys with one id.
    #[error("line {0} repeats an id")]
    Repeated(usize),
}

/// What a secret belongs to.
#[derive(Clone, Copy)]
pub(crate) struct SealedFor<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) directory: &'a str,
    pub(crate) kind: &'static str,
}

impl Keyring {
    /// Reads lines of `id base64key`; the first key is the current one. Empty lines and lines that begin with `#` are
    /// skipped.
    ///
    /// # Errors
    /// The first line that is wrong.
    pub fn parse(text: &str) -> Result<Self, KeyringProblem> {
        let mut keys: Vec<(String, LessSafeKey)> = Vec::new();
        for (index, line) in text.lines().enumerate() {
            let line = line.trim();
            if line.is_empty() || line.starts_with('#') {
                continue;
            }
            let wrong = KeyringProblem::Line(index + 1);
            let (id, encoded) = line.split_once(char::is_whitespace).ok_or(wrong)?;
            let bytes = Zeroizing::new(STANDARD.decode(encoded.trim()).map_err(|_| wrong)?);
            let key = UnboundKey::new(&AES_256_GCM, &bytes).map_err(|_| wrong)?;
            if !is_resource_id(id) {
                return Err(wrong);
            }
            if keys.iter().any(|(known, _)| known == id) {
                return Err(KeyringProblem::Repeated(index + 1));
            }
            keys.push((id.to_owned(), LessSafeKey::new(key)));
        }
        if keys.is_empty() {
            Err(KeyringProblem::Empty)
        } else {
            Ok(Self { keys })
        }
    }

    /// Id of the key that seals.
    pub(crate) fn current_id(&self) -> &str {
        &self.current().0
    }

    /// Ids of all keys, the current one first.
    pub fn ids(&self) -> impl Iterator<Item = &str> {
        self.keys.iter().map(|(id, _)| id.as_str())
    }

    /// A mark: an empty text, sealed by the key with this id. The key is recognised by it later.
    pub(crate) fn mark(&self, id: &str) -> Result<Vec<u8>> {
        seal_with(self.key(id)?, marked(id), &[])
    }

    /// Whether the key with this id has made this mark.
    pub(crate) fn has_made(&self, id: &str, mark: &[u8]) -> Result<bool> {
        Ok(open_with(self.key(id)?, marked(id), mark).is_ok())
    }

    pub(crate) fn seal(&self, owner: SealedFor<'_>, secret: &[u8]) -> Result<Vec<u8>> {
        let mut data_key = Zeroizing::new([0; KEY_LEN]);
        random(data_key.as_mut())?;
        let mut sealed = self.wrap(owner, data_key.as_ref())?;
        sealed.extend(seal_with(&aes(data_key.as_ref())?, owner, secret)?);
        Ok(sealed)
    }

    pub(crate) fn open(&self, owner: SealedFor<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
        let (data_key, rest) = self.unwrap(owner, sealed)?;
        open_with(&aes(&data_key)?, owner, rest)
    }

    /// The secret with its data key sealed by the current key; `None` if it is sealed by that key already.
    pub(crate) fn rewrap(&self, owner: SealedFor<'_>, sealed: &[u8]) -> Result<Option<Vec<u8>>> {
        if split(sealed)?.0 == self.current_id() {
            return Ok(None);
        }
        let (data_key, rest) = self.unwrap(owner, sealed)?;
        let mut anew = self.wrap(owner, &data_key)?;
        anew.extend_from_slice(rest);
        Ok(Some(anew))
    }

    #[expect(clippy::expect_used, reason = "it is never built empty")]
    fn current(&self) -> &(String, LessSafeKey) {
        self.keys.first().expect("a keyring is never built empty")
    }

    fn wrap(&self, owner: SealedFor<'_>, data_key: &[u8]) -> Result<Vec<u8>> {
        let (id, key) = self.current();
        let mut sealed = vec![VERSION, id.len() as u8];
        sealed.extend_from_slice(id.as_bytes());
        sealed.extend(seal_with(key, owner, data_key)?);
        Ok(sealed)
    }

    fn unwrap<'s>(&self, owner: SealedFor<'_>, sealed: &'s [u8]) -> Result<(Zeroizing<Vec<u8>>, &'s [u8])> {
        let (id, wrapped, rest) = split(sealed)?;
        Ok((open_with(self.key(id)?, owner, wrapped)?, rest))
    }

    fn key(&self, id: &str) -> Result<&LessSafeKey> {
        let found = self.keys.iter().find(|(known, _)| known == id);
        let (_, key) = found.ok_or_else(|| StoreError::KeyMissing {
            key_id: id.to_owned(),
        })?;
        Ok(key)
    }
}

fn marked(id: &str) -> SealedFor<'_> {
    SealedFor {
        tenant: "",
        directory: id,
        kind: "keyring check",
    }
}

/// Key id, sealed data key, sealed secret.
fn split(sealed: &[u8]) -> Result<(&str, &[u8], &[u8])> {
    let malformed = || StoreError::corrupt("a sealed secret is malformed");
    let [VERSION, id_len, rest @ ..] = sealed else {
        return Err(malformed());
    };
    let (id, rest) = rest
        .split_at_checked(usize::from(*id_len))
        .ok_or_else(malformed)?;
    let (wrapped, rest) = rest.split_at_checked(WRAPPED_LEN).ok_or_else(malformed)?;
    Ok((std::str::from_utf8(id).map_err(|_| malformed())?, wrapped, rest))
}

fn seal_with(key: &LessSafeKey, owner: SealedFor<'_>, plain: &[u8]) -> Result<Vec<u8>> {
    let mut nonce = [0; NONCE_LEN];
    random(&mut nonce)?;
    // Sealed in place in memory that is wiped, should sealing fail half way.
    let mut buffer = Zeroizing::new(plain.to_vec());
    let tag = key
        .seal_in_place_separate_tag(
            Nonce::assume_unique_for_key(nonce),
            owner.associated_data(),
            &mut buffer,
        )
        .map_err(|_| StoreError::corrupt("a secret is too long to seal"))?;
    Ok([&nonce[..], &buffer, tag.as_ref()].concat())
}

fn open_with(key: &LessSafeKey, owner: SealedFor<'_>, sealed: &[u8]) -> Result<Zeroizing<Vec<u8>>> {
    let forged = || StoreError::corrupt("a sealed secret does not open: it was altered or belongs elsewhere");
    let (nonce, sealed) = sealed.split_first_chunk::<NONCE_LEN>().ok_or_else(forged)?;
    let mut buffer = Zeroizing::new(sealed.to_vec());
    let length = key
        .open_in_place(
            Nonce::assume_unique_for_key(*nonce),
            owner.associated_data(),
            &mut buffer,
        )
        .map_err(|_| forged())?
        .len();
    buffer.truncate(length);
    Ok(buffer)
}

fn aes(key: &[u8]) -> Result<LessSafeKey> {
    let key =
        UnboundKey::new(&AES_256_GCM, key).map_err(|_| StoreError::corrupt("a data key is malformed"))?;
    Ok(LessSafeKey::new(key))
}

fn random(bytes: &mut [u8]) -> Result<()> {
    SystemRandom::new()
        .fill(bytes)
        .map_err(|_| StoreError::corrupt("the system gives no random numbers"))
}

impl SealedFor<'_> {
    fn associated_data(&self) -> Aad<Vec<u8>> {
        // Ids hold no line feed, so different owners never read alike.
        Aad::from([self.tenant, self.directory, self.kind].join("\n").into_bytes())
    }
}

#[cfg(test)]
mod tests;
