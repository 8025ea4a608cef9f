//! The accept loop: one task per connection, on one of the listener's threads; a cap on connections, and
//! a bounded drain.

use std::{future::poll_fn, io, pin::pin, sync::Arc, task::Poll, time::Duration};

use hyper::server::conn::http1;
use telemetry::ListenerMetrics;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::Semaphore,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::{sync::CancellationToken, task::AbortOnDropHandle};

use crate::{
    ListenerConfig, RouteTable,
    connection::{Command, Connection, Connections, TimeLimits},
    driver::{Driver, Transport},
    service::RoutedService,
    threads::ServingThreads,
    tls::Identity,
};

/// How long to wait after an error of `accept` that will not go away by itself, such as too many
/// open files.
const ACCEPT_BACK_OFF: Duration = Duration::from_millis(100);

/// Serves `routes` over HTTP/1.1 until `shutdown`, then drains.
///
/// Requests that no service has are answered here, with 404 or 405; rejections of the filters become
/// answers by [`recover`](crate::recover). What is not HTTP at all never gets that far: hyper answers it
/// with 400 or 431, without a body, and closes.
///
/// At the cap on connections, new ones wait in the backlog of the kernel until one closes. On
/// shutdown the listener closes, idle connections close, requests at hand are answered; what is left
/// after [`ListenerConfig::drain_timeout`] is cut.
///
/// # Errors
/// If the threads that serve cannot be started, or the files of [`ListenerConfig::tls`] cannot be used.
pub async fn serve(
    listener: TcpListener,
    routes: RouteTable,
    config: ListenerConfig,
    metrics: ListenerMetrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
    let identity = config.tls.load().map_err(io::Error::other)?;
    let tls = identity.as_ref().map(Identity::acceptor);
    let _renewal = identity.map(|identity| AbortOnDropHandle::new(tokio::spawn(identity.follow())));
    let threads = ServingThreads::start(metrics.name, config.thread_count())?;
    let routes = Arc::new(routes);
    let connections = Connections::new(metrics.clone());
    let limits = TimeLimits {
        header: config.header_timeout,
        idle: config.idle_timeout,
        write: config.write_timeout,
    };
    let sweeper = tokio::spawn(Arc::clone(&connections).sweep(limits));
    let slots = Arc::new(Semaphore::new(config.max_connections as usize));
    let http = Arc::new(builder());
    let accept = async {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let stream = accept(&listener, &metrics).await;
            let open = connections.open();
            let state = Arc::clone(open.connection());
            let service = RoutedService::new(Arc::clone(&routes), Arc::clone(&state));
            let (http, tls) = (Arc::clone(&http), tls.clone());
            threads.spawn(async move {
                let stream = match TcpStream::from_std(stream) {
                    Ok(stream) => stream,
                    Err(error) => return tracing::warn!(%error, "a connection cannot be served"),
                };
                match tls {
                    None => run(http, stream, service, state).await,
                    // Boxed: a plain connection has no room for it.
                    Some(tls) => Box::pin(run_tls(tls, http, stream, service, state)).await,
                }
                drop(open);
                drop(slot);
            });
        }
    };
    tokio::select! {
        () = accept => {}
        () = shutdown.cancelled() => {}
    }
    drop(listener);
    drain(&connections, &slots, &config).await;
    sweeper.abort();
    Ok(())
}

pub(crate) fn builder() -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        // Answers are small: one `send` of head and body together is cheaper than a vectored one.
        // `pipeline_flush` would do the same, but it withholds an answer while the next request, or
        // the rest of a refused body, has come only in part.
        .writev(false)
        // `Connections::sweep` sees to it, without a timer per request.
        .header_read_timeout(None)
        .max_header_size(32 * 1024)
        .max_buf_size(256 * 1024);
    builder
}

/// The next connection, bound to no runtime.
async fn accept(listener: &TcpListener, metrics: &ListenerMetrics) -> std::net::TcpStream {
    loop {
        match listener.accept().await {
            Ok((stream, _)) => match stream.set_nodelay(true).and_then(|()| stream.into_std()) {
                Ok(stream) => return stream,
                Err(error) => {
                    tracing::debug!(%error, "a connection was gone before it was served");
                }
            },
            Err(error) if is_about_one_connection(&error) => metrics.accept_errors.inc(),
            Err(error) => {
                metrics.accept_errors.inc();
                tracing::warn!(%error, "connections cannot be accepted, trying again");
                tokio::time::sleep(ACCEPT_BACK_OFF).await;
            }
        }
    }
}

fn is_about_one_connection(error: &io::Error) -> bool {
    use io::ErrorKind::{ConnectionAborted, ConnectionRefused, ConnectionReset, Interrupted};
    matches!(error.kind(), ConnectionAborted | ConnectionRefused | ConnectionReset | Interrupted)
}

async fn run_tls(
    tls: TlsAcceptor,
    http: Arc<http1::Builder>,
    stream: TcpStream,
    service: RoutedService,
    state: Arc<Connection>,
) {
    if let Some(stream) = handshake(&tls, stream, &state).await {
        run(http, stream, service, state).await;
    }
}

/// The handshake of TLS, unless it fails, takes too long, or the listener ends.
async fn handshake(
    tls: &TlsAcceptor,
    stream: TcpStream,
    state: &Connection,
) -> Option<TlsStream<TcpStream>> {
    state.handshake();
    let mut accept = pin!(tls.accept(stream));
    let accepted = poll_fn(|cx| match state.poll_command(cx.waker()) {
        Command::Run => accept.as_mut().poll(cx).map(Some),
        Command::Drain | Command::Close => Poll::Ready(None),
    });
    match accepted.await? {
        Ok(stream) => {
            state.ready();
            Some(stream)
        }
        Err(error) => {
            tracing::debug!(%error, "a handshake failed");
            None
        }
    }
}

async fn run(
    http: Arc<http1::Builder>,
    transport: impl Transport,
    service: RoutedService,
    state: Arc<Connection>,
) {
    if let Err(error) = Driver::new(http, transport, service, state).await {
        tracing::debug!(%error, "a connection ended");
    }
}

/// Waits until all connections are closed: nicely at first, then not.
async fn drain(connections: &Connections, slots: &Semaphore, config: &ListenerConfig) {
    connections.command(Command::Drain);
    let all = config.max_connections;
    if tokio::time::timeout(config.drain_timeout, slots.acquire_many(all)).await.is_ok() {
        return;
    }
    tracing::warn!(
        connections = connections.len(),
        "connections still open after the drain time-out are cut"
    );
    connections.command(Command::Close);
    let _closed = slots.acquire_many(all).await;
}
