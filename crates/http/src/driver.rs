//! Drives one connection: next to nothing while there is no request, a few hundred bytes of work for one that
//! is [`whole`], hyper for any other.
//!
//! hyper keeps some 18 KiB for a connection: what it reads into, what it writes from, the headers of the last
//! request, its state. With a thousand connections that take turns, these no longer fit the caches, and each
//! request waits for memory. So a connection at rest keeps its socket and a few words; what it reads and writes
//! is in buffers of its thread. If it needs hyper, the allocator can give it what the one before, on
//! whatever connection of this thread, has given back.

use std::{
    cell::RefCell,
    io, mem,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use bytes::{Buf, Bytes};
use hyper::server::conn::http1::{self, Parts};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::{
    connection::{Command, Connection},
    io::WatchedIo,
    service::{AnswerFuture, RoutedService},
    whole::{self, Date, Encoded},
};

/// Bytes that are read at once from a connection at rest.
const INPUT: usize = 16 << 10;

/// What the connections of a thread share. Nothing is in it from one poll to the next but the date.
struct Buffers {
    input: Box<[u8]>,
    output: Vec<u8>,
    date: Date,
}

thread_local! {
    static BUFFERS: RefCell<Buffers> = RefCell::new(Buffers {
        input: vec![0; INPUT].into(),
        output: Vec::new(),
        date: Date::new(),
    });
}

/// A stream of bytes: TCP, or TLS over it.
pub(crate) trait Transport: AsyncRead + AsyncWrite + Unpin + 'static {}

impl<T: AsyncRead + AsyncWrite + Unpin + 'static> Transport for T {}

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
    AtRest(Line<T>),
    /// The rest of an answer waits for room.
    Sending(Line<T>, Bytes),
    /// hyper has it, and has been told to end after this request if it is `draining`.
    InHyper {
        http: Box<Http<T>>,
        draining: bool,
    },
    /// The client is told that nothing more comes.
    Closing(Line<T>),
    Ended,
}

/// What a connection is while nothing is done for it.
struct Line<T> {
    transport: T,
    service: RoutedService,
}

/// What follows a read.
enum Next {
    /// Another read: the request is answered.
    Read,
    /// There is no room for the rest of the answer.
    Send(Bytes),
    /// hyper goes on, from what was received.
    Hyper(Bytes),
    End,
}

impl<T: Transport> Driver<T> {
    /// Nothing of `transport` has been read yet, but what its own handshake took.
    pub(crate) fn new(
        http: Arc<http1::Builder>,
        transport: T,
        service: RoutedService,
        state: Arc<Connection>,
    ) -> Self {
        Self { http, state, stage: Stage::AtRest(Line { transport, service }) }
    }

    fn hand_to_hyper(&self, line: Line<T>, received: Bytes) -> Stage<T> {
        let io = WatchedIo::new(line.transport, received, Arc::clone(&self.state));
        let http = self.http.serve_connection(TokioIo::new(io), line.service);
        Stage::InHyper { http: Box::new(http), draining: false }
    }
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
            let (stage, goes_on) = match mem::replace(&mut this.stage, Stage::Ended) {
                Stage::AtRest(line) if command == Command::Drain => (Stage::Closing(line), true),
                Stage::AtRest(mut line) => match line.serve(&this.state, cx) {
                    Poll::Pending => (Stage::AtRest(line), false),
                    Poll::Ready(Next::Read) => (Stage::AtRest(line), true),
                    Poll::Ready(Next::Send(rest)) => (Stage::Sending(line, rest), true),
                    Poll::Ready(Next::Hyper(bytes)) => (this.hand_to_hyper(line, bytes), true),
                    Poll::Ready(Next::End) => (Stage::Closing(line), true),
                },
                Stage::Sending(mut line, mut rest) => match line.send(&mut rest, &this.state, cx) {
                    Poll::Pending => (Stage::Sending(line, rest), false),
                    Poll::Ready(Ok(())) => (Stage::AtRest(line), true),
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(%error, "an answer could not be sent");
                        return Poll::Ready(Ok(()));
                    }
                },
                Stage::InHyper { mut http, mut draining } => {
                    if command == Command::Drain && !draining {
                        draining = true;
                        Pin::new(&mut *http).graceful_shutdown();
                    }
                    if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
                        return Poll::Ready(ended);
                    }
                    if draining || !this.state.is_at_rest() {
                        (Stage::InHyper { http, draining }, false)
                    } else {
                        let Parts { io, read_buf, service, .. } = http.into_parts();
                        let line = Line { transport: io.into_inner().into_inner(), service };
                        let stage = if read_buf.is_empty() {
                            Stage::AtRest(line)
                        } else {
                            this.hand_to_hyper(line, read_buf)
                        };
                        (stage, true)
                    }
                }
                Stage::Closing(mut line) => {
                    this.state.closing();
                    let closed = Pin::new(&mut line.transport).poll_shutdown(cx);
                    this.state.has_written(closed.is_ready());
                    match closed {
                        Poll::Pending => (Stage::Closing(line), false),
                        // The client may be gone.
                        Poll::Ready(_) => return Poll::Ready(Ok(())),
                    }
                }
                Stage::Ended => unreachable!("a connection is not polled after its end"),
            };
            this.stage = stage;
            if !goes_on {
                return Poll::Pending;
            }
        }
    }
}

