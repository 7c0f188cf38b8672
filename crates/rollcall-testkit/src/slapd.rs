//! A private OpenLDAP server: own configuration, own data, own ports, ended by the pid that was started.

pub(crate) mod bind_log;
mod client;
mod config;

pub use config::SlapdBuilder;

use crate::ca::Certificate;
use crate::process::{ServerProcess, find_program, free_port, freeze, run, tail};
use crate::scripted::ber;
use crate::wait::pause;
use anyhow::{Context, Result, bail};
use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PORT_ATTEMPTS: usize = 5;
const START_LIMIT: Duration = Duration::from_secs(30);
const PROBE_LIMIT: Duration = Duration::from_secs(5);

/// A running slapd; killed, and its files removed, when dropped.
///
/// Anybody may bind; only the service account reads (all but `userPassword`), nobody but the admin writes.
pub struct Slapd {
    dir: TempDir,
    host: IpAddr,
    port: u16,
    tls_port: u16,
    base_dn: String,
    admin_password: String,
    service_password: String,
    quiet: bool,
    process: Option<ServerProcess>,
}

impl Slapd {
    fn start_new(
        host: IpAddr,
        base_dn: String,
        certificate: &Certificate,
        quiet: bool,
        write_config: impl FnOnce(&Slapd) -> Result<()>,
    ) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-slapd-").tempdir()?;
        certificate.write_to(dir.path(), "server")?;
        let mut slapd = Self {
            dir,
            host,
            port: 0,
            tls_port: 0,
            base_dn,
            admin_password: crate::process::unique(),
            service_password: crate::process::unique(),
            quiet,
            process: None,
        };
        write_config(&slapd)?;
        slapd.load()?;
        for _ in 0..PORT_ATTEMPTS {
            slapd.port = free_port(host)?;
            slapd.tls_port = free_port(host)?;
            if slapd.port != slapd.tls_port && slapd.try_start()? {
                return Ok(slapd);
            }
        }
        bail!(
            "slapd ended {PORT_ATTEMPTS} times at start: {}",
            tail(&slapd.log_file())
        )
    }

    fn load(&self) -> Result<()> {
        for (directory, purpose) in [("slapd.d", "configuration"), ("data", "data"), ("empty", "data")] {
            std::fs::create_dir(self.path(directory))
                .with_context(|| format!("cannot make a {purpose} directory"))?;
        }
        let slaptest = find_program("slaptest", "slapd")?;
        run(Command::new(slaptest)
            .args(["-n", "0", "-f"])
            .arg(self.path("slapd.conf"))
            .arg("-F")
            .arg(self.path("slapd.d")))?;
        let slapadd = find_program("slapadd", "slapd")?;
        let more = (0..).map(|number| self.path(&format!("more{number}.ldif")));
        let more = more.take_while(|file| file.exists());
        // The first database is the main one.
        for (number, file) in (1..).zip(std::iter::once(self.path("data.ldif")).chain(more)) {
            run(Command::new(&slapadd)
                .args(["-q", "-n", &i32::to_string(&number), "-F"])
                .arg(self.path("slapd.d"))
                .arg("-l")
                .arg(file))
            .context("cannot load the LDIF")?;
        }
        Ok(())
    }

    /// False when slapd ended by itself, as it does when somebody else took a port meanwhile.
    fn try_start(&mut self) -> Result<bool> {
        let mut command = Command::new(find_program("slapd", "slapd")?);
        command.arg("-F").arg(self.path("slapd.d"));
        command.args([
            "-h",
            &format!("{}/ {}/", self.url(), self.tls_url()),
            "-d",
            if self.quiet { "none" } else { "stats,none" },
        ]);
        let mut process = ServerProcess::start(command, &self.log_file(), "KILL", self.dir.path())?;
        let end = Instant::now() + START_LIMIT;
        // The admin's password is this server's alone: a right answer cannot be a stranger's on this port.
        while !self.answers_admin() {
            if process.has_exited()? {
                return Ok(false);
            }
            if Instant::now() > end {
                bail!("slapd does not answer: {}", tail(&self.log_file()));
            }
            pause();
        }
        self.process = Some(process);
        Ok(true)
    }

    fn answers_admin(&self) -> bool {
        let bind = ber::bind_request(1, &self.admin_dn(), self.admin_password.as_bytes());
        let success = ber::bind_response(1, 0, "", "");
        let exchange = || -> std::io::Result<bool> {
            let mut stream = TcpStream::connect_timeout(&self.address(), PROBE_LIMIT)?;
            stream.set_read_timeout(Some(PROBE_LIMIT))?;
            stream.write_all(&bind)?;
            let mut answer = vec![0; success.len()];
            stream.read_exact(&mut answer)?;
            Ok(answer == success)
        };
        exchange().unwrap_or(false)
    }

    /// Ends the server at once, as a crash would. Its data stays. Does nothing when it is stopped.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts a stopped server on the same ports with the same data, and returns when it answers.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_none() && !self.try_start()? {
            bail!("slapd ended at start: {}", tail(&self.log_file()));
        }
        Ok(())
    }

    /// Freezes the server (SIGSTOP): connections open, since the kernel accepts them, and nothing answers.
    pub fn pause(&self) -> Result<()> {
        freeze(self.process.as_ref().context("slapd is stopped")?.pid())
    }

    /// Ends [`Slapd::pause`]; what was sent meanwhile is answered now.
    pub fn resume(&self) -> Result<()> {
        self.process.as_ref().context("slapd is stopped")?.signal("CONT")
    }

    /// `ldap://HOST:PORT`, plain text with StartTLS on offer.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address())
    }

    /// `ldaps://HOST:PORT`.
    pub fn tls_url(&self) -> String {
        format!("ldaps://{}", self.tls_address())
    }

    /// Where plain text and StartTLS are served.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.port)
    }

    /// Where LDAPS is served.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.host, self.tls_port)
    }

    /// The suffix of the one database.
    pub fn base_dn(&self) -> &str {
        &self.base_dn
    }

    /// The root DN: no access rule, limit or policy holds for it.
    pub fn admin_dn(&self) -> String {
        format!("cn=admin,{}", self.base_dn)
    }

    /// The root DN's password, another one for every server.
    pub fn admin_password(&self) -> &str {
        &self.admin_password
    }

    /// The read-only account that a customer would give to Rollcall.
    pub fn service_dn(&self) -> String {
        format!("cn=rollcall,ou=Services,{}", self.base_dn)
    }

    /// The service account's password, another one for every server.
    pub fn service_password(&self) -> &str {
        &self.service_password
    }

    fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    fn log_file(&self) -> PathBuf {
        self.path("slapd.log")
    }
}
