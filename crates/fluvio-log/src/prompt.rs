//! Connections on which nothing waits without need.
//!
//! The server writes an answer with records in several pieces, with Nagle's algorithm (RFC 896) on: a piece waits
//! until the one before is acknowledged. This side would delay that by up to 40 ms (RFC 1122, 4.2.3.2). So it
//! acknowledges what it has read at once (Linux only), and sends at once what it writes.

use std::{
    io,
    os::fd::{BorrowedFd, RawFd},
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
};

use fluvio_future::net::{BoxReadConnection, ConnectionFd};
use fluvio_socket::{ClientConfig, FluvioSocket, SocketError, VersionedSocket};
use futures_util::AsyncRead;
use rustix::net::sockopt;

/// Connects, and asks for the versions that the server speaks.
pub(crate) async fn connect(config: ClientConfig) -> Result<VersionedSocket, SocketError> {
    let (write, read, fd) = config.connector().connect(config.addr()).await?;
    let read = Prompt::new(read, fd)?;
    let socket = FluvioSocket::from_stream(write, Box::new(read), fd);
    VersionedSocket::connect(socket, Arc::new(config)).await
}

/// The reading half of a connection, which acknowledges at once.
struct Prompt {
    read: BoxReadConnection,
    /// The TCP socket beneath, also beneath TLS.
    fd: ConnectionFd,
}

impl Prompt {
    fn new(read: BoxReadConnection, fd: ConnectionFd) -> io::Result<Self> {
        let prompt = Self { read, fd };
        sockopt::set_tcp_nodelay(prompt.socket(), true)?;
        Ok(prompt)
    }

    #[allow(unsafe_code)]
    fn socket(&self) -> BorrowedFd<'_> {
        let fd: RawFd = self.fd;
        // SAFETY: it is that of the socket of `read`, which is open as long as `self` is there.
        unsafe { BorrowedFd::borrow_raw(fd) }
    }
}

impl AsyncRead for Prompt {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let read = Pin::new(&mut self.read).poll_read(cx, buffer);
        if matches!(read, Poll::Ready(Ok(bytes)) if bytes > 0) {
            // The kernel goes back to delays by itself. If this fails, it is only slower.
            #[cfg(target_os = "linux")]
            let _ = sockopt::set_tcp_quickack(self.socket(), true);
        }
        read
    }
}

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::{
        io::{Read, Write},
        net::TcpListener,
        thread,
    };

    use fluvio_future::net::{DefaultDomainConnector, TcpDomainConnector};
    use futures_util::{AsyncReadExt, AsyncWriteExt};

    use super::*;

    const ROUNDS: usize = 20;

    /// Where each side only ever answers the other, the kernel would delay acknowledgements so that they go with the
    /// answers.
    #[tokio::test]
    async fn what_is_read_is_acknowledged_at_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("bound").to_string();
        let echo = thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            let mut byte = [0];
            while stream.read(&mut byte).expect("read") == 1 {
                stream.write_all(&byte).expect("written");
            }
        });
        let connector = DefaultDomainConnector::default();
        let (mut write, read, fd) = connector.connect(&address).await.expect("connected");
        let mut read = Prompt::new(read, fd).expect("options are set");
        assert!(sockopt::tcp_nodelay(read.socket()).expect("an option"));
        for _ in 0..ROUNDS {
            write.write_all(&[7]).await.expect("written");
            let mut byte = [0];
            read.read_exact(&mut byte).await.expect("read");
            assert!(sockopt::tcp_quickack(read.socket()).expect("an option"));
        }
        drop((write, read));
        echo.join().expect("it ends");
    }
}
