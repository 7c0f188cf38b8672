use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};
use tempfile::TempDir;

use crate::postgres::{Account, TestDatabase};
use crate::process::{ServerProcess, find_program, free_port, run, tail};
use crate::wait::pause;

const START_LIMIT: Duration = Duration::from_secs(30);

/// A private PgBouncer in front of one database, ended and removed when dropped.
pub struct PgBouncer {
    url: String,
    // Ends before its directory goes.
    _process: ServerProcess,
    _dir: TempDir,
}

impl PgBouncer {
    /// Starts one, whose `pool_mode` is `transaction` or `session`.
    pub fn start(database: &TestDatabase, pool_mode: &str) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-pgbouncer-").tempdir()?;
        let port = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
        let server = database.address()?;
        let settings = format!(
            "[databases]\n* = host={} port={} user=rollcall\n[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\n\
             unix_socket_dir =\nauth_type = any\npool_mode = {pool_mode}\n\
             ignore_startup_parameters = options, extra_float_digits\n",
            server.ip(),
            server.port()
        );
        let file = dir.path().join("pgbouncer.ini");
        std::fs::write(&file, settings)?;
        // It refuses to run as root too.
        let mut command = Account::command(&find_program("pgbouncer", "pgbouncer")?, dir.path())?;
        command.arg(&file).current_dir("/");
        let log = dir.path().join("pgbouncer.log");
        let mut process = ServerProcess::start(command, &log, "KILL", dir.path())?;
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let url = database.url_at(address);
        let end = Instant::now() + START_LIMIT;
        while run(Command::new("psql").args(["-X", "-d", &url, "-c", "SELECT 1"])).is_err() {
            if process.has_exited()? || Instant::now() > end {
                bail!("pgbouncer does not answer: {}", tail(&log));
            }
            pause();
        }
        Ok(Self {
            url,
            _process: process,
            _dir: dir,
        })
    }

    /// The database's URL through it.
    pub fn url(&self) -> &str {
        &self.url
    }
}
