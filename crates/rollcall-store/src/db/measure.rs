//! How the time and outcome of statements are counted.

use rollcall_metrics::{Statement, metrics};
use tokio::time::Instant;
use tracing::{Instrument, Span};

use crate::error::Result;

/// Runs work of this kind, and counts how long it took and whether it failed. The work is a step in the trace of the
/// call or run that waits for it; work for nobody, or for many at once, is in no trace. The statement's text goes
/// nowhere: it names tables, and adds nothing to the kind of work and the step around it.
pub(crate) async fn measured<T>(kind: Statement, work: impl Future<Output = Result<T>>) -> Result<T> {
    let began = Instant::now();
    let span = match Span::current().is_none() {
        true => Span::none(),
        false => tracing::info_span!(target: "rollcall_trace", "database", kind = kind.as_str()),
    };
    let done = work.instrument(span).await;
    let metrics = metrics();
    metrics.database_statement_seconds.took(kind, began.elapsed());
    if done.is_err() {
        metrics.database_failures.count(kind);
    }
    done
}
