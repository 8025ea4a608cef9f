//! Drives one connection: hyper while there is a request, next to nothing while there is none.
//!
//! hyper keeps some 18 KiB for a connection: what it reads into, what it writes from, the headers of the last
//! request, its state. With a thousand connections that take turns, these no longer fit the caches, and each
//! request waits for memory. So a connection at rest keeps its socket and a few words; for the next
//! request hyper gets memory that the one before, on whatever connection of this thread, has just given back.

use std::{
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
};
use tokio_rustls::server::TlsStream;

use crate::{
    connection::{Command, Connection},
    io::WatchedIo,
    service::RoutedService,
};

/// A stream of bytes that tells when it is worth reading.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {
    /// Waits until there may be something to read, or the end. It may not be called while what has been
    /// received is kept somewhere above the socket, that is unless the last read was [`Poll::Pending`].
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>>;
}

impl Transport for TcpStream {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        TcpStream::poll_read_ready(self, cx)
    }
}

impl Transport for TlsStream<TcpStream> {
    fn poll_read_ready(&self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_ref().0.poll_read_ready(cx)
    }
}

type Http<T> = http1::Connection<TokioIo<WatchedIo<T>>, RoutedService>;

/// A connection until its end. It follows the commands of
/// [`Connections`](crate::connection::Connections).
pub(crate) struct Driver<T: Transport> {
    http: Arc<http1::Builder>,
    state: Arc<Connection>,
    stage: Stage<T>,
}

enum Stage<T: Transport> {
    /// Between two requests.
    AtRest {
        transport: T,
        service: RoutedService,
    },
    /// hyper has it, and `draining` is whether it has been told to end after this request.
    InHttp {
        http: Box<Http<T>>,
        draining: bool,
    },
    Ended,
}

impl<T: Transport> Driver<T> {
    /// Nothing of `transport` has been read yet, but what its own handshake took.
    pub(crate) fn new(
        http: Arc<http1::Builder>,
        transport: T,
        service: RoutedService,
        state: Arc<Connection>,
    ) -> Self {
        let stage = begin(&http, transport, Bytes::new(), service, &state);
        Self { http, state, stage }
    }
}

fn begin<T: Transport>(
    http: &http1::Builder,
    transport: T,
    received: Bytes,
    service: RoutedService,
    state: &Arc<Connection>,
) -> Stage<T> {
    let io = TokioIo::new(WatchedIo::new(transport, received, Arc::clone(state)));
    Stage::InHttp { http: Box::new(http.serve_connection(io, service)), draining: false }
}

impl<T: Transport> Future for Driver<T> {
    type Output = Result<(), hyper::Error>;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let this = &mut *self;
        let command = this.state.poll_command(cx.waker());
        if command == Command::Close {
            return Poll::Ready(Ok(()));
        }
        loop {
            match &mut this.stage {
                Stage::AtRest { .. } if command == Command::Drain => return Poll::Ready(Ok(())),
                Stage::AtRest { transport, .. } => {
                    // An error shows again in the read that follows, and hyper reports it.
                    let _ready_or_broken = ready!(transport.poll_read_ready(cx));
                    let Stage::AtRest { transport, service } = this.take() else {
                        unreachable!("it was at rest")
                    };
                    this.stage = begin(&this.http, transport, Bytes::new(), service, &this.state);
                }
                Stage::InHttp { http, draining } => {
                    if command == Command::Drain && !*draining {
                        *draining = true;
                        Pin::new(&mut **http).graceful_shutdown();
                    }
                    if let Poll::Ready(ended) = Pin::new(&mut **http).poll(cx) {
                        this.stage = Stage::Ended;
                        return Poll::Ready(ended);
                    }
                    if *draining || !this.state.is_at_rest() {
                        return Poll::Pending;
                    }
                    let Stage::InHttp { http, .. } = this.take() else {
                        unreachable!("hyper had it")
                    };
                    let parts = http.into_parts();
                    let (transport, service) = (parts.io.into_inner().into_inner(), parts.service);
                    this.stage = if parts.read_buf.is_empty() {
                        Stage::AtRest { transport, service }
                    } else {
                        begin(&this.http, transport, parts.read_buf, service, &this.state)
                    };
                }
                Stage::Ended => unreachable!("a connection is not polled after its end"),
            }
        }
    }
}

impl<T: Transport> Driver<T> {
    fn take(&mut self) -> Stage<T> {
        mem::replace(&mut self.stage, Stage::Ended)
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use telemetry::Metrics;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };
    use warp::Filter;

    use super::*;
    use crate::{RouteTable, Routes, connection::Connections, server};

    const GET: &str = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";

    struct Pair {
        driver: Driver<TcpStream>,
        client: TcpStream,
    }

    impl Pair {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            let metrics = Metrics::new().unwrap();
            let routes = Routes::new("test").get("/x", warp::path!("x").map(|| "answered").boxed());
            let table = Arc::new(RouteTable::new(&metrics.http).with(routes));
            let open = Connections::new(metrics.http.listener("public")).open();
            let state = Arc::clone(open.connection());
            let service = RoutedService::new(table, Arc::clone(&state));
            let driver = Driver::new(Arc::new(server::builder()), stream, service, state);
            Self { driver, client }
        }

        /// Sends `bytes`, and drives the connection until the client has had `answers` answers and nothing more is to be
        /// done for it.
        async fn exchange(&mut self, bytes: &str, answers: usize) {
            self.client.write_all(bytes.as_bytes()).await.unwrap();
            let Self { driver, client } = self;
            let mut received = Vec::new();
            let mut chunk = [0; 1024];
            while received.windows(8).filter(|bytes| bytes == b"answered").count() < answers {
                let mut read = Box::pin(client.read(&mut chunk));
                let length = poll_fn(|cx| {
                    assert!(Pin::new(&mut *driver).poll(cx).is_pending(), "it goes on");
                    read.as_mut().poll(cx)
                });
                let length = length.await.unwrap();
                drop(read);
                received.extend_from_slice(&chunk[..length]);
            }
        }

        fn is_at_rest(&self) -> bool {
            matches!(self.driver.stage, Stage::AtRest { .. })
        }
    }

    #[tokio::test]
    async fn hyper_is_gone_between_two_requests() {
        let mut pair = Pair::new().await;
        for answers in [1, 1, 3, 40, 1] {
            pair.exchange(&GET.repeat(answers), answers).await;
            assert!(pair.is_at_rest(), "after {answers} requests at once");
        }
    }

    #[tokio::test]
    async fn the_beginning_of_the_next_request_is_kept() {
        let mut pair = Pair::new().await;
        for cut in 1..GET.len() {
            let (begin, end) = GET.split_at(cut);
            pair.exchange(&format!("{GET}{begin}"), 1).await;
            assert!(!pair.is_at_rest(), "{cut} bytes of a request have come");
            pair.exchange(end, 1).await;
            assert!(pair.is_at_rest());
        }
    }

    #[tokio::test]
    async fn a_body_nobody_has_read_is_not_taken_for_a_request() {
        let mut pair = Pair::new().await;
        let length = GET.len();
        let with_body = format!("GET /x HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        pair.exchange(&format!("{with_body}{GET}"), 1).await;
        assert!(!pair.is_at_rest(), "it had a body");
        pair.exchange(GET, 1).await;
        assert!(pair.is_at_rest(), "the last one had none");
    }
}
