#![allow(clippy::unwrap_used)]
use std::io::Cursor;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::ReadBuf;

use super::*;

/// What a server sends; what it is sent goes nowhere.
struct Sent(Cursor<Vec<u8>>);

impl AsyncRead for Sent {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<std::io::Result<()>> {
        Pin::new(&mut self.0).poll_read(cx, into)
    }
}

impl AsyncWrite for Sent {
    fn poll_write(self: Pin<&mut Self>, _: &mut Context<'_>, bytes: &[u8]) -> Poll<std::io::Result<usize>> {
        Poll::Ready(Ok(bytes.len()))
    }
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
    fn poll_shutdown(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<std::io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

fn element(tag: u8, content: &[u8]) -> Vec<u8> {
    let mut out = Vec::new();
    ber::put(&mut out, tag, content);
    out
}

fn entry(attributes: &[(&str, &[&[u8]])]) -> Vec<u8> {
    let attribute = |(name, values): &(&str, &[&[u8]])| {
        let values: Vec<u8> = values.iter().flat_map(|value| element(0x04, value)).collect();
        element(
            0x30,
            &[element(0x04, name.as_bytes()), element(0x31, &values)].concat(),
        )
    };
    let attributes: Vec<u8> = attributes.iter().flat_map(attribute).collect();
    exchange::message(
        0x64,
        &[element(0x04, b"cn=g"), element(0x30, &attributes)].concat(),
    )
}

fn done(code: u8) -> Vec<u8> {
    let result = [element(0x0a, &[code]), element(0x04, b""), element(0x04, b"")].concat();
    exchange::message(0x65, &result)
}

type Read = Result<(ResultCode, bool), LdapError>;

async fn read(sent: Vec<u8>) -> (Read, Vec<(String, Vec<u8>)>) {
    let mut wire = Wire::new(Sent(Cursor::new(sent)), Duration::from_secs(5));
    let mut values = Vec::new();
    let mut take = |name: &str, value: &[u8]| values.push((name.to_owned(), value.to_vec()));
    let answered = wire.answer(Operation::Search, &mut take).await;
    (answered.map(|(answer, found)| (answer.code, found)), values)
}

#[tokio::test]
async fn values_come_one_by_one_and_the_result_after_them() {
    let long = [b'x'; 300];
    let sent = [
        entry(&[("member", &[b"cn=a", &long, b""]), ("memberUid", &[b"ada"])]),
        done(0),
    ]
    .concat();
    let (read, values) = read(sent).await;
    assert_eq!(read, Ok((ResultCode::SUCCESS, true)));
    let member = |value: &[u8]| ("member".to_owned(), value.to_vec());
    let expected = [
        member(b"cn=a"),
        member(&long),
        member(b""),
        ("memberUid".to_owned(), b"ada".to_vec()),
    ];
    assert_eq!(values, expected);
    assert_eq!(
        self::read(done(32)).await.0,
        Ok((ResultCode::NO_SUCH_OBJECT, false))
    );
}

#[tokio::test]
async fn whatever_breaks_the_protocol_is_an_error() {
    let good = [entry(&[("member", &[b"cn=a"])]), done(0)].concat();
    for cut in 0..good.len() {
        let (read, _) = read(good[..cut].to_vec()).await;
        assert!(read.is_err(), "cut after {cut}: {read:?}");
    }
    // Every octet replaced, in turn: an error, or values, but never a panic nor an endless wait.
    for at in 0..good.len() {
        for octet in [0x00, 0x04, 0x30, 0x7f, 0x80, 0x84, 0x88, 0xff] {
            let mut bad = good.clone();
            bad[at] = octet;
            let _ = read(bad).await;
        }
    }
    let (twice, _) = read([entry(&[]), entry(&[]), done(0)].concat()).await;
    let limit = 1;
    assert_eq!(twice, Err(violation(ProtocolViolation::TooManyEntries { limit })));
    let (ranged, _) = read([entry(&[("member;range=0-1499", &[b"cn=a"])]), done(0)].concat()).await;
    assert_eq!(ranged, Err(violation(ProtocolViolation::Range)));
    // A length that reaches beyond its container.
    let (beyond, _) = read(vec![0x30, 0x08, 0x02, 0x01, 0x01, 0x64, 0x84, 0x7f, 0xff, 0xff]).await;
    assert!(beyond.is_err());
}
