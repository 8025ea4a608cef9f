//! Costs of reading and of writing: `cargo bench -p topline-view`.
//!
//! The view has all six windows, k = 100, one partition, 1,000 stores with 400 rows each and 20,000
//! items with 20 rows each.

use std::{hint::black_box, sync::Arc};

use divan::{Bencher, counter::ItemsCount};
use model::{ItemId, Offset, Partition, PartitionCount, StoreId, Timestamp};
use view::{Format, PartitionWriter, Query, StreamEnd, Subject, View, ViewConfig};
use window::{Config, Entity, EntityUpdate, Layout, Progress, Sink, WindowKind};

const STORES: u32 = 1000;
const ITEMS: u64 = 20_000;

fn main() {
    divan::main();
}

#[derive(Debug)]
struct AtEnd;

impl StreamEnd for AtEnd {
    fn next_offset(&self, _: Partition) -> Offset {
        Offset(0)
    }
}

struct Bench {
    view: Arc<View>,
    writer: PartitionWriter,
    slots: usize,
    progress: Progress,
}

impl Bench {
    fn new() -> Self {
        let config = ViewConfig {
            partitions: PartitionCount::new(1).expect("1 is in range"),
            window: Config::default(),
            max_rendered_bytes: 256 << 20,
        };
        let view = View::new(&config, Arc::new(AtEnd));
        let writer = view.writer(Partition(0));
        let clock = Timestamp::from_millis(1_609_493_400_000);
        let progress = Progress {
            next: Offset(1),
            append_time: clock,
            clock,
            watermark: clock,
            newest_date: clock.map(Timestamp::date),
            dropped_until: None,
        };
        let slots = Layout::new(&config.window).slots();
        let mut bench = Self { view, writer, slots, progress };
        bench.fill();
        bench.writer.ready();
        bench
    }

    fn fill(&mut self) {
        for store in 0..STORES {
            let items: Vec<u64> = (0..400).map(|n| n * 7 + u64::from(store)).collect();
            self.update(Entity::Store(StoreId(store)), true, &items, 100);
        }
        for item in 0..ITEMS {
            let stores: Vec<u64> = (0..20).map(|n| n * 50 + item % 50).collect();
            self.update(Entity::Item(ItemId(item)), true, &stores, 1000 + item);
        }
        self.writer.progress(&self.progress);
    }

    /// Hands on rows, the counts of which differ by id.
    fn update(&mut self, entity: Entity, replace: bool, ids: &[u64], count: u64) {
        let counts: Vec<u64> = ids
            .iter()
            .flat_map(|id| std::iter::repeat_n(count + (id * 7919) % 1000, self.slots))
            .collect();
        let totals = vec![count * ids.len() as u64; self.slots];
        self.hand_on(entity, replace, &totals, ids, &counts);
    }

    fn hand_on(
        &mut self,
        entity: Entity,
        replace: bool,
        totals: &[u64],
        ids: &[u64],
        counts: &[u64],
    ) {
        self.writer.entity(EntityUpdate {
            entity,
            stamp: self.progress.next,
            progress: &self.progress,
            replace,
            complete: false,
            totals,
            ids,
            counts,
            removed: &[],
        });
    }
}

fn query(subject: Subject, format: Format) -> Query {
    Query { subject, kind: WindowKind::All, date: None, k: 10, format }
}

const STORE: Subject = Subject::Store(StoreId(7));
const ITEM: Subject = Subject::Item(ItemId(7));

/// An answer that was rendered before, as its response needs it.
#[divan::bench(args = [
    (STORE, Format::Legacy), (STORE, Format::V1), (ITEM, Format::Legacy), (Subject::TopItems, Format::V1),
])]
fn hot_read(bencher: Bencher, (subject, format): (Subject, Format)) {
    let bench = Bench::new();
    let now = Timestamp::now();
    bencher.bench(|| {
        let answer = bench.view.answer(black_box(&query(subject, format)), now).expect("known");
        (answer.body(), answer.etag().clone())
    });
}

/// A list ranked and rendered after each change.
#[divan::bench(args = [STORE, ITEM, Subject::TopItems])]
fn read_after_change(bencher: Bencher, subject: Subject) {
    let mut bench = Bench::new();
    let now = Timestamp::now();
    let query = query(subject, Format::Legacy);
    bencher.bench_local(|| {
        bench.progress.next = bench.progress.next.next();
        bench.update(Entity::Store(StoreId(7)), false, &[7], bench.progress.next.0);
        // More than all others, so that the chain-wide list changes too.
        bench.update(Entity::Item(ItemId(7)), false, &[7], 1 << 30 | bench.progress.next.0);
        bench.writer.progress(&bench.progress);
        bench.view.answer(&query, now).expect("known").body()
    });
}

/// One row of each of many items changes, as in a flush.
#[divan::bench(args = [false, true])]
fn update_one_row(bencher: Bencher, chain_wide_lists_are_read: bool) {
    let mut bench = Bench::new();
    if chain_wide_lists_are_read {
        for kind in WindowKind::ALL {
            let query = Query { kind, ..query(Subject::TopItems, Format::V1) };
            bench.view.answer(&query, Timestamp::now()).expect("there are dates");
        }
    }
    let totals = vec![5000; bench.slots];
    let counts = vec![7; bench.slots];
    bencher.counter(ItemsCount::new(ITEMS)).bench_local(|| {
        bench.progress.next = bench.progress.next.next();
        for item in 0..ITEMS {
            let id = item % 50 + 50 * (item % 20);
            bench.hand_on(Entity::Item(ItemId(item)), false, &totals, &[id], &counts);
        }
        bench.writer.progress(&bench.progress);
    });
}

/// Everything is handed on anew, as after a restart.
#[divan::bench(sample_count = 20)]
fn recover(bencher: Bencher) {
    let mut bench = Bench::new();
    bencher.counter(ItemsCount::new(u64::from(STORES) + ITEMS)).bench_local(|| bench.fill());
}
