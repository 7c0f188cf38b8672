use anyhow::{Context, Result, bail};
use std::ffi::OsStr;
use std::fs::File;
use std::hash::{BuildHasher, Hasher, RandomState};
use std::io::{self, Write};
use std::net::{IpAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use crate::wait::wait_for_blocking;

/// Ends the server and removes its files when the test process is gone without having run `Drop`: by a
/// kill, or because the owner sits in a `static`. It notices by the end of its standard input.
const WATCHDOG: &str = r#"
trap '' INT TERM HUP
read -r _
kill "-$2" "$1" 2>/dev/null
tries=0
while kill -0 "$1" 2>/dev/null && [ "$tries" -lt 100 ]; do tries=$((tries + 1)); sleep 0.05; done
rm -rf -- "$3"
"#;

/// A server process that does not outlive its owner, nor the test process.
pub(crate) struct ServerProcess {
    child: Child,
    watchdog: Child,
}

impl ServerProcess {
    /// Starts `command` with everything it prints appended to `log`. `last_signal` (a name like `KILL`)
    /// ends it, and `dir` is removed, when the test process dies first.
    pub(crate) fn start(mut command: Command, log: &Path, last_signal: &str, dir: &Path) -> Result<Self> {
        let out = File::options().create(true).append(true).open(log)?;
        let program = command.get_program().to_owned();
        let mut child = command
            .stdin(Stdio::null())
            .stdout(out.try_clone()?)
            .stderr(out)
            .process_group(0)
            .spawn()
            .with_context(|| format!("cannot start {}", program.display()))?;
        let watchdog = Command::new("sh")
            .args(["-c", WATCHDOG, "watchdog", &child.id().to_string(), last_signal])
            .arg(dir)
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .process_group(0)
            .spawn();
        match watchdog {
            Ok(watchdog) => Ok(Self { child, watchdog }),
            Err(error) => {
                child.kill().and_then(|()| child.wait())?;
                Err(error).context("cannot start sh")
            }
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    pub(crate) fn has_exited(&mut self) -> Result<bool> {
        Ok(self.child.try_wait()?.is_some())
    }

    /// Sends a signal by name: `CONT`, `QUIT`.
    pub(crate) fn signal(&self, name: &str) -> Result<()> {
        signal(self.pid(), name)
    }
}

fn signal(pid: u32, name: &str) -> Result<()> {
    run(Command::new("sh").args(["-c", r#"kill "-$1" "$2""#, "sh", name, &pid.to_string()]))?;
    Ok(())
}

/// Stops a process (SIGSTOP), and returns when no thread of it runs any more: on a busy machine one may still answer
/// after the signal was sent.
pub fn freeze(pid: u32) -> Result<()> {
    signal(pid, "STOP")?;
    wait_for_blocking("all threads have stopped", Duration::from_secs(30), || {
        is_frozen(pid).unwrap_or(false)
    })
}

fn is_frozen(pid: u32) -> io::Result<bool> {
    for thread in std::fs::read_dir(format!("/proc/{pid}/task"))? {
        let stat = std::fs::read_to_string(thread?.path().join("stat"))?;
        // The state follows the name, which stands in brackets and may hold anything (proc(5)).
        let state = stat.rsplit_once(") ").and_then(|(_, rest)| rest.chars().next());
        if state != Some('T') {
            return Ok(false);
        }
    }
    Ok(true)
}

impl Drop for ServerProcess {
    fn drop(&mut self) {
        // The watchdog first: it must not find another process behind a pid that was given out again.
        // A process that is already gone is what is wanted, so the results do not matter.
        let _ = self.watchdog.kill();
        let _ = self.watchdog.wait();
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Where `name` is, searching the directories of servers too; the error names the Debian package.
#[expect(
    clippy::disallowed_methods,
    reason = "PATH is how this machine says where its programs are"
)]
pub(crate) fn find_program(name: &str, package: &str) -> Result<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|dir| dir.join(name))
        .find(|candidate| candidate.is_file())
        .with_context(|| format!("{name} is missing: apt-get install {package}"))
}

/// A TCP port of `address` that was free a moment ago; whoever takes it must be ready to find it taken.
pub(crate) fn free_port(address: IpAddr) -> Result<u16> {
    Ok(TcpListener::bind((address, 0))?.local_addr()?.port())
}

/// Runs to the end; an exit status other than zero is an error with all that was printed.
pub(crate) fn run(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output();
    finished(command.get_program(), output)
}

/// [`run`] with this on its standard input.
pub(crate) fn feed(mut command: Command, input: &str) -> Result<String> {
    let mut child = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    if let Some(mut stdin) = child.stdin.take() {
        // It may end at a bad line without reading the rest; its exit status tells.
        let _ = stdin.write_all(input.as_bytes());
    }
    finished(command.get_program(), child.wait_with_output())
}

fn finished(program: &OsStr, output: io::Result<Output>) -> Result<String> {
    let output = output.with_context(|| format!("cannot start {}", program.display()))?;
    if !output.status.success() {
        bail!(
            "{} ended with {}: {}{}",
            program.display(),
            output.status,
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
    }
    Ok(String::from_utf8(output.stdout)?)
}

/// A password or name that no other test has.
pub(crate) fn unique() -> String {
    let [a, b] = [(); 2].map(|()| RandomState::new().build_hasher().finish());
    format!("{a:016x}{b:016x}")
}

/// The last lines of a server's log, for an error message.
pub(crate) fn tail(log: &Path) -> String {
    let text = std::fs::read(log).unwrap_or_default();
    let text = String::from_utf8_lossy(&text);
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(15)..].join("\n")
}
