use parking_lot::Mutex;

use crate::process::{ServerProcess, find_program, free_port, run, tail, unique};
use crate::wait::{pause, wait_for_blocking};
use anyhow::{Context, Result, bail};
use std::io::{BufRead, BufReader, Write};
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::os::unix::fs::{MetadataExt, chown};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PORT_ATTEMPTS: usize = 5;
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(5);
const USER: &str = "rollcall";

/// A private PostgreSQL cluster on 127.0.0.1, ended and removed when dropped. What it commits survives its own
/// crash, but not the machine's unless that is asked for.
pub struct Postgres {
    programs: PathBuf,
    account: Option<Account>,
    port: u16,
    settings: &'static [&'static str],
    process: Option<ServerProcess>,
    dir: TempDir,
}

/// A fresh database in the cluster that this test process shares; dropped with the value.
pub struct TestDatabase {
    name: String,
    url: String,
}

/// A session that holds locks of its transaction and does nothing, like a process that froze. Lets go when dropped.
pub struct IdleSession {
    psql: Child,
}

/// PostgreSQL refuses to run as root, so root runs it as this account.
pub(crate) struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Makes and starts a cluster; returns once it answers. Takes a second or two.
    pub fn start() -> Result<Self> {
        Self::start_with(&["fsync=off", "full_page_writes=off"])
    }

    /// As [`Postgres::start`], but every commit is on the disk when it is answered, as in production: for
    /// benchmarks.
    pub fn start_durable() -> Result<Self> {
        Self::start_with(&[])
    }

    /// A second cluster that follows this one and takes no writes, until [`Postgres::promote`].
    pub fn standby(&self) -> Result<Self> {
        let mut standby = Self::without_data(self.settings)?;
        run(standby
            .command("pg_basebackup")?
            .arg("-D")
            .arg(standby.data())
            .args([
                "--write-recovery-conf",
                "--checkpoint=fast",
                "--no-sync",
                "--dbname",
                &self.url("postgres"),
            ]))?;
        standby.start_on_a_free_port()?;
        Ok(standby)
    }

    /// Ends following; returns when it takes writes.
    pub fn promote(&self) -> Result<()> {
        self.sql("postgres", "select pg_promote()").map(|_| ())
    }

    fn start_with(settings: &'static [&'static str]) -> Result<Self> {
        let mut postgres = Self::without_data(settings)?;
        run(postgres.command("initdb")?.arg("-D").arg(postgres.data()).args([
            "--username",
            USER,
            "--auth=trust",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
            "--no-sync",
        ]))?;
        postgres.start_on_a_free_port()?;
        Ok(postgres)
    }

    fn without_data(settings: &'static [&'static str]) -> Result<Self> {
        let programs = programs()?;
        let dir = tempfile::Builder::new().prefix("rollcall-postgres-").tempdir()?;
        let account = if dir.path().metadata()?.uid() == 0 {
            Some(Account::postgres()?)
        } else {
            None
        };
        if let Some(account) = &account {
            chown(dir.path(), Some(account.user), Some(account.group))?;
        }
        Ok(Self {
            programs,
            account,
            port: 0,
            settings,
            process: None,
            dir,
        })
    }

    fn start_on_a_free_port(&mut self) -> Result<()> {
        for _ in 0..PORT_ATTEMPTS {
            self.port = free_port(IpAddr::V4(Ipv4Addr::LOCALHOST))?;
            if self.try_start()? {
                return Ok(());
            }
        }
        bail!(
            "postgres ended {PORT_ATTEMPTS} times at start: {}",
            tail(&self.log_file())
        )
    }

    /// False when postgres ended by itself, as it does when somebody else took the port meanwhile.
    fn try_start(&mut self) -> Result<bool> {
        let mut command = self.command("postgres")?;
        command
            .arg("-D")
            .arg(self.data())
            .args(["-h", "127.0.0.1", "-p", &self.port.to_string()]);
        let always = [
            "unix_socket_directories=",
            "max_connections=300",
            "shared_buffers=64MB",
            "timezone=UTC",
        ];
        for setting in always.iter().chain(self.settings) {
            command.args(["-c", setting]);
        }
        let mut process = ServerProcess::start(command, &self.log_file(), "QUIT", self.dir.path())?;
        let end = Instant::now() + START_LIMIT;
        let data = self.data();
        // A stranger's server on this port has another data directory.
        while !self
            .sql("postgres", "show data_directory")
            .is_ok_and(|dir| Path::new(dir.trim()) == data)
        {
            if process.has_exited()? {
                return Ok(false);
            }
            if Instant::now() > end {
                bail!("postgres does not answer: {}", tail(&self.log_file()));
            }
            pause();
        }
        self.process = Some(process);
        Ok(true)
    }

    /// Ends the cluster and every session of it at once, as a crash would. What was committed stays. Does
    /// nothing when it is stopped.
    pub fn stop(&mut self) -> Result<()> {
        let Some(mut process) = self.process.take() else {
            return Ok(());
        };
        process.signal("QUIT")?;
        wait_for_blocking("postgres to end", STOP_LIMIT, || {
            !matches!(process.has_exited(), Ok(false))
        })
    }

    /// Starts a stopped cluster on the same port with the same data, and returns when it answers.
    pub fn restart(&mut self) -> Result<()> {
        if self.process.is_none() && !self.try_start()? {
            bail!("postgres ended at start: {}", tail(&self.log_file()));
        }
        Ok(())
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port))
    }

    /// Runs SQL in a database of this cluster with `psql`, stopping at the first error; returns bare rows.
    pub fn sql(&self, database: &str, sql: &str) -> Result<String> {
        run(&mut psql(&self.programs, &self.url(database), sql))
    }

    /// The URL of a database in this cluster, whether it exists or not.
    pub fn url(&self, database: &str) -> String {
        format!("postgres://{USER}@127.0.0.1:{}/{database}", self.port)
    }

    /// Creates a database whose tables lie in this directory, which must be empty: on another disk, for instance.
    pub fn create_database_on(&self, name: &str, dir: &Path) -> Result<()> {
        let place = dir.join("tables");
        std::fs::create_dir(&place)?;
        if let Some(account) = &self.account {
            chown(&place, Some(account.user), Some(account.group))?;
        }
        let location = place.display();
        self.sql(
            "postgres",
            &format!("create tablespace {name} location '{location}'"),
        )?;
        self.sql("postgres", &format!("create database {name} tablespace {name}"))?;
        Ok(())
    }

    fn command(&self, program: &str) -> Result<Command> {
        let program = self.programs.join(program);
        let mut command = match &self.account {
            None => Command::new(program),
            Some(account) => account.run(&program)?,
        };
        // Where the tests run may be closed to that account.
        command.current_dir("/");
        Ok(command)
    }

    fn data(&self) -> PathBuf {
        self.dir.path().join("data")
    }

    fn log_file(&self) -> PathBuf {
        self.dir.path().join("postgres.log")
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // SIGQUIT ends the backends too and gives shared memory back; SIGKILL follows should it not help.
        let _ = self.stop();
    }
}