impl<T: Transport> Line<T> {
    /// Reads once, and answers a request that is whole.
    fn serve(&mut self, state: &Connection, cx: &mut Context<'_>) -> Poll<Next> {
        BUFFERS.with_borrow_mut(|Buffers { input, output, date }| {
            let mut read = ReadBuf::new(input);
            match Pin::new(&mut self.transport).poll_read(cx, &mut read) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(Ok(())) if !read.filled().is_empty() => {}
                // Clients come and go.
                Poll::Ready(_) => return Poll::Ready(Next::End),
            }
            let bytes = read.filled();
            state.has_read(bytes.len());
            let hyper = || Poll::Ready(Next::Hyper(Bytes::copy_from_slice(bytes)));
            let Some(request) = whole::parse(bytes) else { return hyper() };
            let mut answer = self.service.answer(request);
            let Poll::Ready(Ok(response)) = Pin::new(&mut answer).poll(cx) else {
                self.service.begin_with(answer);
                return hyper();
            };
            output.clear();
            match whole::encode(response, date, output, cx) {
                Encoded::Written => {}
                Encoded::Left(response) => {
                    self.service.begin_with(AnswerFuture::Come(Some(response)));
                    return hyper();
                }
                Encoded::Broken => {
                    tracing::warn!("the body of an answer ended too early");
                    return Poll::Ready(Next::End);
                }
            }
            let mut rest = &output[..];
            Poll::Ready(match self.send(&mut rest, state, cx) {
                Poll::Ready(Ok(())) => Next::Read,
                Poll::Pending => Next::Send(Bytes::copy_from_slice(rest)),
                Poll::Ready(Err(error)) => {
                    tracing::debug!(%error, "an answer could not be sent");
                    Next::End
                }
            })
        })
    }

    /// Sends what there is room for, until nothing is left.
    fn send(
        &mut self,
        rest: &mut impl Buf,
        state: &Connection,
        cx: &mut Context<'_>,
    ) -> Poll<io::Result<()>> {
        let transport = &mut self.transport;
        loop {
            let polled = if rest.has_remaining() {
                Pin::new(&mut *transport).poll_write(cx, rest.chunk())
            } else {
                // TLS takes an answer into a buffer of its own.
                Pin::new(&mut *transport).poll_flush(cx).map_ok(|()| 0)
            };
            state.has_written(polled.is_ready());
            match ready!(polled)? {
                0 if rest.has_remaining() => {
                    return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
                }
                0 => return Poll::Ready(Ok(())),
                length => rest.advance(length),
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use telemetry::Metrics;
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex},
        net::{TcpListener, TcpStream},
    };
    use warp::Filter;

    use super::*;
    use crate::{
        RouteTable, Routes,
        connection::{Connections, OpenGuard},
        server,
    };

    const GET: &str = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";
    const POST: &str = "POST /x HTTP/1.1\r\nhost: x\r\ncontent-length: 5\r\n\r\nGET /";
    const CHUNKED: &str = "POST /x HTTP/1.1\r\nhost: x\r\ntransfer-encoding: chunked\r\n\r\n\
                           2\r\nGE\r\n3\r\nT /\r\n0\r\n\r\n";

    struct Served<T: Transport> {
        driver: Driver<T>,
        connections: Arc<Connections>,
        _open: OpenGuard,
    }

    impl<T: Transport> Served<T> {
        fn new(transport: T) -> Self {
            let metrics = Metrics::new().unwrap();
            let path = warp::path!("x");
            let routes = Routes::new("test")
                .get("/x", path.map(|| "answered"))
                .post("/x", path.and(warp::body::bytes()).map(|_| "answered"));
            let table = Arc::new(RouteTable::new(&metrics.http).with(routes));
            let connections = Connections::new(metrics.http.listener("public"));
            let open = connections.open();
            let state = Arc::clone(open.connection());
            let service = RoutedService::new(table, Arc::clone(&state));
            let driver = Driver::new(Arc::new(server::builder()), transport, service, state);
            Self { driver, connections, _open: open }
        }

        /// Drives the connection once; whether it goes on.
        async fn drive(&mut self) -> bool {
            poll_fn(|cx| Poll::Ready(Pin::new(&mut self.driver).poll(cx).is_pending())).await
        }

        /// Drives the connection until `client` has had so many answers.
        async fn answer(&mut self, client: &mut (impl AsyncRead + Unpin), answers: usize) {
            let mut received = Vec::new();
            while received.windows(8).filter(|bytes| bytes == b"answered").count() < answers {
                let mut read = Box::pin(client.read_buf(&mut received));
                let length = poll_fn(|cx| {
                    assert!(Pin::new(&mut self.driver).poll(cx).is_pending(), "it goes on");
                    read.as_mut().poll(cx)
                });
                assert_ne!(length.await.unwrap(), 0);
            }
        }

        fn is_at_rest(&self) -> bool {
            matches!(self.driver.stage, Stage::AtRest(_))
        }
    }

    async fn over_tcp() -> (Served<TcpStream>, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let (stream, _) = listener.accept().await.unwrap();
        (Served::new(stream), client)
    }

    /// A connection that waits for room with an answer, which is not hyper's.
    async fn sending() -> (Served<DuplexStream>, DuplexStream) {
        let (stream, mut client) = duplex(GET.len());
        let mut served = Served::new(stream);
        client.write_all(GET.as_bytes()).await.unwrap();
        assert!(served.drive().await);
        assert!(matches!(served.driver.stage, Stage::Sending(..)));
        (served, client)
    }

    #[tokio::test]
    async fn an_answer_is_sent_as_there_is_room() {
        let (mut served, mut client) = sending().await;
        served.answer(&mut client, 1).await;
        assert!(served.is_at_rest());
    }

    #[tokio::test]
    async fn an_answer_is_sent_to_its_end_before_the_connection_drains() {
        let (served, mut client) = sending().await;
        served.connections.command(Command::Drain);
        let mut received = String::new();
        let (ended, read) = tokio::join!(served.driver, client.read_to_string(&mut received));
        ended.unwrap();
        read.unwrap();
        assert!(received.ends_with("answered"), "{received}");
    }

    #[tokio::test]
    async fn an_answer_that_is_not_taken_can_be_cut() {
        let (mut served, _client) = sending().await;
        served.connections.command(Command::Close);
        assert!(!served.drive().await);
    }

    #[tokio::test]
    async fn hyper_is_gone_between_two_requests_without_a_body() {
        let (mut served, mut client) = over_tcp().await;
        for answers in [1, 1, 3, 40, 1] {
            for request in [GET, POST, CHUNKED] {
                client.write_all(request.repeat(answers).as_bytes()).await.unwrap();
                served.answer(&mut client, answers).await;
                assert_eq!(served.is_at_rest(), request == GET, "after {answers} of {request}");
            }
        }
    }

    #[tokio::test]
    async fn the_beginning_of_the_next_request_is_kept() {
        let (mut served, mut client) = over_tcp().await;
        for request in [GET, POST, CHUNKED] {
            for cut in 1..request.len() {
                let (begin, end) = request.split_at(cut);
                client.write_all(format!("{GET}{begin}").as_bytes()).await.unwrap();
                served.answer(&mut client, 1).await;
                assert!(!served.is_at_rest(), "{cut} bytes of a request have come");
                client.write_all(end.as_bytes()).await.unwrap();
                served.answer(&mut client, 1).await;
                assert_eq!(served.is_at_rest(), request == GET);
            }
        }
    }

    #[tokio::test]
    async fn requests_of_all_kinds_follow_each_other_through_a_narrow_line() {
        for width in [1, 7, 64, 1000] {
            let (stream, client) = duplex(width);
            let mut served = Served::new(stream);
            let (mut reader, mut writer) = tokio::io::split(client);
            let kinds = [GET, POST, CHUNKED];
            let sent: String = (0..60_usize).map(|n| kinds[n * n / 2 % 3]).collect();
            let write = tokio::spawn(async move {
                writer.write_all(sent.as_bytes()).await.unwrap();
                writer
            });
            served.answer(&mut reader, 60).await;
            assert!(served.is_at_rest(), "{width} bytes wide");
            write.await.unwrap();
        }
    }

    #[tokio::test]
    async fn a_body_nobody_has_read_is_not_taken_for_a_request() {
        let (mut served, mut client) = over_tcp().await;
        let length = GET.len();
        let with_body = format!("GET /x HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        client.write_all(format!("{with_body}{GET}").as_bytes()).await.unwrap();
        served.answer(&mut client, 1).await;
        assert!(!served.is_at_rest(), "it had a body");
        client.write_all(GET.as_bytes()).await.unwrap();
        served.answer(&mut client, 1).await;
        assert!(served.is_at_rest(), "the last one had none");
    }
}
