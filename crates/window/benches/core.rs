//! Lines per second through the core, on one core: all six kinds of windows, both indexes, k = 100.
//!
//! Five lines a purchase, 512 purchases a batch; event time runs through 48 hours, so that every line
//! also falls out of the four sliding windows, but for the last day's; what has changed is handed on
//! every eight batches. `cargo bench -p topline-window`.

use std::{hint::black_box, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, ProducerId, Purchase, Sequence, StoreId,
    Timestamp,
};
use random::Random;
use window::{Aggregator, Config, EntityUpdate, FinalDay, Progress, SideOutput, Sink};

/// That of the `topline` binary: large pages are worth a tenth here.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const LINES_PER_PURCHASE: usize = 5;
const PURCHASES_PER_BATCH: usize = 512;
const BATCHES_PER_FLUSH: usize = 8;
const SPAN_MILLIS: usize = 48 * 3600 * 1000;

fn main() {
    divan::main();
}

/// How popular the things are.
#[derive(Clone, Copy, Debug)]
enum Popularity {
    Uniform,
    /// The n-th most popular is sold in proportion to 1/n.
    Zipf,
}

struct Sampler {
    sums: Option<Vec<f64>>,
    count: usize,
}

impl Sampler {
    fn new(popularity: Popularity, count: usize) -> Self {
        let sums = matches!(popularity, Popularity::Zipf).then(|| {
            (1..=count)
                .scan(0.0, |sum, n| {
                    *sum += 1.0 / n as f64;
                    Some(*sum)
                })
                .collect()
        });
        Self { sums, count }
    }

    /// The rank drawn is scattered over the ids, so that popular things are not neighbours.
    fn draw(&self, random: &mut Random) -> u64 {
        let rank = match &self.sums {
            None => random.next() as usize % self.count,
            Some(sums) => {
                let at = random.unit() * sums[self.count - 1];
                sums.partition_point(|&sum| sum <= at).min(self.count - 1)
            }
        };
        (rank as u64 * 2_654_435_761) % self.count as u64
    }
}

fn batches(popularity: Popularity, stores: usize, items: usize, lines: usize) -> Vec<Batch> {
    let (stores, items) = (Sampler::new(popularity, stores), Sampler::new(popularity, items));
    let mut random = Random::new(7);
    let purchases = lines / LINES_PER_PURCHASE;
    let start = 1_609_459_200_000;
    (0..purchases / PURCHASES_PER_BATCH)
        .map(|batch| {
            let first = batch * PURCHASES_PER_BATCH;
            let time = |n: usize| start + (n * SPAN_MILLIS / purchases) as i64;
            let purchases = (first..first + PURCHASES_PER_BATCH).map(|n| {
                let event_time = Timestamp::from_millis(time(n)).unwrap();
                let line = |_| Line { item: ItemId(items.draw(&mut random)), quantity: 1 };
                let lines = (0..LINES_PER_PURCHASE).map(line).collect();
                Purchase {
                    store: StoreId(stores.draw(&mut random) as u32),
                    customer: CustomerId(0),
                    date: event_time.date(),
                    event_time,
                    key: None,
                    lines,
                }
            });
            Batch {
                producer: ProducerId(1),
                first_sequence: Sequence(first as u64),
                append_time: Timestamp::from_millis(time(first)).unwrap(),
                purchases: purchases.collect(),
            }
        })
        .collect()
}

/// Takes what is handed on, and looks at every row.
struct Reader(u64);

impl Sink for Reader {
    fn day_closed(&mut self, day: &Arc<FinalDay>) {
        self.0 += day.items.bytes() as u64;
    }

    fn day_dropped(&mut self, date: BusinessDate) {
        self.0 += date.days() as u64;
    }

    fn entity(&mut self, update: EntityUpdate<'_>) {
        self.0 = self.0.wrapping_add(update.counts.iter().sum::<u64>());
    }

    fn progress(&mut self, progress: &Progress) {
        self.0 += progress.next.0;
    }
}

impl SideOutput for Reader {
    fn late(&mut self, _: Offset, _: u32, _: &Purchase) {
        self.0 += 1;
    }
}

fn run(batches: &[Batch]) -> Aggregator {
    let mut state = Aggregator::new(Config::default());
    let mut reader = Reader(0);
    for (offset, batch) in batches.iter().enumerate() {
        state.apply(Offset(offset as u64), batch, &mut reader);
        if offset % BATCHES_PER_FLUSH == BATCHES_PER_FLUSH - 1 {
            state.flush(&mut reader);
        }
    }
    black_box(reader.0);
    state
}

fn bench(bencher: Bencher, popularity: Popularity, stores: usize, items: usize, lines: usize) {
    let batches = batches(popularity, stores, items, lines);
    let counted = batches.len() * PURCHASES_PER_BATCH * LINES_PER_PURCHASE;
    let stats = run(&batches).stats();
    eprintln!(
        "{popularity:?}, {stores} stores, {items} items, {counted} lines: {} pairs, {:.1} bytes a pair \
         for counts and index, {:.1} in all",
        stats.pairs,
        stats.pair_bytes as f64 / stats.pairs as f64,
        stats.bytes as f64 / stats.pairs as f64,
    );
    bencher.counter(ItemsCount::new(counted)).bench_local(|| run(&batches));
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn zipf(bencher: Bencher) {
    bench(bencher, Popularity::Zipf, 1000, 100_000, 10_000_000);
}

#[divan::bench(sample_count = 3, sample_size = 1)]
fn uniform(bencher: Bencher) {
    bench(bencher, Popularity::Uniform, 1000, 100_000, 10_000_000);
}

#[divan::bench(args = [1000, 10_000], sample_count = 3, sample_size = 1)]
fn stores(bencher: Bencher, stores: usize) {
    bench(bencher, Popularity::Zipf, stores, 100_000, 10_000_000);
}

#[divan::bench(args = [100_000, 1_000_000], sample_count = 3, sample_size = 1)]
fn items(bencher: Bencher, items: usize) {
    bench(bencher, Popularity::Zipf, 1000, items, 10_000_000);
}

#[divan::bench(args = [5_000_000, 50_000_000], sample_count = 1, sample_size = 1)]
fn history(bencher: Bencher, lines: usize) {
    bench(bencher, Popularity::Zipf, 1000, 100_000, lines);
}
