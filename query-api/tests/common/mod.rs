//! The API on a real socket, over a view filled as the aggregation would.

#![allow(dead_code, reason = "each test uses a part")]

use std::{
    collections::{BTreeMap, BTreeSet},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};

use http_server::{ListenerConfig, RouteTable, Routes, serve};
use model::{BusinessDate, ItemId, Offset, Partition, PartitionCount, StoreId, Timestamp};
use query_api::{Args, routes};
use reqwest::{RequestBuilder, Response, StatusCode};
use telemetry::Metrics;
use tokio::{net::TcpListener, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use view::{PartitionWriter, StreamEnd, View, ViewConfig};
use window::{
    Config, Entity, EntityUpdate, FinalDay, FinalIndex, Layout, Progress, Sink, WindowKind,
};

/// 2021-01-01T09:30:00Z.
pub(crate) const CLOCK: i64 = 1_609_493_400_000;
pub(crate) const PARTITIONS: u32 = 2;

/// What the log has, beyond what the view has.
#[derive(Debug, Default)]
pub(crate) struct Ends([AtomicU64; PARTITIONS as usize]);

impl StreamEnd for Ends {
    fn next_offset(&self, partition: Partition) -> Offset {
        Offset(self.0[partition.0 as usize].load(Ordering::SeqCst))
    }
}

impl Ends {
    pub(crate) fn set(&self, partition: u32, next: u64) {
        self.0[partition as usize].store(next, Ordering::SeqCst);
    }
}

pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    pub(crate) shop: Shop,
    pub(crate) ends: Arc<Ends>,
    pub(crate) metrics: Metrics,
    client: reqwest::Client,
    shutdown: CancellationToken,
    view: Arc<View>,
    task: JoinHandle<std::io::Result<()>>,
}

impl Server {
    /// With all windows and all partitions ready.
    pub(crate) async fn start() -> Self {
        let mut server = Self::start_with(Config::default(), &Args::default()).await;
        server.shop.ready();
        server
    }

    pub(crate) async fn start_with(window: Config, args: &Args) -> Self {
        let ends = Arc::new(Ends::default());
        let config = ViewConfig {
            partitions: PartitionCount::new(PARTITIONS).unwrap(),
            window,
            max_rendered_bytes: args.max_rendered_bytes,
        };
        let view = View::new(&config, ends.clone());
        let metrics = Metrics::new().unwrap();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(serve(
            listener,
            RouteTable::new(&metrics.http).with(routes(view.clone(), metrics.view.clone(), args)),
            ListenerConfig { drain_timeout: Duration::from_secs(5), ..ListenerConfig::default() },
            metrics.http.listener("public"),
            shutdown.clone(),
        ));
        let shop = Shop::new(view.clone(), &config);
        let client = reqwest::Client::new();
        Self { address, shop, ends, metrics, client, shutdown, view, task }
    }

    /// The routes that are served.
    pub(crate) fn routes(&self) -> Routes {
        routes(self.view.clone(), self.metrics.view.clone(), &Args::default())
    }

    pub(crate) fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("http://{}{path}", self.address))
    }

    pub(crate) fn request(&self, method: reqwest::Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("http://{}{path}", self.address))
    }

    /// The body of an answer that must be 200.
    pub(crate) async fn body(&self, path: &str) -> String {
        let response = self.get(path).send().await.unwrap();
        assert_eq!(response.status(), StatusCode::OK, "{path}");
        response.text().await.unwrap()
    }

    /// Status and message of an answer that must be an error.
    pub(crate) async fn error(&self, request: RequestBuilder) -> (u16, String) {
        message(request.send().await.unwrap()).await
    }

    pub(crate) async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap().unwrap();
    }
}

/// Status and message of an error.
pub(crate) async fn message(response: Response) -> (u16, String) {
    let status = response.status().as_u16();
    assert_eq!(response.headers()["content-type"], "application/json", "{status}");
    let body: BTreeMap<String, String> =
        serde_json::from_str(&response.text().await.unwrap()).unwrap();
    assert_eq!(body.len(), 1, "{body:?}");
    (status, body["message"].clone())
}

pub(crate) fn header(response: &Response, name: &str) -> String {
    response.headers()[name].to_str().unwrap().to_owned()
}

/// Fills the view: what is sold counts in every window, and its date is today.
pub(crate) struct Shop {
    pub(crate) view: Arc<View>,
    partitions: PartitionCount,
    layout: Layout,
    writers: Vec<PartitionWriter>,
    today: BusinessDate,
    sold: BTreeMap<(u32, u64), u64>,
    sold_today: BTreeMap<(u32, u64), u64>,
    next: Vec<u64>,
}

