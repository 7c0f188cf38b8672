//! A private 389 Directory Server: own instance, own data, own ports.

mod dse;
mod entries;
mod instance;
mod person;

use crate::account::Account;
use crate::ca::TestCa;
use crate::process::{ServerProcess, find_program, tail, unique};
use crate::tls_client::TlsClient;
use crate::wait::wait_for_blocking;
use anyhow::{Result, bail};
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::process::Command;
use std::time::{Duration, SystemTime};
use tempfile::TempDir;

use person::BASE_DN;
pub use person::DirsrvPerson;

/// What to install for it.
const PACKAGES: &str = "389-ds-base libnss3-tools openssl";
const HOST: IpAddr = IpAddr::V4(Ipv4Addr::LOCALHOST);
const MANAGER: &str = "cn=Directory Manager";
/// Wrong passwords until an account is locked.
const LOCKOUT_THRESHOLD: usize = 5;
const PORT_ATTEMPTS: u64 = 100;
const START_LIMIT: Duration = Duration::from_secs(60);

/// A running 389 Directory Server on 127.0.0.1; killed, and its files removed, when dropped. Takes root.
///
/// Its people sit in `ou=People`, with a comma in each common name; `normal` is a member of the group
/// `inner`, that of `middle`, that of `outer`.
pub struct Dirsrv {
    dir: TempDir,
    port: u16,
    tls_port: u16,
    manager_password: String,
    accounts: Vec<Account>,
    process: Option<ServerProcess>,
}

impl Dirsrv {
    /// Makes and starts one with a certificate of `ca` for `localhost` and 127.0.0.1; returns once it answers.
    /// Takes several seconds.
    #[expect(
        clippy::disallowed_methods,
        reason = "the server judges by the machine's clock, so its people are made by it"
    )]
    pub fn start(ca: &TestCa) -> Result<Self> {
        find_program("ldapsearch", "ldap-utils")?;
        let mut server = Self {
            dir: tempfile::Builder::new().prefix("rollcall-dirsrv-").tempdir()?,
            port: quiet_port()?,
            tls_port: quiet_port()?,
            manager_password: unique(),
            accounts: entries::accounts(),
            process: None,
        };
        server.make()?;
        server.import_certificates(ca)?;
        server.configure()?;
        server.run_server()?;
        server.modify(&entries::ldif(&server.accounts, SystemTime::now().into()))?;
        server.lock_out(&server.person(DirsrvPerson::Locked))?;
        Ok(server)
    }

    fn run_server(&mut self) -> Result<()> {
        let mut command = Command::new(find_program("ns-slapd", PACKAGES)?);
        command
            .env("PREFIX", self.dir.path())
            .arg("-D")
            .arg(self.config_dir())
            .arg("-i")
            .arg(self.dir.path().join("run/pid"))
            .args(["-d", "0"]);
        let log = self.dir.path().join("ns-slapd.log");
        let mut process = ServerProcess::start(command, &log, "KILL", self.dir.path())?;
        let mut exited = Ok(false);
        // The authority and the password are this server's alone: no stranger on this port can answer.
        let ready = wait_for_blocking("ns-slapd answers", START_LIMIT, || {
            exited = process.has_exited();
            !matches!(exited, Ok(false)) || self.search(&["-b", "", "-s", "base", "1.1"]).is_ok()
        });
        if ready.is_err() || exited? {
            bail!(
                "ns-slapd did not start: {}{}",
                tail(&log),
                tail(&self.error_log())
            );
        }
        self.process = Some(process);
        Ok(())
    }

    fn lock_out(&self, account: &Account) -> Result<()> {
        for _ in 0..LOCKOUT_THRESHOLD {
            let bind = self.search_as(&account.dn, "wrong", &["-b", "", "-s", "base", "1.1"]);
            if bind.is_ok() {
                bail!("ns-slapd let a wrong password in");
            }
        }
        Ok(())
    }

    /// Ends the server at once, as a crash would. Its data stays. Does nothing when it is stopped.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts a stopped server on the same ports with the same data, and returns when it answers.
    pub fn restart(&mut self) -> Result<()> {
        match self.process {
            Some(_) => Ok(()),
            None => self.run_server(),
        }
    }

    /// `ldap://127.0.0.1:PORT`, plain text with StartTLS on offer.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address())
    }

    /// `ldaps://127.0.0.1:PORT`.
    pub fn tls_url(&self) -> String {
        format!("ldaps://{}", self.tls_address())
    }

    /// Where plain text and StartTLS are served.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(HOST, self.port)
    }

    /// Where LDAPS is served.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(HOST, self.tls_port)
    }

    /// `dc=example,dc=org`.
    pub fn base_dn(&self) -> &'static str {
        BASE_DN
    }

    /// One of the people.
    pub fn person(&self, person: DirsrvPerson) -> Account {
        Account::of(&self.accounts, person.login())
    }

    /// The account that a customer would give to Rollcall: it may read all but passwords, and not write.
    pub fn service(&self) -> Account {
        Account::of(&self.accounts, "reader")
    }

    /// The account that a careless customer would give: it may do everything.
    pub fn powerful(&self) -> Account {
        Account::of(&self.accounts, "powerful")
    }

    /// `ldapsearch` as the directory manager with these arguments (`-b`, `-s`, filter, attributes...), over
    /// LDAPS; returns LDIF without comments or line folding.
    pub fn search(&self, arguments: &[&str]) -> Result<String> {
        self.search_as(MANAGER, &self.manager_password, arguments)
    }

    /// [`Dirsrv::search`] as somebody else.
    pub fn search_as(&self, dn: &str, password: &str, arguments: &[&str]) -> Result<String> {
        self.client().search(dn, password, arguments)
    }

    /// Carries out LDIF change records as the directory manager.
    pub fn modify(&self, ldif: &str) -> Result<String> {
        self.modify_as(MANAGER, &self.manager_password, ldif)
    }

    /// [`Dirsrv::modify`] as somebody else.
    pub fn modify_as(&self, dn: &str, password: &str, ldif: &str) -> Result<String> {
        self.client().modify(dn, password, ldif)
    }

    fn client(&self) -> TlsClient {
        TlsClient {
            url: self.tls_url(),
            ca: self.dir.path().join("ca.pem"),
        }
    }
}

/// A free port below those that outgoing connections take theirs from: between this look and the server's
/// start lie seconds.
fn quiet_port() -> Result<u16> {
    for attempt in 0..PORT_ATTEMPTS {
        let port = 10_000 + u16::try_from(RandomState::new().hash_one(attempt) % 20_000)?;
        if TcpListener::bind((Ipv4Addr::UNSPECIFIED, port)).is_ok() {
            return Ok(port);
        }
    }
    bail!("no port from 10000 to 29999 is free")
}
