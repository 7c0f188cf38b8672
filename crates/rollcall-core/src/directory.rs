//! Directories: how to reach a customer's LDAP server. What comes back from one is untrusted input.

use std::collections::BTreeMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Duration;

use chrono::{DateTime, Utc};

use crate::dialect::Dialect;
use crate::id::{DirectoryId, TenantId, UserSyncId};
use crate::identifier::Email;
use crate::revision::Revision;
use crate::secret_attribute::is_secret;
use crate::soft_lock::{DirectoryLockout, SoftLock};
use crate::violation::{Violations, check_text};
use crate::vocabulary::vocabulary;

/// Most hosts of one directory.
pub const MAX_HOSTS: usize = 8;
/// Largest CA bundle or client certificate chain, in bytes of PEM.
pub(crate) const MAX_PEM_BYTES: usize = 256 * 1024;
/// Page size of searches when none is set. Active Directory's own limit (MS-ADTS 3.1.1.3.4.6, MaxPageSize).
const DEFAULT_PAGE_SIZE: u32 = 1000;
/// Time to connect and do TLS when none is set.
const DEFAULT_CONNECT_TIMEOUT: Duration = Duration::from_secs(3);
/// Time for one operation when none is set.
const DEFAULT_OPERATION_TIMEOUT: Duration = Duration::from_secs(10);

/// Most addresses that get reminders about a directory.
pub const MAX_CONTACTS: usize = 20;

const DAY: Duration = Duration::from_secs(86_400);
/// Wrong bind passwords are counted for so long, where nothing else is known: as long as the soft lock's window as shipped.
const REFUSALS_WINDOW: Duration = Duration::from_secs(35 * 60);
/// How many of them may come from trying passwords, where the server's threshold is not known. Below those that are usual.
const REFUSALS: u32 = 4;
/// The most where it is known.
const MOST_REFUSALS: u32 = 10;

vocabulary! {
    /// How the connection is protected.
    pub closed enum TransportSecurity {
        /// TLS from the first byte, `ldaps://`.
        Ldaps = "LDAPS",
        /// StartTLS (RFC 4511 section 4.14) before anything else, `ldap://`. Never falls back.
        StartTls = "START_TLS",
        /// No protection, `ldap://`. Only with `allow_plaintext`, and always flagged.
        Plaintext = "PLAINTEXT",
    }
}

/// The scheme of a host's URL.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub enum Scheme {
    /// `ldap://`
    Ldap,
    /// `ldaps://`
    Ldaps,
}

/// One host of a directory: `ldap://` or `ldaps://`, a name or address, and perhaps a port.
#[derive(Clone, PartialEq, Eq, Hash, Debug)]
pub struct HostUrl {
    /// The scheme.
    pub scheme: Scheme,
    /// DNS name in lower case, or an IP address without brackets.
    pub host: String,
    /// The port, if the URL names one.
    pub port: Option<u16>,
}

/// Why a host was refused.
#[derive(Clone, Copy, PartialEq, Eq, Debug, thiserror::Error)]
pub enum HostProblem {
    /// Neither `ldap://` nor `ldaps://`.
    #[error("must begin with ldap:// or ldaps://")]
    Scheme,
    /// No or an impossible host name.
    #[error("needs a host name or an IP address after the scheme, like ldaps://dc1.example.com")]
    Host,
    /// Not a port.
    #[error("has a port that is not a number from 1 to 65535")]
    Port,
    /// Path, query, user or fragment.
    #[error("must hold the host and port only; base DN and filter belong to a user sync")]
    Extra,
}

