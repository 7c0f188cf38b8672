//! Every host of a directory, stage by stage.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use chrono::{DateTime, Utc};
use rollcall_core::check::{CheckPart, CheckReport, StageKind};
use rollcall_core::directory::{DirectorySettings, HostUrl};
use rollcall_core::security_review::CERTIFICATE_NOTICE;
use rollcall_core::wording::counted;
use tokio::net::TcpStream;
use tokio::sync::Semaphore;
use tokio::time::Instant;

use super::advice::explain;
use super::describe;
use super::lockout::{self, Lockout};
use super::privilege::{self, Privilege};
use super::stages::Stages;
use crate::config::DirectoryConfig;
use crate::connection::Connection;
use crate::dial;
use crate::endpoint::{Endpoint, Stream};
use crate::error::{DialFailure, LdapError};
use crate::lookup::find;
use crate::own_account;
use crate::protocol_violation::{ProtocolViolation, Spoken};
use crate::result_code::{ResultClass, ResultCode};
use crate::root_dse::{self, RootDse};
use crate::service_account::ServiceAccount;
use crate::tls::TlsFacts;
use crate::wire_guard::Limits;
use crate::wire_guard::large_message_permit::LargeMessagePermit;

/// What is said about plain text.
const UNPROTECTED: (&str, &str) = (
    "The connection is not protected: passwords travel readable.",
    "Set transport security to LDAPS or START_TLS.",
);

/// What is said of a host at which the bind account was not tried.
const REFUSED_ELSEWHERE: &str = "The bind account was refused at another host. Its password was not sent to this one, since each \
                                 refusal may count towards the account's lockout.";

/// What a check of a directory's connection found.
#[derive(Clone, Debug)]
pub struct ConnectionCheck {
    /// The stages: the settings, then host by host.
    pub report: CheckReport,
    /// What was learnt about each host, in the order of the settings.
    pub hosts: Vec<HostCheck>,
    /// The directory's own lockout, if it can be read.
    pub lockout: Option<Lockout>,
    /// What the service account may do, if a host got that far.
    pub privilege: Option<Privilege>,
    /// When the service account's password expires, if the directory tells.
    pub bind_password_expire_time: Option<DateTime<Utc>>,
}

/// What a check learnt about one host.
#[derive(Clone, Debug)]
pub struct HostCheck {
    /// The host as in the settings.
    pub host: HostUrl,
    /// The TLS connection, if one came about.
    pub tls: Option<TlsFacts>,
    /// Whether the host took the bind password; `None` if it was not asked, or did not say.
    pub password_accepted: Option<bool>,
    /// What the server says about itself, if the service account got that far.
    pub root_dse: Option<RootDse>,
}

impl ConnectionCheck {
    /// Reads what all hosts share, lockout and privilege, from the first host that answers.
    async fn look_closer(
        &mut self,
        mut connection: Connection,
        root: &RootDse,
        settings: &DirectorySettings,
        stages: &mut Stages,
        deadline: Instant,
    ) {
        self.lockout = lockout::read(&mut connection, root, deadline).await;
        describe::lockout(self.lockout, root.dialect, stages);
        // What cannot be read is left out of the report.
        let name = own_account::dn(&mut connection, root, &settings.bind_dn, deadline).await;
        if let Ok(Some(name)) = name {
            let expiry = own_account::password_expiry(&mut connection, root.dialect, &name, deadline).await;
            self.bind_password_expire_time = expiry.unwrap_or_default();
        }
        match privilege::read(&mut connection, root, &settings.bind_dn, deadline).await {
            Ok(privilege) => {
                describe::privilege(&privilege, stages);
                self.privilege = Some(privilege);
            }
            Err(error) => {
                let (message, hint) = explain(&error);
                stages.warn(
                    StageKind::Privilege,
                    format!("The rights could not be read: {message}"),
                    hint,
                );
            }
        }
    }

    /// When the first of the hosts' own certificates ends.
    pub fn certificate_end(&self) -> Option<DateTime<Utc>> {
        let chains = self.hosts.iter().filter_map(|host| host.tls.as_ref());
        chains
            .filter_map(|tls| tls.chain.first())
            .map(|leaf| leaf.not_after)
            .min()
    }

    /// Whether any of the hosts took the bind password; `None` if none said so or the contrary.
    pub fn password_accepted(&self) -> Option<bool> {
        self.hosts.iter().filter_map(|host| host.password_accepted).max()
    }

    /// The root DSE of the first host that showed one.
    pub fn root_dse(&self) -> Option<&RootDse> {
        self.hosts.iter().find_map(|host| host.root_dse.as_ref())
    }
}

