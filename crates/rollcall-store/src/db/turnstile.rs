//! A turnstile lets those who wait for SQLite's write lock pass between two of many transactions. SQLite has no queue:
//! a process that writes one transaction after the other can keep all others waiting.
//!
//! A process that waits to write holds a shared lock on a file beside the database. A process that writes much asks for
//! the exclusive lock on that file before it goes on. If nobody waits, this costs two system calls.

use std::fs::File;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use tokio::time::{Instant, sleep};

use crate::error::{Result, StoreError};

/// How often a process that writes much looks whether others still wait.
const LOOK_INTERVAL: Duration = Duration::from_micros(500);
/// For how long it looks. A process that froze while it waited must not stop a run.
const PATIENCE: Duration = Duration::from_millis(50);

/// How often to try to mark that somebody waits.
const ATTEMPTS: u32 = 10;

/// The turnstile of a database. Those of all processes share a file.
pub(crate) struct Turnstile {
    waiting: Mutex<Waiters>,
    /// The file opened a second time, since a process does not see its own lock.
    looking: File,
}

struct Waiters {
    file: File,
    count: u32,
}

/// Somebody waits for as long as this lives.
pub(crate) struct Waiting(Arc<Turnstile>);

impl Turnstile {
    /// The turnstile of the database in this file.
    pub(crate) fn open(database: &Path) -> Result<Self> {
        let mut path = database.as_os_str().to_owned();
        path.push("-turnstile");
        let path = PathBuf::from(path);
        let open = || {
            let mut options = File::options();
            options.write(true).create(true).truncate(false);
            #[cfg(unix)]
            std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
            options
                .open(&path)
                .map_err(|error| StoreError::Unavailable(error.into()))
        };
        Ok(Self {
            waiting: Mutex::new(Waiters {
                file: open()?,
                count: 0,
            }),
            looking: open()?,
        })
    }

    /// Marks that somebody waits for the write lock.
    pub(crate) fn wait(self: &Arc<Self>) -> Waiting {
        let mut waiters = self.waiting.lock();
        if waiters.count == 0 {
            // A process that looks holds the lock for an instant. To block until it is free would rely on that process
            // not freezing then.
            let _ = (0..ATTEMPTS).any(|_| {
                let locked = waiters.file.try_lock_shared().is_ok();
                if !locked {
                    std::thread::yield_now();
                }
                locked
            });
        }
        waiters.count += 1;
        Waiting(Arc::clone(self))
    }

    /// Waits until nobody waits any more, but only for a short time.
    pub(crate) async fn let_others_pass(&self) {
        let give_up = Instant::now() + PATIENCE;
        while self.looking.try_lock().is_err() {
            if Instant::now() >= give_up {
                return;
            }
            sleep(LOOK_INTERVAL).await;
        }
        // Unlocking a held lock cannot fail; at the latest the lock ends with the file.
        let _ = self.looking.unlock();
    }
}

impl Drop for Waiting {
    fn drop(&mut self) {
        let mut waiters = self.0.waiting.lock();
        waiters.count -= 1;
        if waiters.count == 0 {
            let _ = waiters.file.unlock();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn who_writes_much_waits_for_those_who_wait_and_not_for_long() {
        let directory = tempfile::tempdir().unwrap();
        let database = directory.path().join("rollcall.db");
        let open = || Arc::new(Turnstile::open(&database).unwrap());
        // Two turnstiles, as two processes have them.
        let (much, little) = (open(), open());
        let begin = Instant::now();
        much.let_others_pass().await;
        assert_eq!(begin.elapsed(), Duration::ZERO);

        let waiting = [little.wait(), little.wait(), much.wait()];
        much.let_others_pass().await;
        assert!(begin.elapsed() >= PATIENCE, "it waits");
        let begin = Instant::now();
        let some_time = Duration::from_millis(5);
        tokio::join!(much.let_others_pass(), async {
            sleep(some_time).await;
            drop(waiting);
        });
        assert!(
            begin.elapsed() < some_time + LOOK_INTERVAL * 2,
            "nobody waits any more"
        );
    }
}