impl HostUrl {
    /// Parses `ldap[s]://host[:port][/]`.
    pub fn parse(text: &str) -> Result<Self, HostProblem> {
        let lower = text.trim().to_lowercase();
        let (scheme, rest) = match (lower.strip_prefix("ldap://"), lower.strip_prefix("ldaps://")) {
            (Some(rest), _) => (Scheme::Ldap, rest),
            (_, Some(rest)) => (Scheme::Ldaps, rest),
            _ => return Err(HostProblem::Scheme),
        };
        let rest = rest.strip_suffix('/').unwrap_or(rest);
        if rest.contains(['/', '?', '#', '@', ' ']) {
            return Err(HostProblem::Extra);
        }
        let (host, port) = match rest.strip_prefix('[') {
            Some(v6) => {
                let (address, port) = v6.split_once(']').ok_or(HostProblem::Host)?;
                address.parse::<Ipv6Addr>().map_err(|_| HostProblem::Host)?;
                let port = match port {
                    "" => None,
                    port => Some(port.strip_prefix(':').ok_or(HostProblem::Port)?),
                };
                (address, port)
            }
            None => match rest.split_once(':') {
                Some((host, port)) => (host, Some(port)),
                None => (rest, None),
            },
        };
        if host.parse::<IpAddr>().is_err() && !is_host_name(host) {
            return Err(HostProblem::Host);
        }
        let port = match port {
            None => None,
            Some(port) => Some(
                port.parse()
                    .ok()
                    .filter(|port| *port != 0)
                    .ok_or(HostProblem::Port)?,
            ),
        };
        Ok(Self {
            scheme,
            host: host.trim_end_matches('.').to_owned(),
            port,
        })
    }

    /// The port to connect to: the URL's, else the directory's, else the scheme's own.
    pub fn effective_port(&self, directory_port: Option<u16>) -> u16 {
        self.port.or(directory_port).unwrap_or(match self.scheme {
            Scheme::Ldap => 389,
            Scheme::Ldaps => 636,
        })
    }
}

impl fmt::Display for HostUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.scheme {
            Scheme::Ldap => "ldap",
            Scheme::Ldaps => "ldaps",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]", self.host)?,
            false => write!(f, "{scheme}://{}", self.host)?,
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

/// True for a DNS name of LDH labels; names in other scripts are accepted and converted when resolved.
fn is_host_name(name: &str) -> bool {
    let name = name.strip_suffix('.').unwrap_or(name);
    let is_label = |label: &str| {
        !label.is_empty()
            && label.len() <= 63
            && !label.starts_with('-')
            && !label.ends_with('-')
            && label.chars().all(|c| c.is_alphanumeric() || c == '-' || c == '_')
    };
    let numeric = name
        .rsplit('.')
        .next()
        .is_some_and(|last| last.bytes().all(|b| b.is_ascii_digit()));
    name.len() <= 253 && !numeric && name.split('.').all(is_label)
}

/// What a tenant's admin sets about a directory; the secrets travel apart.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct DirectorySettings {
    /// Name for people, 1 to 200 characters.
    pub display_name: String,
    /// Switched off: no run, no login, no connection.
    pub disabled: bool,
    /// The replicas in failover order, 1 to [`MAX_HOSTS`].
    pub hosts: Vec<HostUrl>,
    /// Port of the hosts whose URL names none.
    pub port: Option<u16>,
    /// How connections are protected.
    pub transport_security: TransportSecurity,
    /// Accepts [`TransportSecurity::Plaintext`].
    pub allow_plaintext: bool,
    /// The only roots trusted for this directory, PEM. Empty: the public web PKI.
    pub ca_certificates: String,
    /// Name that the certificate must carry, if it is not the host's.
    pub tls_server_name: Option<String>,
    /// Client certificate chain, PEM. Its key is a secret.
    pub client_certificate: Option<String>,
    /// DN (or on Active Directory UPN) of the service account.
    pub bind_dn: String,
    /// For connecting and TLS: 100 ms to 30 s.
    pub connect_timeout: Duration,
    /// For one operation, one page of a search: 100 ms to 120 s.
    pub operation_timeout: Duration,
    /// Entries a page: 1 to 5,000.
    pub page_size: u32,
    /// Attribute that holds the external id; `None` detects it from the server's kind.
    pub external_id_attribute: Option<String>,
    /// When logins of its users are refused after wrong passwords.
    pub soft_lock: SoftLock,
    /// How old the bind password may become; `None` for as old as the deployment says.
    pub bind_password_max_age: Option<Duration>,
    /// Who gets reminders about it. If empty: those who get the reports of its user syncs.
    pub contact_addresses: Vec<String>,
}

