//! Keyed hashes: how an unknown login is counted and audited, and how a password is recognised for a moment. People
//! type passwords into the login field, so neither may be readable anywhere.

use rollcall_core::id::{TenantId, UserId};
use rollcall_core::mac::{MacKey, Tag};
use rollcall_core::secret::Password;

/// Hashes that every replica computes alike, for what is shared through the store.
pub struct SharedHasher(MacKey);

/// Hashes that mean something only in this process, for what it keeps in memory.
pub struct PrivateHasher(MacKey);

/// A keyed hash of a login attempt, in memory only.
pub type Fingerprint = Tag;

impl SharedHasher {
    /// Takes a key that all replicas have.
    pub fn new(key: MacKey) -> Self {
        Self(key)
    }

    /// The hash of an unknown login, for the soft lock and the audit log. `login` is normalized, so that all its
    /// spellings have one hash.
    pub fn unknown_login(&self, tenant: &TenantId, login: &str) -> String {
        self.text(&[b"unknown-login", tenant.as_str().as_bytes(), login.as_bytes()])
    }

    /// The hash of a caller's request id, for the store: callers may put anything into it.
    pub fn request_id(&self, caller: &str, request_id: &str) -> String {
        self.text(&[b"request-id", caller.as_bytes(), request_id.as_bytes()])
    }

    /// The hash of an end user's address, for the store, which keeps from where a user logs in.
    pub fn address(&self, user: UserId, network: &str) -> String {
        self.text(&[b"address", user.to_string().as_bytes(), network.as_bytes()])
    }

    fn text(&self, parts: &[&[u8]]) -> String {
        let tag = self.0.tag(parts);
        tag[..16].iter().map(|byte| format!("{byte:02x}")).collect()
    }
}

impl PrivateHasher {
    /// A hasher with these 32 random bytes.
    pub fn new(random: &[u8; 32]) -> Self {
        Self(MacKey::new(random))
    }

    /// The hash of a password that was tried for a subject.
    pub fn password(&self, subject: &str, password: &Password) -> Fingerprint {
        self.0
            .tag(&[b"password", subject.as_bytes(), password.expose().as_bytes()])
    }

    /// The hash of a whole request.
    pub fn request(&self, parts: &[&[u8]]) -> Fingerprint {
        self.0.tag(parts)
    }
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
        let hasher = SharedHasher::new(MacKey::new(b"key"));
        let hash = hasher.unknown_login(&acme, "hunter2");
        assert_eq!(
            hash,
            SharedHasher::new(MacKey::new(b"key")).unknown_login(&acme, "hunter2")
        );
        assert_ne!(
            hash,
            SharedHasher::new(MacKey::new(b"yek")).unknown_login(&acme, "hunter2")
        );
        assert_ne!(hash, hasher.unknown_login(&other, "hunter2"));
        assert!(hash.len() == 32 && !hash.contains("hunter"));
    }
}
