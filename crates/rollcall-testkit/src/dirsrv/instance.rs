//! Makes an instance below one directory, by the server's own tools and without systemd.

use super::person::BASE_DN;
use super::{Dirsrv, HOST, LOCKOUT_THRESHOLD, MANAGER, PACKAGES, dse};
use crate::ca::TestCa;
use crate::process::{find_program, run};
use anyhow::{Context, Result};
use std::fs;
use std::path::PathBuf;
use std::process::Command;

const DEFAULTS: &str = "share/dirsrv/inf/defaults.inf";
/// The name under which the server looks for its certificate when nothing else is said.
const CERTIFICATE: &str = "Server-Cert";
const INSTANCE: &str = "test";

impl Dirsrv {
    pub(super) fn config_dir(&self) -> PathBuf {
        self.dir.path().join("etc/dirsrv/slapd-test")
    }

    pub(super) fn error_log(&self) -> PathBuf {
        self.dir.path().join("var/log/dirsrv/slapd-test/errors")
    }

    /// Runs `dscreate` with every path below the server's directory.
    pub(super) fn make(&self) -> Result<()> {
        let dscreate = find_program("dscreate", PACKAGES)?;
        let dir = self.dir.path();
        for name in [
            "tmp",
            "run",
            "shm",
            "var",
            "etc/default",
            "etc/dirsrv",
            "share/dirsrv/inf",
        ] {
            fs::create_dir_all(dir.join(name))?;
        }
        let defaults = fs::read_to_string(format!("/usr/{DEFAULTS}"))
            .with_context(|| format!("its defaults are missing: apt-get install {PACKAGES}"))?;
        fs::write(
            dir.join(DEFAULTS),
            private_defaults(&defaults, &dir.display().to_string()),
        )?;
        run(Command::new("cp")
            .args(["-r", "/etc/dirsrv/schema", "/etc/dirsrv/config"])
            .arg(dir.join("etc/dirsrv")))?;
        let answers = format!(
            "[general]\nfull_machine_name = localhost\nstart = False\nselinux = False\nsystemd = False\n\
             strict_host_checking = False\n\
             [slapd]\ninstance_name = {INSTANCE}\nport = {}\nsecure_port = {}\nself_sign_cert = False\n\
             root_dn = {MANAGER}\nroot_password = {}\nuser = root\ngroup = root\n\
             [backend-userroot]\nsuffix = {BASE_DN}\ncreate_suffix_entry = True\n",
            self.port, self.tls_port, self.manager_password
        );
        let answers_file = dir.join("answers.inf");
        fs::write(&answers_file, answers)?;
        run(Command::new(dscreate)
            .env("PREFIX", dir)
            .arg("from-file")
            .arg(answers_file))?;
        Ok(())
    }

    /// Puts the server's certificate and its authority into the instance's NSS database.
    pub(super) fn import_certificates(&self, ca: &TestCa) -> Result<()> {
        let dir = self.dir.path();
        let ca_file = dir.join("ca.pem");
        fs::write(&ca_file, ca.pem())?;
        let (certificate, key) = ca
            .server(&["localhost", &HOST.to_string()])?
            .write_to(dir, "server")?;
        let database = format!("sql:{}", self.config_dir().display());
        let password = self.config_dir().join("pwdfile.txt");
        let bundle = dir.join("server.p12");
        run(Command::new(find_program("openssl", PACKAGES)?)
            .args([
                "pkcs12",
                "-export",
                "-name",
                CERTIFICATE,
                "-passout",
                "pass:bundle",
                "-in",
            ])
            .arg(certificate)
            .arg("-inkey")
            .arg(key)
            .arg("-out")
            .arg(&bundle))?;
        run(Command::new(find_program("pk12util", PACKAGES)?)
            .args(["-d", &database, "-W", "bundle", "-k"])
            .arg(&password)
            .arg("-i")
            .arg(bundle))?;
        run(Command::new(find_program("certutil", PACKAGES)?)
            .args(["-A", "-d", &database, "-n", "ca", "-t", "CT,,", "-i"])
            .arg(ca_file)
            .arg("-f")
            .arg(password))?;
        Ok(())
    }

    /// Loopback only, TLS, memberOf and a password policy: written while the server is down, since most of it
    /// counts from the next start on.
    pub(super) fn configure(&self) -> Result<()> {
        let file = self.config_dir().join("dse.ldif");
        let host = HOST.to_string();
        let threshold = LOCKOUT_THRESHOLD.to_string();
        let text = fs::read_to_string(&file)?;
        let text = dse::set(
            &text,
            "cn=config",
            &[
                ("nsslapd-listenhost", &host),
                ("nsslapd-securelistenhost", &host),
                ("nsslapd-security", "on"),
                ("passwordLockout", "on"),
                ("passwordMaxFailure", &threshold),
                ("passwordMustChange", "on"),
                ("passwordExp", "on"),
                // Decades for the passwords that shall be good, a day for the warning.
                ("passwordMaxAge", "2000000000"),
                ("passwordWarning", "86400"),
            ],
        )?;
        let encryption = "cn=RSA,cn=encryption,cn=config";
        let text = dse::set(&text, encryption, &[("nsSSLPersonalitySSL", CERTIFICATE)])?;
        let member_of = "cn=MemberOf Plugin,cn=plugins,cn=config";
        let plugin = [
            ("nsslapd-pluginEnabled", "on"),
            ("memberOfAutoAddOC", "nsMemberOf"),
        ];
        fs::write(file, dse::set(&text, member_of, &plugin)?)?;
        Ok(())
    }
}

/// The machine's defaults with this server's paths, its own user and no systemd.
fn private_defaults(defaults: &str, dir: &str) -> String {
    let line = |line: &str| -> String {
        let Some((name, value)) = line.split_once(" = ") else {
            return format!("{line}\n");
        };
        let value = match name {
            "with_systemd" => "0".to_owned(),
            "user" | "group" => "root".to_owned(),
            "ldapi" => format!("{dir}/run/ldapi.socket"),
            "pid_file" => format!("{dir}/run/pid"),
            "inst_dir" => format!("{dir}/inst"),
            "tmpfiles_d" => format!("{dir}/tmpfiles"),
            // /dev/shm has another name, so that it is plain what is what.
            _ => match value.strip_prefix("/dev") {
                Some(rest) => format!("{dir}{rest}"),
                None if ["/etc", "/var", "/run", "/tmp"]
                    .iter()
                    .any(|top| value.starts_with(top)) =>
                {
                    format!("{dir}{value}")
                }
                None => value.to_owned(),
            },
        };
        format!("{name} = {value}\n")
    };
    defaults.lines().map(line).collect()
}
