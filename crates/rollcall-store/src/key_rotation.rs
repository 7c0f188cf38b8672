//! Sealing everything anew with the current key, while everything runs.
//!
//! The transactions are small, and each replaces only what is still as it was read. So a secret that somebody sets
//! meanwhile stays, two rotations at once do no harm, and a rotation that was killed is simply begun again.

use rollcall_core::id::{UserId, Uuid};
use sea_orm::{FromQueryResult, Value};

use crate::configuration::secrets::{BIND_PASSWORD, CLIENT_KEY, PENDING_PASSWORD};
use crate::db::query::{execute, rows};
use crate::erasure::ERASURE;
use crate::error::{Result, StoreError};
use crate::key_check::key_id;
use crate::keyring::SealedFor;
use crate::purpose::{self, Stored};
use crate::store::Store;

/// Directories in one transaction.
const BATCH: usize = 100;

/// How far a rotation has come.
#[derive(Default, Debug)]
pub struct Rotation {
    after: Option<(String, String)>,
    /// How many secrets were sealed anew.
    pub sealed: u64,
    /// Secrets that open with none of the keys, and so stay as they are.
    pub damaged: Vec<String>,
}

#[derive(FromQueryResult)]
struct Row {
    tenant: String,
    id: String,
    bind_password: Option<Vec<u8>>,
    pending_bind_password: Option<Vec<u8>>,
    client_key: Option<Vec<u8>>,
}

#[derive(FromQueryResult)]
struct ErasureRow {
    tenant: String,
    user_id: Uuid,
    person: Vec<u8>,
}

impl Store {
    /// Seals the next secrets of the deployment with the keyring's current key; false if there is none left. Begin with
    /// a default `Rotation`. Global by nature.
    ///
    /// # Errors
    /// `Unavailable` or `Contended`: call it again.
    pub async fn rotate_keys(&self, rotation: &mut Rotation) -> Result<bool> {
        let Some(after) = rotation.after.take() else {
            self.rotate_purpose_keys(rotation).await?;
            self.rotate_erasures(rotation).await?;
            rotation.after = Some(Default::default());
            return Ok(true);
        };
        let rows = self.sealed_with_other_keys(&after).await?;
        let Some(last) = rows.last() else {
            return Ok(false);
        };
        rotation.after = Some((last.tenant.clone(), last.id.clone()));
        let database = &self.inner.database;
        let tx = database.begin().await?;
        for row in &rows {
            for (column, kind, sealed) in [
                ("bind_password", BIND_PASSWORD, &row.bind_password),
                (
                    "pending_bind_password",
                    PENDING_PASSWORD,
                    &row.pending_bind_password,
                ),
                ("client_key", CLIENT_KEY, &row.client_key),
            ] {
                let owner = SealedFor {
                    tenant: &row.tenant,
                    directory: &row.id,
                    kind,
                };
                let name = || format!("{column} of tenants/{}/directories/{}", row.tenant, row.id);
                let Some(anew) = self.anew(owner, sealed.as_deref(), rotation, name)? else {
                    continue;
                };
                let sql = format!(
                    "UPDATE directories SET {column} = $4 WHERE tenant = $1 AND id = $2 AND {column} = $3"
                );
                let values = vec![
                    row.tenant.as_str().into(),
                    row.id.as_str().into(),
                    sealed.clone().into(),
                    anew.into(),
                ];
                rotation.sealed += execute(&tx, &sql, values).await?;
            }
        }
        tx.commit().await?;
        database.let_others_write().await;
        Ok(true)
    }

    async fn rotate_purpose_keys(&self, rotation: &mut Rotation) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        for Stored { purpose, sealed } in purpose::stored(&tx).await? {
            let name = || format!("the key for {purpose}");
            let owner = purpose::sealed_for(&purpose);
            let Some(anew) = self.anew(owner, Some(&sealed), rotation, name)? else {
                continue;
            };
            let sql = "UPDATE purpose_keys SET sealed = $3 WHERE purpose = $1 AND sealed = $2";
            let values: Vec<Value> = vec![purpose.as_str().into(), sealed.into(), anew.into()];
            rotation.sealed += execute(&tx, sql, values).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The sealed rows that say whom sweeps look for: the few people who were erased a moment ago.
    async fn rotate_erasures(&self, rotation: &mut Rotation) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let sql = "SELECT tenant, user_id, person FROM erasures ORDER BY tenant, user_id";
        for row in rows::<ErasureRow>(&tx, sql, vec![]).await? {
            let user = UserId(row.user_id).to_string();
            let owner = SealedFor {
                tenant: &row.tenant,
                directory: &user,
                kind: ERASURE,
            };
            let name = || format!("the erasure of tenants/{}/users/{user}", row.tenant);
            let Some(anew) = self.anew(owner, Some(&row.person), rotation, name)? else {
                continue;
            };
            let sql = "UPDATE erasures SET person = $4 WHERE tenant = $1 AND user_id = $2 AND person = $3";
            let values: Vec<Value> = vec![
                row.tenant.as_str().into(),
                row.user_id.into(),
                row.person.clone().into(),
                anew.into(),
            ];
            rotation.sealed += execute(&tx, sql, values).await?;
        }
        tx.commit().await?;
        Ok(())
    }

    /// The secret as it is to be stored; `None` if it stays as it is.
    fn anew(
        &self,
        owner: SealedFor<'_>,
        sealed: Option<&[u8]>,
        rotation: &mut Rotation,
        name: impl FnOnce() -> String,
    ) -> Result<Option<Vec<u8>>> {
        let Some(sealed) = sealed else {
            return Ok(None);
        };
        match self.inner.keyring().rewrap(owner, sealed) {
            Err(StoreError::Corrupt { .. }) => {
                rotation.damaged.push(name());
                Ok(None)
            }
            // Another process that has one key more sealed it a moment ago. It counts among the uses of that key.
            Err(StoreError::KeyMissing { .. }) => Ok(None),
            other => other,
        }
    }

    async fn sealed_with_other_keys(&self, (tenant, id): &(String, String)) -> Result<Vec<Row>> {
        let database = &self.inner.database;
        let other = |column| format!("COALESCE({}, '') <> $3", key_id(database.engine, column));
        let sql = format!(
            "SELECT tenant, id, bind_password, pending_bind_password, client_key FROM directories
            WHERE (tenant, id) > ($1, $2)
              AND (bind_password IS NOT NULL AND {} OR pending_bind_password IS NOT NULL AND {}
                OR client_key IS NOT NULL AND {})
            ORDER BY tenant, id LIMIT {BATCH}",
            other("bind_password"),
            other("pending_bind_password"),
            other("client_key"),
        );
        let keyring = self.inner.keyring();
        let current = keyring.current_id();
        let values = vec![tenant.as_str().into(), id.as_str().into(), current.into()];
        rows(&database.reader, &sql, values).await
    }
}