impl TestDatabase {
    /// Creates an empty database; the first call in a process starts the cluster, which ends with the process.
    pub fn new() -> Result<Self> {
        let name = format!("t{}", unique());
        let url = with_cluster(|cluster| {
            cluster.sql("postgres", &format!("create database {name}"))?;
            Ok(cluster.url(&name))
        })?;
        Ok(Self { name, url })
    }

    /// `postgres://USER@127.0.0.1:PORT/NAME`; needs no password.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// Where its cluster listens.
    pub(crate) fn address(&self) -> Result<SocketAddr> {
        with_cluster(|cluster| Ok(cluster.address()))
    }

    /// The URL that it has behind another address.
    pub(crate) fn url_at(&self, address: SocketAddr) -> String {
        format!("postgres://{USER}@{address}/{}", self.name)
    }

    /// A copy of the database as it is now. Nobody may be connected.
    pub fn copy(&self) -> Result<Self> {
        let name = format!("t{}", unique());
        let url = with_cluster(|cluster| {
            let Self { name: from, .. } = self;
            cluster.sql("postgres", &format!("create database {name} template {from}"))?;
            Ok(cluster.url(&name))
        })?;
        Ok(Self { name, url })
    }

    /// Puts a copy in the place of the database. Whoever is connected is cut off.
    pub fn restore(&self, copy: &Self) -> Result<()> {
        with_cluster(|cluster| {
            let (name, from) = (&self.name, &copy.name);
            cluster.sql("postgres", &format!("drop database {name} with (force)"))?;
            cluster.sql("postgres", &format!("create database {name} template {from}"))?;
            Ok(())
        })
    }

