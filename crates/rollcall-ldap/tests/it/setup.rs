//! What every test needs: settings for a server on loopback, and a directory made of them.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rollcall_core::directory::{DirectorySettings, HostUrl, TransportSecurity};
use rollcall_core::entry::Entry;
use rollcall_core::secret::Password;
use rollcall_core::user_sync::SearchScope;
use rollcall_ldap::{
    BindAnswer, BindAs, BindError, ConnectionLimit, DirectoryConfig, EgressPolicy, LdapDirectory, PoolLimits,
    Pulled, ReadRequest, Resolver, SearchBudget, SearchOutcome, SearchRequest,
};
use rollcall_testkit::{Operation, Peer, Request, ScriptedLdap, Slapd, ber};
use tokio::time::Instant;

pub(crate) const SERVICE_DN: &str = "cn=service";

pub(crate) fn settings(urls: &[String]) -> DirectorySettings {
    let hosts: Vec<_> = urls.iter().map(|url| HostUrl::parse(url).unwrap()).collect();
    let ldaps = urls[0].starts_with("ldaps");
    DirectorySettings {
        display_name: "Test".into(),
        transport_security: if ldaps {
            TransportSecurity::Ldaps
        } else {
            TransportSecurity::Plaintext
        },
        allow_plaintext: true,
        bind_dn: SERVICE_DN.into(),
        connect_timeout: Duration::from_secs(5),
        ..DirectorySettings::with_defaults(hosts)
    }
}

pub(crate) fn password(text: &str) -> Password {
    Password::new(text.to_owned()).unwrap()
}

/// The policy of a test: loopback, on any port that a test server has.
pub(crate) fn loopback(ports: &[u16]) -> Arc<EgressPolicy> {
    Arc::new(EgressPolicy::new(
        vec!["127.0.0.0/8".parse().unwrap(), "::1/128".parse().unwrap()],
        ports.to_vec(),
    ))
}

pub(crate) fn config(settings: DirectorySettings, bind_password: &str) -> DirectoryConfig {
    let ports: Vec<u16> = settings
        .hosts
        .iter()
        .map(|host| host.effective_port(settings.port))
        .collect();
    DirectoryConfig {
        settings,
        bind_password: Arc::new(password(bind_password)),
        password_keeper: None,
        client_key: None,
        egress: loopback(&ports),
        resolver: Resolver::system(),
        limits: PoolLimits::default(),
        connections: ConnectionLimit::new(100),
        dialect: None,
    }
}

pub(crate) fn directory(settings: DirectorySettings, bind_password: &str) -> LdapDirectory {
    LdapDirectory::new(config(settings, bind_password)).unwrap()
}

/// A directory on this slapd, without TLS.
pub(crate) fn on_slapd(slapd: &Slapd) -> LdapDirectory {
    directory(slapd_settings(slapd), slapd.service_password())
}

pub(crate) fn slapd_settings(slapd: &Slapd) -> DirectorySettings {
    DirectorySettings {
        bind_dn: slapd.service_dn(),
        ..settings(&[slapd.url()])
    }
}

/// A directory on a scripted server, without TLS.
pub(crate) fn on_script(address: SocketAddr) -> LdapDirectory {
    directory(settings(&[format!("ldap://{address}")]), "service password")
}

/// Checks a password as a login does, whatever becomes of the read that goes with it.
pub(crate) async fn bind<'a>(
    directory: &LdapDirectory,
    who: impl Into<BindAs<'a>>,
    password: &Password,
    deadline: Instant,
) -> Result<BindAnswer, BindError> {
    let who = who.into();
    let request = read(who.name, &["1.1"]);
    directory
        .verify_and_read(who, password, &request, deadline)
        .await
        .bind
}

