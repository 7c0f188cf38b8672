//! Pending bind passwords: a directory starts to use one when its server refuses the present password. A process that
//! is refused asks here what to try. It locks the directory's row for that, and the row remembers, by the database's
//! clock, when the pending password was tried. So all replicas together try it once.

use std::time::Duration;

use rollcall_core::directory::{Directory, DirectorySettings};
use rollcall_core::id::{DirectoryId, TenantId};
use rollcall_core::revision::Revision;
use rollcall_core::secret::Password;

use super::directories::{NewSecrets, lock};
use super::secrets::{BIND_PASSWORD, PENDING_PASSWORD};
use crate::audit::Recorded;
use crate::db::query::scalar;
use crate::db::timestamp::{in_micros, to_micros};
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables;
use crate::tables::directory::Model;
use crate::tables::json::JsonColumn;

/// After this time, the process that tries a pending password has said what became of it, or has died.
const TRYING: Duration = Duration::from_secs(30);

/// What to try after the directory has refused a bind password.
pub enum BindPassword {
    /// The present password: it is no longer the refused one.
    Present(Password),
    /// The pending password, which nobody else tries now. Report what became of it.
    Pending(Password),
    /// Another process is trying the pending password: ask again soon.
    UnderWay,
    /// Nothing: no password is pending, or it has been tried.
    Nothing,
}

/// What became of a pending bind password that was tried.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum PendingOutcome {
    /// The directory refused it too.
    Refused,
    /// It was not sent.
    Unsent,
}

impl Store {
    /// Keeps a pending bind password, which takes the place of the present one once the directory refuses the present
    /// one.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn keep_pending_bind_password(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        expected_revision: Option<Revision>,
        password: &Password,
        record: Recorded<'_, Directory>,
    ) -> Result<Directory> {
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, tenant, id, expected_revision).await?;
        let before = model.clone().into_domain()?;
        model.forget_pending_password();
        model.pending_bind_password = Some(self.seal_password(&model, PENDING_PASSWORD, password)?);
        model.pending_bind_password_time = Some(to_micros(record.time));
        self.commit_password(tx, before, model, &record).await
    }

    /// What to try at an endpoint of the directory that has just refused this password. A pending password is handed
    /// out at most once within `once_in`. Nothing is handed out if the endpoint is no longer the stored one.
    ///
    /// # Errors
    /// `NotFound`; `KeyMissing`; `Corrupt` if a password was altered or moved.
    pub async fn claim_bind_password(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        endpoint: &DirectorySettings,
        refused: &Password,
        once_in: Duration,
    ) -> Result<BindPassword> {
        let database = &self.inner.database;
        let tx = database.begin().await?;
        let mut model = lock(&tx, tenant, id, None).await?;
        if !DirectorySettings::from_json(&model.settings)?.has_same_endpoint(endpoint) {
            return Ok(BindPassword::Nothing);
        }
        if let Some(sealed) = &model.bind_password {
            let present = self.open_password(&model, BIND_PASSWORD, sealed)?;
            if present.expose() != refused.expose() {
                return Ok(BindPassword::Present(present));
            }
        }
        let Some(sealed) = &model.pending_bind_password else {
            return Ok(BindPassword::Nothing);
        };
        let sql = format!("SELECT {}", database.engine.now());
        let now: i64 = scalar(&tx, &sql, vec![])
            .await?
            .ok_or(StoreError::corrupt("the database tells no time"))?;
        // A time that lies ahead was written before the clock was set back.
        let since = model
            .pending_try_time
            .map(|tried| now.saturating_sub(tried))
            .filter(|since| *since >= 0);
        match since {
            Some(since) if since < in_micros(TRYING) && model.pending_refuse_time.is_none() => {
                Ok(BindPassword::UnderWay)
            }
            Some(since) if since < in_micros(once_in) => Ok(BindPassword::Nothing),
            _ => {
                let password = self.open_password(&model, PENDING_PASSWORD, sealed)?;
                model.pending_try_time = Some(now);
                model.pending_refuse_time = None;
                tables::update(&tx, model).await?;
                tx.commit().await?;
                Ok(BindPassword::Pending(password))
            }
        }
    }

    /// Makes the pending bind password, which the directory has accepted, the present one. `None` if another one, or
    /// none, is pending by now.
    ///
    /// # Errors
    /// `NotFound`; `KeyMissing`.
    pub async fn accept_pending_bind_password(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        password: &Password,
        record: Recorded<'_, Directory>,
    ) -> Result<Option<Directory>> {
        let tx = self.inner.database.begin().await?;
        let mut model = lock(&tx, tenant, id, None).await?;
        if !self.is_pending(&model, password)? {
            return Ok(None);
        }
        let before = model.clone().into_domain()?;
        let secrets = NewSecrets {
            bind_password: Some(password),
            client_key: None,
        };
        self.put_secrets(&mut model, &secrets, record.time)?;
        self.commit_password(tx, before, model, &record).await.map(Some)
    }

    /// Notes what became of a pending bind password that was tried and not accepted. False if another one, or none, is
    /// pending by now.
    ///
    /// # Errors
    /// `NotFound`; `KeyMissing`.
    pub async fn settle_pending_bind_password(
        &self,
        tenant: &TenantId,
        id: &DirectoryId,
        password: &Password,
        outcome: PendingOutcome,
    ) -> Result<bool> {
        let database = &self.inner.database;
        let tx = database.begin().await?;
        let mut model = lock(&tx, tenant, id, None).await?;
        if !self.is_pending(&model, password)? {
            return Ok(false);
        }
        match outcome {
            PendingOutcome::Refused => model.pending_refuse_time = model.pending_try_time,
            PendingOutcome::Unsent => model.pending_try_time = None,
        }
        tables::update(&tx, model).await?;
        tx.commit().await?;
        Ok(true)
    }

    fn is_pending(&self, model: &Model, password: &Password) -> Result<bool> {
        let Some(sealed) = &model.pending_bind_password else {
            return Ok(false);
        };
        let pending = self.open_password(model, PENDING_PASSWORD, sealed)?;
        Ok(pending.expose() == password.expose())
    }
}