/// Tries each host of a stored or drafted directory, all at once, and ends within `limit`.
pub async fn check_connection(
    config: &DirectoryConfig,
    now: DateTime<Utc>,
    limit: Duration,
) -> ConnectionCheck {
    let deadline = Instant::now() + limit;
    let mut parse = Stages::about("");
    let mistakes = config.settings.validate();
    let usable = Endpoint::new(config);
    if !mistakes.is_empty() {
        let text: Vec<String> = mistakes
            .iter()
            .map(|mistake| format!("{} {}", mistake.field, mistake.description))
            .collect();
        parse.fail(StageKind::Parse, text.join("; "), "Correct these settings.");
    } else if let Err(error) = &usable {
        let (message, hint) = explain(error);
        parse.fail(StageKind::Parse, message, hint);
    } else {
        parse.pass(StageKind::Parse, "The settings are well formed.");
        describe::client_certificate(&config.settings, now, &mut parse);
    }
    let ready = mistakes.is_empty() && usable.is_ok();
    let account = Arc::new(ServiceAccount::of(config));
    let checks = config
        .settings
        .hosts
        .iter()
        .map(|host| check_host(config, &account, host, ready, now, deadline));
    let mut stages = parse.into_stages();
    let mut hosts = Vec::new();
    let mut open = None;
    for (host_stages, host, connection) in futures::future::join_all(checks).await {
        stages.extend(host_stages.into_stages());
        if let (None, Some(connection), Some(root)) = (&open, connection, &host.root_dse) {
            open = Some((connection, root.clone(), host.host.to_string()));
        }
        hosts.push(host);
    }
    let mut check = ConnectionCheck {
        report: CheckReport { stages },
        hosts,
        lockout: None,
        privilege: None,
        bind_password_expire_time: None,
    };
    if let Some((connection, root, host)) = open {
        let mut stages = Stages::about(host);
        check
            .look_closer(connection, &root, &config.settings, &mut stages, deadline)
            .await;
        check.report.stages.extend(stages.into_stages());
    }
    check
}

async fn check_host(
    config: &DirectoryConfig,
    account: &Arc<ServiceAccount>,
    host: &HostUrl,
    ready: bool,
    now: DateTime<Utc>,
    deadline: Instant,
) -> (Stages, HostCheck, Option<Connection>) {
    let mut open = None;
    let mut stages = Stages::about(host.to_string());
    let mut found = HostCheck {
        host: host.clone(),
        tls: None,
        password_accepted: None,
        root_dse: None,
    };
    // An endpoint for this host alone, so that the certificate verifier has seen only this host's certificates.
    if ready && let Ok(endpoint) = Endpoint::new(config) {
        let check = HostStages {
            config,
            account,
            endpoint,
            host,
            now,
            deadline,
        };
        if let Some(tcp) = check.connect(&mut stages).await
            && let Some(stream) = check.secure(tcp, &mut stages, &mut found).await
        {
            open = check.speak(stream, &mut stages, &mut found).await;
        }
    }
    stages.skip_rest(CheckPart::Host);
    if open.is_none() {
        stages.skip_rest(CheckPart::ServiceAccount);
    }
    (stages, found, open)
}

struct HostStages<'a> {
    config: &'a DirectoryConfig,
    account: &'a Arc<ServiceAccount>,
    endpoint: Endpoint,
    host: &'a HostUrl,
    now: DateTime<Utc>,
    deadline: Instant,
}

