//! Places: only so many runs are worked on by one process at a time, however they were started. Others wait.

use std::time::Duration;

use rollcall_core::id::{RunId, UserSyncKey};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::timeout;

use super::Inner;
use super::stop::Stop;

/// How often a run that waits looks whether it shall go on waiting.
const POLL: Duration = Duration::from_secs(1);

/// Held while a run is worked on.
pub(super) type Place = OwnedSemaphorePermit;

impl Inner {
    /// Waits for a place. To be taken after a turn: whoever has a place must not wait for a busy directory.
    ///
    /// # Errors
    /// Why the run has to stop here.
    pub(super) async fn place(&self, key: &UserSyncKey, id: RunId) -> Result<Place, Stop> {
        loop {
            self.keep_going(key, id).await?;
            if let Ok(Ok(place)) = timeout(POLL, self.places.clone().acquire_owned()).await {
                return Ok(place);
            }
        }
    }
}
