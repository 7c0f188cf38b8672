//! Keyed hashes: how a login that names nobody is counted and audited, and how a password is recognised
//! again for a moment. People type passwords into the login field, so neither may be readable anywhere.

use ring::hmac;
use rollcall_core::id::{TenantId, UserId};
use rollcall_core::secret::Password;

/// Hashes that every replica computes alike, for what is shared through the store.
pub struct SharedHasher(hmac::Key);

/// Hashes that mean something to this process only, for what it keeps in memory.
pub struct PrivateHasher(hmac::Key);

/// A keyed hash of a login attempt, in memory only.
pub type Fingerprint = [u8; 32];

impl SharedHasher {
    /// Takes a secret that all replicas have.
    pub fn new(secret: &[u8]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, secret))
    }

    /// Stands for a login that names nobody, in the throttle and the audit log. `login` is normalized, so
    /// that all its spellings are one.
    pub fn unknown_login(&self, tenant: &TenantId, login: &str) -> String {
        self.text(&[b"unknown-login", tenant.as_str().as_bytes(), login.as_bytes()])
    }

    /// Stands for a caller's request id in the store: nobody knows what callers put there.
    pub fn request_id(&self, caller: &str, request_id: &str) -> String {
        self.text(&[b"request-id", caller.as_bytes(), request_id.as_bytes()])
    }

    /// Stands for an end user's address in the store, where it tells from where a user logs in.
    pub fn address(&self, user: UserId, network: &str) -> String {
        self.text(&[b"address", user.to_string().as_bytes(), network.as_bytes()])
    }

    fn text(&self, parts: &[&[u8]]) -> String {
        let tag = hash(&self.0, parts);
        tag[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PrivateHasher {
    /// Takes 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(hmac::Key::new(hmac::HMAC_SHA256, random))
    }

    /// Recognises a password that was tried for a subject.
    pub fn password(&self, subject: &str, password: &Password) -> Fingerprint {
        hash(
            &self.0,
            &[b"password", subject.as_bytes(), password.expose().as_bytes()],
        )
    }

    /// Recognises a whole request.
    pub fn request(&self, parts: &[&[u8]]) -> Fingerprint {
        hash(&self.0, parts)
    }
}

/// Lengths are hashed too, so that no two lists of parts run together to the same bytes.
fn hash(key: &hmac::Key, parts: &[&[u8]]) -> Fingerprint {
    let mut context = hmac::Context::with_key(key);
    for part in parts {
        context.update(&(part.len() as u64).to_be_bytes());
        context.update(part);
    }
    let mut fingerprint = [0; 32];
    fingerprint.copy_from_slice(context.sign().as_ref());
    fingerprint
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn an_unknown_login_is_hashed_per_tenant_and_key() {
        let (acme, other) = (
            TenantId::parse("acme").unwrap(),
            TenantId::parse("other").unwrap(),
        );
        let hasher = SharedHasher::new(b"key");
        let hash = hasher.unknown_login(&acme, "hunter2");
        assert_eq!(hash, SharedHasher::new(b"key").unknown_login(&acme, "hunter2"));
        assert_ne!(hash, SharedHasher::new(b"yek").unknown_login(&acme, "hunter2"));
        assert_ne!(hash, hasher.unknown_login(&other, "hunter2"));
        assert!(hash.len() == 32 && !hash.contains("hunter"));
    }

    #[test]
    fn parts_do_not_run_together() {
        let hasher = PrivateHasher::new(&[7; 32]);
        assert_ne!(hasher.request(&[b"ab", b"c"]), hasher.request(&[b"a", b"bc"]));
        assert_ne!(hasher.request(&[b"ab"]), hasher.request(&[b"ab", b""]));
    }
}
