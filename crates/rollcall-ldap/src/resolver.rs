//! From a host name to its addresses, without a thread.
//!
//! The system's own look-up blocks a thread of a shared pool until the name servers have answered or all attempts are
//! over, and cannot be stopped: one tenant with silent name servers would keep everybody's names waiting. Here a
//! look-up is a few sockets that close at the deadline, and callers that want the same name at the same moment share
//! it.
//!
//! It follows `/etc/hosts` and `/etc/resolv.conf` (search list, `ndots`, `timeout` and `attempts` included), even if
//! they change, and no other configuration of the system. Answers are not kept: a corrected record holds at once.

use std::net::{IpAddr, Ipv4Addr};
use std::sync::Arc;
use std::time::SystemTime;

use hickory_resolver::config::{ResolveHosts, ResolverConfig};
use hickory_resolver::lookup_ip::LookupIp;
use hickory_resolver::net::runtime::TokioRuntimeProvider;
use hickory_resolver::net::{DnsError, NetError};
use hickory_resolver::proto::op::{Query, ResponseCode};
use hickory_resolver::proto::rr::{Name, RecordType};
use hickory_resolver::system_conf::parse_resolv_conf;
use hickory_resolver::{Hosts, TokioResolver};
use parking_lot::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::error::DialFailure;

const RESOLV_CONF: &str = "/etc/resolv.conf";
const HOSTS: &str = "/etc/hosts";
/// Where a system without name servers has one, as libc sees it.
const OWN_NAME_SERVER: Ipv4Addr = Ipv4Addr::LOCALHOST;
const DNS_PORT: u16 = 53;
/// Questions under way on one TCP connection to a name server, which is used if an answer does not fit into a datagram.
const MAX_ON_ONE_CONNECTION: usize = 1024;

/// Resolves host names. Clones share their sockets.
#[derive(Clone)]
pub struct Resolver(Arc<Mutex<Cached>>);

struct Cached {
    /// When the system's files were written; `None` for a resolver that does not follow them.
    written: Option<Written>,
    names: Arc<Names>,
}

type Written = [Option<SystemTime>; 2];

struct Names {
    hosts: Hosts,
    /// `None` if no name server is known.
    dns: Option<TokioResolver>,
}

impl Resolver {
    /// A resolver that follows this system's files, even if they change.
    pub fn system() -> Self {
        let written = written();
        Self(Arc::new(Mutex::new(Cached {
            written: Some(written),
            names: Arc::new(Names::of_system()),
        })))
    }

    /// A resolver for files of these contents, with name servers on this port.
    ///
    /// # Errors
    /// Contents that cannot be understood.
    pub fn new(resolv_conf: &str, hosts: &str, port: u16) -> Result<Self, NetError> {
        Ok(Self(Arc::new(Mutex::new(Cached {
            written: None,
            names: Arc::new(Names::new(resolv_conf, hosts, port)?),
        }))))
    }

    /// The addresses of a name in ASCII; at least one.
    pub(crate) async fn resolve(&self, name: &str, deadline: Instant) -> Result<Vec<IpAddr>, DialFailure> {
        let name = Name::from_ascii(name).map_err(|_| DialFailure::NameNotFound)?;
        let names = self.current();
        let listed = names.listed(&name);
        if !listed.is_empty() {
            return Ok(listed);
        }
        let dns = names.dns.as_ref().ok_or(DialFailure::NameServers)?;
        let found = match timeout_at(deadline, dns.lookup_ip(name)).await {
            Ok(found) => found.map_err(|error| classify(&error))?,
            Err(_) => return Err(DialFailure::ResolveTimeout),
        };
        let addresses: Vec<IpAddr> = found.iter().collect();
        match addresses.is_empty() {
            true => Err(DialFailure::NameNotFound),
            false => Ok(addresses),
        }
    }

    fn current(&self) -> Arc<Names> {
        let mut cached = self.0.lock();
        if let Some(before) = cached.written {
            let now = written();
            if now != before {
                cached.written = Some(now);
                cached.names = Arc::new(Names::of_system());
            }
        }
        Arc::clone(&cached.names)
    }
}

impl Names {
    fn of_system() -> Self {
        let read = |path| std::fs::read_to_string(path).unwrap_or_default();
        let (resolv_conf, hosts) = (read(RESOLV_CONF), read(HOSTS));
        Self::new(&resolv_conf, &hosts, DNS_PORT).unwrap_or_else(|error| {
            tracing::warn!(%error, "{RESOLV_CONF} cannot be used: no host name can be resolved");
            let hosts = read_hosts(&hosts);
            Self { hosts, dns: None }
        })
    }

    fn new(resolv_conf: &str, hosts: &str, port: u16) -> Result<Self, NetError> {
        let names_a_server = |line: &str| line.trim_start().starts_with("nameserver");
        let text = match resolv_conf.lines().any(names_a_server) {
            true => resolv_conf.to_owned(),
            false => format!("{resolv_conf}\nnameserver {OWN_NAME_SERVER}\n"),
        };
        let (config, mut options) = parse_resolv_conf(text)?;
        options.cache_size = 0;
        options.max_active_requests = MAX_ON_ONE_CONNECTION;
        // The hosts file is asked here, before any name server and whatever the search list is.
        options.use_hosts_file = ResolveHosts::Never;
        let servers = config.name_servers().iter().cloned().map(|mut server| {
            for connection in &mut server.connections {
                connection.port = port;
            }
            server
        });
        let config = ResolverConfig::from_parts(
            config.domain().cloned(),
            config.search().to_vec(),
            servers.collect(),
        );
        let dns = TokioResolver::builder_with_config(config, TokioRuntimeProvider::default());
        Ok(Self {
            hosts: read_hosts(hosts),
            dns: Some(dns.with_options(options).build()?),
        })
    }

    /// The addresses in the hosts file.
    fn listed(&self, name: &Name) -> Vec<IpAddr> {
        let of = |kind| self.hosts.lookup_static_host(&Query::query(name.clone(), kind));
        let lookups = [RecordType::A, RecordType::AAAA].into_iter().filter_map(of);
        lookups
            .flat_map(|lookup| LookupIp::from(lookup).iter().collect::<Vec<_>>())
            .collect()
    }
}

fn read_hosts(text: &str) -> Hosts {
    let mut hosts = Hosts::default();
    // Reading from memory does not fail, and a line that makes no sense is passed over.
    let _ = hosts.read_hosts_conf(text.as_bytes());
    hosts
}

fn written() -> Written {
    [RESOLV_CONF, HOSTS].map(|path| std::fs::metadata(path).and_then(|file| file.modified()).ok())
}

#[expect(
    clippy::wildcard_enum_match_arm,
    reason = "of the resolver, which adds causes"
)]
fn classify(error: &NetError) -> DialFailure {
    match error {
        NetError::Timeout => DialFailure::ResolveTimeout,
        NetError::Dns(DnsError::NoRecordsFound(none))
            if matches!(none.response_code, ResponseCode::NXDomain | ResponseCode::NoError) =>
        {
            DialFailure::NameNotFound
        }
        _ => DialFailure::NameServers,
    }
}
