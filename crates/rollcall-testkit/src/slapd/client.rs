use super::Slapd;
use crate::process::{feed, run};
use anyhow::Result;
use std::process::Command;

/// The command line tools of `ldap-utils`, over plain text to this server.
impl Slapd {
    /// `ldapsearch` as the admin with these arguments (`-b`, `-s`, filter, attributes...); returns LDIF
    /// without comments or line folding.
    pub fn search(&self, arguments: &[&str]) -> Result<String> {
        self.search_as(&self.admin_dn(), &self.admin_password, arguments)
    }

    /// [`Slapd::search`] as somebody else.
    pub fn search_as(&self, dn: &str, password: &str, arguments: &[&str]) -> Result<String> {
        run(self
            .tool("ldapsearch", dn, password)?
            .args(["-LLL", "-o", "ldif-wrap=no"])
            .args(arguments))
    }

    /// Adds these entries (LDIF content records) as the admin, through the overlays.
    pub fn add(&self, ldif: &str) -> Result<String> {
        feed(
            self.tool("ldapadd", &self.admin_dn(), &self.admin_password)?,
            ldif,
        )
    }

    /// Carries out LDIF change records as the admin.
    pub fn modify(&self, ldif: &str) -> Result<String> {
        self.modify_as(&self.admin_dn(), &self.admin_password, ldif)
    }

    /// [`Slapd::modify`] as somebody else.
    pub fn modify_as(&self, dn: &str, password: &str, ldif: &str) -> Result<String> {
        feed(self.tool("ldapmodify", dn, password)?, ldif)
    }

    /// Deletes one entry as the admin.
    pub fn delete(&self, dn: &str) -> Result<String> {
        run(self
            .tool("ldapdelete", &self.admin_dn(), &self.admin_password)?
            .arg(dn))
    }

    fn tool(&self, name: &str, dn: &str, password: &str) -> Result<Command> {
        let mut command = Command::new(crate::process::find_program(name, "ldap-utils")?);
        // LDAPNOINIT: the machine's own ldap.conf must not change what a test does.
        command
            .env("LDAPNOINIT", "1")
            .args(["-x", "-H", &self.url(), "-D", dn, "-w", password]);
        Ok(command)
    }
}
