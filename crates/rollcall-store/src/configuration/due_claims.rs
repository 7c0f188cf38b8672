//! Claims on user syncs that are due: one of many schedulers and callers starts each of them. A claim changes nothing that
//! a user sync says of itself, and its revision stays.

use chrono::{DateTime, SubsecRound, Utc};
use rollcall_core::id::{TenantId, UserSyncId, UserSyncKey};

use crate::db::query::execute;
use crate::db::timestamp::to_micros;
use crate::error::Result;
use crate::store::Store;

/// A claim on a due user sync, until it is settled or released, or ends by itself.
#[derive(Clone, Debug)]
pub struct DueClaim {
    tenant: TenantId,
    id: UserSyncId,
    due: DateTime<Utc>,
    end: DateTime<Utc>,
}

impl DueClaim {
    /// A claim to ask for. It is told from others by its end.
    pub fn new(key: &UserSyncKey, due: DateTime<Utc>, end: DateTime<Utc>) -> Self {
        Self {
            tenant: key.tenant.clone(),
            id: key.user_sync.clone(),
            due,
            end: end.trunc_subsecs(6),
        }
    }
}

impl Store {
    /// Claims a user sync that is still due. False if it is not, or if somebody else has claimed it. A claim that its
    /// holder forgets ends by itself: a process that dies loses nothing. The tenant's turn is over: it goes behind the
    /// others that wait.
    pub async fn claim_due(&self, claim: &DueClaim, now: DateTime<Utc>) -> Result<bool> {
        let tx = self.inner.database.begin().await?;
        let sql = "UPDATE user_syncs SET claim_end = $3
            WHERE tenant = $1 AND id = $2 AND next_run_time = $4 AND (claim_end IS NULL OR claim_end <= $5)";
        let values = vec![
            claim.tenant.as_str().into(),
            claim.id.as_str().into(),
            to_micros(claim.end).into(),
            to_micros(claim.due).into(),
            to_micros(now).into(),
        ];
        let claimed = execute(&tx, sql, values).await? == 1;
        if claimed {
            let sql = "UPDATE tenant_turns SET turn = $2 WHERE tenant = $1 AND turn < $2";
            execute(
                &tx,
                sql,
                vec![claim.tenant.as_str().into(), to_micros(now).into()],
            )
            .await?;
        }
        tx.commit().await?;
        Ok(claimed)
    }

    /// Ends a claim whose run was started: the schedule fires next at `next`, unless the configuration was changed
    /// meanwhile, which set a time of its own. Nothing happens if the claim has ended.
    pub async fn settle_claim(&self, claim: &DueClaim, next: Option<DateTime<Utc>>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        let sql = "UPDATE user_syncs SET claim_end = NULL,
                next_run_time = CASE WHEN next_run_time = $4 THEN CAST($5 AS BIGINT) ELSE next_run_time END
            WHERE tenant = $1 AND id = $2 AND claim_end = $3";
        let values = vec![
            claim.tenant.as_str().into(),
            claim.id.as_str().into(),
            to_micros(claim.end).into(),
            to_micros(claim.due).into(),
            next.map(to_micros).into(),
        ];
        execute(&tx, sql, values).await?;
        tx.commit().await?;
        Ok(())
    }
}
