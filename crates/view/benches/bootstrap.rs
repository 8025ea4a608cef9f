//! A new replica, and the size of the feed: `cargo bench -p topline-view --bench bootstrap`.
//!
//! All six windows, k = 100; five lines a purchase, 200 purchases a batch; stores and items follow Zipf's law.
//! Event time runs through 48 hours, so every line also falls out of the four sliding windows again.
//!
//! - `bytes`: 1,000 stores × 100,000 items in one partition: what deltas take for a line, by the lines of a
//!   flush, beside what the same lines take as purchases; and the time of making and of taking them.
//! - `replica`: 100,000 stores × 100,000 items, 10 million lines in four partitions: the keyframes, and as
//!   many deltas as may follow before another keyframe is due, each partition in a file. A process of its
//!   own reads them into a view, on a thread for each partition, as `topline query` does.
//!
//! `-- bytes` or `-- replica` runs one of them.

use std::{
    env,
    fs::{self, File},
    io::{BufWriter, Read, Write},
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use bytes::Bytes;
use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, Partition, PartitionCount, ProducerId,
    Purchase, Sequence, StoreId, Timestamp,
};
use random::Random;
use view::{
    StreamEnd, View, ViewConfig,
    feed::{FeedLimits, FeedWriter, Replica, WriterId},
};
use window::{Aggregator, Config, Entity, EntityUpdate, FinalDay, Progress, SideOutput, Sink};

/// That of the `topline` binary.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINES_PER_PURCHASE: usize = 5;
const PURCHASES_PER_BATCH: usize = 200;
const LINES_PER_BATCH: usize = LINES_PER_PURCHASE * PURCHASES_PER_BATCH;
const START_MILLIS: i64 = 1_609_459_200_000;
const SPAN_MILLIS: usize = 48 * 3600 * 1000;
/// As the workers of a job have it.
const TARGET_BYTES: usize = 512 << 10;
/// Names the directory of the files in the process that is the replica.
const DIRECTORY: &str = "TOPLINE_BENCH_FEED";

fn main() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        return be_replica(Path::new(&directory));
    }
    let wanted = |name: &str| {
        let mut names = env::args().skip(1).filter(|arg| !arg.starts_with('-')).peekable();
        names.peek().is_none() || names.any(|arg| arg == name)
    };
    if wanted("bytes") {
        bytes();
    }
    if wanted("replica") {
        replica();
    }
}

fn partitions(count: u32) -> PartitionCount {
    PartitionCount::new(count).expect("a count in range")
}

/// Draws ranks, with probabilities in proportion to 1 / (rank + 1), scattered over the ids.
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let add = |sum: &mut f64, rank: usize| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        };
        Self((1..=ranks).scan(0.0, add).collect())
    }

    fn draw(&self, random: &mut Random) -> u64 {
        let count = self.0.len();
        let at = random.unit() * self.0[count - 1];
        let rank = self.0.partition_point(|&sum| sum <= at).min(count - 1);
        (rank as u64 * 2_654_435_761) % count as u64
    }
}

/// Purchases without end, each into the batch of its partition.
struct Shop {
    random: Random,
    stores: Zipf,
    items: Zipf,
    partitions: PartitionCount,
    /// Purchases made, and those of 48 hours.
    made: usize,
    span: usize,
    open: Vec<Vec<Purchase>>,
}

impl Shop {
    fn new(partitions: PartitionCount, stores: usize, items: usize, lines: usize) -> Self {
        Self {
            random: Random::new(7),
            stores: Zipf::new(stores),
            items: Zipf::new(items),
            partitions,
            made: 0,
            span: lines / LINES_PER_PURCHASE,
            open: partitions.iter().map(|_| Vec::new()).collect(),
        }
    }

    /// The next full batch, with its partition.
    fn batch(&mut self) -> (Partition, Batch) {
        loop {
            let purchase = self.purchase();
            let partition = self.partitions.of(purchase.store);
            let open = &mut self.open[partition.0 as usize];
            let append_time = purchase.event_time;
            open.push(purchase);
            if open.len() == PURCHASES_PER_BATCH {
                let purchases = std::mem::take(open);
                let first_sequence = Sequence(self.made as u64 - PURCHASES_PER_BATCH as u64);
                let producer = ProducerId(1);
                return (partition, Batch { producer, first_sequence, append_time, purchases });
            }
        }
    }

