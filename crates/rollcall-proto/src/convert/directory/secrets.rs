//! The secrets of a directory, which go in and never out.

use rollcall_core::secret::{Password, SecretBytes};
use rollcall_core::violation::Violations;

use crate::v1;

/// Largest private key, in bytes of PEM.
const MAX_KEY_BYTES: usize = 16 * 1024;

/// The secrets that came with a request. What is absent stays as it is stored.
pub struct DirectorySecrets {
    /// The bind password.
    pub bind_password: Option<Password>,
    /// The key of the client certificate, PEM.
    pub client_private_key: Option<SecretBytes>,
}

impl DirectorySecrets {
    /// Takes the secrets out of the message, so that no copy stays there.
    pub(in crate::convert) fn take(found: &mut Violations, wire: &mut v1::Directory) -> Self {
        let bind_password = std::mem::take(&mut wire.bind_password);
        let bind_password = match bind_password.is_empty() {
            true => None,
            false => found.take("bind_password", Password::new(bind_password)),
        };
        let key = std::mem::take(&mut wire.client_private_key);
        let client_private_key = (!key.is_empty()).then(|| SecretBytes::new(key.into_bytes()));
        if let Some(key) = &client_private_key {
            let is_pem = key.expose().windows(11).any(|window| window == b"PRIVATE KEY");
            found.require(
                is_pem,
                "client_private_key",
                "is not PEM: it has no BEGIN PRIVATE KEY line",
            );
            found.require(
                key.expose().len() <= MAX_KEY_BYTES,
                "client_private_key",
                "is larger than 16 KiB",
            );
        }
        Self {
            bind_password,
            client_private_key,
        }
    }
}
