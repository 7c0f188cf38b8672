//! Deleting a user sync, and what becomes of its users.

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::id::UserSyncKey;
use rollcall_core::revision::Revision;
use rollcall_core::user::{StateReason, User, UserDisposition, UserState};
use rollcall_core::user_sync::{UserSync, UserSyncSettings};

use crate::audit::Recorded;
use crate::db::query::{execute, rows};
use crate::db::timestamp::{to_micros, to_stored};
use crate::error::{Result, StoreError};
use crate::runs::deletion::{RUN_PARTS, RunPart};
use crate::runs::leases::{LeaseToken, require_lease};
use crate::runs::lifecycle::supersede_waiting;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::user::{Entity, Model};
use crate::tables::{self, columns};
use crate::users::feed::{Cause, MAX_EVENTS};
use crate::users::write::{UserWrite, write};

impl Store {
    /// Deletes a user sync with its runs. It is disabled first. Then its users are dealt with, in transactions of at
    /// most 1,000. Then the sync goes. If this breaks off, call it again with the same revision. Users who were LOCAL
    /// before they were linked become LOCAL again in any case. The deletion is recorded when the sync is disabled,
    /// before any user is touched, and again when the sync goes.
    ///
    /// # Errors
    /// `LeaseLost`; `NotFound`; `RevisionMismatch`.
    pub async fn delete_user_sync(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        expected_revision: Option<Revision>,
        disposition: UserDisposition,
        record: Recorded<'_, UserSync>,
    ) -> Result<()> {
        let now = to_stored(record.time);
        self.disable_for_deletion(lease, key, expected_revision, &record)
            .await?;
        while self
            .dispose_of_users(lease, key, disposition, &record.asked_by, now)
            .await?
        {}
        for part in &RUN_PARTS {
            while self.delete_part(lease, key, part).await? > 0 {}
        }
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let before = tables::user_sync::find(&tx, key).await?.into_domain()?;
        for sql in [
            "DELETE FROM sync_runs WHERE tenant = $1 AND user_sync = $2",
            "DELETE FROM check_results WHERE tenant = $1 AND subject = 'userSyncs/' || $2",
            "DELETE FROM user_syncs WHERE tenant = $1 AND id = $2",
        ] {
            execute(
                &tx,
                sql,
                vec![key.tenant.as_str().into(), key.user_sync.as_str().into()],
            )
            .await?;
        }
        record.write(&tx, Some(&before), None).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn disable_for_deletion(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        expected_revision: Option<Revision>,
        record: &Recorded<'_, UserSync>,
    ) -> Result<()> {
        let now = to_stored(record.time);
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let mut model = tables::user_sync::lock(&tx, key).await?;
        let expected = expected_revision.map_or(model.revision, Revision::number);
        if model.deleting_revision == Some(expected) {
            return Ok(());
        }
        if model.revision != expected {
            return Err(StoreError::RevisionMismatch);
        }
        let before = model.clone().into_domain()?;
        model.deleting_revision = Some(expected);
        let mut settings = UserSyncSettings::from_json(&model.settings)?;
        settings.disabled = true;
        model.settings = settings.to_json()?;
        model.disabled = true;
        model.next_run_time = None;
        model.revision += 1;
        model.update_time = to_micros(now);
        tables::update(&tx, model.clone()).await?;
        supersede_waiting(&tx, &key.tenant, key.user_sync.as_str(), now).await?;
        let disabled = model.into_domain()?;
        record.write(&tx, Some(&before), Some(&disabled)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Deletes some of the rows that belong to the sync's runs, so that deleting the runs takes no time. Returns how
    /// many.
    async fn delete_part(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        RunPart {
            table,
            key: number,
            batch,
        }: &RunPart,
    ) -> Result<u64> {
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let sql = format!(
            "DELETE FROM {table} WHERE tenant = $1 AND user_sync = $2 AND (run, {number}) IN (
                SELECT run, {number} FROM {table} WHERE tenant = $1 AND user_sync = $2 LIMIT {batch})"
        );
        let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        let deleted = execute(&tx, &sql, values).await?;
        tx.commit().await?;
        Ok(deleted)
    }

    /// Deals with the next users; false if there were none.
    async fn dispose_of_users(
        &self,
        lease: &LeaseToken,
        key: &UserSyncKey,
        disposition: UserDisposition,
        asked_by: &AskedBy,
        now: DateTime<Utc>,
    ) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        require_lease(&tx, lease, key).await?;
        let lock = self.inner.database.engine.for_update();
        let sql = format!(
            "SELECT {columns} FROM users u WHERE tenant = $1 AND user_sync = $2
              AND (state_reason IS NULL OR state_reason <> 'SYNC_DELETED')
            ORDER BY id LIMIT {MAX_EVENTS}{lock}",
            columns = columns::<Entity>("u")
        );
        let values = vec![key.tenant.as_str().into(), key.user_sync.as_str().into()];
        let models: Vec<Model> = rows(&tx, &sql, values).await?;
        if models.is_empty() {
            return Ok(false);
        }
        let writes: Vec<UserWrite> = models
            .into_iter()
            .map(|model| Ok(disposed(model.into_domain()?, disposition, now)))
            .collect::<Result<_>>()?;
        let cause = Cause::asked_by(asked_by);
        write(&tx, self.scope(&key.tenant), &key.tenant, &writes, cause, now).await?;
        tx.commit().await?;
        Ok(true)
    }
}

fn disposed(before: User, disposition: UserDisposition, now: DateTime<Utc>) -> UserWrite {
    let mut after = User {
        revision: before.revision.next(),
        update_time: now,
        login_ambiguous: false,
        login_asked_by: None,
        ..before.clone()
    };
    let linked = before.origin.as_ref().is_some_and(|origin| origin.linked);
    if linked || disposition == UserDisposition::MakeLocal {
        after.origin = None;
    } else {
        after.state_reason = Some(StateReason::SyncDeleted);
        if disposition == UserDisposition::Archive {
            after.state = UserState::Archived;
        } else if after.state == UserState::Active {
            after.state = UserState::Deactivated;
        }
    }
    UserWrite::new(Some(before), after, None)
}
