//! A stream made up from a seed, jobs over it, and all that a view has to say.

#![allow(dead_code, reason = "each test uses a part")]

pub(crate) mod feed;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use log::{Log, MemoryLog};
use model::{
    Batch, BusinessDate, CustomerId, IdempotencyKey, ItemId, Line, Offset, Partition,
    PartitionCount, Position, ProducerId, Purchase, Sequence, StoreId, Timestamp,
};
use random::Random;
use stream_job::{
    Assignment, Job, JobConfig, JobError, Rebuild, Restoring, RetentionConfig, Saturated,
    SideOutputs, SideTopics, Target,
};
use telemetry::Metrics;
use tokio::{sync::watch, task::JoinHandle};
use tokio_util::sync::CancellationToken;
use view::{Format, Query, StreamEnd, Subject, View, ViewConfig};
use window::{Config, WindowKind};

pub(crate) const STORES: u32 = 9;
pub(crate) const ITEMS: u64 = 25;
/// How long a test waits for what must come.
pub(crate) const PATIENCE: Duration = Duration::from_mins(1);

pub(crate) fn partitions(count: u32) -> PartitionCount {
    PartitionCount::new(count).expect("valid")
}

/// The records of all partitions: purchases of some days, out of order, some late, some keyed, some
/// twice; ticks; batches sent again; and some records that are not batches.
pub(crate) fn records(seed: u64, count: PartitionCount, batches: usize) -> Vec<Vec<Bytes>> {
    count
        .iter()
        .map(|partition| {
            let mut maker = Maker {
                random: Random::new(seed ^ (u64::from(partition.0) << 32)),
                stores: (0..STORES).map(StoreId).filter(|s| count.of(*s) == partition).collect(),
                now: "2021-06-01T08:00:00Z".parse().expect("a time"),
                sequences: BTreeMap::new(),
                sent: Vec::new(),
            };
            (0..batches).map(|_| maker.record()).collect()
        })
        .collect()
}

struct Maker {
    random: Random,
    stores: Vec<StoreId>,
    now: Timestamp,
    sequences: BTreeMap<u64, u64>,
    sent: Vec<Bytes>,
}

impl Maker {
    fn record(&mut self) -> Bytes {
        if self.random.chance(40) {
            return Bytes::from(vec![0xff; 1 + self.random.below(50) as usize]);
        }
        if self.random.chance(15) && !self.sent.is_empty() {
            let again = self.random.below(self.sent.len() as u64) as usize;
            return self.sent[again].clone();
        }
        // Mostly seconds go by, now and then hours.
        let step = if self.random.chance(25) { 20_000_000 } else { 8000 };
        self.now = self.now.plus(Duration::from_millis(self.random.below(step)));
        let purchases = if self.stores.is_empty() || self.random.chance(8) {
            0
        } else {
            1 + self.random.below(6)
        };
        let producer = 1 + self.random.below(2);
        let purchases: Vec<_> = (0..purchases).map(|_| self.purchase()).collect();
        let sequence = self.sequences.entry(producer).or_default();
        let first_sequence = Sequence(*sequence);
        *sequence += purchases.len() as u64;
        let producer = ProducerId(producer);
        let batch = Batch { producer, first_sequence, append_time: self.now, purchases };
        let bytes = Bytes::from(batch.encode());
        self.sent.push(bytes.clone());
        bytes
    }

    fn purchase(&mut self) -> Purchase {
        let random = &mut self.random;
        let behind = match random.below(20) {
            0 => random.below(4 * 86_400_000),
            1..5 => random.below(600_000),
            _ => random.below(5000),
        };
        let event_time = self.now.minus(Duration::from_millis(behind));
        let store = self.stores[random.below(self.stores.len() as u64) as usize];
        let key = random.chance(4).then(|| random.below(40).to_string());
        let lines = 1 + random.below(4);
        let line = |random: &mut Random| Line {
            item: ItemId(random.below(ITEMS).min(random.below(ITEMS))),
            quantity: random.below(5) as u32,
        };
        Purchase {
            store,
            customer: CustomerId(1),
            date: event_time.date(),
            event_time,
            key: key.map(|key| IdempotencyKey::digest(store, &key)),
            lines: (0..lines).map(|_| line(random)).collect(),
        }
    }
}

