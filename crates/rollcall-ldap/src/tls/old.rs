//! Does a server do TLS only in ways that are out of date? Many such servers just hang up on a modern client, so they
//! are greeted once more as an old client would. Only the first line of their answer is read.

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout_at};

/// Cipher suites with CBC or without forward secrecy (RFC 4492, 5246, 5288, 5289).
const SUITES: [u16; 18] = [
    0xc009, 0xc00a, 0xc013, 0xc014, 0xc023, 0xc024, 0xc027, 0xc028, 0x009c, 0x009d, 0x009e, 0x009f, 0x003c,
    0x003d, 0x002f, 0x0035, 0x0033, 0x000a,
];
/// P-256, P-384, P-521, X25519.
const GROUPS: [u16; 4] = [23, 24, 25, 29];
/// RSA and ECDSA with SHA-2, RSA with SHA-1.
const SIGNATURES: [u16; 7] = [0x0401, 0x0501, 0x0601, 0x0403, 0x0503, 0x0603, 0x0201];
/// Record header, message header and version of a ServerHello.
const ANSWER: usize = 11;

/// How old a client claims to be.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) enum Old {
    /// One that knows TLS 1.1 and older.
    Version,
    /// One that knows TLS 1.2 with the ciphers of its time.
    Cipher,
}

/// True if the server begins a handshake with such a client.
pub(crate) async fn is_welcome(mut stream: TcpStream, old: Old, deadline: Instant) -> bool {
    let exchange = async {
        stream.write_all(&client_hello(old)).await?;
        let mut answer = [0; ANSWER];
        stream.read_exact(&mut answer).await.map(|_| answer)
    };
    matches!(timeout_at(deadline, exchange).await, Ok(Ok(answer)) if is_server_hello(&answer, old))
}

fn is_server_hello(answer: &[u8; ANSWER], old: Old) -> bool {
    let version = u16::from_be_bytes([answer[9], answer[10]]);
    let fits = match old {
        Old::Version => (0x0300..=0x0302).contains(&version),
        Old::Cipher => version == 0x0303,
    };
    answer[0] == 0x16 && answer[5] == 2 && fits
}

/// RFC 5246 section 7.4.1.2. The random part is zero, since no key will be made from it.
fn client_hello(old: Old) -> Vec<u8> {
    let version: u16 = match old {
        Old::Version => 0x0302,
        Old::Cipher => 0x0303,
    };
    let numbers =
        |numbers: &[u16]| -> Vec<u8> { numbers.iter().flat_map(|number| number.to_be_bytes()).collect() };
    let mut extensions = [
        extension(0x000a, &with_length(&numbers(&GROUPS))),
        extension(0x000b, &[1, 0]),
        extension(0xff01, &[0]),
    ]
    .concat();
    if old == Old::Cipher {
        extensions.extend(extension(0x000d, &with_length(&numbers(&SIGNATURES))));
    }
    let body = [
        version.to_be_bytes().to_vec(),
        vec![0x52; 32],
        vec![0],
        with_length(&numbers(&SUITES)),
        vec![1, 0],
        with_length(&extensions),
    ]
    .concat();
    let message = [vec![1, 0], with_length(&body)].concat();
    [vec![0x16, 3, 1], with_length(&message)].concat()
}

fn extension(kind: u16, content: &[u8]) -> Vec<u8> {
    [kind.to_be_bytes().to_vec(), with_length(content)].concat()
}

/// Everything here is far shorter than 64 KiB.
fn with_length(content: &[u8]) -> Vec<u8> {
    [&(content.len() as u16).to_be_bytes()[..], content].concat()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_hello_of_that_age_counts() {
        let hello = |version: u8| [0x16, 3, version, 0, 80, 2, 0, 0, 76, 3, version];
        assert!(is_server_hello(&hello(1), Old::Version) && is_server_hello(&hello(2), Old::Version));
        assert!(!is_server_hello(&hello(3), Old::Version) && is_server_hello(&hello(3), Old::Cipher));
        let alert = [0x15, 3, 1, 0, 2, 2, 70, 0, 0, 3, 1];
        assert!(!is_server_hello(&alert, Old::Version));
    }
}
