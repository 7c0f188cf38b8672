//! Changes that the product makes: LOCAL users, and blocks of any user.

use rollcall_core::id::{TenantId, UserId};
use rollcall_core::identifier::Holder;
use rollcall_core::revision::Revision;
use rollcall_core::user::{Block, Profile, StateReason, User, UserState};
use sea_orm::DatabaseTransaction;

use crate::audit::Recorded;
use crate::create_requests::{CreateRequest, Created};
use crate::db::timestamp::to_stored;
use crate::error::{Result, StoreError};
use crate::store::Store;
use crate::tables::{self, require_revision};
use crate::users::feed::Cause;
use crate::users::identifiers::holders;
use crate::users::write::{UserWrite, lock_user, lock_users, write};

/// A LOCAL user to create.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct NewUser {
    /// Its id.
    pub id: UserId,
    /// Its fields, validated.
    pub profile: Profile,
    /// The tenant's owner.
    pub owner: bool,
}

impl Store {
    /// Creates a LOCAL user.
    ///
    /// # Errors
    /// `NotFound` for the tenant; `AlreadyExists`; `IdentifierTaken`.
    pub async fn create_local_user(
        &self,
        tenant: &TenantId,
        user: NewUser,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let tx = self.inner.database.begin().await?;
        self.insert_local_user(tx, tenant, user, &record).await
    }

    /// The same for a call that may be a repeat.
    ///
    /// # Errors
    /// `RequestIdReused` too.
    pub async fn create_local_user_once(
        &self,
        request: &CreateRequest<'_>,
        tenant: &TenantId,
        user: NewUser,
        record: Recorded<'_, User>,
    ) -> Result<Created<User>> {
        let tx = self.inner.database.begin().await?;
        let (id, now) = (user.id.to_string(), record.time);
        if let Some(before) = self.claim(&tx, request, &id, now).await? {
            return Ok(Created::Before(before));
        }
        let user = self.insert_local_user(tx, tenant, user, &record).await?;
        Ok(Created::Now(user))
    }

    async fn insert_local_user(
        &self,
        tx: DatabaseTransaction,
        tenant: &TenantId,
        user: NewUser,
        record: &Recorded<'_, User>,
    ) -> Result<User> {
        let now = to_stored(record.time);
        tables::tenant::require(&tx, tenant).await?;
        if !lock_users(&tx, tenant, [user.id]).await?.is_empty() {
            return Err(StoreError::AlreadyExists);
        }
        let after = User {
            tenant: tenant.clone(),
            id: user.id,
            origin: None,
            profile: user.profile,
            state: UserState::Active,
            state_reason: None,
            owner: user.owner,
            block: None,
            login_ambiguous: false,
            login_asked_by: None,
            revision: Revision::FIRST,
            create_time: now,
            update_time: now,
        };
        let write = UserWrite::new(None, after, None);
        self.commit_user(tx, tenant, write, record).await
    }

