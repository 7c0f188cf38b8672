//! The erasure itself: one transaction.

use chrono::{DateTime, Utc};
use rollcall_core::audit::AskedBy;
use rollcall_core::erasure::Person;
use rollcall_core::event::EventType;
use rollcall_core::id::{TenantId, UserId, Uuid};
use rollcall_core::revision::Revision;
use rollcall_core::user::User;
use sea_orm::{ConnectionTrait, FromQueryResult};

use crate::audit::{self, NewAuditEvent};
use crate::db::query::{execute, rows, scalar};
use crate::db::timestamp::{to_micros, to_stored};
use crate::error::{Kind, Result, StoreError};
use crate::keyring::SealedFor;
use crate::store::Store;
use crate::tables::json::JsonColumn;
use crate::tables::require_revision;
use crate::users::feed::{self, Cause, NewEvent};
use crate::users::write::{UserWrite, lock_users, write};

/// Whom to erase.
#[derive(Clone, Copy, Debug)]
pub struct EraseUser<'a> {
    /// Of this tenant.
    pub tenant: &'a TenantId,
    /// This user, who may be deleted already.
    pub user: UserId,
    /// Only at this revision.
    pub expected_revision: Option<Revision>,
    /// Whether no user sync may take the person from the directory again.
    pub exclude: bool,
    /// Only if the user left, and has not changed since this time.
    pub left_before: Option<DateTime<Utc>>,
}

/// A user who left so long ago that they are to be erased.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Left {
    /// The tenant.
    pub tenant: TenantId,
    /// The user.
    pub user: UserId,
    /// The time since which the user has not changed, at the least.
    pub before: DateTime<Utc>,
}

#[derive(FromQueryResult)]
struct LeftRow {
    tenant: String,
    id: Uuid,
    erase_after: i64,
}

impl Store {
    /// Erases a user. The user goes at once, with the event that says so; what is kept elsewhere goes with the next
    /// [`Store::sweep_erased`]. A user who was deleted already is erased from what is kept elsewhere. A call that broke
    /// off may be repeated.
    ///
    /// # Errors
    /// `NotFound` if there is no such user and nothing is left of one; `RevisionMismatch`; `OwnerProtected`;
    /// `NotInState` if the user did not leave before the time.
    pub async fn erase_user(&self, erase: EraseUser<'_>, record: &NewAuditEvent) -> Result<()> {
        let EraseUser { tenant, user: id, .. } = erase;
        let now = to_stored(record.time);
        let asked_by = record.decision().by;
        let tx = self.inner.database.begin().await?;
        let found = lock_users(&tx, tenant, [id]).await?.into_iter().next();
        let Some(model) = found else {
            return self.erase_deleted(tx, tenant, id, &asked_by, record).await;
        };
        let user = model.into_domain()?;
        require_revision(user.revision, erase.expected_revision)?;
        if user.owner {
            return Err(StoreError::OwnerProtected);
        }
        if erase.left_before.is_some_and(|before| !has_left(&user, before)) {
            return Err(StoreError::NotInState);
        }
        if let Some(origin) = user.origin.as_ref().filter(|_| erase.exclude) {
            self.exclude(&tx, tenant, origin, now).await?;
        }
        self.remember(&tx, tenant, &Person::of(&user), now).await?;
        let writes = [UserWrite::erasure(user)];
        write(
            &tx,
            self.scope(tenant),
            tenant,
            &writes,
            Cause::asked_by(&asked_by),
            now,
        )
        .await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        Ok(())
    }

    /// Users who left longer ago than their user syncs keep them, at most `limit`. Global by nature.
    pub async fn left_for_good(&self, now: DateTime<Utc>, limit: u32) -> Result<Vec<Left>> {
        let sql = format!(
            "SELECT u.tenant, u.id, s.erase_after FROM user_syncs s
            JOIN users u ON u.tenant = s.tenant AND u.user_sync = s.id
              AND u.state_reason IN ('GONE', 'OUT_OF_SCOPE') AND u.update_time < $1 - s.erase_after
            WHERE s.erase_after IS NOT NULL LIMIT {limit}"
        );
        let found: Vec<LeftRow> =
            rows(&self.inner.database.reader, &sql, vec![to_micros(now).into()]).await?;
        let left = found.into_iter().map(|row| {
            Ok(Left {
                tenant: TenantId::parse(&row.tenant)
                    .ok_or(StoreError::corrupt("a stored id is malformed"))?,
                user: UserId(row.id),
                before: now - chrono::TimeDelta::microseconds(row.erase_after),
            })
        });
        left.collect()
    }

    /// Erases a person whose user is gone already, as after DeleteUser. Consumers get an event all the same.
    async fn erase_deleted(
        &self,
        tx: sea_orm::DatabaseTransaction,
        tenant: &TenantId,
        id: UserId,
        asked_by: &AskedBy,
        record: &NewAuditEvent,
    ) -> Result<()> {
        let of_user = || vec![tenant.as_str().into(), id.0.into()];
        let pending = "SELECT create_time FROM erasures WHERE tenant = $1 AND user_id = $2";
        if scalar::<i64>(&tx, pending, of_user()).await?.is_some() {
            return Ok(());
        }
        let left = "SELECT position FROM user_events WHERE tenant = $1 AND user_id = $2 AND user_after <> '' LIMIT 1";
        if scalar::<i64>(&tx, left, of_user()).await?.is_none() {
            return Err(StoreError::NotFound(Kind::User));
        }
        let now = to_stored(record.time);
        self.remember(&tx, tenant, &Person::new(id), now).await?;
        let event = NewEvent {
            event_type: EventType::Erased,
            user: id,
            user_sync: None,
            after: None,
            changes: &Vec::new(),
        };
        feed::append(&tx, tenant, &[event], Cause::asked_by(asked_by), now).await?;
        audit::insert(&tx, std::iter::once(record)).await?;
        tx.commit().await?;
        Ok(())
    }

    async fn remember(
        &self,
        tx: &impl ConnectionTrait,
        tenant: &TenantId,
        person: &Person,
        now: DateTime<Utc>,
    ) -> Result<()> {
        let user = person.user.to_string();
        let owner = sealed_for(tenant, &user);
        let sealed = self.inner.keyring().seal(owner, person.to_json()?.as_bytes())?;
        let sql = "INSERT INTO erasures (tenant, user_id, person, create_time) VALUES ($1, $2, $3, $4)
            ON CONFLICT (tenant, user_id) DO UPDATE SET person = excluded.person, create_time = excluded.create_time";
        let values = vec![
            tenant.as_str().into(),
            person.user.0.into(),
            sealed.into(),
            to_micros(now).into(),
        ];
        execute(tx, sql, values).await?;
        Ok(())
    }
}

/// The kind of secret as which a person is sealed.
pub(crate) const ERASURE: &str = "erasure";

/// The owner that a sealed person belongs to.
pub(super) fn sealed_for<'a>(tenant: &'a TenantId, user: &'a str) -> SealedFor<'a> {
    SealedFor {
        tenant: tenant.as_str(),
        directory: user,
        kind: ERASURE,
    }
}

fn has_left(user: &User, before: DateTime<Utc>) -> bool {
    user.state_reason.is_some_and(|reason| reason.has_left()) && user.update_time < before
}
