use super::Slapd;
use crate::ca::{Certificate, TestCa};
use crate::ldif::Ldif;
use crate::process::find_program;
use anyhow::Result;
use std::fmt::Write;
use std::net::{IpAddr, Ipv4Addr};

/// What a [`Slapd`] shall be. Start with [`Slapd::builder`].
pub struct SlapdBuilder {
    host: IpAddr,
    base_dn: String,
    certificate: Option<Certificate>,
    overlays: Vec<&'static str>,
    overlay_config: String,
    global_config: String,
    database_config: String,
    first_access: String,
    empty_tree: Option<String>,
    more_trees: Vec<(String, String)>,
    size_limit: String,
    ldif: String,
    quiet: bool,
}

// A sparse file: only what is written takes room.
const DATABASE: &str = "maxsize 8589934592\ndbnosync\nindex objectClass,uid,mail,entryUUID,member eq";

impl Slapd {
    /// What to start; every option has a default.
    pub fn builder() -> SlapdBuilder {
        SlapdBuilder::default()
    }
}

impl Default for SlapdBuilder {
    fn default() -> Self {
        Self {
            host: IpAddr::V4(Ipv4Addr::LOCALHOST),
            base_dn: "dc=example,dc=org".to_owned(),
            certificate: None,
            overlays: Vec::new(),
            overlay_config: String::new(),
            global_config: String::new(),
            database_config: String::new(),
            first_access: String::new(),
            empty_tree: None,
            more_trees: Vec::new(),
            size_limit: "unlimited".to_owned(),
            ldif: String::new(),
            quiet: false,
        }
    }
}

impl SlapdBuilder {
    /// The address to listen on; 127.0.0.1 when not said.
    pub fn host(mut self, host: IpAddr) -> Self {
        self.host = host;
        self
    }

    /// The suffix, `dc=NAME,...`; `dc=example,dc=org` when not said. Its entry is made by the builder.
    pub fn base_dn(mut self, base_dn: &str) -> Self {
        self.base_dn = base_dn.to_owned();
        self
    }

    /// The certificate for LDAPS and StartTLS; when not said, one of an authority that nobody trusts.
    pub fn certificate(mut self, certificate: Certificate) -> Self {
        self.certificate = Some(certificate);
        self
    }

    /// The password policy overlay, with [`SlapdBuilder::default_policy_dn`] as everybody's policy (the LDIF
    /// may bring its entry) and a locked account told as such.
    pub fn ppolicy(mut self) -> Self {
        let policy = Self::default_policy_dn(&self.base_dn);
        self.overlays.push("ppolicy");
        self.overlay_config +=
            &format!("overlay ppolicy\nppolicy_default \"{policy}\"\nppolicy_use_lockout\n");
        self
    }

    /// Where the default password policy is looked for: `cn=default,ou=Policies,BASE`.
    pub fn default_policy_dn(base_dn: &str) -> String {
        format!("cn=default,ou=Policies,{base_dn}")
    }

    /// The memberOf overlay. It sees only groups that are added while the server runs ([`Slapd::add`]).
    pub fn memberof(mut self) -> Self {
        self.overlays.push("memberof");
        self.overlay_config += "overlay memberof\n";
        self
    }

    /// The dynamic list overlay: a `groupOfURLs` shows whom its search finds as its `member`s. Its schema,
    /// dyngroup, is for the caller to include.
    pub fn dynlist(mut self) -> Self {
        self.overlays.push("dynlist");
        self.overlay_config += "overlay dynlist\ndynlist-attrset groupOfURLs memberURL member\n";
        self
    }

    /// Access rules (slapd.access(5)) that come before the builder's own.
    pub fn first_access(mut self, rules: &str) -> Self {
        self.first_access += rules;
        self.first_access += "\n";
        self
    }

    /// One more naming context, which holds no entry, not even its root.
    pub fn empty_tree(mut self, suffix: &str) -> Self {
        self.empty_tree = Some(suffix.to_owned());
        self
    }

    /// One more naming context, `dc=NAME`, with a database of its own: a server with very many entries in one is busy with
    /// that. Its entry is made by the builder, and the service account reads it too.
    pub fn more_tree(mut self, suffix: &str, ldif: &str) -> Self {
        let label = suffix.trim_start_matches("dc=");
        let mut entries = Ldif::new();
        entries
            .entry(suffix)
            .attribute("objectClass", "domain")
            .attribute("dc", label);
        let entries = format!("{}\n{ldif}\n", entries.as_str());
        self.more_trees.push((suffix.to_owned(), entries));
        self
    }

    /// The most entries that one search may return in all, pages together (result code 4 after that).
    /// slapd's own default is 500; the builder's is unlimited.
    pub fn size_limit(mut self, entries: u32) -> Self {
        self.size_limit = entries.to_string();
        self
    }

