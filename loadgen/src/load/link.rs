//! A connection to the server, and one request over it at a time.
//!
//! Nearly all connections of a run wait for an answer nearly all of the time. What each keeps meanwhile is
//! touched once a request, by then no longer in any cache, and is taken from what the server could do on the same
//! machine: so it is a socket, a few words, and the request. What comes is read into one buffer of the thread: see ADR 12.

use std::{
    cell::RefCell,
    future::poll_fn,
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::{TlsConnector, client::TlsStream};
use tokio_util::either::Either;

use super::wire::{self, Malformed, Received, Response};
use crate::server::Endpoint;

/// Bytes that are read at once.
const SCRATCH: usize = 64 << 10;

thread_local! {
    /// What one read brings, until it is looked at.
    static SCRATCH_BUFFER: RefCell<Box<[u8]>> = RefCell::new(vec![0; SCRATCH].into());
}

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// There was no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    TimeOut(Duration),
    /// The connection was lost before all of the answer was there.
    #[error("the connection was lost")]
    Lost(#[source] io::Error),
    /// What came is not HTTP.
    #[error(transparent)]
    Malformed(#[from] Malformed),
}

/// A connection that is opened when it is needed, and kept until it is closed or fails.
pub(crate) struct Link {
    open: Option<Open>,
    /// The longest that a request may take, connecting included.
    timeout: Duration,
}

impl Link {
    /// No connection yet.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { open: None, timeout }
    }

    /// Sends a request, given as the bytes of it, and reads the answer to its end.
    ///
    /// A connection that the server has closed since the last answer is opened anew. A request of which the server may
    /// have read anything is never sent again.
    ///
    /// # Errors
    /// [`LinkError`]; after it the next request opens another connection.
    pub(crate) async fn exchange(
        &mut self,
        endpoint: &Endpoint,
        request: &[u8],
    ) -> Result<Response, LinkError> {
        let Self { open, timeout } = self;
        let deadline = Instant::now() + *timeout;
        // Taken out, so that it is dropped with this future, and after a failure.
        if let Some(known) = open.take() {
            match timeout_at(deadline, known.exchange(request)).await {
                Ok(Err(Failed::Unsent(_))) => {}
                Ok(outcome) => return keep(open, outcome),
                Err(_) => return Err(LinkError::TimeOut(*timeout)),
            }
        }
        let Ok(connected) = timeout_at(deadline, connect(endpoint)).await else {
            let error = format!("no connection within {timeout:?}");
            return Err(LinkError::Connect(io::Error::new(io::ErrorKind::TimedOut, error)));
        };
        let new = connected.map_err(LinkError::Connect)?;
        match timeout_at(deadline, new.exchange(request)).await {
            Ok(outcome) => keep(open, outcome),
            Err(_) => Err(LinkError::TimeOut(*timeout)),
        }
    }
}

/// Keeps the connection for the next request, if it can carry one.
fn keep(open: &mut Option<Open>, outcome: Exchanged) -> Result<Response, LinkError> {
    let (response, connection) = outcome.map_err(|failed| match failed {
        Failed::Unsent(error) => LinkError::Lost(error),
        Failed::Sent(error) => error,
    })?;
    *open = connection;
    Ok(response)
}

/// A response, and the connection if it can carry another request.
type Exchanged = Result<(Response, Option<Open>), Failed>;

/// What became of a request without an answer.
enum Failed {
    /// The server has read nothing of it.
    Unsent(io::Error),
    /// It may have.
    Sent(LinkError),
}

/// An open connection. Between two requests nothing of it is read.
struct Open {
    stream: Either<TcpStream, Box<TlsStream<TcpStream>>>,
    /// The beginning of an answer that came in several reads.
    received: Vec<u8>,
}

impl Open {
    async fn exchange(mut self, request: &[u8]) -> Exchanged {
        poll_fn(|cx| Poll::Ready(self.check_silence(cx))).await.map_err(Failed::Unsent)?;
        let mut unsent = request;
        let mut broken = None;
        let received = poll_fn(|cx| {
            // A server may refuse a request before it has read all of it, so there can be an answer although not all
            // is sent, and although the rest cannot be.
            if broken.is_none()
                && let Err(error) = self.send(cx, &mut unsent)
            {
                // TLS may have sent something of what it says it has not taken.
                let plain = matches!(self.stream, Either::Left(_));
                if plain && unsent.len() == request.len() {
                    return Poll::Ready(Err(Failed::Unsent(error)));
                }
                broken = Some(error);
            }
            self.poll_answer(cx).map_err(Failed::Sent)
        });
        let Received { response, keep_alive, .. } = received.await?;
        let reusable = keep_alive && unsent.is_empty();
        Ok((response, reusable.then_some(self)))
    }

    /// Whether the connection is still as the last answer left it. What comes after this has looked, or is not yet known to have
    /// come, is taken for the answer: HTTP/1.1 has nothing to tell them apart by.
    ///
    /// # Errors
    /// If the server has closed the connection, or says something that nobody has asked for, such as 408.
    fn check_silence(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        let mut byte = [0];
        let mut byte = ReadBuf::new(&mut byte);
        match Pin::new(&mut self.stream).poll_read(cx, &mut byte) {
            Poll::Pending => Ok(()),
            Poll::Ready(Ok(())) if byte.filled().is_empty() => {
                Err(io::ErrorKind::UnexpectedEof.into())
            }
            Poll::Ready(Ok(())) => {
                let problem = "the server spoke before it was asked";
                Err(io::Error::new(io::ErrorKind::InvalidData, problem))
            }
            Poll::Ready(Err(error)) => Err(error),
        }
    }

    /// Sends what there is room for.
    fn send(&mut self, cx: &mut Context<'_>, unsent: &mut &[u8]) -> io::Result<()> {
        while !unsent.is_empty() {
            match Pin::new(&mut self.stream).poll_write(cx, unsent)? {
                Poll::Ready(0) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(length) => *unsent = &unsent[length..],
                Poll::Pending => return Ok(()),
            }
        }
        // Of TLS some may wait for room, and is sent by the next call.
        let _sent_or_waiting = Pin::new(&mut self.stream).poll_flush(cx)?;
        Ok(())
    }

    /// Reads until all of an answer is there.
    fn poll_answer(&mut self, cx: &mut Context<'_>) -> Poll<Result<Received, LinkError>> {
        SCRATCH_BUFFER.with_borrow_mut(|scratch| {
            loop {
                let mut read = ReadBuf::new(scratch);
                ready!(Pin::new(&mut self.stream).poll_read(cx, &mut read))
                    .map_err(LinkError::Lost)?;
                let (read, ended) = (read.filled(), read.filled().is_empty());
                let in_parts = !self.received.is_empty();
                if in_parts {
                    self.received.extend_from_slice(read);
                }
                let bytes = if in_parts { &self.received } else { read };
                match wire::parse(bytes, ended)? {
                    Some(mut received) => {
                        // More than the answer is an answer to nothing.
                        received.keep_alive &= received.length == bytes.len();
                        self.received = Vec::new();
                        return Poll::Ready(Ok(received));
                    }
                    None if ended => {
                        let early = io::ErrorKind::UnexpectedEof.into();
                        return Poll::Ready(Err(LinkError::Lost(early)));
                    }
                    None if in_parts => {}
                    None => self.received.extend_from_slice(read),
                }
            }
        })
    }
}

async fn connect(endpoint: &Endpoint) -> io::Result<Open> {
    let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await?;
    stream.set_nodelay(true)?;
    let stream = match &endpoint.name {
        None => Either::Left(stream),
        Some(name) => {
            let connector = TlsConnector::from(Arc::clone(&endpoint.tls));
            Either::Right(Box::new(connector.connect(name.clone(), stream).await?))
        }
    };
    Ok(Open { stream, received: Vec::new() })
}

#[cfg(test)]
mod tests {
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

    use super::*;
    use crate::Server;

    const TIMEOUT: Duration = Duration::from_secs(20);
    const ANSWER: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsold";

    async fn server() -> (TcpListener, Server) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        (listener, url.parse().unwrap())
    }

    /// Accepts a connection, reads a request, and answers; gives the open connection.
    async fn answer(listener: &TcpListener, answer: &[u8]) -> TcpStream {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.windows(4).any(|bytes| bytes == b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        stream.write_all(answer).await.unwrap();
        stream
    }

    const REQUEST: &[u8] = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n";

    #[tokio::test]
    async fn a_connection_closed_between_requests_is_opened_anew() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        for _ in 0..3 {
            let exchange = link.exchange(server.endpoint(), REQUEST);
            // Closed before the client gets to see the answer: nothing tells it later.
            let closing = async { drop(answer(&listener, ANSWER).await) };
            let (response, ()) = tokio::join!(exchange, closing);
            assert_eq!(response.unwrap().body, b"sold");
        }
    }

    #[tokio::test]
    async fn a_request_that_may_have_been_read_is_not_sent_again() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        for part in [&b""[..], b"HTTP/1.1 200", &ANSWER[..ANSWER.len() - 1]] {
            let exchange = link.exchange(server.endpoint(), REQUEST);
            let closing = async { drop(answer(&listener, part).await) };
            let (response, ()) = tokio::join!(exchange, closing);
            assert!(matches!(response, Err(LinkError::Lost(_))), "{response:?}");
        }
        // The next request opens another connection, and it is the only one there.
        let exchange = link.exchange(server.endpoint(), REQUEST);
        let (response, _stream) = tokio::join!(exchange, answer(&listener, ANSWER));
        assert!(response.is_ok());
        let another = futures_util::FutureExt::now_or_never(listener.accept());
        assert!(another.is_none(), "{another:?}");
    }

    #[tokio::test]
    async fn a_refusal_is_heard_while_the_request_is_still_being_sent() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        // More than all buffers between the two take, and the server reads only the head.
        let request = [REQUEST, &vec![b'x'; 64 << 20]].concat();
        let exchange = link.exchange(server.endpoint(), &request);
        let (response, _stream) = tokio::join!(exchange, answer(&listener, ANSWER));
        assert_eq!(response.unwrap().body, b"sold");
        assert!(link.open.is_none(), "the server would take the rest for a request");
    }

    #[tokio::test]
    async fn an_answer_in_many_pieces_is_read_whole() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        let body = vec![b'x'; 3 * SCRATCH];
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        let exchange = link.exchange(server.endpoint(), REQUEST);
        let serve = async {
            let mut stream = answer(&listener, &[]).await;
            for piece in head.as_bytes().chunks(7).chain(body.chunks(SCRATCH / 2)) {
                stream.write_all(piece).await.unwrap();
                tokio::task::yield_now().await;
            }
            stream
        };
        let (response, _stream) = tokio::join!(exchange, serve);
        assert_eq!(response.unwrap().body, body);
        assert!(link.open.is_some());
    }

    #[tokio::test]
    async fn what_nobody_asked_for_costs_the_connection_only() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        let two = [ANSWER, ANSWER].concat();
        for _ in 0..3 {
            let exchange = link.exchange(server.endpoint(), REQUEST);
            let (response, stream) = tokio::join!(exchange, answer(&listener, &two));
            assert_eq!(response.unwrap().body, b"sold");
            drop(stream);
        }
    }
}
