//! The secrets of directories, sealed at rest.

use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::secret::{Password, SecretBytes};
use sea_orm::Value;
use zeroize::Zeroizing;

use crate::db::query::{execute, rows};
use crate::error::{Result, StoreError};
use crate::keyring::SealedFor;
use crate::store::Store;
use crate::tables::directory::{self, Model};

const BIND_PASSWORD: &str = "bind-password";
const CLIENT_KEY: &str = "client-key";

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
        let mut plain = self.inner.keyring.open(owner(&model, BIND_PASSWORD), sealed)?;
        // The bytes become the password; nothing of them is left to wipe.
        let text = String::from_utf8(std::mem::take(&mut *plain)).map_err(|error| {
            drop(Zeroizing::new(error.into_bytes()));
            StoreError::corrupt("a stored password is not UTF-8")
        })?;
        let password =
            Password::new(text).map_err(|_| StoreError::corrupt("a stored password is not one"))?;
        Ok(Some(password))
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
        let mut plain = self.inner.keyring.open(owner(&model, CLIENT_KEY), sealed)?;
        Ok(Some(SecretBytes::new(std::mem::take(&mut *plain))))
    }

    /// Seals every secret of the deployment with the keyring's current key, so that older keys can go. Global
    /// by nature. Returns how many were sealed anew.
    ///
    /// # Errors
    /// `KeyMissing`, with nothing of that directory changed; run it again once the key is back.
    pub async fn rewrap_secrets(&self) -> Result<u64> {
        let database = &self.inner.database;
        let mut rewrapped = 0;
        let mut after = (String::new(), String::new());
        loop {
            let lock = database.engine.for_update();
            let sql = format!(
                "SELECT * FROM directories WHERE tenant > $1 OR (tenant = $1 AND id > $2)
                ORDER BY tenant, id LIMIT 1{lock}"
            );
            let tx = database.begin().await?;
            let values = vec![after.0.as_str().into(), after.1.as_str().into()];
            let Some(model) = rows::<Model>(&tx, &sql, values).await?.into_iter().next() else {
                return Ok(rewrapped);
            };
            for (column, kind, sealed) in [
                ("bind_password", BIND_PASSWORD, &model.bind_password),
                ("client_key", CLIENT_KEY, &model.client_key),
            ] {
                let Some(sealed) = sealed else { continue };
                let Some(anew) = self.inner.keyring.rewrap(owner(&model, kind), sealed)? else {
                    continue;
                };
                let sql = format!("UPDATE directories SET {column} = $3 WHERE tenant = $1 AND id = $2");
                let values: Vec<Value> = vec![
                    model.tenant.as_str().into(),
                    model.id.as_str().into(),
                    anew.into(),
                ];
                rewrapped += execute(&tx, &sql, values).await?;
            }
            tx.commit().await?;
            after = (model.tenant, model.id);
        }
    }

    pub(crate) fn seal_bind_password(&self, model: &Model, password: &Password) -> Result<Vec<u8>> {
        self.inner
            .keyring
            .seal(owner(model, BIND_PASSWORD), password.expose().as_bytes())
    }

    pub(crate) fn seal_client_key(&self, model: &Model, key: &SecretBytes) -> Result<Vec<u8>> {
        self.inner.keyring.seal(owner(model, CLIENT_KEY), key.expose())
    }
}

fn owner<'m>(model: &'m Model, kind: &'static str) -> SealedFor<'m> {
    SealedFor {
        tenant: &model.tenant,
        directory: &model.id,
        kind,
    }
}
