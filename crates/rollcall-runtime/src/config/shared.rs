//! The sections that both services have. `default.toml` documents each key.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use ipnet::IpNet;
use serde::Deserialize;

use super::cidr::networks;
use super::token::{parse_sha256, parse_time};
use super::value::{duration, optional_address, optional_path};
use super::{Mistakes, Secret, SecretFileError};
use crate::permission::Permission;

/// The commented defaults.
pub(super) const DEFAULTS: &str = include_str!("default.toml");
/// Keys whose values are never printed.
pub(super) const SECRETS: &[&str] = &[
    "store.url",
    "keyring.key",
    "callers.token_sha256",
    "callers.tokens.sha256",
];

/// All shared sections.
#[derive(Deserialize)]
pub struct Shared {
    /// Services that may call.
    pub callers: Vec<CallerEntry>,
    /// How gRPC is served.
    pub server: Server,
    /// Where data is kept.
    pub store: Store,
    /// Keys that seal bind passwords.
    pub keyring: Keyring,
    /// Which addresses directories may have.
    pub egress: Egress,
    /// Logs, traces and metrics.
    pub telemetry: Telemetry,
    /// The health listener and the probe of the store.
    pub health: Health,
    /// How a service stops.
    pub drain: Drain,
    /// Rules for users that hold for the whole deployment.
    pub users: Users,
}

/// One service that may call, as configured.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct CallerEntry {
    /// Unique name, for logs and audit.
    pub name: String,
    /// SHA-256 of the one bearer token in hex; empty if the caller has none, or `tokens`.
    pub token_sha256: String,
    /// Bearer tokens with an end, so that an old and a new one overlap.
    pub tokens: Vec<TokenEntry>,
    /// DNS name, URI or common name of the client certificate; empty if the caller has none.
    pub certificate_name: String,
    /// What the caller may do.
    pub permissions: Vec<Permission>,
    /// Ids of the tenants that the caller may touch, or `*` alone.
    pub tenants: Vec<String>,
    /// Calls per second in the long run; 0 is no limit.
    pub requests_per_second: u32,
    /// Calls that may come at once; 0 is one second's worth.
    pub burst: u32,
    /// Whether whatever it changes must say for whom.
    pub actor_required: bool,
}

/// True if one of these callers has a token, or if there are none: a connection without a certificate may be fine.
pub(crate) fn certificate_is_optional(entries: &[CallerEntry]) -> bool {
    entries.is_empty() || entries.iter().any(CallerEntry::has_token)
}

/// One of a caller's bearer tokens, as configured.
#[derive(Deserialize, Default)]
#[serde(default, deny_unknown_fields)]
pub struct TokenEntry {
    /// Name of the token, unique for its caller, for logs.
    pub id: String,
    /// SHA-256 of the token in hex.
    pub sha256: String,
    /// From when on it is refused, as RFC 3339 has it; empty for never.
    pub expire_time: String,
}

impl CallerEntry {
    /// Whether it may show a token instead of a certificate.
    pub(super) fn has_token(&self) -> bool {
        self.hashes().next().is_some()
    }

    /// The hashes of all tokens.
    fn hashes(&self) -> impl Iterator<Item = &str> {
        let one = Some(self.token_sha256.as_str()).filter(|hash| !hash.is_empty());
        one.into_iter()
            .chain(self.tokens.iter().map(|token| token.sha256.as_str()))
    }

    /// Whether one of the tokens has this hash.
    fn has_hash(&self, hash: &str) -> bool {
        self.hashes().any(|other| other.eq_ignore_ascii_case(hash))
    }
}