    /// Runs SQL with `psql`, stopping at the first error; returns bare rows.
    pub fn sql(&self, sql: &str) -> Result<String> {
        run(&mut psql(&programs()?, &self.url, sql))
    }

    /// Executes SQL in a transaction that stays open; returns once it is executed.
    pub fn hold(&self, sql: &str) -> Result<IdleSession> {
        let mut command = Command::new(programs()?.join("psql"));
        command
            .args(["-X", "-q", "-A", "-t", "-v", "ON_ERROR_STOP=1", "-d", &self.url])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut psql = command.spawn()?;
        let stdin = psql.stdin.as_mut().context("psql has no input")?;
        writeln!(stdin, "BEGIN;\n{sql};\n\\echo held")?;
        stdin.flush()?;
        let stdout = psql.stdout.take().context("psql has no output")?;
        let is_held = BufReader::new(stdout)
            .lines()
            .any(|line| line.is_ok_and(|line| line == "held"));
        match is_held {
            true => Ok(IdleSession { psql }),
            false => bail!("psql could not execute {sql}"),
        }
    }
}

impl Drop for IdleSession {
    fn drop(&mut self) {
        let _ = self.psql.kill();
        let _ = self.psql.wait();
    }
}

impl Drop for TestDatabase {
    fn drop(&mut self) {
        // The cluster goes away with the process in any case.
        let _ = with_cluster(|cluster| {
            cluster.sql(
                "postgres",
                &format!("drop database if exists {} with (force)", self.name),
            )
        });
    }
}

impl Account {
    /// A command that runs as this account, which gets the directory, if the tests run as root.
    pub(crate) fn command(program: &Path, dir: &Path) -> Result<Command> {
        if dir.metadata()?.uid() != 0 {
            return Ok(Command::new(program));
        }
        let account = Self::postgres()?;
        chown(dir, Some(account.user), Some(account.group))?;
        account.run(program)
    }

    fn run(&self, program: &Path) -> Result<Command> {
        let mut command = Command::new(find_program("setpriv", "util-linux")?);
        command.args([
            &format!("--reuid={}", self.user),
            &format!("--regid={}", self.group),
        ]);
        command.arg("--clear-groups").arg(program);
        Ok(command)
    }

    fn postgres() -> Result<Self> {
        let accounts = std::fs::read_to_string("/etc/passwd")?;
        let fields = accounts
            .lines()
            .map(|line| line.split(':').collect::<Vec<_>>())
            .find(|fields| fields.first() == Some(&"postgres"))
            .context("there is no account postgres: apt-get install postgresql")?;
        let number =
            |index: usize| -> Result<u32> { Ok(fields.get(index).context("bad passwd line")?.parse()?) };
        Ok(Self {
            user: number(2)?,
            group: number(3)?,
        })
    }
}

fn with_cluster<T>(act: impl FnOnce(&Postgres) -> Result<T>) -> Result<T> {
    static CLUSTER: Mutex<Option<Arc<Postgres>>> = Mutex::new(None);
    let mut cluster = CLUSTER.lock();
    let running = match &*cluster {
        Some(running) => Arc::clone(running),
        None => Arc::clone(cluster.insert(Arc::new(Postgres::start()?))),
    };
    // Only the start keeps others waiting.
    drop(cluster);
    act(&running)
}

fn psql(programs: &Path, url: &str, sql: &str) -> Command {
    let mut command = Command::new(programs.join("psql"));
    command.args([
        "-X",
        "-q",
        "-A",
        "-t",
        "-v",
        "ON_ERROR_STOP=1",
        "-d",
        url,
        "-c",
        sql,
    ]);
    command
}

/// The newest version that is installed.
fn programs() -> Result<PathBuf> {
    let mut versions: Vec<(u32, PathBuf)> = std::fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .filter_map(|version| {
            let version = version.ok()?;
            let number = version.file_name().to_str()?.parse().ok()?;
            let programs = version.path().join("bin");
            programs.join("initdb").is_file().then_some((number, programs))
        })
        .collect();
    versions.sort();
    let (_, programs) = versions
        .pop()
        .context("initdb is missing: apt-get install postgresql")?;
    Ok(programs)
}
