//! One of the two binaries, running.

use std::io::{BufRead, BufReader};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use rollcall_testkit::{freeze, wait_for_blocking};
use tonic::transport::{Channel, Endpoint};

use crate::release::Release;

const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(40);

/// A running service; killed when dropped.
pub struct Service {
    name: &'static str,
    child: Child,
    log: Arc<Mutex<String>>,
    address: String,
}

impl Service {
    /// Starts a binary with a configuration file and waits until it serves.
    pub fn start(name: &'static str, config: &Path) -> Result<Self> {
        Self::start_release(Release::This, name, config)
    }

    /// As [`Service::start`], of another release.
    pub fn start_release(release: Release, name: &'static str, config: &Path) -> Result<Self> {
        let mut service = Self::spawn(release, name, config)?;
        service.serves()?;
        Ok(service)
    }

    /// Starts a binary that does not serve yet: [`Service::serves`] waits for it.
    pub fn begin(name: &'static str, config: &Path) -> Result<Self> {
        Self::spawn(Release::This, name, config)
    }

    fn spawn(release: Release, name: &'static str, config: &Path) -> Result<Self> {
        let mut command = Command::new(release.binary(name)?);
        command.arg("--config").arg(config);
        command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped());
        let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let log = Arc::new(Mutex::new(String::new()));
        let output: [Box<dyn std::io::Read + Send>; 2] = [
            Box::new(child.stdout.take().context("no standard output")?),
            Box::new(child.stderr.take().context("no standard error")?),
        ];
        for stream in output {
            let log = log.clone();
            std::thread::spawn(move || {
                for line in BufReader::new(stream).lines().map_while(Result::ok) {
                    let mut log = log.lock();
                    log.push_str(&line);
                    log.push('\n');
                }
            });
        }
        Ok(Self {
            name,
            child,
            log,
            address: String::new(),
        })
    }

    /// Waits until it serves.
    pub fn serves(&mut self) -> Result<()> {
        let mut ended = false;
        let waited = wait_for_blocking("the service to serve", START_LIMIT, || {
            ended = !matches!(self.child.try_wait(), Ok(None));
            self.serving_address().is_some() || ended
        });
        match self.serving_address() {
            Some(address) if waited.is_ok() => self.address = address,
            _ => bail!("{} does not serve:\n{}", self.name, self.log()),
        }
        Ok(())
    }

    /// `HOST:PORT` where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `HOST:PORT` of its health listener, if it has one.
    pub fn health_address(&self) -> Option<String> {
        self.logged("health.address")
    }

    /// The process.
    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// A new connection.
    pub async fn channel(&self) -> Result<Channel> {
        Ok(Endpoint::from_shared(format!("http://{}", self.address))?
            .connect()
            .await?)
    }

    /// Everything that it wrote so far.
    pub fn log(&self) -> String {
        self.log.lock().clone()
    }

    /// Freezes it (SIGSTOP): connections stay open, and nothing moves.
    pub fn pause(&self) -> Result<()> {
        freeze(self.child.id())
    }

    /// Ends [`Service::pause`].
    pub fn resume(&self) -> Result<()> {
        let status = Command::new("kill")
            .args(["-CONT", &self.child.id().to_string()])
            .status()?;
        anyhow::ensure!(status.success(), "{} cannot be signalled", self.name);
        Ok(())
    }

    /// Ends it at once, as a crash would.
    pub fn kill(&mut self) -> Result<()> {
        self.child.kill()?;
        self.child.wait()?;
        Ok(())
    }

    /// Asks it to stop and waits until it has; true if it ended well.
    pub fn stop(&mut self) -> Result<bool> {
        let pid = self.child.id().to_string();
        Command::new("kill").args(["-TERM", &pid]).status()?;
        let name = self.name;
        wait_for_blocking(&format!("{name} to stop"), STOP_LIMIT, || {
            !matches!(self.child.try_wait(), Ok(None))
        })?;
        Ok(self.child.wait()?.success())
    }

    fn serving_address(&self) -> Option<String> {
        self.logged("server.address")
    }

    /// The last value of a field in its log.
    fn logged(&self, key: &str) -> Option<String> {
        let log = self.log();
        let entries = log
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok());
        entries.filter_map(|entry| find(&entry, key)).next_back()
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        // It may have ended already, which is what is wanted.
        let _ = self.kill();
    }
}

fn find(entry: &serde_json::Value, key: &str) -> Option<String> {
    let field = entry.get(key).or_else(|| entry.get("fields")?.get(key))?;
    Some(field.as_str()?.to_owned())
}
