//! Costs of the feed: `cargo bench -p topline-view --bench feed`.
//!
//! One partition, all six windows, k = 100; 1,000 stores and 50,000 items that follow Zipf's law, a
//! million lines. A delta is of 5,000 lines. Throughput is in bytes of records.

#[path = "../tests/common/zipf.rs"]
mod zipf;

use std::sync::Arc;

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use model::{Offset, Partition, PartitionCount};
use view::{
    StreamEnd, View, ViewConfig,
    feed::{FeedLimits, FeedWriter, Replica, WriterId},
};
use window::{Aggregator, Config};
use zipf::{Day, LINES, apply};

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

/// A core after a million lines.
fn core() -> (Day, Aggregator) {
    let (mut day, mut state) = (Day::new(1000, 50_000), Aggregator::new(Config::default()));
    for _ in 0..1_000_000 / LINES {
        apply(&mut state, &day.batch());
    }
    (day, state)
}

fn writer() -> FeedWriter {
    FeedWriter::new(&Config::default(), Partition(0), WriterId(1), FeedLimits::default(), None)
}

fn keyframe(state: &mut Aggregator, feed: &mut FeedWriter) -> Vec<Bytes> {
    let (progress, mut records) = (*state.progress(), Vec::new());
    state.flush_all(&mut feed.keyframe(&progress, |record| records.push(record)));
    records
}

fn delta(state: &mut Aggregator, feed: &mut FeedWriter) -> Vec<Bytes> {
    let (progress, mut records) = (*state.progress(), Vec::new());
    state.flush(&mut feed.delta(&progress, |record| records.push(record)));
    records
}

fn replica() -> Replica {
    let config = ViewConfig {
        partitions: PartitionCount::new(1).expect("1 is in range"),
        window: Config::default(),
        max_rendered_bytes: 256 << 20,
    };
    Replica::new(View::new(&config, Arc::new(AtEnd)).writer(Partition(0)))
}

fn follow(replica: &mut Replica, records: &[Bytes]) {
    for record in records {
        replica.apply(Offset(0), record).expect("a record as it was made");
    }
}

fn bytes(records: &[Bytes]) -> BytesCount {
    BytesCount::new(records.iter().map(Bytes::len).sum::<usize>())
}

#[divan::bench(sample_count = 10)]
fn keyframe_made(bencher: Bencher) {
    let ((_, mut state), mut feed) = (core(), writer());
    let size = bytes(&keyframe(&mut state, &mut feed));
    bencher.counter(size).bench_local(|| keyframe(&mut state, &mut feed));
}

#[divan::bench(sample_count = 10)]
fn keyframe_taken_by_a_new_replica(bencher: Bencher) {
    let records = keyframe(&mut core().1, &mut writer());
    bencher.counter(bytes(&records)).with_inputs(replica).bench_local_values(|mut replica| {
        follow(&mut replica, &records);
        replica
    });
}

#[divan::bench(sample_count = 50)]
fn delta_taken(bencher: Bencher) {
    let ((mut day, mut state), mut feed) = (core(), writer());
    let mut replica = replica();
    follow(&mut replica, &keyframe(&mut state, &mut feed));
    bencher
        .with_inputs(|| {
            for _ in 0..5_000 / LINES {
                apply(&mut state, &day.batch());
            }
            delta(&mut state, &mut feed)
        })
        .input_counter(|records| bytes(records))
        .bench_local_refs(|records| follow(&mut replica, records));
}