    fn purchase(&mut self) -> Purchase {
        let after = (self.made * SPAN_MILLIS / self.span) as i64;
        let event_time = Timestamp::from_millis_clamped(START_MILLIS + after);
        self.made += 1;
        let random = &mut self.random;
        let store = StoreId(self.stores.draw(random) as u32);
        let line = |_| Line { item: ItemId(self.items.draw(random)), quantity: 1 };
        let lines = (0..LINES_PER_PURCHASE).map(line).collect();
        let (customer, date) = (CustomerId(0), event_time.date());
        Purchase { store, customer, date, event_time, key: None, lines }
    }
}

struct NoSide;

impl SideOutput for NoSide {
    fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
}

/// A worker of one partition.
struct Worker {
    state: Aggregator,
    feed: FeedWriter,
}

impl Worker {
    fn new(partition: Partition) -> Self {
        let (config, id) = (Config::default(), WriterId(1));
        let limits = FeedLimits { target_bytes: TARGET_BYTES, ..FeedLimits::default() };
        let feed = FeedWriter::new(&config, partition, id, limits, None);
        Self { state: Aggregator::new(config), feed }
    }

    fn apply(&mut self, batch: &Batch) {
        self.state.apply(self.state.progress().next, batch, &mut NoSide);
    }

    fn keyframe(&mut self) -> Vec<Bytes> {
        let (progress, mut records) = (*self.state.progress(), Vec::new());
        self.state.flush_all(&mut self.feed.keyframe(&progress, |record| records.push(record)));
        records
    }

    fn delta(&mut self) -> Vec<Bytes> {
        let (progress, mut records) = (*self.state.progress(), Vec::new());
        self.state.flush(&mut self.feed.delta(&progress, |record| records.push(record)));
        records
    }
}

fn size(records: &[Bytes]) -> usize {
    records.iter().map(Bytes::len).sum()
}

/// What is in a flush.
#[derive(Debug, Default)]
struct Contents {
    stores: usize,
    items: usize,
    store_rows: usize,
    item_rows: usize,
    removed: usize,
}

impl Sink for Contents {
    fn day_closed(&mut self, _: &Arc<FinalDay>) {}
    fn day_dropped(&mut self, _: BusinessDate) {}

    fn entity(&mut self, update: EntityUpdate<'_>) {
        let (entities, rows) = match update.entity {
            Entity::Store(_) => (&mut self.stores, &mut self.store_rows),
            Entity::Item(_) => (&mut self.items, &mut self.item_rows),
        };
        *entities += 1;
        *rows += update.ids.len();
        self.removed += update.removed.len();
    }

    fn progress(&mut self, _: &Progress) {}
}

/// Writes a flush of the core to two sinks.
struct Both<'a, S>(&'a mut Contents, &'a mut S);

impl<S: Sink> Sink for Both<'_, S> {
    fn day_closed(&mut self, day: &Arc<FinalDay>) {
        self.1.day_closed(day);
    }

    fn day_dropped(&mut self, date: BusinessDate) {
        self.1.day_dropped(date);
    }

    fn entity(&mut self, update: EntityUpdate<'_>) {
        self.0.entity(update);
        self.1.entity(update);
    }

    fn progress(&mut self, progress: &Progress) {
        self.1.progress(progress);
    }
}

/// Lines before those that are measured: 48 hours, so that all windows are full.
const WARM_UP_LINES: usize = 4_000_000;
const MEASURED_LINES: usize = 1_000_000;

fn bytes() {
    let mut shop = Shop::new(partitions(1), 1000, 100_000, WARM_UP_LINES);
    let mut worker = Worker::new(Partition(0));
    for _ in 0..WARM_UP_LINES / LINES_PER_BATCH {
        worker.apply(&shop.batch().1);
    }
    println!(
        "| lines a flush | bytes a line | as purchases | stores | items | rows of stores | rows of \
         items | removed | making, with the core's part | taking |"
    );
    println!("|---:|---:|---:|---:|---:|---:|---:|---:|---:|---:|");
    for batches in [1, 5, 50] {
        bytes_by(&mut shop, &mut worker, batches);
    }
}