impl HostStages<'_> {
    async fn connect(&self, stages: &mut Stages) -> Option<TcpStream> {
        let fail = |stages: &mut Stages, kind, error: &LdapError| {
            let (message, hint) = explain(error);
            stages.fail(kind, message, hint);
        };
        if !self.endpoint.port_is_allowed(self.host) {
            fail(stages, StageKind::EgressPolicy, &LdapError::EgressDenied);
            return None;
        }
        let deadline = self.deadline.min(Instant::now() + self.endpoint.connect_timeout);
        let is_address = self.host.host.parse::<IpAddr>().is_ok();
        let addresses = match self.endpoint.resolve(self.host, deadline).await {
            Ok(addresses) => addresses,
            Err(error @ LdapError::EgressDenied) if is_address => {
                fail(stages, StageKind::EgressPolicy, &error);
                return None;
            }
            // A name that resolves to a refused address fails like a name that does not exist.
            Err(_) => {
                stages.pass(StageKind::EgressPolicy, "The port is allowed.");
                fail(
                    stages,
                    StageKind::Dns,
                    &LdapError::Unreachable(DialFailure::NameNotFound),
                );
                return None;
            }
        };
        stages.pass(StageKind::EgressPolicy, "The address and port are allowed.");
        match is_address {
            true => stages.pass(
                StageKind::Dns,
                "The host is an address; there is nothing to resolve.",
            ),
            false => {
                let message = match addresses.len() {
                    1 => "The name resolves to one address.".to_owned(),
                    count => format!("The name resolves to {count} addresses."),
                };
                stages.pass(StageKind::Dns, message);
            }
        }
        match dial::connect(&addresses, deadline).await {
            Ok(tcp) => {
                stages.pass(StageKind::Tcp, "Connected.");
                Some(tcp)
            }
            Err(error) => {
                fail(stages, StageKind::Tcp, &error);
                None
            }
        }
    }

    async fn secure(&self, tcp: TcpStream, stages: &mut Stages, found: &mut HostCheck) -> Option<Stream> {
        let deadline = self.deadline.min(Instant::now() + self.endpoint.connect_timeout);
        let stream = match self.endpoint.secure(tcp, self.host, deadline).await {
            Ok(stream) => stream,
            Err(error) => {
                let (message, hint) = explain(&error);
                let wants_tls = error == LdapError::Protocol(ProtocolViolation::NotLdap(Spoken::Tls));
                let Some(tls) = self.endpoint.tls.as_ref().filter(|_| !wants_tls) else {
                    // In plain text, only a wrong port can go wrong between the connection and the bind.
                    let kind = if wants_tls {
                        StageKind::Tls
                    } else {
                        StageKind::Bind
                    };
                    if kind == StageKind::Bind {
                        stages.warn(StageKind::Tls, UNPROTECTED.0, UNPROTECTED.1);
                    }
                    stages.fail(kind, message, hint);
                    return None;
                };
                let message = describe::with_certificate(message, tls.seen_chain().first());
                stages.fail(StageKind::Tls, message, hint);
                return None;
            }
        };
        match &stream {
            Stream::Plain(_) => stages.warn(StageKind::Tls, UNPROTECTED.0, UNPROTECTED.1),
            Stream::Tls(tls) => {
                let facts = TlsFacts::of(tls);
                let leaf = facts.chain.first();
                let message =
                    describe::with_certificate(format!("{} with {}.", facts.version, facts.cipher), leaf);
                match leaf.map(|leaf| leaf.not_after - self.now) {
                    Some(left) if left < CERTIFICATE_NOTICE => {
                        let days = counted(left.num_days().unsigned_abs(), "day", "days");
                        let hint = format!("The certificate ends in {days}: renew it, or nobody can log in.");
                        stages.warn(StageKind::Tls, message, hint);
                    }
                    _ => stages.pass(StageKind::Tls, message),
                }
                found.tls = Some(facts);
            }
        }
        Some(stream)
    }

    async fn speak(&self, stream: Stream, stages: &mut Stages, found: &mut HostCheck) -> Option<Connection> {
        let deadline = self
            .deadline
            .min(Instant::now() + self.config.settings.operation_timeout);
        let permit = LargeMessagePermit::of(Arc::new(Semaphore::new(1)));
        let opened = match self.config.connections.permit(deadline).await {
            Ok(connection_permit) => Connection::new(stream, Limits::SEARCH, permit, connection_permit).await,
            Err(error) => Err(error),
        };
        let connection = match opened {
            Ok(connection) => match self.account.bind(connection, true, deadline).await {
                Ok(bound) if bound.answer.code == ResultCode::SUCCESS => {
                    found.password_accepted = Some(true);
                    Ok(bound.connection)
                }
                Ok(bound) if bound.shared => {
                    let (_, hint) = explain(&LdapError::BindRefused(bound.answer.code));
                    stages.fail(StageKind::Bind, REFUSED_ELSEWHERE, hint);
                    return None;
                }
                Ok(bound) => {
                    if bound.answer.code.class() == ResultClass::Credentials {
                        found.password_accepted = Some(false);
                    }
                    Err(LdapError::BindRefused(bound.answer.code))
                }
                Err(error) => Err(self.endpoint.explain_loss(error.error)),
            },
            Err(error) => Err(error),
        };
        let mut connection = match connection {
            Ok(connection) => connection,
            Err(error) => {
                let (message, hint) = explain(&error);
                stages.fail(StageKind::Bind, message, hint);
                return None;
            }
        };
        stages.pass(StageKind::Bind, "The service account can bind.");
        let root = find(&mut connection, &root_dse::query(), deadline).await;
        let root = root.map(|found| found.entries.first().map(RootDse::from_entry));
        match root {
            Ok(Some(root)) => {
                describe::root_dse(&root, stages);
                found.root_dse = Some(root);
                return Some(connection);
            }
            Ok(None) => stages.warn(
                StageKind::RootDse,
                "The server shows nothing about itself.",
                "Let the bind account read the root DSE, or set the external id attribute.",
            ),
            Err(error) => {
                let (message, hint) = explain(&error);
                stages.fail(StageKind::RootDse, message, hint);
            }
        }
        None
    }
}