/// What Rollcall found out about a directory.
#[derive(Clone, PartialEq, Eq, Debug, Default)]
pub struct DirectoryObservations {
    /// Which kind of server answers.
    pub dialect: Option<Dialect>,
    /// Vendor and version as the server names itself.
    pub vendor: Option<String>,
    /// Supported controls and extensions (OIDs).
    pub capabilities: Vec<String>,
    /// Failed binds after which the directory itself locks an account; `None` if it could not be read.
    pub lockout_threshold: Option<u32>,
    /// Time after which the directory itself forgets failed binds; `None` if it does not, or it could not be read.
    pub lockout_window: Option<Duration>,
    /// Attributes that tell whether an account is enabled and may not be read of the entries of a user sync.
    pub hidden_state: BTreeMap<UserSyncId, Vec<String>>,
    /// When the bind account's password expires; `None` if it never does, or the directory does not tell.
    pub bind_password_expire_time: Option<DateTime<Utc>>,
    /// When the first certificate that a host has shown ends.
    pub certificate_end: Option<DateTime<Utc>>,
    /// Since when no run has reached it; `None` if the last one has.
    pub unreachable_since: Option<DateTime<Utc>>,
    /// When this was last read.
    pub observe_time: Option<DateTime<Utc>>,
}

impl DirectoryObservations {
    /// What the directory itself does to accounts.
    pub fn lockout(&self) -> DirectoryLockout {
        DirectoryLockout {
            threshold: self.lockout_threshold,
            window: self.lockout_window,
        }
    }
}

/// A directory.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Directory {
    /// The tenant that it belongs to.
    pub tenant: TenantId,
    /// Its id within the tenant.
    pub id: DirectoryId,
    /// What the admin set.
    pub settings: DirectorySettings,
    /// A bind password is stored.
    pub bind_password_set: bool,
    /// When the bind password was last set.
    pub bind_password_update_time: Option<DateTime<Utc>>,
    /// Strength class of the bind password, scored when it was set.
    pub bind_password_strength: Option<PasswordStrength>,
    /// When the pending bind password was set, which takes the place of the present one once the directory refuses
    /// that. `None` if no password is pending.
    pub pending_bind_password_time: Option<DateTime<Utc>>,
    /// When the directory last refused the pending bind password as well.
    pub pending_bind_password_refuse_time: Option<DateTime<Utc>>,
    /// False after an endpoint change until a check found known external ids there, or a person confirmed it.
    pub endpoint_confirmed: bool,
    /// What was found out about the server.
    pub observed: DirectoryObservations,
    /// Counts the changes of settings and secrets; the etag, and what connections are keyed by.
    pub revision: Revision,
    /// When it was created.
    pub create_time: DateTime<Utc>,
    /// When it was last changed.
    pub update_time: DateTime<Utc>,
}

impl Directory {
    /// How old the bind password may become, where directories may have their own limit.
    pub fn bind_password_max_age(&self, default: Duration) -> Duration {
        self.settings.bind_password_max_age.unwrap_or(default)
    }

    /// A pending bind password is tried at most once in this time. Until then the soft lock or the directory may still
    /// remember the last wrong try.
    pub fn pending_tried_once_in(&self) -> Duration {
        self.refusals_allowed().window
    }

    /// How many wrong bind passwords may be tried, and in which time.
    pub fn refusals_allowed(&self) -> RefusalsAllowed {
        RefusalsAllowed::at(&self.settings, &self.observed)
    }
}

/// How many wrong passwords of the bind account may be tried within a time, so that the directory does not lock it.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct RefusalsAllowed {
    /// So many.
    pub count: u32,
    /// Within this.
    pub window: Duration,
}