/// Prints what a line takes, with so many batches in a flush.
fn bytes_by(shop: &mut Shop, worker: &mut Worker, batches: usize) {
    let mut replica = Replica::new(new_view(1).writer(Partition(0)));
    follow(&mut replica, &worker.keyframe());
    let flushes = MEASURED_LINES / LINES_PER_BATCH / batches;
    let (mut in_purchases, mut in_deltas, mut contents) = (0, 0, Contents::default());
    let [mut made, mut taken] = [Duration::ZERO; 2];
    for _ in 0..flushes {
        for _ in 0..batches {
            let (_, batch) = shop.batch();
            in_purchases += batch.encode().len();
            worker.apply(&batch);
        }
        let (progress, mut records, begun) = (*worker.state.progress(), Vec::new(), Instant::now());
        let mut flush = worker.feed.delta(&progress, |record| records.push(record));
        worker.state.flush(&mut Both(&mut contents, &mut flush));
        made += begun.elapsed();
        in_deltas += size(&records);
        let begun = Instant::now();
        follow(&mut replica, &records);
        taken += begun.elapsed();
    }
    let lines = flushes * batches * LINES_PER_BATCH;
    let each = |count: usize| count as f64 / lines as f64;
    let nanos = |time: Duration| time.as_nanos() as f64 / lines as f64;
    println!(
        "| {} | {:.1} | {:.1} | {:.2} | {:.2} | {:.2} | {:.2} | {:.2} | {:.0} ns | {:.0} ns |",
        batches * LINES_PER_BATCH,
        each(in_deltas),
        each(in_purchases),
        each(contents.stores),
        each(contents.items),
        each(contents.store_rows),
        each(contents.item_rows),
        each(contents.removed),
        nanos(made),
        nanos(taken),
    );
}

fn follow(replica: &mut Replica, records: &[Bytes]) {
    for record in records {
        replica.apply(Offset(0), record).expect("a record as it was made");
    }
}

#[derive(Debug)]
struct AtEnd;

impl StreamEnd for AtEnd {
    fn next_offset(&self, _: Partition) -> Offset {
        Offset(0)
    }
}

fn new_view(count: u32) -> Arc<View> {
    let config = ViewConfig {
        partitions: partitions(count),
        window: Config::default(),
        max_rendered_bytes: 256 << 20,
    };
    View::new(&config, Arc::new(AtEnd))
}

const PARTITIONS: u32 = 4;
const LINES: usize = 10_000_000;
/// Lines of all partitions in a flush.
const LINES_PER_FLUSH: usize = 20_000;
const RUNS: usize = 3;

fn replica() {
    let directory = env::temp_dir().join(format!("topline-feed-{}", std::process::id()));
    fs::create_dir_all(&directory).expect("a directory for the feeds");
    write_feeds(&directory);
    println!("| run | keyframes | end | rows | bytes a row | memory |");
    println!("|---|---:|---:|---:|---:|---:|");
    for run in 1..=RUNS {
        print!("| {run} ");
        std::io::stdout().flush().expect("written");
        let this = env::current_exe().expect("the path of this program");
        let status = Command::new(this).env(DIRECTORY, &directory).status().expect("a process");
        assert!(status.success(), "the replica failed");
    }
    fs::remove_dir_all(&directory).expect("the directory goes");
}

fn path(directory: &Path, partition: Partition) -> PathBuf {
    directory.join(partition.to_string())
}

/// The feed of one partition, in a file: each record behind its length.
struct FeedFile {
    worker: Worker,
    file: BufWriter<File>,
    keyframe_bytes: usize,
    delta_bytes: usize,
    delta_lines: usize,
    unflushed_lines: usize,
}

impl FeedFile {
    fn write(&mut self, records: &[Bytes]) {
        for record in records {
            let length = record.len() as u32;
            let written = self.file.write_all(&length.to_le_bytes());
            written.and_then(|()| self.file.write_all(record)).expect("written");
        }
    }

