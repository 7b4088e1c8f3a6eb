//! A socket that is read in large pieces.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Sleep, sleep};

/// As long as a connection is only used for requests.
const SMALL_BYTES: usize = 8 << 10;
/// Once it is used for a checkpoint.
const LARGE_BYTES: usize = 256 << 10;

/// rustls asks for 4 KiB at a time, which is a system call for a quarter of a record. This reads as much as is there, and begins small: a
/// thousand idle connections cost nothing.
#[derive(Debug)]
pub(crate) struct Buffered {
    stream: TcpStream,
    /// How long the other side may take nothing.
    taken_within: Duration,
    /// Runs as long as it takes nothing.
    waiting: Option<Pin<Box<Sleep>>>,
    buffer: Vec<u8>,
    read: usize,
    filled: usize,
}

impl Buffered {
    /// A socket whose writing fails when the other side takes nothing for so long.
    pub(crate) fn new(stream: TcpStream, taken_within: Duration) -> Self {
        // Requests and acknowledgements are small and waited for.
        let _ = stream.set_nodelay(true);
        Self { stream, taken_within, waiting: None, buffer: Vec::new(), read: 0, filled: 0 }
    }
}

impl Buffered {
    fn in_time(&mut self, cx: &mut Context<'_>, written: Poll<io::Result<usize>>) -> Poll<io::Result<usize>> {
        if written.is_ready() {
            self.waiting = None;
            return written;
        }
        let within = self.taken_within;
        ready!(self.waiting.get_or_insert_with(|| Box::pin(sleep(within))).as_mut().poll(cx));
        Poll::Ready(Err(io::Error::new(io::ErrorKind::TimedOut, "the other side takes nothing")))
    }
}

impl AsyncRead for Buffered {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, to: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.read == this.filled {
            let full = this.filled == this.buffer.len();
            let wanted = match this.buffer.len() {
                0 => SMALL_BYTES,
                _ if full => LARGE_BYTES,
                length => length,
            };
            this.buffer.resize(wanted, 0);
            (this.read, this.filled) = (0, 0);
            let mut into = ReadBuf::new(&mut this.buffer);
            ready!(Pin::new(&mut this.stream).poll_read(cx, &mut into))?;
            this.filled = into.filled().len();
        }
        let bytes = to.remaining().min(this.filled - this.read);
        to.put_slice(&this.buffer[this.read..this.read + bytes]);
        this.read += bytes;
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Buffered {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[u8]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write(cx, from);
        self.in_time(cx, written)
    }

    fn poll_write_vectored(mut self: Pin<&mut Self>, cx: &mut Context<'_>, from: &[io::IoSlice<'_>]) -> Poll<io::Result<usize>> {
        let written = Pin::new(&mut self.stream).poll_write_vectored(cx, from);
        self.in_time(cx, written)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
