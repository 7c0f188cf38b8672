//! The guard at work between two pipes, fed in chunks: no runtime, nothing but polling.

use std::future::Future;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll};

use futures::task::noop_waker;
use tokio::io::{AsyncRead, AsyncWrite, DuplexStream, ReadBuf, duplex};
use tokio::sync::Semaphore;

use super::{ID, OPERATIONS};
use crate::ber;
use crate::wire_guard::frame::message_length;
use crate::wire_guard::large_message_permit::LargeMessagePermit;
use crate::wire_guard::link::{Budget, Link, Stop};
use crate::wire_guard::vet::{Answer, Operation, Request, vet};
use crate::wire_guard::{Limits, MAX_NOISE, MAX_OTHER, MAX_REQUEST, WireGuard};

const LIMITS: Limits = Limits::BIND;

/// The first octets choose the request, the size of the pipes and of the chunks; the rest is what the server
/// sends. However it is cut, ldap3 must see what looking at it in one piece lets through, and nothing else.
pub fn answers(bytes: &[u8]) {
    let [operation, pipe, chunk, stream @ ..] = bytes else {
        return;
    };
    let operation = OPERATIONS[usize::from(*operation) % OPERATIONS.len()];
    let request = request(operation);
    let (at_server, at_library, stop) = run(&request, stream, *pipe, *chunk);
    assert_eq!(at_server, request);
    assert_eq!(at_library, let_through(stream, operation));
    assert_ne!(stop, Some(Stop::LocalClosed));
}

/// What ldap3 writes goes out as it is, but only in whole messages.
pub fn requests(bytes: &[u8]) {
    let [pipe, chunk, stream @ ..] = bytes else {
        return;
    };
    let (at_server, at_library, _) = run(stream, &[], *pipe, *chunk);
    let mut whole = 0;
    while let Ok(Some(length)) = message_length(&stream[whole..], MAX_REQUEST) {
        if whole + length > stream.len() {
            break;
        }
        whole += length;
    }
    // When ldap3 writes nonsense the guard ends, perhaps before all of the good requests are written.
    assert!(stream[..whole].starts_with(&at_server));
    assert!(at_library.is_empty());
}

fn request(operation: Operation) -> Vec<u8> {
    let tag = match operation {
        Operation::Bind => 0x60,
        Operation::Search => 0x63,
        Operation::Extended => 0x77,
    };
    let mut parts = Vec::new();
    ber::put(&mut parts, 0x02, &ber::integer(ID));
    ber::put(&mut parts, tag, &[]);
    let mut message = Vec::new();
    ber::put(&mut message, 0x30, &parts);
    message
}

/// The messages that reach ldap3, found without buffers and chunks.
fn let_through(mut stream: &[u8], operation: Operation) -> Vec<u8> {
    let mut request = Some(Request { id: ID, operation });
    let (mut through, mut noise) = (Vec::new(), 0);
    while let Ok(Some(length)) = message_length(stream, LIMITS.message) {
        let Some((message, rest)) = stream.split_at_checked(length) else {
            break;
        };
        stream = rest;
        let mut message = message.to_vec();
        let Ok(vetted) = vet(&mut message, request, LIMITS.elements) else {
            break;
        };
        match vetted.answer {
            Answer::Entry { .. } => through.extend(message),
            _ if length > MAX_OTHER => break,
            Answer::Final => {
                through.extend(message);
                request = None;
            }
            Answer::SearchResultReference => {}
            Answer::Noise => noise += 1,
            Answer::Disconnection(_) => break,
        }
        if noise > MAX_NOISE {
            break;
        }
    }
    through
}

/// Lets ldap3 write `requests` and the server `answers`, then close; tells what arrived at either side.
fn run(requests: &[u8], answers: &[u8], pipe: u8, chunk: u8) -> (Vec<u8>, Vec<u8>, Option<Stop>) {
    let size = 64 + usize::from(pipe) * 16;
    let chunk = 1 + usize::from(chunk) * 8;
    let (ours_to_server, mut server) = duplex(size);
    let (ours_to_library, mut library) = duplex(size);
    let link = Arc::new(Link::new());
    link.begin(Budget {
        entries: u32::MAX,
        bytes: u64::MAX,
    });
    let permit = LargeMessagePermit::of(Arc::new(Semaphore::new(1)));
    let guard = WireGuard::new(ours_to_server, ours_to_library, link.clone(), LIMITS, permit);
    let mut guard = pin!(guard.run());
    let waker = noop_waker();
    let mut cx = Context::from_waker(&waker);
    let (mut at_server, mut at_library) = (Vec::new(), Vec::new());
    let (mut requests, mut answers) = (requests, answers);
    let mut ended = false;
    loop {
        let mut moved = write(&mut library, &mut requests, chunk, &mut cx);
        // A server answers what it has been asked.
        if requests.is_empty() && !at_server.is_empty() {
            moved |= write(&mut server, &mut answers, chunk, &mut cx);
        }
        if !ended {
            ended = guard.as_mut().poll(&mut cx).is_ready();
            moved |= ended;
        }
        moved |= read(&mut server, &mut at_server, &mut cx);
        moved |= read(&mut library, &mut at_library, &mut cx);
        while link.has_note() {
            link.take_note();
            moved = true;
        }
        if !moved {
            if ended {
                return (at_server, at_library, link.stop());
            }
            // All was said: the server leaves.
            let left = Pin::new(&mut server).poll_shutdown(&mut cx);
            assert!(left.is_ready());
            ended = guard.as_mut().poll(&mut cx).is_ready();
            assert!(ended || link.stop().is_some(), "the guard is stuck");
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of the standard library")]
fn write(pipe: &mut DuplexStream, bytes: &mut &[u8], chunk: usize, cx: &mut Context<'_>) -> bool {
    let part = &bytes[..bytes.len().min(chunk)];
    match Pin::new(pipe).poll_write(cx, part) {
        Poll::Ready(Ok(count)) => {
            *bytes = &bytes[count..];
            count > 0
        }
        _ => false,
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of the standard library")]
fn read(pipe: &mut DuplexStream, into: &mut Vec<u8>, cx: &mut Context<'_>) -> bool {
    let mut chunk = [0; 256];
    let mut space = ReadBuf::new(&mut chunk);
    match Pin::new(pipe).poll_read(cx, &mut space) {
        Poll::Ready(Ok(())) => {
            into.extend_from_slice(space.filled());
            !space.filled().is_empty()
        }
        _ => false,
    }
}
