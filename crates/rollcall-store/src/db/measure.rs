//! What statements are counted as.

use rollcall_metrics::{Statement, metrics};
use tokio::time::Instant;

use crate::error::Result;

/// Has work of this kind done, and counts how long it took and whether it failed.
pub(crate) async fn measured<T>(kind: Statement, work: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let done = work.await;
    let metrics = metrics();
    metrics.database_statement_seconds.took(kind, began.elapsed());
    if done.is_err() {
        metrics.database_failures.count(kind);
    }
    done
}
