//! One of the two binaries, running.

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use parking_lot::Mutex;
use rollcall_testkit::{freeze, wait_for_blocking};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tonic::transport::{Channel, Endpoint};

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
        Self::start_within(name, config, None)
    }

    /// The same for a process that may have so many open files, and never more.
    pub fn start_within(name: &'static str, config: &Path, files: Option<u32>) -> Result<Self> {
        let mut command = match files {
            None => Command::new(binary(name)?),
            Some(files) => {
                let mut command = Command::new("/bin/bash");
                command
                    .args(["-c", "ulimit -n $0 && exec \"$@\""])
                    .arg(files.to_string())
                    .arg(binary(name)?);
                command
            }
        };
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
        let mut service = Self {
            name,
            child,
            log,
            address: String::new(),
        };
        let mut ended = false;
        let waited = wait_for_blocking("the service to serve", START_LIMIT, || {
            ended = !matches!(service.child.try_wait(), Ok(None));
            service.serving_address().is_some() || ended
        });
        match service.serving_address() {
            Some(address) if waited.is_ok() => service.address = address,
            _ => bail!("{name} does not serve:\n{}", service.log()),
        }
        Ok(service)
    }

    /// `HOST:PORT` where it serves.
    pub fn address(&self) -> &str {
        &self.address
    }

    /// `HOST:PORT` of its health listener, if it has one.
    pub fn health_address(&self) -> Option<String> {
        self.logged("health.address")
    }

    /// The sum of all series of a counter, or of the counts of a histogram, at its health listener.
    pub async fn metric(&self, name: &str) -> Result<u64> {
        let address = self.health_address().context("no health listener")?;
        let mut stream = TcpStream::connect(&address).await?;
        let request = format!("GET /metrics HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await?;
        let series = answer.lines().filter_map(|line| line.strip_prefix(name));
        let series = series.filter(|rest| rest.starts_with(['{', ' ']));
        series
            .map(|rest| Ok(rest.rsplit(' ').next().context("a bad line")?.parse::<u64>()?))
            .sum()
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

/// A binary of this workspace's build: beside the directory that the running test was built into.
pub fn binary(name: &str) -> Result<PathBuf> {
    let test = std::env::current_exe()?;
    let directory = test
        .ancestors()
        .nth(2)
        .context("the test has no build directory")?;
    let binary = directory.join(name);
    if !binary.exists() {
        bail!(
            "{} is missing: run cargo build --workspace --bins",
            binary.display()
        );
    }
    Ok(binary)
}
