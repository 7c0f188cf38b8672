//! Tells an HTTP/1 client what it has reached, without reading its request.

use std::io;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::layer::only_grpc::HINT;

/// How the first line of every connection of HTTP/2 begins (RFC 9113, section 3.4). No method of HTTP/1 does.
const PREFACE: &[u8] = b"PR";
/// At most this much of a request is read and dropped, so that the answer is not lost to a reset.
const MAX_IGNORED: u64 = 64 * 1024;

/// The first bytes of a connection, as many as are needed to tell the protocol. Waits for them and does not consume
/// them.
pub(super) async fn peek(stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut first = vec![0; PREFACE.len()];
    let count = stream.peek(&mut first).await?;
    first.truncate(count);
    Ok(first)
}

/// Whether a connection that begins with these bytes speaks HTTP/2. If there are too few bytes to tell, it counts as
/// HTTP/2.
pub(super) fn is_http2(first: &[u8]) -> bool {
    PREFACE.starts_with(first.get(..PREFACE.len()).unwrap_or(first))
}

/// Answers and ends the connection.
pub(super) async fn refuse(mut stream: impl AsyncRead + AsyncWrite + Unpin) -> io::Result<()> {
    let answer = format!(
        "HTTP/1.1 505 HTTP Version Not Supported\r\ncontent-type: text/plain; charset=utf-8\r\n\
         content-length: {}\r\nconnection: close\r\n\r\n{HINT}",
        HINT.len()
    );
    stream.write_all(answer.as_bytes()).await?;
    stream.shutdown().await?;
    tokio::io::copy(&mut stream.take(MAX_IGNORED), &mut tokio::io::sink()).await?;
    Ok(())
}
