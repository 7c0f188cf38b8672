//! A company of many people in a real directory, and the C client that dumps it.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use rollcall_proto::v1;
use rollcall_testkit::{Ldif, Slapd, TestCa};
use system_tests::{Backend, System, directory_of, sync_of};
use tempfile::NamedTempFile;

const BASE: &str = "dc=rollcall,dc=test";
const GIVEN_NAMES: [&str; 8] = ["Anna", "Bela", "Carla", "Dana", "Emil", "Farid", "Greta", "Hugo"];
const FAMILY_NAMES: [&str; 7] = ["Weaver", "Baker", "Cooper", "Fisher", "Mason", "Potter", "Turner"];

/// What a run of [`user_sync`] asks the server for.
const ATTRIBUTES: [&str; 11] = [
    "displayname",
    "entryuuid",
    "givenname",
    "mail",
    "pwdaccountlockedtime",
    "pwdendtime",
    "pwdreset",
    "pwdstarttime",
    "sn",
    "telephonenumber",
    "uid",
];

pub(crate) const PASSWORD: &str = "correct horse battery";

/// A directory.
pub(crate) struct Company {
    pub(crate) people: usize,
    slapd: Slapd,
    ca: TestCa,
    ca_file: NamedTempFile,
}

impl Company {
    /// Loads a server with so many people.
    pub(crate) async fn start(people: usize) -> Result<Self> {
        let ca = TestCa::new()?;
        let ca_file = NamedTempFile::new()?;
        std::fs::write(ca_file.path(), ca.pem())?;
        let certificate = ca.loopback_server()?;
        let slapd = tokio::task::spawn_blocking(move || {
            let ldif = ldif(people);
            let builder = Slapd::builder().base_dn(BASE).certificate(certificate);
            builder.ldif(&ldif).quiet().start()
        });
        Ok(Self {
            people,
            slapd: slapd.await??,
            ca,
            ca_file,
        })
    }

    /// A Rollcall with settings as shipped, whose tenant `acme` has this directory and has not run.
    pub(crate) async fn connect(&self, backend: Backend) -> Result<System> {
        let system = System::start_as_shipped(backend, &[self.slapd.tls_address().port()]).await?;
        self.add_tenant(&system, "tenants/acme").await?;
        Ok(system)
    }

    /// Another tenant with the same directory.
    pub(crate) async fn add_tenant(&self, system: &System, tenant: &str) -> Result<()> {
        let directory = directory_of(&self.slapd, &self.ca);
        system.connect_with(tenant, directory, user_sync(tenant)).await
    }

    /// A paged dump by a C client (`ldapsearch`, on libldap) over TLS, of what a run reads.
    pub(crate) async fn dump(&self) -> Result<Duration> {
        let mut command = Command::new("ldapsearch");
        command
            .env("LDAPTLS_CACERT", self.ca_file.path())
            .args(["-x", "-LLL", "-o", "ldif-wrap=no", "-E", "pr=1000/noprompt"])
            .args(["-H", &self.slapd.tls_url(), "-D", &self.slapd.service_dn()])
            .args(["-w", self.slapd.service_password(), "-b", &people_dn(), "(uid=*)"])
            .args(ATTRIBUTES)
            .stdout(Stdio::null());
        let started = Instant::now();
        let status = tokio::task::spawn_blocking(move || command.status()).await??;
        ensure!(status.success(), "the dump failed");
        Ok(started.elapsed())
    }
}

/// The login of a person.
pub(crate) fn uid(number: usize) -> String {
    format!("u{number:07}")
}

fn people_dn() -> String {
    format!("ou=People,{BASE}")
}

fn user_sync(tenant: &str) -> v1::UserSync {
    let mut sync = sync_of(&format!("{tenant}/directories/hq"), &people_dn());
    if let Some(fields) = &mut sync.field_mappings {
        fields.phone_number = vec!["telephoneNumber".to_owned()];
    }
    sync
}

fn ldif(people: usize) -> String {
    let mut ldif = Ldif::new();
    ldif.entry(&people_dn())
        .attribute("objectClass", "organizationalUnit")
        .attribute("ou", "People");
    for number in 0..people {
        let uid = uid(number);
        let given = GIVEN_NAMES[number % GIVEN_NAMES.len()];
        let family = FAMILY_NAMES[number % FAMILY_NAMES.len()];
        ldif.entry(&format!("uid={uid},{}", people_dn()))
            .attribute("objectClass", "inetOrgPerson")
            .attribute("uid", &uid)
            .attribute("cn", format!("{given} {family} {number}"))
            .attribute("sn", family)
            .attribute("givenName", given)
            .attribute("displayName", format!("{given} {family} {number}"))
            .attribute("mail", format!("{uid}@rollcall.test"))
            .attribute("telephoneNumber", format!("+49 30 {number:07}"))
            .attribute("title", "Engineer")
            .attribute("l", "Berlin")
            .attribute("userPassword", PASSWORD);
    }
    ldif.as_str().to_owned()
}
