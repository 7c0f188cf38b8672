//! What one hostile directory costs in memory, whatever it floods with. Each flood has a process of its own, since
//! memory has no owner.
//!
//! Measured is the highest resident memory that the kernel saw, above that after a few usual searches. The server
//! is in the same process, so its own buffers count, too; its messages are made before.

use std::process::Command;
use std::sync::Arc;
use std::time::Duration;

use rollcall_ldap::LdapDirectory;
use rollcall_testkit::{ScriptedLdap, ber};

use crate::setup::*;

/// What a hostile directory may cost over idle.
const LIMIT: usize = 64 << 20;
/// Which flood the child process is to stand.
const FLOOD: &str = "ROLLCALL_TEST_FLOOD";

/// What a server sends, to searches whose message ids are 2, once or again and again.
struct Flood {
    name: &'static str,
    message: fn() -> Vec<u8>,
    repeated: bool,
}

/// All but the last are let through until a budget, a deadline or the caller's pace stops them.
const FLOODS: [Flood; 10] = [
    Flood {
        name: "entries of 74,000 values",
        message: || {
            let values = ber::octets([b'x'; 60]).repeat(74_000);
            entry_with(&attribute("member", &values))
        },
        repeated: true,
    },
    Flood {
        name: "entries of one value of 8 MB",
        message: || entry_with(&attribute("jpegPhoto", &ber::octets(vec![0; 8_000_000]))),
        repeated: true,
    },
    Flood {
        name: "entries of 18,000 attributes",
        message: || {
            let attributes =
                (0..18_000).map(|number| attribute(&format!("attribute{number}"), &ber::octets("x")));
            entry_with(&attributes.collect::<Vec<_>>().concat())
        },
        repeated: true,
    },
    Flood {
        name: "small entries",
        message: || entry(2, "cn=x").repeat(1000),
        repeated: true,
    },
    Flood {
        name: "references",
        message: || ber::search_reference(2, &["ldap://elsewhere/dc=x"]).repeat(1000),
        repeated: true,
    },
    Flood {
        name: "intermediate answers",
        message: || ber::message(2, ber::element(0x79, &[0; 1000]), &[]).repeat(1000),
        repeated: true,
    },
    Flood {
        name: "unsolicited notifications",
        message: || {
            let result = [ber::result_parts(0, "", ""), ber::element(0x8a, b"1.2.3")].concat();
            ber::message(0, ber::element(0x78, &result), &[]).repeat(1000)
        },
        repeated: true,
    },
    Flood {
        name: "elements 100,000 deep",
        message: || {
            let mut deep = Vec::new();
            for _ in 0..100_000 {
                deep = ber::element(0xa5, &deep[..deep.len().min(30_000)]);
            }
            let result = [ber::result_parts(0, "", ""), deep].concat();
            ber::message(2, ber::element(0x65, &result), &[])
        },
        repeated: true,
    },
    Flood {
        name: "pages without entries and with large cookies",
        message: || ber::page_done(2, &[b'c'; 60_000]),
        repeated: false,
    },
    Flood {
        name: "a message that never ends",
        message: || {
            let mut message = vec![0x30, 0x83, 0x7f, 0, 0];
            message.resize(8_000_000, 0);
            message
        },
        repeated: false,
    },
];

fn attribute(name: &str, values: &[u8]) -> Vec<u8> {
    ber::sequence(&[ber::octets(name), ber::element(0x31, values)])
}

fn entry_with(attributes: &[u8]) -> Vec<u8> {
    let entry = [ber::octets("cn=x"), ber::element(0x30, attributes)].concat();
    ber::message(2, ber::element(0x64, &entry), &[])
}

/// Matrix cases 37, 40, 41, 42, 43, 47, 50.
#[test]
fn no_flood_costs_64_megabytes() {
    let itself = std::env::current_exe().unwrap();
    for flood in FLOODS {
        let child = Command::new(&itself)
            .args(["--exact", "memory::stands_a_flood", "--ignored", "--nocapture"])
            .env(FLOOD, flood.name)
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&child.stderr);
        assert!(
            child.status.success() && told.contains("MB"),
            "{}: {told}",
            flood.name
        );
    }
}

#[test]
#[ignore = "run by no_flood_costs_64_megabytes, in a process of its own"]
#[allow(clippy::disallowed_methods, reason = "the parent says which flood")]
fn stands_a_flood() {
    let name = std::env::var(FLOOD).unwrap();
    let flood = FLOODS.iter().find(|flood| flood.name == name).unwrap();
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .unwrap();
    let cost = runtime.block_on(cost(flood));
    eprintln!("{name}: {:.1} MB", cost as f64 / f64::from(1 << 20));
    assert!(cost < LIMIT, "{name}: {} MB", cost >> 20);
}

async fn cost(flood: &Flood) -> usize {
    let message = Arc::new((flood.message)());
    let repeated = flood.repeated;
    let server = ScriptedLdap::plain(move |mut peer| {
        let message = message.clone();
        async move {
            let search = after_bind(&mut peer).await?;
            if peer.number() == 0 {
                let usual = [entry(search.id, "cn=1"), ber::search_done(search.id, 0, "")];
                return peer.send(&usual.concat()).await;
            }
            peer.send(&message).await?;
            if repeated {
                loop {
                    peer.send(&message).await?;
                }
            }
            peer.closed().await
        }
    })
    .await
    .unwrap();
    let mut settings = settings(&[format!("ldap://{}", server.address())]);
    // The searches wait for one another, and a debug build decodes slowly.
    settings.operation_timeout = Duration::from_secs(if flood.name.contains("entries of") { 100 } else { 3 });
    let directory = directory(settings, "service password");
    read_one(&directory).await;
    let idle = resident("VmRSS:");
    let searches = (0..3).map(|_| {
        let directory = directory.clone();
        tokio::spawn(async move {
            let Ok(mut search) = directory.search(everything("dc=x", &["*"])).await else {
                return;
            };
            // Endless ones: as many as fill any buffer several times.
            let mut rounds = 0;
            while rounds < 3_000 && search.next().await.is_some() {
                rounds += 1;
            }
        })
    });
    let searches: Vec<_> = searches.collect();
    let end = in_seconds(6);
    for search in searches {
        let stop = search.abort_handle();
        if tokio::time::timeout_at(end, search).await.is_err() {
            stop.abort();
        }
    }
    resident("VmHWM:").saturating_sub(idle)
}

async fn read_one(directory: &LdapDirectory) {
    let entry = directory.read_entry(&read("cn=1", &["*"]), in_seconds(10)).await;
    assert!(entry.unwrap().is_some());
}

/// One of the kernel's figures for this process, in bytes.
fn resident(name: &str) -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(name)).unwrap();
    let kilobytes = line.trim().trim_end_matches(" kB");
    kilobytes.parse::<usize>().unwrap() << 10
}
