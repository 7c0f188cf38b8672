//! Reloads callers, certificates, the log level and a service's secrets (those that it shows to others, and those of
//! its store) while calls go on: at SIGHUP, and when one of the files has changed. A configuration with mistakes
//! changes nothing and is logged. If only the store refuses, the secrets are tried again later; certificates do not
//! wait for a database that is away.

use std::marker::PhantomData;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;

use rollcall_metrics::{Reload as Taken, metrics};
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::MissedTickBehavior;
use toml::Table;

use crate::caller::NobodyLeft;
use crate::config::{
    ConfigArguments, Loaded, Mistakes, Settings, Shared, TlsError, changed_keys, from_process, tls_acceptor,
};
use crate::exit::Failure;
use crate::server::{GrpcServer, Replaceable};
use crate::telemetry;

/// How often the files are looked at. A file must be unchanged for one more look before it is read, since somebody may
/// be writing it.
const LOOK_INTERVAL: Duration = Duration::from_secs(10);
/// What is reloaded besides the service's own settings. For anything else the service must be restarted.
const RELOADED: [&str; 9] = [
    "callers",
    "server.tls_certificate_file",
    "server.tls_key_file",
    "server.client_ca_file",
    "telemetry.filter",
    "store.url",
    "store.url_file",
    "keyring.key",
    "keyring.key_file",
];

/// What is needed to load a service's settings again.
pub struct Reload<T> {
    arguments: ConfigArguments,
    effective: Table,
    files: Vec<PathBuf>,
    hangups: Signal,
    settings: PhantomData<fn() -> T>,
}

/// Why nothing was replaced.
#[derive(Debug, thiserror::Error)]
enum Refused {
    #[error(transparent)]
    Mistakes(#[from] Mistakes),
    #[error(transparent)]
    Tls(#[from] TlsError),
    #[error(transparent)]
    Callers(#[from] NobodyLeft),
}

/// What a file looked like; `None` if it could not be looked at.
type Mark = Option<(i64, i64, u64, u64)>;

impl<T: Settings> Reload<T> {
    /// From now on, SIGHUP does not end the process. Must be called within a runtime.
    ///
    /// # Errors
    /// The signal handler cannot be installed.
    pub fn prepare(loaded: &Loaded<T>, arguments: &ConfigArguments) -> std::io::Result<Self> {
        Ok(Self {
            arguments: arguments.clone(),
            effective: loaded.effective().clone(),
            files: loaded.files(),
            hangups: signal(SignalKind::hangup())?,
            settings: PhantomData,
        })
    }

    /// Keeps a server up to date for as long as the process runs. `renew` makes the service use new secrets.
    pub fn follow<F, R>(self, server: &GrpcServer, renew: F)
    where
        T: 'static,
        F: Fn(Loaded<T>) -> R + Send + Sync + 'static,
        R: Future<Output = Result<(), Failure>> + Send + 'static,
    {
        tokio::spawn(self.reload_whenever(server.replaceable(), renew));
    }

    async fn reload_whenever<F, R>(mut self, server: Replaceable, renew: F)
    where
        F: Fn(Loaded<T>) -> R,
        R: Future<Output = Result<(), Failure>>,
    {
        let mut loaded = marks(&self.files);
        let mut before = loaded.clone();
        let mut again = false;
        let mut looks = tokio::time::interval(LOOK_INTERVAL);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            let asked = tokio::select! {
                hangup = self.hangups.recv() => hangup.is_some(),
                _ = looks.tick() => false,
            };
            let now = marks(&self.files);
            if asked || again || is_settled(&loaded, &before, &now) {
                loaded = now.clone();
                let files = self.files.clone();
                let renewing = self.reload(&server).map(&renew);
                again = match renewing {
                    Some(renewing) => is_to_be_repeated(renewing.await),
                    None => false,
                };
                if self.files != files {
                    loaded = marks(&self.files);
                }
            }
            before = marks(&self.files);
        }
    }

    /// Loads the settings again and puts the server's in place, all or none. Returns the settings for the service.
    fn reload(&mut self, server: &Replaceable) -> Option<Loaded<T>> {
        let loaded = match from_process::<T>(&self.arguments)
            .map_err(Refused::from)
            .and_then(|loaded| server.replace(&loaded.shared).map(|()| loaded))
        {
            Ok(loaded) => loaded,
            Err(refused) => {
                for line in refused.to_string().lines() {
                    tracing::error!(mistake = line, "the configuration cannot be reloaded");
                }
                tracing::error!("callers, certificates and log level stay as they were");
                metrics().reloads.count(Taken::Refused);
                metrics().reload_refused.set(1);
                return None;
            }
        };
        metrics().reloads.count(Taken::Taken);
        metrics().reload_refused.set(0);
        telemetry::set_filter(&loaded.shared.telemetry);
        loaded.warn_of_endings();
        let changed = changed_keys(&self.effective, loaded.effective());
        let taken_up = || RELOADED.iter().chain(T::RELOADED).copied();
        let waiting: Vec<&String> = changed
            .iter()
            .filter(|key| !taken_up().any(|known| known == key.as_str()))
            .collect();
        if !waiting.is_empty() {
            tracing::warn!(keys = ?waiting, "these keys changed and take effect when the service is started again");
        }
        tracing::info!(
            callers = loaded.shared.callers.len(),
            "callers, certificates and log level are reloaded"
        );
        // Changes that wait for a restart are logged at each reload.
        for key in taken_up() {
            crate::config::copy_key(loaded.effective(), &mut self.effective, key);
        }
        self.files = loaded.files();
        Some(loaded)
    }
}

/// Logs whether the secrets were replaced. True if they are to be tried again.
fn is_to_be_repeated(renewed: Result<(), Failure>) -> bool {
    let Err(failure) = renewed else {
        tracing::info!("the secrets are used as they are now");
        return false;
    };
    metrics().reloads.count(Taken::Refused);
    metrics().reload_refused.set(1);
    tracing::error!(%failure, "the service goes on with the secrets that it has");
    failure.may_pass()
}

impl Replaceable {
    fn replace(&self, shared: &Shared) -> Result<(), Refused> {
        let tls = tls_acceptor(shared)?;
        self.callers.replace(&shared.callers)?;
        self.tls.replace(tls);
        Ok(())
    }
}

/// Whether the files differ from those that were loaded, and have been unchanged for a while.
fn is_settled(loaded: &[Mark], before: &[Mark], now: &[Mark]) -> bool {
    now != loaded && now == before
}

fn marks(files: &[PathBuf]) -> Vec<Mark> {
    let mark = |file: &PathBuf| {
        let metadata = std::fs::metadata(file).ok()?;
        Some((
            metadata.mtime(),
            metadata.mtime_nsec(),
            metadata.size(),
            metadata.ino(),
        ))
    };
    files.iter().map(mark).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn files_are_loaded_once_they_have_changed_and_rest() {
        let mark = |size| vec![Some((1, 0, size, 7))];
        assert!(!is_settled(&mark(1), &mark(1), &mark(1)));
        assert!(!is_settled(&mark(1), &mark(1), &mark(2)), "being written");
        assert!(is_settled(&mark(1), &mark(2), &mark(2)));
        assert!(!is_settled(&mark(2), &mark(2), &mark(2)), "loaded already");
        assert!(is_settled(&mark(1), &[None], &[None]), "gone, which is told once");
    }
}