/// A server where the service account finds nothing, and whose answers to everybody else's binds `script` gives. It gets the
/// first request of their connection.
pub(crate) async fn logins<S, F>(script: S) -> ScriptedLdap
where
    S: Fn(Peer, Request) -> F + Send + Sync + 'static,
    F: Future<Output = anyhow::Result<()>> + Send + 'static,
{
    let script = Arc::new(script);
    let serve = move |mut peer: Peer| {
        let script = Arc::clone(&script);
        async move {
            let first = next(&mut peer).await?;
            if !matches!(&first.operation, Operation::Bind { dn, .. } if dn == SERVICE_DN) {
                return script(peer, first).await;
            }
            peer.send(&ber::bind_response(first.id, 0, "", "")).await?;
            loop {
                let search = next(&mut peer).await?;
                peer.send(&ber::search_done(search.id, 0, "")).await?;
            }
        }
    };
    ScriptedLdap::plain(serve).await.unwrap()
}

/// The names of the binds that a server received, without the service account's, in order.
pub(crate) fn bound(server: &ScriptedLdap) -> Vec<String> {
    let binds = server
        .received()
        .into_iter()
        .filter_map(|request| match request.operation {
            Operation::Bind { dn, .. } => Some(dn),
            _ => None,
        });
    binds.filter(|dn| dn != SERVICE_DN).collect()
}

/// True for each host that does not rest.
pub(crate) fn usable(directory: &LdapDirectory) -> Vec<bool> {
    directory.host_status().iter().map(|host| host.usable).collect()
}

pub(crate) fn in_seconds(seconds: u64) -> Instant {
    Instant::now() + Duration::from_secs(seconds)
}

pub(crate) fn everything(base_dn: &str, attributes: &[&str]) -> SearchRequest {
    SearchRequest {
        base_dn: base_dn.into(),
        scope: SearchScope::Subtree,
        filter: "(objectClass=*)".into(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
        budget: SearchBudget::default(),
    }
}

pub(crate) fn read(dn: &str, attributes: &[&str]) -> ReadRequest {
    ReadRequest {
        dn: dn.into(),
        filter: "(objectClass=*)".into(),
        attributes: attributes.iter().map(|name| (*name).to_owned()).collect(),
    }
}

/// Runs a search to its end; a restart empties the list, as it asks for.
pub(crate) async fn pull(directory: &LdapDirectory, request: SearchRequest) -> (Vec<Entry>, SearchOutcome) {
    let mut search = match directory.search(request).await {
        Ok(search) => search,
        Err(error) => return (Vec::new(), SearchOutcome::Failed { error }),
    };
    let mut entries = Vec::new();
    while let Some(pulled) = search.next().await {
        match pulled {
            Pulled::Entry(entry) => entries.push(entry),
            Pulled::Restarted => entries.clear(),
        }
    }
    (entries, search.finish())
}

/// Answers the service account's bind with success and returns the request that follows.
pub(crate) async fn after_bind(peer: &mut Peer) -> anyhow::Result<Request> {
    let bind = next(peer).await?;
    anyhow::ensure!(matches!(bind.operation, Operation::Bind { .. }), "no bind first");
    peer.send(&ber::bind_response(bind.id, 0, "", "")).await?;
    next(peer).await
}

pub(crate) async fn next(peer: &mut Peer) -> anyhow::Result<Request> {
    peer.receive()
        .await?
        .ok_or_else(|| anyhow::anyhow!("the client left"))
}

/// A server that answers the searches, after the bind, with what `answer` makes of them.
pub(crate) async fn pages(
    answer: impl Fn(&Request, usize) -> Vec<u8> + Send + Sync + Clone + 'static,
) -> ScriptedLdap {
    ScriptedLdap::plain(move |mut peer| {
        let answer = answer.clone();
        async move {
            let mut request = after_bind(&mut peer).await?;
            for number in 0.. {
                send_or_leave(&mut peer, &answer(&request, number)).await?;
                request = next(&mut peer).await?;
            }
            Ok(())
        }
    })
    .await
    .unwrap()
}

/// No bytes: the server closes the connection.
async fn send_or_leave(peer: &mut Peer, bytes: &[u8]) -> anyhow::Result<()> {
    anyhow::ensure!(!bytes.is_empty(), "leaving");
    peer.send(bytes).await
}

/// An entry with one attribute.
pub(crate) fn entry(id: i64, dn: &str) -> Vec<u8> {
    ber::search_entry(id, dn, &[("uid", &[b"x"])])
}
