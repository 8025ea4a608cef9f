//! A connection to the server, and one request over it at a time.
//!
//! This is `hyper`, the engine of `reqwest`, without what `reqwest` puts around it for a general client: see
//! ADR 12. No pool, no redirects, nothing sent again behind the back of the figures; the task that sends a
//! request also drives its connection.

use std::{
    io,
    pin::{Pin, pin},
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::{
    Request, Response,
    client::conn::http1::{self, SendRequest},
};
use hyper_util::rt::TokioIo;
use tokio::{
    io::{AsyncRead, AsyncWrite},
    net::TcpStream,
    time::{Instant, timeout_at},
};
use tokio_rustls::TlsConnector;

use crate::server::Endpoint;

type Outgoing = Request<Full<Bytes>>;
/// What reads and writes the connection, until that is closed.
type Driver = Pin<Box<dyn Future<Output = hyper::Result<()>>>>;

/// Why there was no answer.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// There was no connection.
    #[error("cannot connect")]
    Connect(#[source] io::Error),
    /// There was no answer in time.
    #[error("no answer within {0:?}")]
    TimeOut(Duration),
    /// The connection was lost, or what came over it is not HTTP.
    #[error(transparent)]
    Http(#[from] hyper::Error),
}

/// A connection that is opened when it is needed, and kept until it is closed or fails.
pub(crate) struct Link {
    open: Option<Open>,
    /// The longest that a request may take, connecting included.
    timeout: Duration,
}

struct Open {
    requests: SendRequest<Full<Bytes>>,
    /// Until the connection is closed: only without it does a request fail that waits for an answer.
    driver: Option<Driver>,
}

impl Link {
    /// No connection yet.
    pub(crate) fn new(timeout: Duration) -> Self {
        Self { open: None, timeout }
    }

    /// Sends a request and reads the answer to its end.
    ///
    /// # Errors
    /// [`LinkError`]; after it the next request opens another connection.
    pub(crate) async fn exchange(
        &mut self,
        endpoint: &Endpoint,
        request: Outgoing,
    ) -> Result<Response<Bytes>, LinkError> {
        let Self { open, timeout } = self;
        let deadline = Instant::now() + *timeout;
        // Taken out, so that it is dropped with this future, and after a failure.
        let request = match open.take() {
            None => request,
            Some(mut known) => match timeout_at(deadline, known.exchange(request)).await {
                Ok(Ok(response)) => {
                    *open = Some(known);
                    return Ok(response);
                }
                Ok(Err(Lost::Sent(error))) => return Err(error.into()),
                // The server had closed the connection between two requests, as it may.
                Ok(Err(Lost::Unsent(request, _))) => *request,
                Err(_) => return Err(LinkError::TimeOut(*timeout)),
            },
        };
        let Ok(connected) = timeout_at(deadline, connect(endpoint)).await else {
            let error = format!("no connection within {timeout:?}");
            return Err(LinkError::Connect(io::Error::new(io::ErrorKind::TimedOut, error)));
        };
        let mut new = connected?;
        match timeout_at(deadline, new.exchange(request)).await {
            Ok(Ok(response)) => {
                *open = Some(new);
                Ok(response)
            }
            Ok(Err(Lost::Sent(error) | Lost::Unsent(_, error))) => Err(error.into()),
            Err(_) => Err(LinkError::TimeOut(*timeout)),
        }
    }
}

/// What became of a request whose connection was lost.
enum Lost {
    /// Some of it may have reached the server.
    Sent(hyper::Error),
    /// None of it has.
    Unsent(Box<Outgoing>, hyper::Error),
}

impl From<hyper::Error> for Lost {
    fn from(error: hyper::Error) -> Self {
        Self::Sent(error)
    }
}

impl Open {
    async fn exchange(&mut self, request: Outgoing) -> Result<Response<Bytes>, Lost> {
        let Self { requests, driver } = self;
        let mut exchange = pin!(async {
            // After an answer, the driver may have to finish with it first.
            if let Err(error) = requests.ready().await {
                return Err(Lost::Unsent(Box::new(request), error));
            }
            let (head, body) = match requests.try_send_request(request).await {
                Ok(response) => response.into_parts(),
                Err(mut failed) => {
                    return Err(match failed.take_message() {
                        Some(request) => Lost::Unsent(Box::new(request), failed.into_error()),
                        None => Lost::Sent(failed.into_error()),
                    });
                }
            };
            Ok(Response::from_parts(head, body.collect().await?.to_bytes()))
        });
        std::future::poll_fn(|context| {
            drive(driver, context);
            match exchange.as_mut().poll(context) {
                Poll::Pending if driver.is_some() => {
                    drive(driver, context);
                    exchange.as_mut().poll(context)
                }
                outcome => outcome,
            }
        })
        .await
    }
}

/// Reads and writes what it can. What ends the connection is what the exchange fails with.
fn drive(driver: &mut Option<Driver>, context: &mut Context<'_>) {
    if driver.as_mut().is_some_and(|driver| driver.as_mut().poll(context).is_ready()) {
        *driver = None;
    }
}

async fn connect(endpoint: &Endpoint) -> Result<Open, LinkError> {
    let stream = TcpStream::connect((&*endpoint.host, endpoint.port)).await;
    let stream = stream.and_then(|stream| stream.set_nodelay(true).map(|()| stream));
    let stream = stream.map_err(LinkError::Connect)?;
    match &endpoint.name {
        None => handshake(stream).await,
        Some(name) => {
            let connector = TlsConnector::from(Arc::clone(&endpoint.tls));
            let stream = connector.connect(name.clone(), stream).await;
            handshake(stream.map_err(LinkError::Connect)?).await
        }
    }
}

async fn handshake<S>(stream: S) -> Result<Open, LinkError>
where
    S: AsyncRead + AsyncWrite + Unpin + 'static,
{
    // Head and body are short: one plain write of both costs less than a vectored one.
    let (requests, driver) =
        http1::Builder::new().writev(false).handshake(TokioIo::new(stream)).await?;
    Ok(Open { requests, driver: Some(Box::pin(driver)) })
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
        while !head.ends_with(b"\r\n\r\n") {
            assert_ne!(stream.read_buf(&mut head).await.unwrap(), 0);
        }
        stream.write_all(answer).await.unwrap();
        stream
    }

    fn request() -> Outgoing {
        Request::new(Full::default())
    }

    #[tokio::test]
    async fn a_connection_closed_between_requests_is_opened_anew() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        for _ in 0..3 {
            let exchange = link.exchange(server.endpoint(), request());
            // Closed before the client gets to see the answer: nothing tells it later.
            let closing = async { drop(answer(&listener, ANSWER).await) };
            let (response, ()) = tokio::join!(exchange, closing);
            assert_eq!(response.unwrap().into_body(), "sold");
        }
    }

    #[tokio::test]
    async fn a_request_that_may_have_been_read_is_not_sent_again() {
        let (listener, server) = server().await;
        let mut link = Link::new(TIMEOUT);
        for part in [&b""[..], b"HTTP/1.1 200", &ANSWER[..ANSWER.len() - 1]] {
            let exchange = link.exchange(server.endpoint(), request());
            let closing = async { drop(answer(&listener, part).await) };
            let (response, ()) = tokio::join!(exchange, closing);
            assert!(matches!(response, Err(LinkError::Http(_))), "{response:?}");
        }
        // The next request opens another connection, and it is the only one there.
        let exchange = link.exchange(server.endpoint(), request());
        let (response, _stream) = tokio::join!(exchange, answer(&listener, ANSWER));
        assert!(response.is_ok());
        let another = futures_util::FutureExt::now_or_never(listener.accept());
        assert!(another.is_none(), "{another:?}");
    }
}