/// A batch of one purchase of one line, by a producer of its own for each sequence.
pub(crate) fn sale(sequence: u64, store: u32, item: u64, quantity: u32) -> Bytes {
    let now = "2021-06-01T08:00:00Z".parse::<Timestamp>().expect("a time");
    let now = now.plus(Duration::from_secs(sequence));
    let purchase = Purchase {
        store: StoreId(store),
        customer: CustomerId(1),
        date: now.date(),
        event_time: now,
        key: None,
        lines: vec![Line { item: ItemId(item), quantity }],
    };
    let batch = Batch {
        producer: ProducerId(1),
        first_sequence: Sequence(sequence),
        append_time: now,
        purchases: vec![purchase],
    };
    batch.encode().into()
}

/// Settings under which nothing happens but what the test asks for.
pub(crate) fn config(directory: &Path) -> JobConfig {
    JobConfig {
        window: Config { k: 10, ..Config::default() },
        assignment: Assignment::ALL,
        directory: directory.to_owned(),
        max_pairs: 1_000_000,
        max_pane_entries: 1_000_000,
        max_side_bytes: 1 << 20,
        read_bytes: 1 << 20,
        flush_interval: Duration::from_millis(1),
        checkpoint_interval: Duration::from_hours(1),
        retention: RetentionConfig {
            age: Duration::from_hours(1_000_000),
            max_bytes: None,
            interval: Duration::from_hours(1),
        },
        rebuild: Rebuild::No,
    }
}

pub(crate) async fn append(log: &dyn Log, partition: u32, record: Bytes) {
    log.append(Partition(partition), record).await.expect("appended");
}

#[derive(Debug)]
struct End(Arc<dyn Log>);

impl StreamEnd for End {
    fn next_offset(&self, partition: Partition) -> Offset {
        self.0.bounds(partition).next
    }
}

/// A job that runs.
pub(crate) struct Running {
    pub(crate) view: Arc<View>,
    pub(crate) side: SideOutputs,
    pub(crate) metrics: Metrics,
    pub(crate) saturation: watch::Receiver<Saturated>,
    log: Arc<dyn Log>,
    stop: CancellationToken,
    job: JoinHandle<Result<(), JobError>>,
}

/// Opens the checkpoints and starts the job.
pub(crate) async fn start(config: JobConfig, log: Arc<dyn Log>) -> Result<Running, JobError> {
    start_job(config, log, None).await
}

/// The same, and publishes the side outputs.
pub(crate) async fn start_publishing(
    config: JobConfig,
    log: Arc<dyn Log>,
    topics: SideTopics,
) -> Result<Running, JobError> {
    start_job(config, log, Some(topics)).await
}

/// A view for what the job makes of `log`.
pub(crate) fn view_of(config: &JobConfig, log: &Arc<dyn Log>) -> Arc<View> {
    let view_config = ViewConfig {
        partitions: log.partitions(),
        window: config.window.clone(),
        max_rendered_bytes: 1 << 20,
    };
    View::new(&view_config, Arc::new(End(log.clone())))
}

async fn start_job(
    config: JobConfig,
    log: Arc<dyn Log>,
    topics: Option<SideTopics>,
) -> Result<Running, JobError> {
    let metrics = Metrics::new().expect("named once");
    let view = view_of(&config, &log);
    let restoring = Restoring::begin(&config, log.partitions());
    let mut job =
        Job::open(config, restoring, log.clone(), Target::View(view.clone()), metrics.job.clone())
            .await?;
    if let Some(topics) = topics {
        job = job.with_side_topics(topics).await?;
    }
    let stop = CancellationToken::new();
    let side = job.side_outputs();
    let saturation = job.saturation();
    let job = tokio::spawn(job.run(stop.clone()));
    Ok(Running { view, side, metrics, saturation, log, stop, job })
}