    fn keyframe(&mut self) {
        let records = self.worker.keyframe();
        self.keyframe_bytes = size(&records);
        self.write(&records);
    }

    /// Applies a batch, with a delta behind it when that is due.
    fn go_on(&mut self, batch: &Batch) {
        self.worker.apply(batch);
        self.unflushed_lines += LINES_PER_BATCH;
        if self.unflushed_lines >= LINES_PER_FLUSH / PARTITIONS as usize {
            let records = self.worker.delta();
            self.delta_bytes += size(&records);
            self.delta_lines += std::mem::take(&mut self.unflushed_lines);
            self.write(&records);
        }
    }

    /// As in the workers of a job.
    fn wants_keyframe(&self) -> bool {
        self.delta_bytes > (4 << 20) + self.keyframe_bytes
    }
}

fn write_feeds(directory: &Path) {
    let mut shop = Shop::new(partitions(PARTITIONS), 100_000, 100_000, LINES);
    let mut feeds: Vec<FeedFile> = (shop.partitions.iter())
        .map(|partition| FeedFile {
            worker: Worker::new(partition),
            file: BufWriter::new(File::create(path(directory, partition)).expect("a file")),
            keyframe_bytes: 0,
            delta_bytes: 0,
            delta_lines: 0,
            unflushed_lines: 0,
        })
        .collect();
    while shop.made < shop.span {
        let (partition, batch) = shop.batch();
        feeds[partition.0 as usize].worker.apply(&batch);
    }
    feeds.iter_mut().for_each(FeedFile::keyframe);
    while !feeds.iter().all(FeedFile::wants_keyframe) {
        let (partition, batch) = shop.batch();
        let feed = &mut feeds[partition.0 as usize];
        if !feed.wants_keyframe() {
            feed.go_on(&batch);
        }
    }
    let sum = |of: fn(&FeedFile) -> usize| feeds.iter().map(of).sum::<usize>();
    println!(
        "{} pairs; keyframes of {} bytes; deltas of {} bytes for {} lines",
        sum(|feed| feed.worker.state.pairs()),
        sum(|feed| feed.keyframe_bytes),
        sum(|feed| feed.delta_bytes),
        sum(|feed| feed.delta_lines),
    );
    for feed in &mut feeds {
        feed.file.flush().expect("written");
    }
}

/// Reads the feeds into a view, and prints how long it took.
fn be_replica(directory: &Path) {
    let begun = Instant::now();
    let view = new_view(PARTITIONS);
    let followers: Vec<_> = partitions(PARTITIONS)
        .iter()
        .map(|partition| {
            let replica = Replica::new(view.writer(partition));
            let path = path(directory, partition);
            thread::spawn(move || follow_file(replica, &path, begun))
        })
        .collect();
    let times = followers.into_iter().map(|follower| follower.join().expect("it went well"));
    let keyframes = times.max().expect("a partition");
    let all = begun.elapsed();
    assert!(view.is_ready(), "all keyframes were complete");
    let stats = view.stats();
    println!(
        "| {:.2} s | {:.2} s | {} | {:.1} | {} MB |",
        keyframes.as_secs_f64(),
        all.as_secs_f64(),
        stats.rows,
        stats.bytes as f64 / stats.rows as f64,
        resident_bytes() >> 20,
    );
}

/// Follows a feed to its end; gives when its keyframe was complete.
fn follow_file(mut replica: Replica, path: &Path, begun: Instant) -> Duration {
    let (mut file, mut length) = (File::open(path).expect("the file"), [0; 4]);
    let (mut record, mut ready) = (Vec::new(), None);
    while file.read_exact(&mut length).is_ok() {
        record.resize(u32::from_le_bytes(length) as usize, 0);
        file.read_exact(&mut record).expect("a record behind its length");
        replica.apply(Offset(0), &record).expect("a record as it was made");
        if replica.is_ready() {
            ready.get_or_insert_with(|| begun.elapsed());
        }
    }
    ready.expect("a keyframe")
}

fn resident_bytes() -> usize {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}
