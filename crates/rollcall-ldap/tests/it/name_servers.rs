//! Host names, by a name server that says what a test tells it to, or nothing at all.

use std::collections::HashMap;
use std::net::{Ipv4Addr, UdpSocket};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use hickory_resolver::proto::op::{Message, ResponseCode};
use hickory_resolver::proto::rr::{RData, Record, RecordType};
use rollcall_core::directory::DirectorySettings;
use rollcall_ldap::{DialFailure, LdapDirectory, LdapError, Resolver, check_connection};
use rollcall_testkit::Slapd;
use tokio::time::Instant;

use crate::setup::*;

/// How Kubernetes writes it.
const POD: &str = "search rollcall.svc.cluster.local svc.cluster.local cluster.local\n\
    nameserver 127.0.0.1\noptions ndots:5\n";

/// What it says about a name; of others, that they do not exist.
#[derive(Clone, Copy)]
enum Says {
    Loopback,
    Failed,
    Nothing,
}

struct NameServer {
    port: u16,
    names: Arc<Mutex<HashMap<String, Says>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl NameServer {
    fn start(names: &[(&str, Says)]) -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let names = names.iter().map(|(name, says)| ((*name).to_owned(), *says));
        let server = Self {
            port: socket.local_addr().unwrap().port(),
            names: Arc::new(Mutex::new(names.collect())),
            asked: Arc::default(),
        };
        let (names, asked) = (server.names.clone(), server.asked.clone());
        std::thread::spawn(move || {
            let mut bytes = [0; 1024];
            while let Ok((length, peer)) = socket.recv_from(&mut bytes) {
                let Ok(question) = Message::from_vec(&bytes[..length]) else {
                    continue;
                };
                let query = question.queries[0].clone();
                let name = query.name().to_ascii().trim_end_matches('.').to_owned();
                asked.lock().unwrap().push(name.clone());
                let mut answer = question.into_response();
                match names.lock().unwrap().get(&name) {
                    Some(Says::Nothing) => continue,
                    Some(Says::Failed) => answer.metadata.response_code = ResponseCode::ServFail,
                    Some(Says::Loopback) if query.query_type() == RecordType::A => {
                        let data = RData::A(Ipv4Addr::LOCALHOST.into());
                        answer.add_answer(Record::from_rdata(query.name().clone(), 3600, data));
                    }
                    Some(Says::Loopback) => {}
                    None => answer.metadata.response_code = ResponseCode::NXDomain,
                }
                socket.send_to(&answer.to_vec().unwrap(), peer).unwrap();
            }
        });
        server
    }

    fn say(&self, name: &str, says: Says) {
        self.names.lock().unwrap().insert(name.to_owned(), says);
    }

    fn asked(&self) -> Vec<String> {
        self.asked.lock().unwrap().clone()
    }

    fn resolver(&self, resolv_conf: &str, hosts: &str) -> Resolver {
        Resolver::new(resolv_conf, hosts, self.port).unwrap()
    }
}

/// The directory on this slapd under another name.
fn named(name: &str, slapd: &Slapd) -> DirectorySettings {
    let port = slapd.address().port();
    DirectorySettings {
        bind_dn: slapd.service_dn(),
        ..settings(&[format!("ldap://{name}:{port}")])
    }
}

fn with(settings: DirectorySettings, slapd: &Slapd, resolver: &Resolver) -> LdapDirectory {
    let mut config = config(settings, slapd.service_password());
    config.resolver = resolver.clone();
    LdapDirectory::new(config).unwrap()
}

async fn fails(directory: &LdapDirectory) -> LdapError {
    directory.root_dse(in_seconds(20)).await.unwrap_err()
}