impl RefusalsAllowed {
    /// At a directory with these settings, of which so much is known.
    pub fn at(settings: &DirectorySettings, observed: &DirectoryObservations) -> Self {
        let own = settings.soft_lock.window.unwrap_or(REFUSALS_WINDOW);
        // One below the threshold is left for what logins and runs send.
        let known = observed
            .lockout_threshold
            .map(|threshold| threshold.saturating_sub(2).clamp(1, MOST_REFUSALS));
        Self {
            count: known.unwrap_or(REFUSALS),
            window: own.max(observed.lockout_window.unwrap_or_default()),
        }
    }
}

vocabulary! {
    /// How strong a bind password is. Only this class is stored, never anything that tells more.
    pub closed enum PasswordStrength {
        /// Shorter than 16 characters, or of few different ones.
        Weak = "WEAK",
        /// 16 to 23 characters.
        Fair = "FAIR",
        /// 24 characters or more, well mixed.
        Strong = "STRONG",
    }
}

impl PasswordStrength {
    /// Scores a bind password.
    pub fn of(password: &crate::secret::Password) -> Self {
        let text = password.expose();
        let length = text.chars().count();
        let mut distinct: Vec<char> = text.chars().collect();
        distinct.sort_unstable();
        distinct.dedup();
        match (length, distinct.len()) {
            (24.., 12..) => Self::Strong,
            (16.., 8..) => Self::Fair,
            _ => Self::Weak,
        }
    }
}

impl DirectorySettings {
    /// The settings of a directory of which nothing is set but its hosts: the contract's defaults. They are not valid, since
    /// a name and a bind DN are required.
    pub fn with_defaults(hosts: Vec<HostUrl>) -> Self {
        Self {
            display_name: String::new(),
            disabled: false,
            transport_security: match hosts.first().map(|host| host.scheme) {
                Some(Scheme::Ldap) => TransportSecurity::StartTls,
                Some(Scheme::Ldaps) | None => TransportSecurity::Ldaps,
            },
            hosts,
            port: None,
            allow_plaintext: false,
            ca_certificates: String::new(),
            tls_server_name: None,
            client_certificate: None,
            bind_dn: String::new(),
            connect_timeout: DEFAULT_CONNECT_TIMEOUT,
            operation_timeout: DEFAULT_OPERATION_TIMEOUT,
            page_size: DEFAULT_PAGE_SIZE,
            external_id_attribute: None,
            soft_lock: SoftLock::default(),
            bind_password_max_age: None,
            contact_addresses: Vec::new(),
        }
    }

    /// All mistakes in the settings, with the paths of `Directory`'s fields.
    pub fn validate(&self) -> Violations {
        let mut found = Violations::new();
        check_text(&mut found, "display_name", &self.display_name, 1, 200);
        self.validate_hosts(&mut found);
        found.require(self.port != Some(0), "port", "must be from 1 to 65535");
        if self.transport_security == TransportSecurity::Plaintext && !self.allow_plaintext {
            found.add(
                "transport_security",
                "PLAINTEXT sends passwords readable; it needs allow_plaintext",
            );
        }
        for (field, pem) in [
            ("ca_certificates", Some(&self.ca_certificates)),
            ("client_certificate", self.client_certificate.as_ref()),
        ] {
            let Some(pem) = pem else { continue };
            found.require(pem.len() <= MAX_PEM_BYTES, field, "is larger than 256 KiB");
            let is_pem = pem.is_empty() || pem.contains("-----BEGIN CERTIFICATE-----");
            found.require(is_pem, field, "is not PEM: it has no BEGIN CERTIFICATE line");
            found.require(
                !holds_private_key(pem),
                field,
                "holds a private key, which does not belong here",
            );
        }
        if let Some(name) = &self.tls_server_name {
            let valid = is_host_name(name) || name.parse::<IpAddr>().is_ok();
            found.require(
                valid,
                "tls_server_name",
                "is neither a DNS name nor an IP address",
            );
        }
        found.nest("soft_lock", self.soft_lock.validate());
        let age = self.bind_password_max_age.unwrap_or(DAY);
        found.require(
            (DAY..=DAY * 3_650).contains(&age),
            "bind_password_max_age",
            "must be from 1 day to 3650 days",
        );
        found.require(
            self.contact_addresses.len() <= MAX_CONTACTS,
            "contact_addresses",
            format!("at most {MAX_CONTACTS} values are allowed"),
        );
        for (index, address) in self.contact_addresses.iter().enumerate() {
            found.take(&format!("contact_addresses[{index}]"), Email::parse(address));
        }
        check_text(&mut found, "bind_dn", &self.bind_dn, 1, 1024);
        check_range(&mut found, "connect_timeout", self.connect_timeout, 30);
        check_range(&mut found, "operation_timeout", self.operation_timeout, 120);
        found.require(
            (1..=5000).contains(&self.page_size),
            "page_size",
            "must be from 1 to 5,000 entries",
        );
        if let Some(attribute) = &self.external_id_attribute {
            found.require(
                is_attribute_name(attribute),
                "external_id_attribute",
                "is not an attribute name: letters, digits and hyphens, beginning with a letter",
            );
            found.require(
                !is_secret(attribute),
                "external_id_attribute",
                "holds secrets and is never read",
            );
            let changes = [
                "dn",
                "cn",
                "uid",
                "mail",
                "samaccountname",
                "userprincipalname",
                "objectsid",
            ];
            found.require(
                !changes.contains(&attribute.to_lowercase().as_str()),
                "external_id_attribute",
                "can change or be given to another person; use an id that never does, like entryUUID",
            );
        }
        found
    }

