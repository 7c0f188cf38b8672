use anyhow::{Result, bail};
use std::time::{Duration, Instant};

const PAUSE: Duration = Duration::from_millis(10);

/// Waits until `condition` holds, looking at its present state again and again (level-triggered), and
/// fails with `what` once `deadline` has passed. The condition is looked at once more at the end, so a
/// machine that stalls cannot make a true condition fail.
pub async fn wait_for(
    what: &str,
    deadline: Duration,
    mut condition: impl AsyncFnMut() -> bool,
) -> Result<()> {
    let end = Instant::now() + deadline;
    loop {
        let last_look = Instant::now() >= end;
        if condition().await {
            return Ok(());
        }
        if last_look {
            bail!("not within {deadline:?}: {what}");
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// [`wait_for`] for tests without a runtime; blocks the thread.
pub fn wait_for_blocking(what: &str, deadline: Duration, mut condition: impl FnMut() -> bool) -> Result<()> {
    let end = Instant::now() + deadline;
    loop {
        let last_look = Instant::now() >= end;
        if condition() {
            return Ok(());
        }
        if last_look {
            bail!("not within {deadline:?}: {what}");
        }
        pause();
    }
}

/// Between two looks at something that nobody announces, as the start of another process is.
#[expect(
    clippy::disallowed_methods,
    reason = "the one place where the testkit waits by the clock"
)]
pub(crate) fn pause() {
    std::thread::sleep(PAUSE);
}
