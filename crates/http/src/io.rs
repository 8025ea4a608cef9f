//! A stream of bytes that tells its [`Connection`] about progress, and closes so that the last
//! answer arrives.

use std::{
    io::{self, IoSlice},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::Bytes;
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    time::{Sleep, sleep},
};

use crate::connection::Connection;

/// How long, and for how many bytes, a client is listened to after the last answer.
const LINGER_TIME: Duration = Duration::from_millis(500);
const LINGER_BYTES: usize = 32 << 20;

/// `T` is the transport: a TCP stream, or TLS over one.
#[derive(Debug)]
pub(crate) struct WatchedIo<T> {
    transport: T,
    /// What has been read of the transport before.
    received: Bytes,
    connection: Arc<Connection>,
    linger: Option<Linger>,
}

/// The end of a connection: what still comes is read and forgotten, until the client closes too.
///
/// A request that is refused early, such as one with a body too large, may still be on its way.
/// Closing on it would make the kernel send a reset, and the client would lose the answer.
#[derive(Debug)]
struct Linger {
    deadline: Pin<Box<Sleep>>,
    bytes_left: usize,
}

impl Linger {
    fn new() -> Self {
        Self { deadline: Box::pin(sleep(LINGER_TIME)), bytes_left: LINGER_BYTES }
    }

    fn poll<T: AsyncRead + Unpin>(&mut self, transport: &mut T, cx: &mut Context<'_>) -> Poll<()> {
        let mut scratch = [0; 4096];
        while self.bytes_left > 0 {
            let mut buf = ReadBuf::new(&mut scratch);
            match Pin::new(&mut *transport).poll_read(cx, &mut buf) {
                Poll::Ready(Ok(())) if !buf.filled().is_empty() => {
                    self.bytes_left = self.bytes_left.saturating_sub(buf.filled().len());
                }
                Poll::Ready(_) => return Poll::Ready(()),
                Poll::Pending => return self.deadline.as_mut().poll(cx),
            }
        }
        Poll::Ready(())
    }
}

impl<T> WatchedIo<T> {
    /// `received` comes before what is still to be read of the transport.
    pub(crate) fn new(transport: T, received: Bytes, connection: Arc<Connection>) -> Self {
        Self { transport, received, connection, linger: None }
    }

    /// The transport, of which all that was received has been read.
    pub(crate) fn into_inner(self) -> T {
        debug_assert!(self.received.is_empty(), "something received has not been read");
        self.transport
    }
}

impl<T: AsyncRead + Unpin> AsyncRead for WatchedIo<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        if !self.received.is_empty() {
            let length = self.received.len().min(buf.remaining());
            buf.put_slice(&self.received.split_to(length));
        } else if Pin::new(&mut self.transport).poll_read(cx, buf)?.is_pending() {
            self.connection.has_drained();
            return Poll::Pending;
        }
        self.connection.has_read(buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> AsyncWrite for WatchedIo<T> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write(cx, buf);
        self.connection.has_written(polled.is_ready());
        polled
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let polled = Pin::new(&mut self.transport).poll_write_vectored(cx, bufs);
        self.connection.has_written(polled.is_ready());
        polled
    }

    fn is_write_vectored(&self) -> bool {
        self.transport.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let polled = Pin::new(&mut self.transport).poll_flush(cx);
        // TLS takes a small answer into a buffer of its own: only here does it show that there is no room.
        self.connection.has_written(polled.is_ready());
        polled
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.linger.is_none() {
            this.connection.closing();
            let polled = Pin::new(&mut this.transport).poll_shutdown(cx);
            // TLS has something to send first.
            this.connection.has_written(polled.is_ready());
            ready!(polled)?;
            if this.connection.is_draining() {
                return Poll::Ready(Ok(()));
            }
        }
        let linger = this.linger.get_or_insert_with(Linger::new);
        linger.poll(&mut this.transport, cx).map(Ok)
    }
}
