//! How long to wait for PostgreSQL's answer.

use std::time::Duration;

use sea_orm::{ConnectionTrait, DbErr};

use crate::db::engine::Engine;
use crate::error::{Result, StoreError};

/// No statement of ours takes as long as this, not even one that waits for the locks of a frozen process. A PostgreSQL
/// server whose machine vanishes sends nothing, and the kernel would notice only after a quarter of an hour.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(30);

#[derive(Debug, thiserror::Error)]
#[error("PostgreSQL did not answer in time")]
struct NoAnswer;

/// Waits for an answer of PostgreSQL for at most `limit`; after that the store counts as unavailable.
pub(crate) async fn within<T, E>(
    limit: Duration,
    answer: impl Future<Output = std::result::Result<T, E>>,
) -> Result<T>
where
    StoreError: From<E>,
{
    let answer = tokio::time::timeout(limit, answer).await;
    Ok(answer.map_err(|_| StoreError::Unavailable(NoAnswer.into()))??)
}

/// Waits for the answer to a statement that was sent on this connection.
pub(crate) async fn in_time<T>(
    connection: &impl ConnectionTrait,
    answer: impl Future<Output = std::result::Result<T, DbErr>>,
) -> Result<T> {
    match Engine::of(connection) {
        Engine::Sqlite => Ok(answer.await?),
        Engine::Postgres => within(ANSWER_TIMEOUT, answer).await,
    }
}
