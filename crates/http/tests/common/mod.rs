//! A server with a few routes, and a client that sends and shows raw bytes.

#![allow(dead_code, reason = "each test uses a part")]

use std::{convert::Infallible, net::SocketAddr, sync::Arc, time::Duration};

use http_server::{
    BodyLimits, HttpError, ListenerConfig, RouteTable, Routes, Segment, read_body, serve,
};
use model::StoreId;
use telemetry::Metrics;
use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::Notify,
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;
use warp::Filter;

/// Length of the body of `/large`.
pub(crate) const LARGE: usize = 64 << 20;
/// The most bytes `/echo` takes.
pub(crate) const ECHO_LIMIT: usize = 100_000;

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shutdown: CancellationToken,
    /// Lets `/wait` answer.
    pub(crate) go: Arc<Notify>,
    /// Told when a request for `/wait` has come.
    pub(crate) waiting: Arc<Notify>,
    metrics: Metrics,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    pub(crate) async fn start(config: ListenerConfig) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new().unwrap();
        let (go, waiting) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
        let table =
            RouteTable::new(&metrics.http).with(routes(Arc::clone(&go), Arc::clone(&waiting)));
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(
            listener,
            table,
            config,
            metrics.http.listener("public"),
            shutdown.clone(),
        ));
        Self { address, shutdown, go, waiting, metrics, task }
    }

    /// The metrics as they are now.
    pub(crate) fn metrics(&self) -> String {
        telemetry::render(&self.metrics.registry).unwrap()
    }

    /// Why it has ended by itself.
    pub(crate) async fn failed(self) -> std::io::Error {
        self.task.await.unwrap().unwrap_err()
    }

    /// Drains, and gives the metrics.
    pub(crate) async fn stop(self) -> String {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
        telemetry::render(&self.metrics.registry).unwrap()
    }
}

fn routes(go: Arc<Notify>, waiting: Arc<Notify>) -> Routes {
    type Store = Segment<StoreId>;
    let hello =
        warp::path!("hello" / Store).map(|store: Segment<StoreId>| -> Result<String, HttpError> {
            Ok(format!("hello {}", store.get("storeID")?))
        });
    let wait = warp::path!("wait").then(move || {
        let (go, waiting) = (Arc::clone(&go), Arc::clone(&waiting));
        async move {
            waiting.notify_one();
            go.notified().await;
            "waited"
        }
    });
    let large = warp::path!("large").map(|| vec![b'x'; LARGE]);
    let echo = warp::path!("echo")
        .and(warp::header::optional("content-length"))
        .and(warp::body::stream())
        .then(|declared, body| async move {
            let limits = BodyLimits { bytes: ECHO_LIMIT, time: Duration::from_millis(300) };
            read_body(body, declared, limits).await.map(|bytes| bytes.to_vec())
        });
    let reply = |status: u16, name: &'static str, value: &'static str| {
        warp::reply::with_header(
            warp::reply::with_status("", warp::http::StatusCode::from_u16(status).unwrap()),
            name,
            value,
        )
    };
    let empty = warp::path!("empty").map(String::new);
    let not_modified = warp::path!("not-modified").map(move || reply(304, "etag", "x"));
    let no_content = warp::path!("no-content").map(move || reply(204, "x-y", "z"));
    let dated = warp::path!("dated").map(move || reply(200, "date", "today"));
    let stream = warp::path!("stream").map(|| {
        warp::reply::stream(futures_util::stream::iter(["a", "b"].map(Ok::<_, Infallible>)))
    });
    let later = warp::path!("later").then(|| async {
        tokio::task::yield_now().await;
        "later"
    });
    Routes::new("test")
        .get("/hello/{storeID}", hello)
        .get("/empty", empty)
        .get("/not-modified", not_modified)
        .get("/no-content", no_content)
        .get("/dated", dated)
        .get("/stream", stream)
        .get("/later", later)
        .get("/wait", wait)
        .get("/large", large)
        .post("/echo", echo)
}

/// Sends `request` on a connection of its own and reads the answer until the server has nothing
/// more to say. Asks the server to close.
pub(crate) async fn exchange(address: SocketAddr, request: &str) -> String {
    let mut stream = TcpStream::connect(address).await.unwrap();
    let request = request.replacen("\r\n", "\r\nconnection: close\r\n", 1);
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    String::from_utf8(answer).unwrap()
}

/// Opens a connection and sends `request` as it is.
pub(crate) async fn send(address: SocketAddr, request: &str) -> TcpStream {
    let mut stream = TcpStream::connect(address).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    stream
}

/// Everything the server still sends, until it closes.
pub(crate) async fn rest(stream: &mut TcpStream) -> Vec<u8> {
    let mut bytes = Vec::new();
    // A reset is also an end.
    let _ = stream.read_to_end(&mut bytes).await;
    bytes
}

/// Reads until the text so far ends with `end`.
pub(crate) async fn read_until(stream: &mut (impl AsyncRead + Unpin), end: &str) -> String {
    let mut bytes = Vec::new();
    while !bytes.ends_with(end.as_bytes()) {
        let mut byte = [0];
        stream.read_exact(&mut byte).await.unwrap();
        bytes.push(byte[0]);
    }
    String::from_utf8(bytes).unwrap()
}
