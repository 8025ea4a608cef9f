//! Ingest on a real socket, over a log that does what the test says; and a client of raw bytes.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::{BTreeSet, VecDeque},
    net::SocketAddr,
    sync::Arc,
};

use bytes::Bytes;
use futures_util::{FutureExt, future::BoxFuture};
use http_server::{ListenerConfig, RouteTable};
use ingest::{IngestArgs, IngestHandle};
use log::{AppendError, Bounds, Log, MemoryLog, ReadError, Record, Retention, TrimError};
use model::{Batch, Offset, Partition, PartitionCount, Purchase};
use telemetry::Metrics;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    sync::{Mutex, Semaphore},
    task::JoinHandle,
};
use tokio_util::sync::CancellationToken;

/// A log in memory, behind a gate and a script.
#[derive(Debug)]
pub(crate) struct ScriptedLog {
    pub(crate) inner: Arc<MemoryLog>,
    /// Every append takes a permit for good; many unless the test takes them away.
    pub(crate) gate: Arc<Semaphore>,
    /// What the next appends answer instead of appending.
    pub(crate) script: std::sync::Mutex<VecDeque<AppendError>>,
    /// Partitions that are out of reach.
    pub(crate) unavailable: std::sync::Mutex<BTreeSet<Partition>>,
    /// The payload of every attempt.
    pub(crate) attempts: std::sync::Mutex<Vec<Bytes>>,
}

impl ScriptedLog {
    /// Open, and without a script.
    pub(crate) fn new(partitions: u32) -> Arc<Self> {
        Arc::new(Self {
            inner: MemoryLog::new(PartitionCount::new(partitions).unwrap()),
            gate: Arc::new(Semaphore::new(1_000_000)),
            script: std::sync::Mutex::default(),
            unavailable: std::sync::Mutex::default(),
            attempts: std::sync::Mutex::default(),
        })
    }

    /// Lets no append through from now on.
    pub(crate) fn shut(&self) {
        self.gate.forget_permits(usize::MAX);
    }

    /// Lets all appends through again.
    pub(crate) fn open(&self) {
        self.gate.add_permits(1_000_000);
    }

    /// All batches of a partition, in order.
    pub(crate) async fn batches(&self, partition: u32) -> Vec<Batch> {
        let partition = Partition(partition);
        let bounds = self.inner.bounds(partition);
        let mut batches = Vec::new();
        while Offset(batches.len() as u64) < bounds.next {
            let from = Offset(batches.len() as u64);
            for record in self.inner.read(partition, from, 1 << 20).await.unwrap() {
                batches.push(Batch::decode(&record.payload).unwrap());
            }
        }
        batches
    }

    /// All purchases of all partitions.
    pub(crate) async fn purchases(&self) -> Vec<Purchase> {
        let mut purchases = Vec::new();
        for partition in self.inner.partitions().iter() {
            let batches = self.batches(partition.0).await;
            purchases.extend(batches.into_iter().flat_map(|batch| batch.purchases));
        }
        purchases
    }
}

impl Log for ScriptedLog {
    fn partitions(&self) -> PartitionCount {
        self.inner.partitions()
    }

    fn append(
        &self,
        partition: Partition,
        payload: Bytes,
    ) -> BoxFuture<'static, Result<Offset, AppendError>> {
        self.attempts.lock().unwrap().push(payload.clone());
        let (inner, gate) = (Arc::clone(&self.inner), Arc::clone(&self.gate));
        let error = self.script.lock().unwrap().pop_front();
        async move {
            gate.acquire().await.unwrap().forget();
            match error {
                Some(error) => Err(error),
                None => inner.append(partition, payload).await,
            }
        }
        .boxed()
    }

    fn read(
        &self,
        partition: Partition,
        from: Offset,
        max_bytes: usize,
    ) -> BoxFuture<'static, Result<Vec<Record>, ReadError>> {
        self.inner.read(partition, from, max_bytes)
    }

    fn bounds(&self, partition: Partition) -> Bounds {
        self.inner.bounds(partition)
    }

    fn trim(
        &self,
        partition: Partition,
        retention: Retention,
    ) -> BoxFuture<'static, Result<Bounds, TrimError>> {
        self.inner.trim(partition, retention)
    }

    fn unavailable(&self, partition: Partition) -> Option<String> {
        let unavailable = self.unavailable.lock().unwrap();
        unavailable.contains(&partition).then(|| "its leader is gone".to_owned())
    }
}

/// Settings under which no tick comes between.
pub(crate) fn quiet() -> IngestArgs {
    IngestArgs { tick_interval: std::time::Duration::from_hours(1), ..IngestArgs::default() }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) log: Arc<ScriptedLog>,
    pub(crate) handle: IngestHandle,
    pub(crate) listener_shutdown: CancellationToken,
    pub(crate) ingest_shutdown: CancellationToken,
    metrics: Metrics,
    task: Mutex<Option<JoinHandle<std::io::Result<()>>>>,
}