/// How gRPC is served.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Server {
    /// Address and port.
    pub listen: SocketAddr,
    /// PEM file of the certificate chain.
    #[serde(deserialize_with = "optional_path")]
    pub tls_certificate_file: Option<PathBuf>,
    /// PEM file of the private key.
    #[serde(deserialize_with = "optional_path")]
    pub tls_key_file: Option<PathBuf>,
    /// PEM file of the authorities for client certificates.
    #[serde(deserialize_with = "optional_path")]
    pub client_ca_file: Option<PathBuf>,
    /// Serve without TLS or callers on any address.
    pub insecure: bool,
    /// Deadline of calls that bring none.
    #[serde(deserialize_with = "duration")]
    pub default_timeout: Duration,
    /// Connections at a time.
    pub max_connections: u32,
    /// Calls at a time on one connection.
    pub max_concurrent_streams: u32,
    /// Endless streams at a time of one caller.
    pub max_streams_per_caller: u32,
    /// Longest wait for the reader of an endless stream.
    #[serde(deserialize_with = "duration")]
    pub reader_timeout: Duration,
    /// Greatest age of a connection; zero for none.
    #[serde(deserialize_with = "duration")]
    pub max_connection_age: Duration,
    /// Longest TLS handshake, and longest wait for what follows it.
    #[serde(deserialize_with = "duration")]
    pub handshake_timeout: Duration,
    /// Longest wait for the first call on a connection.
    #[serde(deserialize_with = "duration")]
    pub first_call_timeout: Duration,
    /// Time between HTTP/2 pings on an idle connection.
    #[serde(deserialize_with = "duration")]
    pub keepalive_interval: Duration,
    /// Longest wait for the answer to a ping.
    #[serde(deserialize_with = "duration")]
    pub keepalive_timeout: Duration,
}

/// Where data is kept.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Store {
    /// Connection URL; a secret, since it may hold a password.
    pub url: Secret,
    /// A file with the URL; wins over `url`.
    #[serde(deserialize_with = "optional_path")]
    pub url_file: Option<PathBuf>,
    /// Size of the pool.
    pub max_connections: u32,
    /// Longest wait for a connection of the pool.
    #[serde(deserialize_with = "duration")]
    pub acquire_timeout: Duration,
}

/// Keys that seal bind passwords.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Keyring {
    /// The file with the keys.
    #[serde(deserialize_with = "optional_path")]
    pub key_file: Option<PathBuf>,
    /// The keys themselves.
    pub key: Secret,
}

/// Which addresses directories may have, besides public ones.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Egress {
    /// Networks that are allowed although they are not public.
    #[serde(deserialize_with = "networks")]
    pub allow_cidrs: Vec<IpNet>,
    /// The only ports that may be dialled.
    pub allow_ports: Vec<u16>,
    /// Addresses that our connections come from.
    pub addresses: Vec<IpAddr>,
}

/// Logs, traces and metrics.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Telemetry {
    /// Form of a log line.
    pub format: LogFormat,
    /// Tracing directives.
    pub filter: String,
    /// Where spans are sent by OTLP over gRPC; empty for nowhere.
    pub otlp_endpoint: String,
    /// Of a hundred traces that begin here, how many are sent.
    pub trace_percent: u32,
    /// Whether a metric names tenants.
    pub metrics_by_tenant: bool,
}

/// Form of a log line.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum LogFormat {
    /// For people.
    Pretty,
    /// For machines.
    Json,
}

/// The health listener and the probe of the store.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Health {
    /// Address of the plaintext listener, if there is to be one.
    #[serde(deserialize_with = "optional_address")]
    pub listen: Option<SocketAddr>,
    /// Time between two probes.
    #[serde(deserialize_with = "duration")]
    pub interval: Duration,
    /// Longest probe.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// How a service stops.
#[derive(Deserialize, Clone, Copy)]
#[serde(deny_unknown_fields)]
pub struct Drain {
    /// Time between NOT_SERVING and the end of accepting.
    #[serde(deserialize_with = "duration")]
    pub delay: Duration,
    /// Time for calls under way.
    #[serde(deserialize_with = "duration")]
    pub timeout: Duration,
}

/// Rules for users that hold for the whole deployment.
#[derive(Deserialize, Clone)]
#[serde(deny_unknown_fields)]
pub struct Users {
    /// Characters of a login besides letters and digits.
    pub login_characters: String,
    /// Where logins and e-mails are unique.
    pub identifier_uniqueness: IdentifierUniqueness,
}

/// Where logins and e-mails are unique.
#[derive(Deserialize, Clone, Copy, PartialEq, Eq, Debug)]
#[serde(rename_all = "lowercase")]
pub enum IdentifierUniqueness {
    /// Within one tenant.
    Tenant,
    /// Within the deployment.
    Global,
}

