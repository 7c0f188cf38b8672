//! What real servers of a kind said once, said again by a script: the suite's part that needs no server. They are the seeds of
//! the fuzz targets, and a new kind gets them as those were made (`seeds.rs`).

use std::fs;
use std::path::Path;

use rollcall_core::dialect::{AccountState, Dialect};
use rollcall_core::entry::Entry;
use rollcall_core::external_id::ExternalId;
use rollcall_core::verdict::Verdict;
use rollcall_ldap::SearchOutcome;
use rollcall_testkit::{Operation, Peer, ScriptedLdap, ber};

use crate::setup::*;

/// Tags of operations (RFC 4511 section 4.2 and the following).
const BIND_RESPONSE: u8 = 0x61;
const SEARCH_ENTRY: u8 = 0x64;

/// The kept messages of a scene with this operation, in order.
fn said(server: &str, scene: &str, operation: u8) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("fuzz/seeds/message");
    let mut files: Vec<_> = fs::read_dir(folder)
        .unwrap()
        .map(|file| file.unwrap().path())
        .filter(|path| {
            let name = path.file_name().unwrap().to_str().unwrap();
            name.starts_with(&format!("{server}-{scene}-"))
        })
        .collect();
    files.sort();
    let messages = files.iter().map(|file| fs::read(file).unwrap());
    messages
        .filter(|message| message[id_at(message) + 1] == operation)
        .collect()
}

/// Where the last octet of the id is, which seeds have as one octet.
fn id_at(message: &[u8]) -> usize {
    let header = match message[1] {
        0..0x80 => 2,
        long => 2 + usize::from(long & 0x7f),
    };
    assert_eq!(message[header..header + 2], [2, 1]);
    header + 2
}

fn with_id(message: &[u8], id: i64) -> Vec<u8> {
    let mut message = message.to_vec();
    let at = id_at(&message);
    message[at] = u8::try_from(id).unwrap();
    message
}

/// Says it again to whoever asks: the root DSE, all people to any other search, and to the bind of `cn=N` the Nth answer.
async fn replay(server: &'static str) -> ScriptedLdap {
    let answer = move |peer: Peer| async move { answer_all(peer, server).await };
    ScriptedLdap::plain(answer).await.unwrap()
}

async fn answer_all(mut peer: Peer, server: &str) -> anyhow::Result<()> {
    loop {
        let request = next(&mut peer).await?;
        let id = request.id;
        let answers = match &request.operation {
            Operation::Bind { dn, .. } if dn == SERVICE_DN => vec![ber::bind_response(id, 0, "", "")],
            Operation::Bind { dn, .. } => {
                let number: usize = dn.trim_start_matches("cn=").parse()?;
                vec![said(server, "binds", BIND_RESPONSE).swap_remove(number)]
            }
            Operation::Search { base, page, .. } => {
                let scene = if base.is_empty() { "root-dse" } else { "people" };
                let mut answers = said(server, scene, SEARCH_ENTRY);
                if scene == "root-dse" {
                    // The first was asked for no attribute.
                    answers.drain(..answers.len() - 1);
                }
                answers.push(match page {
                    Some(_) => ber::page_done(id, b""),
                    None => ber::search_done(id, 0, ""),
                });
                answers
            }
            other => anyhow::bail!("{other:?} is in no transcript"),
        };
        for answer in answers {
            peer.send(&with_id(&answer, id)).await?;
        }
    }
}

pub(super) async fn are_of_their_kind(dialect: Dialect, server: &'static str) {
    let script = replay(server).await;
    let directory = on_script(script.address());
    let root = directory.root_dse(in_seconds(20)).await.unwrap();
    assert_eq!(root.dialect, dialect);

    let (people, outcome) = pull(&directory, everything("dc=example", &["*", "+"])).await;
    assert!(matches!(outcome, SearchOutcome::Complete(_)), "{outcome:?}");
    assert!(!people.is_empty());
    let has_id = |entry: &Entry| {
        let mut kinds = dialect.external_id_kinds().iter();
        kinds.any(|kind| ExternalId::from_values(kind.clone(), entry.values(kind.attribute())).is_ok())
    };
    for entry in &people {
        assert!(has_id(entry), "{}", entry.dn);
    }

    let binds = said(server, "binds", BIND_RESPONSE).len();
    let mut denied = 0;
    for number in 0..binds {
        let answer = bind(
            &directory,
            &*format!("cn={number}"),
            &password("x"),
            in_seconds(20),
        )
        .await;
        match answer.unwrap().verdict(dialect, AccountState::default(), None) {
            Verdict::Authenticated { .. } => {}
            Verdict::Denied { .. } => denied += 1,
            Verdict::DirectoryError(kind) => panic!("bind {number}: {kind:?}"),
        }
    }
    assert!(denied > 0 && denied < binds, "{denied} of {binds}");
}