    /// Simple binds with a DN and an empty password succeed as anonymous (RFC 4513 section 5.1.2), as on AD.
    pub fn bind_anon_dn(self) -> Self {
        self.global_config("allow bind_anon_dn")
    }

    /// Logs no operations, as in production: [`Slapd::binds`] then finds none.
    pub fn quiet(mut self) -> Self {
        self.quiet = true;
        self
    }

    /// More lines of slapd.conf(5) before the database, e.g. `security simple_bind=128`.
    pub fn global_config(mut self, lines: &str) -> Self {
        self.global_config += lines;
        self.global_config += "\n";
        self
    }

    /// More lines of slapd.conf(5) for the database.
    pub fn database_config(mut self, lines: &str) -> Self {
        self.database_config += lines;
        self.database_config += "\n";
        self
    }

    /// More entries, loaded offline after the suffix and the service account; parents come first.
    pub fn ldif(mut self, ldif: &str) -> Self {
        self.ldif += "\n";
        self.ldif += ldif;
        self.ldif += "\n";
        self
    }

    /// Starts it and returns once it answers.
    pub fn start(self) -> Result<Slapd> {
        find_program("slapd", "slapd")?;
        find_program("ldapsearch", "ldap-utils")?;
        let certificate = match &self.certificate {
            Some(certificate) => certificate.clone(),
            None => TestCa::new()?.loopback_server()?,
        };
        Slapd::start_new(
            self.host,
            self.base_dn.clone(),
            &certificate,
            self.quiet,
            |slapd| {
                std::fs::write(slapd.path("slapd.conf"), self.slapd_conf(slapd)?)?;
                std::fs::write(slapd.path("data.ldif"), self.first_entries(slapd) + &self.ldif)?;
                for (number, (_, ldif)) in self.more_trees.iter().enumerate() {
                    let name = format!("more{number}");
                    std::fs::create_dir(slapd.path(&name))?;
                    std::fs::write(slapd.path(&format!("{name}.ldif")), ldif)?;
                }
                Ok(())
            },
        )
    }

    fn slapd_conf(&self, slapd: &Slapd) -> Result<String> {
        let mut conf = String::new();
        for schema in ["core", "cosine", "inetorgperson"] {
            writeln!(conf, "include /etc/ldap/schema/{schema}.schema")?;
        }
        writeln!(conf, "modulepath /usr/lib/ldap\nmoduleload back_mdb")?;
        for overlay in &self.overlays {
            writeln!(conf, "moduleload {overlay}")?;
        }
        let dir = slapd.dir.path().display();
        writeln!(
            conf,
            "TLSCertificateFile {dir}/server.pem\nTLSCertificateKeyFile {dir}/server.key"
        )?;
        writeln!(conf, "sizelimit {}\n{}", self.size_limit, self.global_config)?;
        writeln!(
            conf,
            "database mdb\nsuffix \"{}\"\ndirectory {dir}/data",
            self.base_dn
        )?;
        writeln!(
            conf,
            "rootdn \"{}\"\nrootpw {}",
            slapd.admin_dn(),
            slapd.admin_password
        )?;
        let access = format!(
            "access to attrs=userPassword by * auth\naccess to * by dn.exact=\"{}\" read by * none",
            slapd.service_dn()
        );
        writeln!(conf, "{DATABASE}\n{}{access}", self.first_access)?;
        writeln!(conf, "{}\n{}", self.database_config, self.overlay_config)?;
        for (number, (suffix, _)) in self.more_trees.iter().enumerate() {
            writeln!(
                conf,
                "database mdb\nsuffix \"{suffix}\"\ndirectory {dir}/more{number}"
            )?;
            writeln!(conf, "{DATABASE}\n{access}")?;
        }
        if let Some(suffix) = &self.empty_tree {
            writeln!(conf, "database ldif\nsuffix \"{suffix}\"\ndirectory {dir}/empty")?;
        }
        Ok(conf)
    }

    fn first_entries(&self, slapd: &Slapd) -> String {
        let label = self.base_dn.split([',', '=']).nth(1).unwrap_or_default().trim();
        let mut ldif = Ldif::new();
        ldif.entry(&self.base_dn)
            .attribute("objectClass", "domain")
            .attribute("dc", label)
            .entry(&format!("ou=Services,{}", self.base_dn))
            .attribute("objectClass", "organizationalUnit")
            .attribute("ou", "Services")
            .entry(&slapd.service_dn())
            .attribute("objectClass", "organizationalRole")
            .attribute("objectClass", "simpleSecurityObject")
            .attribute("cn", "rollcall")
            .attribute("userPassword", &slapd.service_password);
        ldif.as_str().to_owned()
    }
}