impl Store {
    /// The URL, from its file if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn url(&self) -> Result<Secret, SecretFileError> {
        self.url.resolve(self.url_file.as_deref())
    }
}

impl Keyring {
    /// The text of the keyring, from its file if there is one.
    ///
    /// # Errors
    /// The file cannot be read.
    pub fn text(&self) -> Result<Secret, SecretFileError> {
        self.key.resolve(self.key_file.as_deref())
    }
}

impl Shared {
    pub(super) fn validate(&self, mistakes: &mut Mistakes) {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        self.server.validate(!self.callers.is_empty(), mistakes);
        validate_callers(self, mistakes);
        if self.store.url_file.is_none() && !has_store_scheme(self.store.url.expose()) {
            mistakes.add("store.url", "must begin with sqlite: or postgres:");
        }
        mistakes.range("store.max_connections", self.store.max_connections, 1..=1_000);
        mistakes.range(
            "store.acquire_timeout",
            self.store.acquire_timeout,
            ms(10)..=s(60),
        );
        if self.egress.allow_ports.is_empty() || self.egress.allow_ports.contains(&0) {
            mistakes.add("egress.allow_ports", "must hold at least one port, and not 0");
        }
        if let Err(error) = self.telemetry.directives() {
            mistakes.add("telemetry.filter", error);
        }
        let endpoint = &self.telemetry.otlp_endpoint;
        let is_url = ["http://", "https://"]
            .iter()
            .any(|scheme| endpoint.starts_with(scheme))
            && endpoint
                .parse::<http::Uri>()
                .is_ok_and(|uri| uri.authority().is_some());
        if !endpoint.is_empty() && !is_url {
            mistakes.add(
                "telemetry.otlp_endpoint",
                "must be a URL such as http://collector:4317",
            );
        }
        mistakes.range("telemetry.trace_percent", self.telemetry.trace_percent, 0..=100);
        mistakes.range("health.interval", self.health.interval, ms(100)..=s(60));
        mistakes.range("health.timeout", self.health.timeout, ms(100)..=s(60));
        if self
            .health
            .listen
            .is_some_and(|listen| listen == self.server.listen && listen.port() != 0)
        {
            mistakes.add("health.listen", "must differ from server.listen");
        }
        mistakes.range("drain.delay", self.drain.delay, ms(0)..=s(300));
        mistakes.range("drain.timeout", self.drain.timeout, ms(100)..=s(600));
        if self
            .users
            .login_characters
            .chars()
            .any(|c| c.is_whitespace() || c.is_control())
        {
            mistakes.add(
                "users.login_characters",
                "must not hold white space or control characters",
            );
        }
    }
}

impl Server {
    /// True if calls arrive through TLS.
    pub fn has_tls(&self) -> bool {
        self.tls_certificate_file.is_some()
    }

    fn validate(&self, has_callers: bool, mistakes: &mut Mistakes) {
        let ms = Duration::from_millis;
        let s = Duration::from_secs;
        if self.tls_certificate_file.is_some() != self.tls_key_file.is_some() {
            mistakes.add("server.tls_key_file", "certificate and key must be set together");
        }
        if self.client_ca_file.is_some() && self.tls_certificate_file.is_none() {
            mistakes.add(
                "server.client_ca_file",
                "client certificates need server.tls_certificate_file too",
            );
        }
        if !self.listen.ip().is_loopback() && !self.insecure {
            if !self.has_tls() {
                mistakes.add(
                    "server.listen",
                    "an address other than loopback needs server.tls_certificate_file (or --insecure)",
                );
            }
            if !has_callers {
                mistakes.add(
                    "server.listen",
                    "an address other than loopback needs callers (or --insecure)",
                );
            }
        }
        mistakes.range("server.default_timeout", self.default_timeout, s(1)..=s(3_600));
        mistakes.range("server.max_connections", self.max_connections, 1..=1_000_000);
        mistakes.range(
            "server.max_concurrent_streams",
            self.max_concurrent_streams,
            1..=100_000,
        );
        mistakes.range(
            "server.max_streams_per_caller",
            self.max_streams_per_caller,
            1..=100_000,
        );
        mistakes.range("server.reader_timeout", self.reader_timeout, ms(100)..=s(3_600));
        if !self.max_connection_age.is_zero() {
            mistakes.range(
                "server.max_connection_age",
                self.max_connection_age,
                s(1)..=s(7 * 86_400),
            );
        }
        mistakes.range(
            "server.handshake_timeout",
            self.handshake_timeout,
            ms(100)..=s(60),
        );
        mistakes.range(
            "server.first_call_timeout",
            self.first_call_timeout,
            ms(100)..=s(3_600),
        );
        mistakes.range(
            "server.keepalive_interval",
            self.keepalive_interval,
            s(1)..=s(3_600),
        );
        mistakes.range(
            "server.keepalive_timeout",
            self.keepalive_timeout,
            s(1)..=s(3_600),
        );
    }
}

