//! Drives one connection: next to nothing while there is no request, a few hundred bytes of work for one that
//! is [`whole`], hyper for any other.
//!
//! hyper keeps some 18 KiB for a connection: what it reads into, what it writes from, the headers of the last
//! request, its state. With a thousand connections that take turns, these no longer fit the caches, and each
//! request waits for memory. So a connection at rest keeps its socket and a few words; what it reads and writes
//! is in buffers of its thread. If it needs hyper, that gets memory which the one before, on
//! whatever connection of this thread, has just given back.

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
    /// hyper has it; the flag is whether it has been told to end after this request.
    InHyper(Box<Http<T>>, bool),
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
        Stage::InHyper(Box::new(self.http.serve_connection(TokioIo::new(io), line.service)), false)
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
                Stage::AtRest(_) if command == Command::Drain => return Poll::Ready(Ok(())),
                Stage::AtRest(mut line) => match line.serve(&this.state, cx) {
                    Poll::Pending => (Stage::AtRest(line), false),
                    Poll::Ready(Next::Read) => (Stage::AtRest(line), true),
                    Poll::Ready(Next::Send(rest)) => (Stage::Sending(line, rest), true),
                    Poll::Ready(Next::Hyper(bytes)) => (this.hand_to_hyper(line, bytes), true),
                    Poll::Ready(Next::End) => return Poll::Ready(Ok(())),
                },
                Stage::Sending(mut line, mut rest) => match line.send(&mut rest, &this.state, cx) {
                    Poll::Pending => (Stage::Sending(line, rest), false),
                    Poll::Ready(Ok(())) => (Stage::AtRest(line), true),
                    Poll::Ready(Err(error)) => {
                        tracing::debug!(%error, "an answer could not be sent");
                        return Poll::Ready(Ok(()));
                    }
                },
                Stage::InHyper(mut http, mut draining) => {
                    if command == Command::Drain && !draining {
                        draining = true;
                        Pin::new(&mut *http).graceful_shutdown();
                    }
                    if let Poll::Ready(ended) = Pin::new(&mut *http).poll(cx) {
                        return Poll::Ready(ended);
                    }
                    if draining || !this.state.is_at_rest() {
                        (Stage::InHyper(http, draining), false)
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
        io::{AsyncReadExt, AsyncWriteExt},
        net::{TcpListener, TcpStream},
    };
    use warp::Filter;

    use super::*;
    use crate::{RouteTable, Routes, connection::Connections, server};

    const GET: &str = "GET /x HTTP/1.1\r\nhost: x\r\n\r\n";

    struct Pair<T: Transport> {
        driver: Driver<T>,
        client: T,
    }

    impl Pair<TcpStream> {
        async fn new() -> Self {
            let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
            let client = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
            let (stream, _) = listener.accept().await.unwrap();
            Self::over(stream, client)
        }
    }

    impl<T: Transport> Pair<T> {
        fn over(stream: T, client: T) -> Self {
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
            matches!(self.driver.stage, Stage::AtRest(_))
        }
    }

    #[tokio::test]
    async fn an_answer_is_sent_as_there_is_room() {
        let (stream, client) = tokio::io::duplex(GET.len());
        let mut pair = Pair::over(stream, client);
        for _ in 0..3 {
            pair.client.write_all(GET.as_bytes()).await.unwrap();
            let polled =
                poll_fn(|cx| Poll::Ready(Pin::new(&mut pair.driver).poll(cx).is_pending()));
            assert!(polled.await);
            assert!(matches!(pair.driver.stage, Stage::Sending(..)));
            pair.exchange("", 1).await;
            assert!(pair.is_at_rest());
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
