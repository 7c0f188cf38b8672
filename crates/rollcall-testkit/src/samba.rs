//! A private Active Directory domain controller (Samba): own domain data, own loopback address.

mod template;

use crate::account::Account;
use crate::ca::TestCa;
use crate::process::{ServerProcess, find_program, run, tail};
use crate::tls_client::TlsClient;
use crate::wait::wait_for_blocking;
use anyhow::{Context, Result, bail};
use std::fmt::Write;
use std::hash::{BuildHasher, RandomState};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener};
use std::path::Path;
use std::process::Command;
use std::time::Duration;
use tempfile::TempDir;

/// What to install for it.
const PACKAGES: &str =
    "samba samba-dsdb-modules samba-vfs-modules samba-ad-provision python3-samba ldb-tools krb5-user";
const BASE_DN: &str = "DC=lab,DC=test";
const ADMIN: &str = "Administrator";
/// Wrong passwords until an account is locked; the domain's `lockoutThreshold`.
const LOCKOUT_THRESHOLD: usize = 5;
const START_LIMIT: Duration = Duration::from_secs(60);
const ADDRESS_ATTEMPTS: usize = 20;

/// A running domain controller of the domain `lab.test`; killed, and its files removed, when dropped.
///
/// It listens on 389 (StartTLS), 636, 3268 and 3269 of a loopback address that is its own, which takes root.
/// Simple binds without TLS are refused with code 8. Its people sit in `OU=People`, with a comma in each
/// common name; `normal` is a member of the group `inner`, that of `middle`, that of `outer`; `OU=Crowd`
/// holds the 1,600 members of the group `crowd`, who have no passwords.
pub struct SambaDc {
    dir: TempDir,
    address: IpAddr,
    accounts: Vec<Account>,
    process: Option<ServerProcess>,
}

/// The people of a [`SambaDc`], by what happens at a bind with the right password.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum SambaPerson {
    /// Success.
    Normal,
    /// Switched off: 49, data 533.
    Disabled,
    /// The account is past its time: 49, data 701.
    Expired,
    /// The password is past its time: 49, data 532.
    Aged,
    /// The password must be changed first: 49, data 773.
    MustChange,
    /// Locked by wrong passwords: 49, data 775, for a wrong password too.
    Locked,
    /// Never within the logon hours: 49, data 530.
    OffHours,
    /// At the wrong workstation: 49, data 531.
    OffSite,
}

impl SambaPerson {
    /// All of them.
    pub const ALL: [Self; 8] = [
        Self::Normal,
        Self::Disabled,
        Self::Expired,
        Self::Aged,
        Self::MustChange,
        Self::Locked,
        Self::OffHours,
        Self::OffSite,
    ];

    fn login(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::Disabled => "disabled",
            Self::Expired => "expired",
            Self::Aged => "aged",
            Self::MustChange => "mustchange",
            Self::Locked => "locked",
            Self::OffHours => "offhours",
            Self::OffSite => "offsite",
        }
    }
}

impl SambaDc {
    /// Starts one with a certificate of `ca` for its address, `localhost` and `dc1.lab.test`; returns once it
    /// answers. The first on a machine makes the domain, which takes ten seconds; the others copy it.
    pub fn start(ca: &TestCa) -> Result<Self> {
        let samba = find_program("samba", PACKAGES)?;
        find_program("ldapsearch", "ldap-utils")?;
        let template = template::find_or_make(&samba)?;
        let address = own_address()?;
        let dir = tempfile::Builder::new().prefix("rollcall-samba-").tempdir()?;
        run(Command::new("cp").args(["-a", "--reflink=auto"]).args([
            template.path.join("private"),
            template.path.join("state"),
            dir.path().to_owned(),
        ]))?;
        ca.server(&[&address.to_string(), "localhost", "dc1.lab.test"])?
            .write_to(dir.path(), "server")?;
        // Samba refuses a key that others may read.
        run(Command::new("chmod")
            .arg("600")
            .arg(dir.path().join("server.key")))?;
        std::fs::write(dir.path().join("ca.pem"), ca.pem())?;
        std::fs::write(dir.path().join("smb.conf"), smb_conf(dir.path(), address)?)?;
        let mut dc = Self {
            dir,
            address,
            accounts: template.accounts,
            process: None,
        };
        dc.run_server(&samba)?;
        dc.lock_out(&dc.person(SambaPerson::Locked))?;
        Ok(dc)
    }

    fn run_server(&mut self, samba: &Path) -> Result<()> {
        let log = self.dir.path().join("samba.log");
        let mut command = Command::new(samba);
        // One process does everything, so that ending it ends everything.
        command.arg("-s").arg(self.dir.path().join("smb.conf")).args([
            "--foreground",
            "--no-process-group",
            "--debug-stdout",
            "-M",
            "single",
        ]);
        let mut process = ServerProcess::start(command, &log, "KILL", self.dir.path())?;
        let mut exited = Ok(false);
        // Its port opens before LDAP answers. The authority and the password are this server's alone.
        let ready = wait_for_blocking("samba answers", START_LIMIT, || {
            exited = process.has_exited();
            !matches!(exited, Ok(false)) || self.search(&["-b", "", "-s", "base", "1.1"]).is_ok()
        });
        if ready.is_err() || exited? {
            bail!("samba did not start: {}", tail(&log));
        }
        self.process = Some(process);
        Ok(())
    }

    fn lock_out(&self, account: &Account) -> Result<()> {
        for _ in 0..LOCKOUT_THRESHOLD {
            let bind = self.search_as(&account.dn, "wrong", &["-b", "", "-s", "base", "1.1"]);
            if bind.is_ok() {
                bail!("samba let a wrong password in");
            }
        }
        Ok(())
    }

