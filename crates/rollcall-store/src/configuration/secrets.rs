//! The secrets of directories, sealed at rest.

use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::{Password, SecretBytes};
use zeroize::Zeroizing;

use crate::error::{Result, StoreError};
use crate::keyring::SealedFor;
use crate::store::Store;
use crate::tables::directory::{self, Model};

pub(crate) const BIND_PASSWORD: &str = "bind-password";
pub(crate) const PENDING_PASSWORD: &str = "pending-bind-password";
pub(crate) const CLIENT_KEY: &str = "client-key";

impl Store {
    /// The bind password of a directory, if one is stored.
    ///
    /// # Errors
    /// `NotFound`; `KeyMissing`; `Corrupt` if it was altered or moved.
    pub async fn bind_password(&self, tenant: &TenantId, id: &DirectoryId) -> Result<Option<Password>> {
        let model = directory::find(&self.inner.database.reader, tenant, id).await?;
        let Some(sealed) = &model.bind_password else {
            return Ok(None);
        };
        self.open_password(&model, BIND_PASSWORD, sealed).map(Some)
    }

    pub(crate) fn open_password(&self, model: &Model, kind: &'static str, sealed: &[u8]) -> Result<Password> {
        let mut plain = self.inner.keyring().open(owner(model, kind), sealed)?;
        // The bytes become the password, so no copy is left to wipe.
        let text = String::from_utf8(std::mem::take(&mut *plain)).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            StoreError::corrupt("a stored password is not UTF-8")
        })?;
        Password::new(text).map_err(|_| StoreError::corrupt("a stored password is not one"))
    }

    /// The private key of a directory's client certificate, if one is stored.
    ///
    /// # Errors
    /// `NotFound`; `KeyMissing`; `Corrupt` if it was altered or moved.
    pub async fn client_key(&self, tenant: &TenantId, id: &DirectoryId) -> Result<Option<SecretBytes>> {
        let model = directory::find(&self.inner.database.reader, tenant, id).await?;
        let Some(sealed) = &model.client_key else {
            return Ok(None);
        };
        let mut plain = self.inner.keyring().open(owner(&model, CLIENT_KEY), sealed)?;
        Ok(Some(SecretBytes::new(std::mem::take(&mut *plain))))
    }

    pub(crate) fn seal_password(
        &self,
        model: &Model,
        kind: &'static str,
        password: &Password,
    ) -> Result<Vec<u8>> {
        self.inner
            .keyring()
            .seal(owner(model, kind), password.expose().as_bytes())
    }

    pub(crate) fn seal_client_key(&self, model: &Model, key: &SecretBytes) -> Result<Vec<u8>> {
        self.inner.keyring().seal(owner(model, CLIENT_KEY), key.expose())
    }
}

fn owner<'m>(model: &'m Model, kind: &'static str) -> SealedFor<'m> {
    SealedFor {
        tenant: &model.tenant,
        directory: &model.id,
        kind,
    }
}