#[tokio::test]
async fn names_resolve_as_in_a_pod() {
    let slapd = Slapd::builder().start().unwrap();
    let server = NameServer::start(&[
        ("dc1.acme.example", Says::Loopback),
        ("directory.rollcall.svc.cluster.local", Says::Loopback),
        ("directory.tools.svc.cluster.local", Says::Loopback),
    ]);
    let hosts = "127.0.0.1 localhost\n127.0.0.1 dc2.acme.example # a host alias\n";
    let resolver = server.resolver(POD, hosts);
    for name in [
        "dc1.acme.example",
        "dc1.acme.example.",
        "DC1.Acme.Example",
        "directory",
        "directory.tools",
        "directory.tools.svc",
    ] {
        let directory = with(named(name, &slapd), &slapd, &resolver);
        directory
            .root_dse(in_seconds(20))
            .await
            .unwrap_or_else(|error| panic!("{name}: {error}"));
    }
    let before = server.asked().len();
    for name in ["dc2.acme.example", "localhost"] {
        let listed = with(named(name, &slapd), &slapd, &resolver);
        listed.root_dse(in_seconds(20)).await.unwrap();
    }
    assert_eq!(server.asked().len(), before, "a listed host was asked for");
    // Without a search list, and a name with a dot is not completed.
    let plain = server.resolver("nameserver 127.0.0.1\n", "");
    let directory = with(named("dc1.acme.example", &slapd), &slapd, &plain);
    directory.root_dse(in_seconds(20)).await.unwrap();
    let asked = server.asked();
    assert!(asked[before..].iter().all(|name| name == "dc1.acme.example"));
}

#[tokio::test]
async fn what_the_name_servers_say_or_do_not_say_is_told() {
    let slapd = Slapd::builder().start().unwrap();
    let server = NameServer::start(&[
        ("silent.example", Says::Nothing),
        ("broken.example", Says::Failed),
    ]);
    let resolver = server.resolver("nameserver 127.0.0.1\n", "");
    for (name, failure) in [
        ("silent.example", DialFailure::ResolveTimeout),
        ("broken.example", DialFailure::NameServers),
        ("unknown.example", DialFailure::NameNotFound),
    ] {
        let mut settings = named(name, &slapd);
        settings.connect_timeout = Duration::from_millis(500);
        let directory = with(settings, &slapd, &resolver);
        assert_eq!(fails(&directory).await, LdapError::Unreachable(failure), "{name}");
        // What is mended holds at once.
        server.say(name, Says::Loopback);
        directory.root_dse(in_seconds(20)).await.unwrap();
    }
}

/// One thread for everything that blocks: who needs one for names would take it from the others.
#[test]
fn silent_name_servers_of_some_keep_nobody_else_waiting() {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .max_blocking_threads(1)
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(others_go_on());
}

async fn others_go_on() {
    const SILENT: usize = 50;
    let slapd = Slapd::builder().start().unwrap();
    let server = NameServer::start(&[("dc1.acme.example", Says::Loopback)]);
    let resolver = server.resolver(POD, "");
    let mut waiting = tokio::task::JoinSet::new();
    for number in 0..SILENT {
        let name = format!("dc{number}.silent.example");
        server.say(&name, Says::Nothing);
        let mut settings = named(&name, &slapd);
        settings.connect_timeout = Duration::from_secs(300);
        let directory = with(settings, &slapd, &resolver);
        for _ in 0..8 {
            let directory = directory.clone();
            waiting.spawn(async move { directory.root_dse(in_seconds(300)).await });
        }
    }
    let all_ask = async || {
        let asked = server.asked();
        let silent = |number| format!("dc{number}.silent.example");
        (0..SILENT).all(|number| asked.contains(&silent(number)))
    };
    rollcall_testkit::wait_for("all wait", Duration::from_secs(20), all_ask)
        .await
        .unwrap();
    // Connections, logins and checks of another, each with a look-up of its own.
    for _ in 0..20 {
        let before = Instant::now();
        let acme = with(named("dc1.acme.example", &slapd), &slapd, &resolver);
        acme.root_dse(in_seconds(20)).await.unwrap();
        let password = password(slapd.service_password());
        let service = slapd.service_dn();
        bind(&acme, service.as_str(), &password, in_seconds(20))
            .await
            .unwrap();
        assert!(
            before.elapsed() < Duration::from_secs(2),
            "{:?}",
            before.elapsed()
        );
    }
    let mut drafted = config(named("dc1.acme.example", &slapd), slapd.service_password());
    drafted.resolver = resolver.clone();
    let now = chrono::DateTime::UNIX_EPOCH;
    let check = check_connection(&drafted, now, Duration::from_secs(10)).await;
    assert!(check.root_dse().is_some(), "{:?}", check.report);
    // Who wants the same name shares the question.
    let asked = server.asked();
    let repeated = asked.iter().filter(|name| *name == "dc7.silent.example").count();
    assert!((2..=16).contains(&repeated), "asked {repeated} times");
}