    /// The names that clients sent in simple binds so far, in order, whatever the answer was.
    pub fn binds(&self) -> Result<Vec<String>> {
        let log = std::fs::read_to_string(self.dir.path().join("samba.log"))?;
        let attempts = log
            .lines()
            .filter(|line| line.starts_with("Auth: [LDAP,simple bind"));
        let name = |line: &str| {
            let escaped = line.split_once("]\\[")?.1.split_once(']')?.0;
            Some(escaped.replace("\\\\", "\\"))
        };
        Ok(attempts.filter_map(name).collect())
    }

    /// Ends the server at once, as a crash would. Its data stays. Does nothing when it is stopped.
    pub fn stop(&mut self) {
        self.process = None;
    }

    /// Starts a stopped server at the same address with the same data, and returns when it answers.
    pub fn restart(&mut self) -> Result<()> {
        match self.process {
            Some(_) => Ok(()),
            None => self.run_server(&find_program("samba", PACKAGES)?),
        }
    }

    /// `ldap://ADDRESS`, for StartTLS.
    pub fn url(&self) -> String {
        format!("ldap://{}", self.address)
    }

    /// `ldaps://ADDRESS`.
    pub fn tls_url(&self) -> String {
        format!("ldaps://{}", self.address)
    }

    /// Where plain text and StartTLS are served.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::new(self.address, 389)
    }

    /// Where LDAPS is served.
    pub fn tls_address(&self) -> SocketAddr {
        SocketAddr::new(self.address, 636)
    }

    /// `DC=lab,DC=test`.
    pub fn base_dn(&self) -> &'static str {
        BASE_DN
    }

    /// One of the people.
    pub fn person(&self, person: SambaPerson) -> Account {
        Account::of(&self.accounts, person.login())
    }

    /// The account that a customer would give to Rollcall: a plain user, who may read and not write.
    pub fn service(&self) -> Account {
        Account::of(&self.accounts, "reader")
    }

    /// The account that a careless customer would give: a domain administrator.
    pub fn powerful(&self) -> Account {
        Account::of(&self.accounts, "powerful")
    }

    /// `ldapsearch` as the administrator with these arguments (`-b`, `-s`, filter, attributes...), over LDAPS;
    /// returns LDIF without comments or line folding.
    pub fn search(&self, arguments: &[&str]) -> Result<String> {
        let admin = Account::of(&self.accounts, ADMIN);
        self.search_as(&admin.dn, &admin.password, arguments)
    }

    /// [`SambaDc::search`] under any name that the server takes.
    pub fn search_as(&self, name: &str, password: &str, arguments: &[&str]) -> Result<String> {
        self.client().search(name, password, arguments)
    }

    /// Carries out LDIF change records as the administrator.
    pub fn modify(&self, ldif: &str) -> Result<String> {
        let admin = Account::of(&self.accounts, ADMIN);
        self.modify_as(&admin.dn, &admin.password, ldif)
    }

    /// [`SambaDc::modify`] as somebody else.
    pub fn modify_as(&self, name: &str, password: &str, ldif: &str) -> Result<String> {
        self.client().modify(name, password, ldif)
    }

    fn client(&self) -> TlsClient {
        TlsClient {
            url: self.tls_url(),
            ca: self.dir.path().join("ca.pem"),
        }
    }
}

/// An address of 127.0.0.0/8 whose LDAP ports nobody has, by chance not given to anyone else either.
fn own_address() -> Result<IpAddr> {
    let mut last = None;
    for attempt in 0..ADDRESS_ATTEMPTS {
        let [_, b, c, d] = u32::try_from(RandomState::new().hash_one(attempt) >> 32)?.to_be_bytes();
        // Not 127.0.x.y, which other tests use, nor the ends of the range.
        let address = IpAddr::V4(Ipv4Addr::new(127, b.max(1), c, d.clamp(1, 254)));
        match [389, 636].map(|port| TcpListener::bind((address, port))) {
            [Ok(_), Ok(_)] => return Ok(address),
            [Err(error), _] | [_, Err(error)] => last = Some(error),
        }
    }
    last.map_or(Ok(()), Err)
        .context("no loopback address has ports 389 and 636 free")?;
    bail!("no loopback address was tried")
}

fn smb_conf(dir: &Path, address: IpAddr) -> Result<String> {
    // The audit names who is bound as, which `binds` reads.
    let mut conf = format!(
        "[global]\n{}server services = ldap\nbind interfaces only = yes\ninterfaces = {address}/8\n\
         log level = 0 auth_audit:3\n",
        template::IDENTITY
    );
    for (setting, name) in [
        ("private dir", "private"),
        ("state directory", "state"),
        ("cache directory", "cache"),
        ("lock directory", "lock"),
        ("pid directory", "run"),
        ("ncalrpc dir", "ncalrpc"),
        ("ntp signd socket directory", "ntp"),
        ("winbindd socket directory", "winbindd"),
        ("binddns dir", "binddns"),
    ] {
        let path = dir.join(name);
        std::fs::create_dir_all(&path)?;
        writeln!(conf, "{setting} = {}", path.display())?;
    }
    for (setting, name) in [
        ("tls certfile", "server.pem"),
        ("tls keyfile", "server.key"),
        ("tls cafile", "ca.pem"),
    ] {
        writeln!(conf, "{setting} = {}", dir.join(name).display())?;
    }
    Ok(conf)
}
