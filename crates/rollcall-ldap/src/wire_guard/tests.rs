#![allow(clippy::unwrap_used)]
use std::time::Duration;

use proptest::prelude::*;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::time::timeout;

use super::link::{Budget, Written};
use super::*;
use crate::ber;

const FAR: Duration = Duration::from_secs(10);
const OPEN: Budget = Budget {
    entries: u32::MAX,
    bytes: u64::MAX,
};

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put(&mut out, tag, content);
    out
}

fn message(id: u8, operation: Vec<u8>) -> Vec<u8> {
    element(0x30, &[&[2, 1, id][..], &operation].concat())
}

fn entry(id: u8, size: usize) -> Vec<u8> {
    message(
        id,
        element(
            0x64,
            &[element(4, &vec![b'x'; size]), element(0x30, &[])].concat(),
        ),
    )
}

fn done(id: u8) -> Vec<u8> {
    message(id, element(0x65, &[10, 1, 0, 4, 0, 4, 0]))
}

fn search_request(id: u8, size: usize) -> Vec<u8> {
    message(id, element(0x63, &vec![0; size]))
}

/// A guard with pipes of `size` bytes, and what server and library see.
fn guard(size: usize) -> (DuplexStream, DuplexStream, Arc<Link>) {
    let (ours_to_server, server) = duplex(size);
    let (ours_to_library, library) = duplex(size);
    let link = Arc::new(Link::new());
    link.begin(OPEN);
    let permit = LargeMessagePermit::of(Arc::new(tokio::sync::Semaphore::new(1)));
    tokio::spawn(
        WireGuard::new(
            ours_to_server,
            ours_to_library,
            link.clone(),
            Limits::SEARCH,
            permit,
        )
        .run(),
    );
    (server, library, link)
}

