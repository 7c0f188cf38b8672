use crate::process::{feed, find_program, run};
use anyhow::Result;
use std::path::PathBuf;
use std::process::Command;

/// The command line tools of `ldap-utils`, over LDAPS to a server whose certificate is checked.
pub(crate) struct TlsClient {
    /// `ldaps://HOST:PORT`
    pub(crate) url: String,
    /// The authority's certificate, PEM.
    pub(crate) ca: PathBuf,
}

impl TlsClient {
    /// `ldapsearch`; LDIF without comments or line folding.
    pub(crate) fn search(&self, dn: &str, password: &str, arguments: &[&str]) -> Result<String> {
        run(self
            .tool("ldapsearch", dn, password)?
            .args(["-LLL", "-o", "ldif-wrap=no"])
            .args(arguments))
    }

    /// `ldapmodify` with LDIF change records.
    pub(crate) fn modify(&self, dn: &str, password: &str, ldif: &str) -> Result<String> {
        feed(self.tool("ldapmodify", dn, password)?, ldif)
    }

    fn tool(&self, name: &str, dn: &str, password: &str) -> Result<Command> {
        let mut command = Command::new(find_program(name, "ldap-utils")?);
        // Set here, and no file read: the machine's own ldap.conf must not change what a test does.
        command
            .env_remove("LDAPNOINIT")
            .env("LDAPCONF", "/dev/null")
            .env("LDAPRC", "none")
            .env("LDAPTLS_CACERT", &self.ca)
            .env("LDAPTLS_REQCERT", "demand")
            .args(["-x", "-H", &self.url, "-D", dn, "-w", password]);
        Ok(command)
    }
}
