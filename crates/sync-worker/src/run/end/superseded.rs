//! Holds that a newer run superseded before anybody had read them, as is common with short schedules. A person who
//! looked at the older plan may release the newest one, if it has no change that the older one did not show.

use std::collections::HashSet;

use rollcall_core::error::Error;
use rollcall_core::plan::{Change, Fingerprint};
use rollcall_core::run::{Run, RunMode, RunState};
use rollcall_store::{PageRequest, Store};

/// How many of the latest runs are searched for the newest that is no preview.
const LATEST: u32 = 50;

/// The held run that may be applied, or was, for one that it superseded; `None` if there is none, or if it has changes
/// that the superseded one did not show.
///
/// # Errors
/// What the store says.
pub(crate) async fn newest_hold_of(store: &Store, superseded: &Run) -> Result<Option<Run>, Error> {
    if superseded.state != RunState::Superseded || superseded.hold_reasons.is_empty() {
        return Ok(None);
    }
    let latest = store
        .list_runs(&superseded.user_sync, &PageRequest::first(LATEST))
        .await?;
    let newest = latest.items.into_iter().find(|run| run.mode == RunMode::Apply);
    let of_a_hold = |run: &Run| {
        use RunState::*;
        matches!(run.state, Held | Applying | Succeeded | SucceededWithIssues) && !run.hold_reasons.is_empty()
    };
    let Some(newest) = newest.filter(of_a_hold) else {
        return Ok(None);
    };
    let mut shown: HashSet<Fingerprint> = HashSet::new();
    let all = each_change(store, superseded, |change| {
        shown.insert(change.as_shown());
        true
    });
    all.await?;
    // Removals of leavers have not waited.
    let is_shown = |change: &Change| change.is_leaver() || shown.contains(&change.as_shown());
    let covered = each_change(store, &newest, is_shown).await?;
    Ok(covered.then_some(newest))
}

/// Calls `go_on` for each change of a plan until it returns false; false if it did.
async fn each_change(
    store: &Store,
    run: &Run,
    mut go_on: impl FnMut(&Change) -> bool,
) -> Result<bool, Error> {
    let key = &run.user_sync;
    let extent = store.plan_extent(key, run.id).await?;
    for index in 0..extent.chunks {
        let changes = store.read_chunk(key, run.id, index).await?;
        if !changes.iter().all(&mut go_on) {
            return Ok(false);
        }
    }
    Ok(true)
}
