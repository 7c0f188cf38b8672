//! Applies a plan, chunk by chunk. Each chunk commits together with the pointer to the next, so that a worker that
//! takes the run over goes on exactly where the last one stopped.

use rollcall_store::RunHandle;

use super::admission::MayWork;
use super::executor::Executor;
use super::stop::Stop;

/// How much of a plan was applied.
pub(super) enum Applied {
    /// All of it.
    All,
    /// Only the removals that do not wait for a person.
    Leavers,
}

/// Applies the chunks that were not applied yet.
///
/// # Errors
/// Why the run has to stop here.
pub(super) async fn apply(x: &Executor, job: &RunHandle, _: &MayWork) -> Result<Applied, Stop> {
    let (store, key, id) = (&x.store, &job.key, job.id);
    let extent = store.plan_extent(key, id).await?;
    let read = async |index| match index < extent.chunks {
        true => store.read_chunk(key, id, index).await,
        false => Ok(Vec::new()),
    };
    let end = extent.hold_at.unwrap_or(extent.chunks);
    let mut next = read(extent.applied_chunks).await.map(|changes| (changes, None));
    for index in extent.applied_chunks..end {
        x.keep_going(job).await?;
        let (changes, started) = next?;
        let apply = store.apply_started(job, index, &changes, started, x.clock.now());
        // The next one is read and started while the database works on this one.
        let start_next = async {
            let following = read(index + 1).await?;
            let started = match index + 1 < end {
                true => store.start_chunk(job, &changes, &following, x.clock.now()).await,
                false => None,
            };
            Ok((following, started))
        };
        let applied;
        (applied, next) = tokio::join!(apply, start_next);
        applied?;
        x.moved_on(id);
    }
    Ok(match extent.hold_at {
        Some(_) => Applied::Leavers,
        None => Applied::All,
    })
}