fn validate_callers(shared: &Shared, mistakes: &mut Mistakes) {
    let callers = &shared.callers;
    for (index, caller) in callers.iter().enumerate() {
        let others = &callers[..index];
        let mut wrong =
            |key: &str, problem: &str| mistakes.add(format!("callers[{}].{key}", index + 1), problem);
        if caller.name.is_empty() || caller.name.len() > 63 || caller.name.chars().any(char::is_control) {
            wrong("name", "must have 1 to 63 characters");
        } else if others.iter().any(|other| other.name == caller.name) {
            wrong("name", "is the name of another caller too");
        }
        if !caller.has_token() && caller.certificate_name.is_empty() {
            wrong(
                "token_sha256",
                "a caller needs token_sha256, tokens or certificate_name",
            );
        }
        if !caller.token_sha256.is_empty() {
            if parse_sha256(&caller.token_sha256).is_none() {
                wrong("token_sha256", "must be 64 hex digits");
            } else if others.iter().any(|other| other.has_hash(&caller.token_sha256)) {
                wrong("token_sha256", "is the token of another caller too");
            }
            if !caller.tokens.is_empty() {
                wrong("token_sha256", "belongs among tokens, when there are any");
            }
        }
        for (index, token) in caller.tokens.iter().enumerate() {
            let mut wrong =
                |key: &str, problem: &str| wrong(&format!("tokens[{}].{key}", index + 1), problem);
            let before = &caller.tokens[..index];
            if token.id.is_empty() || token.id.len() > 63 || token.id.chars().any(char::is_control) {
                wrong("id", "must have 1 to 63 characters");
            } else if before.iter().any(|other| other.id == token.id) {
                wrong("id", "is the id of another token of the caller too");
            }
            if parse_sha256(&token.sha256).is_none() {
                wrong("sha256", "must be 64 hex digits");
            } else if others.iter().any(|other| other.has_hash(&token.sha256)) {
                wrong("sha256", "is the token of another caller too");
            } else if before
                .iter()
                .any(|other| other.sha256.eq_ignore_ascii_case(&token.sha256))
            {
                wrong("sha256", "is another token of the caller too");
            }
            if !token.expire_time.is_empty() && parse_time(&token.expire_time).is_none() {
                wrong(
                    "expire_time",
                    "must be a time with its zone, such as 2027-01-31T00:00:00Z",
                );
            }
        }
        if !caller.certificate_name.is_empty() {
            if shared.server.client_ca_file.is_none() {
                wrong(
                    "certificate_name",
                    "client certificates need server.client_ca_file",
                );
            }
            if others
                .iter()
                .any(|other| other.certificate_name == caller.certificate_name)
            {
                wrong("certificate_name", "is the certificate of another caller too");
            }
        }
        if caller.permissions.is_empty() {
            wrong("permissions", "must not be empty");
        }
        let is_all = caller.tenants == ["*"];
        if !is_all
            && !caller
                .tenants
                .iter()
                .all(|tenant| rollcall_core::id::is_resource_id(tenant))
        {
            wrong("tenants", "must be tenant ids, or [\"*\"] alone");
        }
        if caller.tenants.is_empty() {
            wrong("tenants", "must not be empty");
        }
        if caller.burst > 0 && caller.requests_per_second == 0 {
            wrong("burst", "has no meaning without requests_per_second");
        }
    }
}

fn has_store_scheme(url: &str) -> bool {
    ["sqlite:", "postgres:", "postgresql:"]
        .iter()
        .any(|scheme| url.starts_with(scheme))
}
