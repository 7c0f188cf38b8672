use crate::ca::Certificate;
use crate::process::{ServerProcess, tail, unique};
use crate::wait::pause;
use anyhow::{Context, Result, bail};
use serde::Deserialize;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const START_LIMIT: Duration = Duration::from_secs(30);
/// aiosmtpd is a package of the system's Python; another one in the path does not know it.
const PYTHON: &str = "/usr/bin/python3";

/// A running SMTP server (aiosmtpd) that keeps every mail. It demands TLS and a login, and refuses recipients
/// whose name begins with `refused`. It listens on 127.0.0.1.
pub struct SmtpSink {
    process: Option<ServerProcess>,
    dir: TempDir,
    starttls: bool,
    port: u16,
    password: String,
}

/// A mail that arrived, taken apart by Python's `email` package.
#[derive(Clone, PartialEq, Eq, Debug, Deserialize)]
pub struct ReceivedMail {
    /// Whether it came over TLS.
    pub tls: bool,
    /// Whether the client had logged in.
    pub authenticated: bool,
    /// Sender of the envelope.
    pub sender: String,
    /// Recipients of the envelope.
    pub recipients: Vec<String>,
    /// Header fields in their order, decoded.
    pub headers: Vec<(String, String)>,
    /// What is wrong with the message.
    pub defects: Vec<String>,
    /// The plain text.
    pub text: String,
    /// The HTML.
    pub html: String,
}

impl ReceivedMail {
    /// The first header field of this name.
    pub fn header(&self, name: &str) -> Option<&str> {
        let mut fields = self.headers.iter();
        fields.find(|field| field.0 == name).map(|field| field.1.as_str())
    }
}

impl SmtpSink {
    /// Starts one where TLS begins with STARTTLS, on a free port.
    pub fn starttls(certificate: &Certificate) -> Result<Self> {
        Self::new(certificate, true)
    }

    /// Starts one with TLS from the first byte, on a free port.
    pub fn tls(certificate: &Certificate) -> Result<Self> {
        Self::new(certificate, false)
    }

    fn new(certificate: &Certificate, starttls: bool) -> Result<Self> {
        let dir = tempfile::Builder::new().prefix("rollcall-smtp-").tempdir()?;
        certificate.write_to(dir.path(), "server")?;
        let mut sink = Self {
            process: None,
            dir,
            starttls,
            port: 0,
            password: unique(),
        };
        std::fs::write(sink.password_file(), format!("{}\n", sink.password))?;
        sink.start()?;
        Ok(sink)
    }

    /// Starts a stopped server on the same port, and returns when it listens.
    pub fn start(&mut self) -> Result<()> {
        if self.process.is_some() {
            return Ok(());
        }
        let dir = self.dir.path();
        let (script, port_file) = (dir.join("sink.py"), dir.join("port"));
        std::fs::write(&script, include_str!("smtp/sink.py"))?;
        let mut command = Command::new(PYTHON);
        // Without the user's own packages and settings.
        command
            .arg("-I")
            .arg(&script)
            .args(["127.0.0.1", &self.port.to_string()]);
        command
            .arg(dir)
            .arg(if self.starttls { "starttls" } else { "tls" });
        command.args([dir.join("server.pem"), dir.join("server.key")]);
        command.args([self.username(), &self.password]);
        let log = dir.join("smtp.log");
        let mut process = ServerProcess::start(command, &log, "KILL", dir)?;
        let end = Instant::now() + START_LIMIT;
        while !port_file.exists() {
            if process.has_exited()? || Instant::now() > end {
                bail!(
                    "the SMTP sink does not start (apt-get install python3-aiosmtpd): {}",
                    tail(&log)
                );
            }
            pause();
        }
        self.port = std::fs::read_to_string(&port_file)?.parse()?;
        self.process = Some(process);
        Ok(())
    }

    /// Ends the server at once. What it received stays.
    pub fn stop(&mut self) -> Result<()> {
        self.process = None;
        std::fs::remove_file(self.dir.path().join("port")).context("the SMTP sink was not running")
    }

    /// Where it listens on 127.0.0.1.
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The one account.
    pub fn username(&self) -> &'static str {
        "rollcall"
    }

    /// Its password, another one for every server.
    pub fn password(&self) -> &str {
        &self.password
    }

    /// A file with the password.
    pub fn password_file(&self) -> PathBuf {
        self.dir.path().join("password")
    }

    /// Every mail so far, in order of arrival.
    pub fn mails(&self) -> Result<Vec<ReceivedMail>> {
        let mut found: Vec<PathBuf> = std::fs::read_dir(self.dir.path())?
            .map(|entry| entry.map(|entry| entry.path()))
            .collect::<std::io::Result<_>>()?;
        found.retain(|path| path.extension().is_some_and(|extension| extension == "json"));
        found.sort();
        found.iter().map(|path| read(path)).collect()
    }
}

fn read(path: &Path) -> Result<ReceivedMail> {
    Ok(serde_json::from_slice(&std::fs::read(path)?)?)
}