async fn read(stream: &mut DuplexStream, count: usize) -> Vec<u8> {
    let mut bytes = vec![0; count];
    timeout(FAR, stream.read_exact(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    bytes
}

/// Matrix case 43: nobody takes the entries, so the server cannot go on sending.
#[tokio::test]
async fn entries_wait_for_credit_and_go_on_with_it() {
    let (mut server, mut library, link) = guard(64 << 10);
    library.write_all(&search_request(1, 10)).await.unwrap();
    read(&mut server, search_request(1, 10).len()).await;
    let one = entry(1, 1000);
    let length = one.len();
    let (taken, given) = (Arc::new(std::sync::atomic::AtomicUsize::new(0)), 20_000);
    let counter = taken.clone();
    let sender = tokio::spawn(async move {
        for _ in 0..given {
            server.write_all(&one).await.unwrap();
            counter.fetch_add(1, std::sync::atomic::Ordering::SeqCst);
        }
        server
    });
    // ldap3 reads as fast as it can; the consumer behind it does not.
    let drain = tokio::spawn(async move {
        let mut received = 0;
        while received < given * length {
            let mut chunk = vec![0; 64 << 10];
            received += timeout(FAR, library.read(&mut chunk)).await.unwrap().unwrap();
        }
        (received, library)
    });
    let mut before = usize::MAX;
    while before != taken.load(std::sync::atomic::Ordering::SeqCst) {
        before = taken.load(std::sync::atomic::Ordering::SeqCst);
        for _ in 0..1000 {
            tokio::task::yield_now().await;
        }
    }
    assert!(
        before * length < 2 << 20,
        "{before} entries went through without credit"
    );
    for _ in 0..given {
        while !link.has_note() {
            tokio::task::yield_now().await;
        }
        assert!(!link.take_note().tainted);
    }
    assert_eq!(timeout(FAR, drain).await.unwrap().unwrap().0, given * length);
    sender.await.unwrap();
}

/// Each side waits for the other to read before it reads itself.
#[tokio::test]
async fn a_stuck_direction_does_not_stop_the_other() {
    let (mut server, mut library, link) = guard(1024);
    let request = search_request(1, 100_000);
    library.write_all(&request[..1000]).await.unwrap();
    let (mut from_library, mut to_server) = (request.clone(), Vec::new());
    // Far more than the pipes hold; neither side reads before it has written all.
    let library_side = async {
        library.write_all(&from_library.split_off(1000)).await.unwrap();
        read(&mut library, entry(1, 50_000).len()).await
    };
    let server_side = async {
        to_server.extend(read(&mut server, request.len()).await);
        server.write_all(&entry(1, 50_000)).await.unwrap();
    };
    let (answer, ()) = timeout(FAR, async { tokio::join!(library_side, server_side) })
        .await
        .unwrap();
    assert_eq!(answer, entry(1, 50_000));
    assert_eq!(to_server, request);
    assert!(link.stop().is_none());
}

/// The server sends while it does not read, the library writes while it does not read.
#[tokio::test]
async fn full_pipes_on_both_sides_drain_in_any_order() {
    let (mut server, mut library, link) = guard(256);
    library.write_all(&search_request(1, 10)).await.unwrap();
    read(&mut server, search_request(1, 10).len()).await;
    let answers: Vec<u8> = (0..50).flat_map(|_| entry(1, 300)).collect();
    let abandon = message(2, vec![0x50, 1, 1]);
    let requests: Vec<u8> = (0..500).flat_map(|_| abandon.clone()).collect();
    let (mut server_read, mut server_write) = tokio::io::split(server);
    let (mut library_read, mut library_write) = tokio::io::split(library);
    let writes = async {
        tokio::join!(
            server_write.write_all(&answers),
            library_write.write_all(&requests)
        )
    };
    let reads = async {
        let mut at_library = vec![0; answers.len()];
        library_read.read_exact(&mut at_library).await.unwrap();
        let mut at_server = vec![0; requests.len()];
        server_read.read_exact(&mut at_server).await.unwrap();
        (at_library, at_server)
    };
    let (_, (at_library, at_server)) = timeout(FAR, async { tokio::join!(writes, reads) }).await.unwrap();
    assert_eq!((at_library, at_server), (answers, requests));
    assert!(link.stop().is_none());
}

#[tokio::test]
async fn a_revoked_request_is_never_written() {
    let (mut server, mut library, link) = guard(1024);
    assert_eq!(link.revoke(), Written::No);
    library.write_all(&search_request(1, 10)).await.unwrap();
    let mut bytes = Vec::new();
    timeout(FAR, server.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert!(bytes.is_empty());
    assert_eq!(link.stop(), Some(Stop::LocalClosed));
}

#[tokio::test]
async fn a_written_request_is_told_from_an_unwritten_one() {
    let (mut server, mut library, link) = guard(1024);
    library.write_all(&search_request(1, 10)[..5]).await.unwrap();
    library.write_all(&search_request(1, 10)[5..]).await.unwrap();
    read(&mut server, 1).await;
    assert_eq!(link.revoke(), Written::Maybe);
}

#[tokio::test]
async fn the_reason_is_there_when_the_library_sees_the_end() {
    let (mut server, mut library, link) = guard(1024);
    server.write_all(&done(9)).await.unwrap();
    let mut bytes = Vec::new();
    timeout(FAR, library.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert!(bytes.is_empty());
    assert_eq!(
        link.stop(),
        Some(Stop::Violation(ProtocolViolation::UnknownMessageId))
    );
}

#[tokio::test]
async fn what_was_vetted_before_a_violation_still_arrives() {
    let (mut server, mut library, link) = guard(1024);
    library.write_all(&search_request(1, 10)).await.unwrap();
    read(&mut server, search_request(1, 10).len()).await;
    server
        .write_all(&[entry(1, 5), done(1), vec![0xff]].concat())
        .await
        .unwrap();
    let mut bytes = Vec::new();
    timeout(FAR, library.read_to_end(&mut bytes))
        .await
        .unwrap()
        .unwrap();
    assert_eq!(bytes, [entry(1, 5), done(1)].concat());
    assert!(matches!(
        link.stop(),
        Some(Stop::Violation(ProtocolViolation::NotLdap(_)))
    ));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// However the network cuts them, messages arrive whole and in order; references and noise are taken out.
    #[test]
    fn chunks_do_not_matter(
        kinds in proptest::collection::vec(0..4_u8, 0..40),
        chunk in 1..700_usize,
        pipe in 1..2000_usize,
    ) {
        let mut sent = Vec::new();
        let mut expected = Vec::new();
        for kind in &kinds {
            let (bytes, forwarded) = match kind {
                0 => (entry(1, 10), true),
                1 => (entry(1, 70_000), true),
                2 => (message(1, element(0x73, &element(4, b"ldap://x"))), false),
                _ => (message(1, element(0x79, b"")), false),
            };
            sent.extend_from_slice(&bytes);
            if forwarded {
                expected.extend(bytes);
            }
        }
        sent.extend(done(1));
        expected.extend(done(1));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        let references = kinds.iter().filter(|kind| **kind == 2).count();
        runtime.block_on(async move {
            let (mut server, mut library, link) = guard(pipe);
            library.write_all(&search_request(1, 10)).await.unwrap();
            read(&mut server, search_request(1, 10).len()).await;
            let writer = tokio::spawn(async move {
                for part in sent.chunks(chunk) {
                    server.write_all(part).await.unwrap();
                }
                server
            });
            let consumer = link.clone();
            let credits = tokio::spawn(async move {
                loop {
                    if consumer.has_note() {
                        consumer.take_note();
                    }
                    tokio::task::yield_now().await;
                }
            });
            let received = read(&mut library, expected.len()).await;
            assert_eq!(received, expected);
            assert_eq!(link.search_result_references() as usize, references);
            credits.abort();
            drop(writer.await);
        });
    }
}