impl Server {
    pub(crate) async fn start(args: IngestArgs, partitions: u32) -> Arc<Self> {
        let log = ScriptedLog::new(partitions);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = Metrics::new().unwrap();
        let (listener_shutdown, ingest_shutdown) =
            (CancellationToken::new(), CancellationToken::new());
        let as_log: Arc<dyn Log> = Arc::<ScriptedLog>::clone(&log);
        let handle = ingest::start(&args, &as_log, None, &metrics.ingest, &ingest_shutdown);
        let task = tokio::spawn(http_server::serve(
            listener,
            RouteTable::new(&metrics.http).with(ingest::routes(
                handle.clone(),
                &args,
                metrics.ingest.clone(),
            )),
            ListenerConfig::default(),
            metrics.http.listener("public"),
            listener_shutdown.clone(),
        ));
        let task = Mutex::new(Some(task));
        Arc::new(Self { address, log, handle, listener_shutdown, ingest_shutdown, metrics, task })
    }

    /// Drains the listener, then ingest.
    pub(crate) async fn stop(&self) {
        self.listener_shutdown.cancel();
        if let Some(task) = self.task.lock().await.take() {
            task.await.unwrap().unwrap();
        }
        self.ingest_shutdown.cancel();
        self.handle.drained().await;
    }

    pub(crate) async fn client(&self) -> Client {
        Client { stream: TcpStream::connect(self.address).await.unwrap(), unread: Vec::new() }
    }

    /// The value of a metric, written with its labels.
    pub(crate) fn metric(&self, name: &str) -> Option<f64> {
        let text = telemetry::render(&self.metrics.registry).unwrap();
        let line = text.lines().find(|line| line.split(' ').next() == Some(name))?;
        line.split(' ').nth(1)?.parse().ok()
    }

    /// Waits until a metric has reached a value. The metric is the only sign of what is meant.
    pub(crate) async fn metric_reaches(&self, name: &str, value: f64) {
        while self.metric(name).unwrap_or(0.0) < value {
            tokio::task::yield_now().await;
        }
    }
}

/// One connection.
pub(crate) struct Client {
    stream: TcpStream,
    unread: Vec<u8>,
}

#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Answer {
    pub(crate) status: u16,
    pub(crate) headers: Vec<(String, String)>,
    pub(crate) body: String,
}

impl Answer {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.iter().find(|(n, _)| n == name).map(|(_, value)| value.as_str())
    }

    /// The message of an error, whose form is checked.
    pub(crate) fn message(&self) -> String {
        assert_eq!(self.header("content-type"), Some("application/json"), "{self:?}");
        let body: serde_json::Value = serde_json::from_str(&self.body).unwrap();
        let object = body.as_object().unwrap();
        assert_eq!(object.len(), 1, "{self:?}");
        object["message"].as_str().unwrap().to_owned()
    }
}

impl Client {
    /// Sends bytes as they are.
    pub(crate) async fn send(&mut self, bytes: impl AsRef<[u8]>) {
        self.stream.write_all(bytes.as_ref()).await.unwrap();
    }

    /// Sends a POST with `headers`, each ended by CRLF.
    pub(crate) async fn post(&mut self, path: &str, headers: &str, body: &[u8]) -> Answer {
        let length = body.len();
        let head =
            format!("POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n{headers}\r\n");
        self.send([head.as_bytes(), body].concat()).await;
        self.answer().await.expect("an answer")
    }

    /// POSTs JSON.
    pub(crate) async fn post_json(&mut self, path: &str, body: &str) -> Answer {
        self.post(path, "content-type: application/json\r\n", body.as_bytes()).await
    }

    /// Says that nothing more will be sent.
    pub(crate) async fn finish(&mut self) {
        self.stream.shutdown().await.unwrap();
    }

    /// Reads an answer; `None` if the server closes first.
    pub(crate) async fn answer(&mut self) -> Option<Answer> {
        let head_end = loop {
            if let Some(at) = self.unread.windows(4).position(|w| w == b"\r\n\r\n") {
                break at;
            }
            self.fill().await?;
        };
        let head = String::from_utf8(self.unread[..head_end].to_vec()).unwrap();
        let mut lines = head.split("\r\n");
        let status = lines.next().unwrap().split(' ').nth(1).unwrap().parse().unwrap();
        let headers: Vec<(String, String)> = lines
            .map(|line| line.split_once(": ").unwrap())
            .map(|(name, value)| (name.to_lowercase(), value.to_owned()))
            .collect();
        let length = headers
            .iter()
            .find(|(name, _)| name == "content-length")
            .map_or(0, |(_, value)| value.parse::<usize>().unwrap());
        let body_end = head_end + 4 + length;
        while self.unread.len() < body_end {
            self.fill().await?;
        }
        let body = String::from_utf8(self.unread[head_end + 4..body_end].to_vec()).unwrap();
        self.unread.drain(..body_end);
        Some(Answer { status, headers, body })
    }

    async fn fill(&mut self) -> Option<()> {
        let mut chunk = [0; 4096];
        let count = self.stream.read(&mut chunk).await.ok().filter(|&count| count > 0)?;
        self.unread.extend_from_slice(&chunk[..count]);
        Some(())
    }
}

/// The path of a purchase in store 1 of a customer on a day of the past.
pub(crate) const PATH: &str = "/purchase/1/customer/1000/date/20210101";

/// A body of one item.
pub(crate) const ITEM: &str = r#"{"items":[{"ItemID":"123","numberOfItems:":1}]}"#;
