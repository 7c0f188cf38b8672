//! A byte queue for one direction: bytes come in at the end and leave at the front.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use zeroize::Zeroize;

/// Bytes waiting to go on. Wiped when dropped and when emptied, since requests hold passwords.
pub(super) struct Buffer {
    data: Vec<u8>,
    start: usize,
    end: usize,
    idle_size: usize,
}

impl Buffer {
    pub(super) fn new(idle_size: usize) -> Self {
        Self {
            data: vec![0; idle_size],
            start: 0,
            end: 0,
            idle_size,
        }
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.data[self.start..self.end]
    }

    pub(super) fn bytes_mut(&mut self) -> &mut [u8] {
        &mut self.data[self.start..self.end]
    }

    pub(super) fn len(&self) -> usize {
        self.end - self.start
    }

    /// Removes bytes at the front.
    pub(super) fn consume(&mut self, count: usize) {
        self.start += count;
        if self.start == self.end {
            self.start = 0;
            self.end = 0;
            if self.data.len() > self.idle_size {
                self.data.zeroize();
                self.data = vec![0; self.idle_size];
            }
        }
    }

    /// Reads once. `Ready(Ok(0))` is the end of the stream.
    ///
    /// Room for a message of `wanted` bytes is made as its bytes arrive, never on the word of its header.
    pub(super) fn poll_fill(
        &mut self,
        cx: &mut Context<'_>,
        source: Pin<&mut impl AsyncRead>,
        wanted: usize,
    ) -> Poll<io::Result<usize>> {
        if self.end == self.data.len() {
            if self.start > 0 {
                self.data.copy_within(self.start..self.end, 0);
                self.end -= self.start;
                self.start = 0;
            } else {
                let size = (self.data.len() * 2).min(wanted.max(self.data.len() + 1));
                let mut larger = vec![0; size];
                larger[..self.end].copy_from_slice(&self.data);
                self.data.zeroize();
                self.data = larger;
            }
        }
        let mut space = ReadBuf::new(&mut self.data[self.end..]);
        match source.poll_read(cx, &mut space) {
            Poll::Ready(Ok(())) => {
                let count = space.filled().len();
                self.end += count;
                Poll::Ready(Ok(count))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Writes up to `count` bytes from the front and removes what was taken.
    pub(super) fn poll_drain(
        &mut self,
        cx: &mut Context<'_>,
        sink: Pin<&mut impl AsyncWrite>,
        count: usize,
    ) -> Poll<io::Result<usize>> {
        match sink.poll_write(cx, &self.data[self.start..self.start + count]) {
            Poll::Ready(Ok(0)) => Poll::Ready(Err(io::ErrorKind::WriteZero.into())),
            Poll::Ready(Ok(written)) => {
                self.consume(written);
                Poll::Ready(Ok(written))
            }
            Poll::Ready(Err(error)) => Poll::Ready(Err(error)),
            Poll::Pending => Poll::Pending,
        }
    }

    /// Overwrites what was consumed.
    pub(super) fn wipe(&mut self) {
        self.data[..self.start].zeroize();
        if self.end == 0 {
            self.data.as_mut_slice().zeroize();
        }
    }
}

impl Drop for Buffer {
    fn drop(&mut self) {
        self.data.zeroize();
    }
}