impl Running {
    /// Waits until the view has all that the log holds; or why it never will.
    pub(crate) async fn caught_up(&mut self) -> Result<(), JobError> {
        let end: Position =
            self.log.partitions().iter().map(|p| (p, self.log.bounds(p).next)).collect();
        let view = &self.view;
        tokio::select! {
            waited = view.wait_for(&end, PATIENCE) => waited.expect("in time"),
            ended = &mut self.job => return ended.expect("no panic"),
        }
        // A partition from which nothing was replayed is at the end, but may not be ready.
        let ready = async {
            while !view.is_ready() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, ready).await.expect("ready in time");
        Ok(())
    }

    /// Ends it in order, with last checkpoints.
    pub(crate) async fn stop(self) {
        self.try_stop().await.expect("no error");
    }

    /// Ends it; or why the last checkpoints could not be written.
    pub(crate) async fn try_stop(self) -> Result<(), JobError> {
        self.stop.cancel();
        self.job.await.expect("no panic")
    }

    /// Why it ends by itself.
    pub(crate) async fn failure(self) -> JobError {
        let ended = tokio::time::timeout(PATIENCE, self.job).await.expect("it ends");
        ended.expect("no panic").expect_err("it fails")
    }

    /// All that its view answers.
    pub(crate) fn answers(&self) -> Vec<String> {
        answers_in(&self.view)
    }

    /// The sum of a metric of the job over its partitions.
    pub(crate) fn metric(&self, name: &str) -> f64 {
        metric(&self.metrics, name)
    }
}

/// The sum of a metric over its partitions.
pub(crate) fn metric(metrics: &Metrics, name: &str) -> f64 {
    let text = telemetry::render(&metrics.registry).expect("text");
    text.lines()
        .filter_map(|line| line.rsplit_once(' '))
        .filter(|(series, _)| series.split('{').next() == Some(name))
        .map(|(_, value)| value.parse::<f64>().expect("a number"))
        .sum()
}

/// All that a view answers: every list of every entity, window and some lengths.
pub(crate) fn answers_in(view: &View) -> Vec<String> {
    let kept = view.kinds().to_vec();
    let mut all = Vec::new();
    let stores = (0..STORES).map(|store| Subject::Store(StoreId(store)));
    let items = (0..ITEMS).map(|item| Subject::Item(ItemId(item)));
    for subject in stores.chain(items).chain([Subject::TopItems, Subject::TopStores]) {
        for (kind, date) in kept.iter().flat_map(|&kind| dates(kind)) {
            for k in [1, 3, view.max_k()] {
                let query = Query { subject, kind, date, k, format: Format::V1 };
                all.push(match view.answer(&query, Timestamp::now()) {
                    Ok(answer) => {
                        format!("{query:?} {}", String::from_utf8_lossy(&answer.body()))
                    }
                    Err(error) => format!("{query:?} {error}"),
                });
            }
        }
    }
    all
}

/// The windows of a kind to ask for; of days, all that the made-up stream may have.
fn dates(kind: WindowKind) -> Vec<(WindowKind, Option<BusinessDate>)> {
    if kind != WindowKind::Day {
        return vec![(kind, None)];
    }
    let first: BusinessDate = "20210526".parse().expect("a date");
    let days = (0..20).map(|days| (kind, Some(first.plus_days(days))));
    days.chain([(kind, None)]).collect()
}

/// The answers of a job that reads the whole stream in one go.
pub(crate) async fn answers_of(log: Arc<dyn Log>) -> Vec<String> {
    let directory = tempfile::tempdir().expect("a directory");
    let mut running = start(config(directory.path()), log).await.expect("nothing to refuse");
    running.caught_up().await.expect("no error");
    let answers = running.answers();
    running.stop().await;
    answers
}

/// A log with these records.
pub(crate) async fn log_of(records: &[Vec<Bytes>]) -> Arc<MemoryLog> {
    let log = MemoryLog::new(partitions(records.len() as u32));
    for (partition, records) in (0..).zip(records) {
        for record in records {
            append(&*log, partition, record.clone()).await;
        }
    }
    log
}

/// Copies the checkpoints, as they are when no job runs.
pub(crate) fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("made");
    for entry in fs::read_dir(from).expect("readable") {
        let entry = entry.expect("readable");
        fs::copy(entry.path(), to.join(entry.file_name())).expect("copied");
    }
}