    fn validate_hosts(&self, found: &mut Violations) {
        found.require(
            !self.hosts.is_empty(),
            "hosts",
            "needs at least one host, like ldaps://dc1.example.com",
        );
        found.require(
            self.hosts.len() <= MAX_HOSTS,
            "hosts",
            "at most 8 hosts are allowed",
        );
        for (index, host) in self.hosts.iter().enumerate() {
            let field = format!("hosts[{index}]");
            let fits =
                (host.scheme == Scheme::Ldaps) == (self.transport_security == TransportSecurity::Ldaps);
            found.require(
                fits,
                &field,
                "ldaps:// goes with transport_security LDAPS, ldap:// with START_TLS or PLAINTEXT",
            );
            found.require(
                !self.hosts[..index].contains(host),
                &field,
                "stands in the list twice",
            );
        }
    }

    /// True if a stored secret may go on being used when `self` becomes `new`: nothing that decides who
    /// receives it, or for whom, is different.
    pub fn has_same_endpoint(&self, new: &DirectorySettings) -> bool {
        self.hosts == new.hosts
            && self.port == new.port
            && self.transport_security == new.transport_security
            && self.ca_certificates == new.ca_certificates
            && self.tls_server_name == new.tls_server_name
            && self.bind_dn == new.bind_dn
    }
}

/// True for `descr` of RFC 4512 section 1.4 (a letter, then letters, digits and hyphens) and for an OID.
pub(crate) fn is_attribute_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    let descr = bytes.next().is_some_and(|b| b.is_ascii_alphabetic())
        && bytes.all(|b| b.is_ascii_alphanumeric() || b == b'-');
    let is_arc = |arc: &str| !arc.is_empty() && arc.bytes().all(|b| b.is_ascii_digit());
    let oid = name.contains('.') && name.split('.').all(is_arc);
    name.len() <= 128 && (descr || oid)
}

/// True for a private key in any of the forms that tools write.
fn holds_private_key(text: &str) -> bool {
    let text = text.to_ascii_uppercase();
    ["PRIVATE KEY", "PRIVATE-LINES", "PUTTY-USER-KEY"]
        .iter()
        .any(|mark| text.contains(mark))
}

fn check_range(found: &mut Violations, field: &str, value: Duration, max_seconds: u64) {
    let range = Duration::from_millis(100)..=Duration::from_secs(max_seconds);
    found.require(
        range.contains(&value),
        field,
        format!("must be from 0.1 s to {max_seconds} s"),
    );
}

#[cfg(test)]
mod tests;
