//! The accept loop: one task per connection, on one of the listener's threads; a cap on connections, and
//! a bounded drain.

use std::{
    io,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll},
    time::Duration,
};

use hyper::server::conn::http1;
use hyper_util::rt::TokioIo;
use pin_project_lite::pin_project;
use telemetry::ListenerMetrics;
use tokio::{
    net::{TcpListener, TcpStream},
    sync::{OwnedSemaphorePermit, Semaphore},
};
use tokio_util::sync::CancellationToken;

use crate::{
    ListenerConfig, RouteTable,
    connection::{Command, Connection, Connections, OpenGuard, TimeLimits},
    io::WatchedIo,
    service::RoutedService,
    threads::ServingThreads,
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
/// If the threads that serve cannot be started.
pub async fn serve(
    listener: TcpListener,
    routes: RouteTable,
    config: ListenerConfig,
    metrics: ListenerMetrics,
    shutdown: CancellationToken,
) -> io::Result<()> {
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
    let http = builder();
    let accept = async {
        while let Ok(slot) = Arc::clone(&slots).acquire_owned().await {
            let stream = accept(&listener, &metrics).await;
            let open = connections.open();
            let state = Arc::clone(open.connection());
            let service = RoutedService::new(Arc::clone(&routes), Arc::clone(&state));
            let http = http.clone();
            threads.spawn(async move {
                let io = match TcpStream::from_std(stream) {
                    Ok(stream) => TokioIo::new(WatchedIo::new(stream, Arc::clone(&state))),
                    Err(error) => return tracing::warn!(%error, "a connection cannot be served"),
                };
                let http = http.serve_connection(io, service);
                run(CommandedConnection { http, state, draining: false }, open, slot).await;
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

fn builder() -> http1::Builder {
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

async fn run<C>(connection: CommandedConnection<C>, open: OpenGuard, slot: OwnedSemaphorePermit)
where
    CommandedConnection<C>: Future<Output = Result<(), hyper::Error>>,
{
    if let Err(error) = connection.await {
        tracing::debug!(%error, "a connection ended");
    }
    drop(open);
    drop(slot);
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

pin_project! {
    /// A connection of hyper that follows the commands of [`Connections`].
    struct CommandedConnection<C> {
        #[pin]
        http: C,
        state: Arc<Connection>,
        draining: bool,
    }
}

impl<C> Future for CommandedConnection<C>
where
    C: hyper_util::server::graceful::GracefulConnection<Error = hyper::Error>,
{
    type Output = Result<(), hyper::Error>;

    fn poll(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Self::Output> {
        let mut this = self.project();
        match this.state.poll_command(cx.waker()) {
            Command::Run => {}
            Command::Drain if *this.draining => {}
            Command::Drain => {
                *this.draining = true;
                this.http.as_mut().graceful_shutdown();
            }
            Command::Close => return Poll::Ready(Ok(())),
        }
        this.http.poll(cx)
    }
}