    /// Replaces a LOCAL user's fields.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `NotLocal`; `IdentifierTaken`.
    pub async fn update_local_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        profile: &Profile,
        owner: bool,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let now = to_stored(record.time);
        let tx = self.inner.database.begin().await?;
        let before = lock_local(&tx, tenant, id, expected_revision).await?;
        let after = User {
            profile: profile.clone(),
            owner,
            revision: before.revision.next(),
            update_time: now,
            ..before.clone()
        };
        let write = UserWrite::new(Some(before), after, None);
        self.commit_user(tx, tenant, write, &record).await
    }

    /// Deletes a LOCAL user.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `NotLocal`; `OwnerProtected`.
    pub async fn delete_local_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, User>,
    ) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let before = lock_local(&tx, tenant, id, expected_revision).await?;
        if before.owner {
            return Err(StoreError::OwnerProtected);
        }
        self.commit_user(tx, tenant, UserWrite::deletion(before), &record)
            .await?;
        Ok(())
    }

    /// Deactivates a LOCAL user, unless it may not log in already.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `NotLocal`; `OwnerProtected`.
    pub async fn deactivate_local_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let state = (UserState::Deactivated, Some(StateReason::ByProduct));
        self.set_local_state(tenant, id, expected_revision, state, record)
            .await
    }

    /// Makes a LOCAL user active, if it is not.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`; `NotLocal`; `IdentifierTaken`.
    pub async fn reactivate_local_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let state = (UserState::Active, None);
        self.set_local_state(tenant, id, expected_revision, state, record)
            .await
    }

    async fn set_local_state(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        (state, state_reason): (UserState, Option<StateReason>),
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let now = to_stored(record.time);
        let tx = self.inner.database.begin().await?;
        let before = lock_local(&tx, tenant, id, expected_revision).await?;
        let may_log_in = |state| state == UserState::Active;
        if may_log_in(before.state) == may_log_in(state) {
            return Ok(before);
        }
        if before.owner && !may_log_in(state) {
            return Err(StoreError::OwnerProtected);
        }
        let after = User {
            state,
            state_reason,
            revision: before.revision.next(),
            update_time: now,
            ..before.clone()
        };
        let write = UserWrite::new(Some(before), after, None);
        self.commit_user(tx, tenant, write, &record).await
    }

    /// Blocks a user of either source. One that is blocked already stays so since then, for the new reason.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn block_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        reason: &str,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let block = Block {
            time: to_stored(record.time),
            reason: reason.to_owned(),
        };
        self.set_block(tenant, id, expected_revision, Some(block), record)
            .await
    }

    /// Lifts the block of a user, if there is one.
    ///
    /// # Errors
    /// `NotFound`; `RevisionMismatch`.
    pub async fn unblock_user(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        self.set_block(tenant, id, expected_revision, None, record).await
    }

    async fn set_block(
        &self,
        tenant: &TenantId,
        id: UserId,
        expected_revision: Option<Revision>,
        block: Option<Block>,
        record: Recorded<'_, User>,
    ) -> Result<User> {
        let now = to_stored(record.time);
        let tx = self.inner.database.begin().await?;
        let model = lock_user(&tx, tenant, id).await?;
        let fingerprint = model.fingerprint.clone();
        let before = model.into_domain()?;
        require_revision(before.revision, expected_revision)?;
        let block = match (&before.block, block) {
            (None, None) => return Ok(before),
            (Some(first), Some(again)) if first.reason == again.reason => return Ok(before),
            (Some(first), Some(again)) => Some(Block {
                time: first.time,
                ..again
            }),
            (_, block) => block,
        };
        let after = User {
            block,
            revision: before.revision.next(),
            update_time: now,
            ..before.clone()
        };
        let write = UserWrite::new(Some(before), after, fingerprint);
        self.commit_user(tx, tenant, write, &record).await
    }

    /// Makes sure that the identifiers are free, writes and commits.
    async fn commit_user(
        &self,
        tx: DatabaseTransaction,
        tenant: &TenantId,
        user_write: UserWrite,
        record: &Recorded<'_, User>,
    ) -> Result<User> {
        let now = to_stored(record.time);
        let user = &user_write.after;
        if !user_write.deleted {
            // The login comes first, so that it is the one that is reported if both are taken.
            let keys = user.identifiers();
            let held = holders(&tx, self.scope(tenant), tenant, &keys).await?;
            let is_taken = |key: &String| {
                held.get(key)
                    .is_some_and(|holder| *holder != Holder::User(user.id))
            };
            if let Some(index) = keys.iter().position(is_taken) {
                return Err(StoreError::IdentifierTaken { email: index > 0 });
            }
        }
        let writes = [user_write];
        let cause = Cause::asked_by(&record.asked_by);
        write(&tx, self.scope(tenant), tenant, &writes, cause, now)
            .await
            .map_err(|error| match matches!(error, StoreError::AlreadyExists) {
                // Another writer claimed an identifier between the check and the write. It is not known which one.
                true => StoreError::IdentifierTaken { email: false },
                false => error,
            })?;
        let [written] = writes;
        let after = (!written.deleted).then_some(&written.after);
        record.write(&tx, written.before.as_ref(), after).await?;
        tx.commit().await?;
        Ok(written.after)
    }
}

async fn lock_local(
    tx: &DatabaseTransaction,
    tenant: &TenantId,
    id: UserId,
    expected_revision: Option<Revision>,
) -> Result<User> {
    let user = lock_user(tx, tenant, id).await?.into_domain()?;
    if user.origin.is_some() {
        return Err(StoreError::NotLocal);
    }
    require_revision(user.revision, expected_revision)?;
    Ok(user)
}
