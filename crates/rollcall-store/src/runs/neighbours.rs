//! Users of other user syncs whom a run changes: see `rollcall_core::planner::Neighbour`. Since the plan was made, such
//! a sync may have been held, or may have been set to keep logins.

use std::collections::{BTreeMap, BTreeSet};

use rollcall_core::guard::HoldReason;
use rollcall_core::id::{UserSyncId, UserSyncKey};
use rollcall_core::plan::Change;
use rollcall_core::revision::Revision;
use rollcall_core::user_sync::{LoginChanges, UserSyncSettings};
use sea_orm::ConnectionTrait;

use crate::error::{Kind, Result, StoreError};
use crate::runs::in_force::of_revision;
use crate::tables::json::JsonColumn;
use crate::tables::user_sync;

/// What the other user syncs of a chunk allow now.
pub(crate) struct Neighbours<'k> {
    key: &'k UserSyncKey,
    others: BTreeMap<UserSyncId, Allowed>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Allowed {
    /// No change: the sync is gone, off or held.
    Nothing,
    /// Marking logins as ambiguous, but no move: the sync keeps the logins of its users.
    Marks,
    Moves,
}

impl<'k> Neighbours<'k> {
    pub(crate) async fn of(
        tx: &impl ConnectionTrait,
        key: &'k UserSyncKey,
        changes: &[Change],
    ) -> Result<Self> {
        let owners: BTreeSet<&UserSyncId> = changes.iter().map(|change| &change.origin.user_sync).collect();
        let mut others = BTreeMap::new();
        for owner in owners.into_iter().filter(|owner| **owner != key.user_sync) {
            others.insert(owner.clone(), allowed(tx, key, owner).await?);
        }
        Ok(Self { key, others })
    }

    /// False if the change is one of another sync's user that this sync does not allow.
    pub(crate) fn allow(&self, change: &Change) -> bool {
        let owner = &change.origin.user_sync;
        if *owner == self.key.user_sync {
            return true;
        }
        let moves = change.changes.iter().any(|changed| changed.field == "login");
        match self.others.get(owner) {
            Some(Allowed::Moves) => true,
            Some(Allowed::Marks) => !moves,
            Some(Allowed::Nothing) | None => false,
        }
    }
}

async fn allowed(tx: &impl ConnectionTrait, key: &UserSyncKey, owner: &UserSyncId) -> Result<Allowed> {
    let key = UserSyncKey {
        tenant: key.tenant.clone(),
        user_sync: owner.clone(),
    };
    let model = match user_sync::find(tx, &key).await {
        Ok(model) => model,
        Err(StoreError::NotFound(Kind::UserSync)) => return Ok(Allowed::Nothing),
        Err(error) => return Err(error),
    };
    if model.disabled || !Vec::<HoldReason>::from_json(&model.hold)?.is_empty() {
        return Ok(Allowed::Nothing);
    }
    let in_force = match model.in_force_revision {
        Some(revision) => of_revision(tx, &key.tenant, owner, Revision::new(revision)).await?,
        None => None,
    };
    let settings = match in_force {
        Some(settings) => settings,
        None => UserSyncSettings::from_json(&model.settings)?,
    };
    Ok(match settings.login_changes {
        LoginChanges::Allow => Allowed::Moves,
        LoginChanges::Reject => Allowed::Marks,
    })
}
