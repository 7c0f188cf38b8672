//! Leases: one worker at a time, with a fencing token.
//!
//! The holder of a lease may die, or sleep for an hour and wake up. So a lease ends by the database's clock, and each
//! holder gets a higher token than the one before. Every transaction that writes under a lease locks its row and
//! compares the token, so a holder that lost the lease writes nothing.

use std::time::Duration;

use rollcall_core::id::UserSyncKey;
use sea_orm::ConnectionTrait;

use crate::db::engine::Engine;
use crate::db::query::{execute, scalar, text};
use crate::db::timestamp::in_micros;
use crate::error::{Result, StoreError};
use crate::store::Store;

/// No lease is taken or extended for longer than half of this. A lease that ends later was taken before the clock was
/// set back, and it counts as over: if its holder lived, it would have extended it since. Otherwise nobody could take
/// it until that time comes.
const BEYOND_ALL: Duration = Duration::from_secs(20 * 60);

/// What is leased.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct LeaseName(String);

/// Proof of holding a lease, until another holder takes it.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct LeaseToken {
    name: LeaseName,
    number: i64,
}

impl LeaseName {
    /// The lease to run a user sync, to change its runs and to delete it.
    pub fn run_of(user_sync: &UserSyncKey) -> Self {
        Self(user_sync.to_string())
    }

    /// The lease of a job of the whole deployment.
    pub fn job(name: &'static str) -> Self {
        Self(format!("jobs/{name}"))
    }
}

impl LeaseToken {
    /// What is leased.
    pub fn name(&self) -> &LeaseName {
        &self.name
    }

    /// The fencing token, higher for each holder.
    pub fn number(&self) -> i64 {
        self.number
    }
}

impl Store {
    /// Takes a lease that nobody holds; `None` while somebody does. `holder` is for people to read. Global by
    /// nature: the name says what is leased.
    pub async fn acquire_lease(
        &self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
    ) -> Result<Option<LeaseToken>> {
        self.take_lease(name, holder, ttl, &is_over(self.inner.database.engine, "leases"))
            .await
    }

    /// Takes the lease for deleting a user sync. It is taken at once from another deletion: that one may have died half
    /// way, and if not, it writes nothing more. `None` while a run holds it.
    pub async fn acquire_lease_for_deletion(
        &self,
        user_sync: &UserSyncKey,
        ttl: Duration,
    ) -> Result<Option<LeaseToken>> {
        let is_over = is_over(self.inner.database.engine, "leases");
        let may_take = format!("({is_over} OR leases.holder = excluded.holder)");
        self.take_lease(&LeaseName::run_of(user_sync), "deletion", ttl, &may_take)
            .await
    }

    async fn take_lease(
        &self,
        name: &LeaseName,
        holder: &str,
        ttl: Duration,
        may_take: &str,
    ) -> Result<Option<LeaseToken>> {
        let tx = self.inner.database.begin().await?;
        let taken = take(&tx, name, holder, ttl, may_take).await?;
        tx.commit().await?;
        Ok(taken)
    }

    /// Holds a lease for longer: until `ttl` from now.
    ///
    /// # Errors
    /// `LeaseLost`: stop working at once.
    pub async fn heartbeat_lease(&self, token: &LeaseToken, ttl: Duration) -> Result<()> {
        let now = self.inner.database.engine.now();
        let sql = format!(
            "UPDATE leases SET expire_time = {now} + $3 WHERE name = $1 AND token = $2 AND holder <> ''"
        );
        self.change_lease(&sql, token, vec![in_micros(ttl).into()]).await
    }

    /// Gives a lease up; the token is worthless afterwards.
    ///
    /// # Errors
    /// `LeaseLost` if it was lost already.
    pub async fn release_lease(&self, token: &LeaseToken) -> Result<()> {
        self.change_lease(RELEASE, token, vec![]).await
    }

    async fn change_lease(&self, sql: &str, token: &LeaseToken, more: Vec<sea_orm::Value>) -> Result<()> {
        let tx = self.inner.database.begin().await?;
        change(&tx, sql, token, more).await?;
        tx.commit().await?;
        Ok(())
    }
}

// The row stays, since its token must go on rising.
const RELEASE: &str =
    "UPDATE leases SET expire_time = 0, holder = '' WHERE name = $1 AND token = $2 AND holder <> ''";

async fn change(
    tx: &impl ConnectionTrait,
    sql: &str,
    token: &LeaseToken,
    more: Vec<sea_orm::Value>,
) -> Result<()> {
    let mut values = vec![token.name.0.as_str().into(), token.number.into()];
    values.extend(more);
    match execute(tx, sql, values).await? {
        0 => Err(StoreError::LeaseLost),
        _ => Ok(()),
    }
}

/// Takes a lease in a transaction; `None` unless `may_take` says that it may be taken from its present holder.
pub(crate) async fn take(
    tx: &impl ConnectionTrait,
    name: &LeaseName,
    holder: &str,
    ttl: Duration,
    may_take: &str,
) -> Result<Option<LeaseToken>> {
    let now = Engine::of(tx).now();
    let sql = format!(
        "INSERT INTO leases (name, holder, token, expire_time) VALUES ($1, $2, 1, {now} + $3)
        ON CONFLICT (name) DO UPDATE SET holder = excluded.holder, token = leases.token + 1,
            expire_time = excluded.expire_time
        WHERE {may_take}
        RETURNING token"
    );
    // An empty holder marks a lease that was given up.
    let holder = if holder.is_empty() { "unnamed" } else { holder };
    let values = vec![name.0.as_str().into(), text(holder), in_micros(ttl).into()];
    let number: Option<i64> = scalar(tx, &sql, values).await?;
    Ok(number.map(|number| LeaseToken {
        name: name.clone(),
        number,
    }))
}

/// Gives a lease up at the end of the transaction.
pub(crate) async fn release(tx: &impl ConnectionTrait, token: &LeaseToken) -> Result<()> {
    change(tx, RELEASE, token, vec![]).await
}

/// The condition that nobody holds the lease of this table, or alias, any more.
pub(crate) fn is_over(engine: Engine, table: &str) -> String {
    let (now, far) = (engine.now(), in_micros(BEYOND_ALL));
    format!("({table}.expire_time <= {now} OR {table}.expire_time > {now} + {far})")
}

/// Locks the lease's row until the transaction ends, and makes sure that the token still holds the lease and that it is
/// the lease of this user sync.
pub(crate) async fn require_lease(
    tx: &impl ConnectionTrait,
    token: &LeaseToken,
    user_sync: &UserSyncKey,
) -> Result<()> {
    if token.name != LeaseName::run_of(user_sync) {
        return Err(StoreError::LeaseLost);
    }
    let lock = Engine::of(tx).for_update();
    let sql = format!("SELECT token FROM leases WHERE name = $1 AND holder <> ''{lock}");
    let held: Option<i64> = scalar(tx, &sql, vec![token.name.0.as_str().into()]).await?;
    if held == Some(token.number) {
        Ok(())
    } else {
        Err(StoreError::LeaseLost)
    }
}