impl Shop {
    fn new(view: Arc<View>, config: &ViewConfig) -> Self {
        let writers: Vec<_> = config.partitions.iter().map(|p| view.writer(p)).collect();
        Self {
            layout: Layout::new(&config.window),
            partitions: config.partitions,
            today: "20210101".parse().unwrap(),
            sold: BTreeMap::new(),
            sold_today: BTreeMap::new(),
            next: vec![0; writers.len()],
            writers,
            view,
        }
    }

    pub(crate) fn ready(&mut self) {
        self.writers.iter_mut().for_each(PartitionWriter::ready);
    }

    pub(crate) fn not_ready(&mut self, partition: usize) {
        self.writers[partition].not_ready();
    }

    /// The partition of a store.
    pub(crate) fn partition(&self, store: u32) -> u32 {
        self.partitions.of(StoreId(store)).0
    }

    /// Sells (store, item, quantity), as one batch in every partition.
    pub(crate) fn sell(&mut self, lines: &[(u32, u64, u64)]) {
        for &(store, item, quantity) in lines {
            *self.sold.entry((store, item)).or_default() += quantity;
            *self.sold_today.entry((store, item)).or_default() += quantity;
        }
        for p in 0..self.writers.len() {
            self.next[p] += 1;
            let progress = self.progress(p);
            self.hand_on(p, &progress);
            self.writers[p].progress(&progress);
        }
    }

    /// Two business days pass: today closes.
    pub(crate) fn close_today(&mut self) {
        let sold = std::mem::take(&mut self.sold_today);
        let date = self.today;
        self.today = date.plus_days(2);
        for p in 0..self.writers.len() {
            let of_p = |store: u32| self.partitions.of(StoreId(store)).0 as usize == p;
            let rows: Vec<_> = sold.iter().filter(|((s, _), _)| of_p(*s)).collect();
            let mut day =
                FinalDay { date, stores: FinalIndex::default(), items: FinalIndex::default() };
            for store in rows.iter().map(|((s, _), _)| *s).collect::<BTreeSet<_>>() {
                let list = ranked(rows.iter().filter(|r| r.0.0 == store).map(|r| (r.0.1, *r.1)));
                day.stores.push(u64::from(store), list.iter().map(|e| e.1).sum(), &list);
            }
            for item in rows.iter().map(|((_, i), _)| *i).collect::<BTreeSet<_>>() {
                let list =
                    ranked(rows.iter().filter(|r| r.0.1 == item).map(|r| (u64::from(r.0.0), *r.1)));
                day.items.push(item, list.iter().map(|e| e.1).sum(), &list);
            }
            self.writers[p].day_closed(&Arc::new(day));
            self.next[p] += 1;
            let progress = self.progress(p);
            self.writers[p].progress(&progress);
        }
    }

    fn progress(&self, p: usize) -> Progress {
        let clock = Timestamp::from_millis(CLOCK).unwrap();
        Progress {
            next: Offset(self.next[p]),
            append_time: Some(clock),
            clock: Some(clock),
            watermark: Some(clock.minus(Duration::from_secs(5 + p as u64))),
            newest_date: Some(self.today),
            dropped_until: None,
        }
    }

    fn hand_on(&mut self, p: usize, progress: &Progress) {
        let mut entities: BTreeMap<Entity, BTreeMap<u64, Vec<u64>>> = BTreeMap::new();
        for (&(store, item), &count) in &self.sold {
            if self.partitions.of(StoreId(store)).0 as usize != p {
                continue;
            }
            let today = self.sold_today.get(&(store, item)).copied().unwrap_or(0);
            let row = self.row(count, today);
            entities.entry(Entity::Store(StoreId(store))).or_default().insert(item, row.clone());
            entities.entry(Entity::Item(ItemId(item))).or_default().insert(store.into(), row);
        }
        for (entity, rows) in entities {
            let totals: Vec<u64> = (0..self.layout.slots())
                .map(|slot| rows.values().map(|row| row[slot]).sum())
                .collect();
            self.writers[p].entity(EntityUpdate {
                entity,
                stamp: progress.next,
                progress,
                replace: true,
                complete: false,
                totals: &totals,
                ids: &rows.keys().copied().collect::<Vec<_>>(),
                counts: &rows.values().flatten().copied().collect::<Vec<_>>(),
                removed: &[],
            });
        }
    }

    fn row(&self, count: u64, today: u64) -> Vec<u64> {
        let mut row = vec![0; self.layout.slots()];
        for kind in WindowKind::ALL {
            if let Some(slot) = self.layout.slot(kind) {
                row[slot] = count;
            }
        }
        if let Some(slot) = self.layout.day_slot(self.today) {
            row[slot] = today;
        }
        row
    }
}

fn ranked(entries: impl Iterator<Item = (u64, u64)>) -> Vec<(u64, u64)> {
    let mut list: Vec<_> = entries.collect();
    list.sort_by_key(|&(id, count)| (std::cmp::Reverse(count), id));
    list
}
