//! How large deltas are, for purchases whose stores and items follow Zipf's law.

use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, Partition, ProducerId, Purchase,
    Sequence, StoreId, Timestamp,
};
use random::Random;
use view::feed::{FeedLimits, FeedWriter, WriterId};
use window::{Aggregator, Config, SideOutput};

const STORES: usize = 500;
const ITEMS: usize = 20_000;
const LINES_PER_FLUSH: usize = 5_000;
const LINES_PER_PURCHASE: usize = 5;
/// Flushes until stores and items have many more pairs than candidates.
const WARM_UP: usize = 40;
const MEASURED: usize = 20;

/// Draws ranks from 0 with probabilities in proportion to 1 / (rank + 1).
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let mut sum = 0.0;
        Self(
            (1..=ranks)
                .map(|rank| {
                    sum += 1.0 / rank as f64;
                    sum
                })
                .collect(),
        )
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum <= at)
    }
}

struct NoSide;

impl SideOutput for NoSide {
    fn late(&mut self, _: Offset, _: &Purchase) {}
}

#[test]
fn a_delta_takes_a_few_bytes_a_line() {
    let (mut random, stores, items) = (Random::new(1), Zipf::new(STORES), Zipf::new(ITEMS));
    let config = Config::default();
    let mut state = Aggregator::new(config.clone());
    let limits = FeedLimits::default();
    let mut feed = FeedWriter::new(&config, Partition(0), WriterId(1), limits, None);
    let start = *state.progress();
    state.flush_all(&mut feed.keyframe(&start, drop));
    let (mut lines, mut batches, mut bytes, mut records) = (0, 0, 0, 0);
    let mut sequence = 0;
    for flush in 0..WARM_UP + MEASURED {
        let measured = flush >= WARM_UP;
        for _ in 0..LINES_PER_FLUSH / LINES_PER_PURCHASE / 100 {
            // A second: 500 lines in this partition.
            let time = Timestamp::from_millis(1_700_000_000_000 + sequence as i64 * 10).unwrap();
            let purchases = (0..100).map(|_| Purchase {
                store: StoreId(stores.draw(&mut random) as u32),
                customer: CustomerId(random.below(1_000_000) as u32),
                date: BusinessDate::from_days(19_675).unwrap(),
                event_time: time,
                key: None,
                lines: (0..LINES_PER_PURCHASE)
                    .map(|_| Line {
                        item: ItemId(items.draw(&mut random) as u64),
                        quantity: 1 + random.below(3) as u32,
                    })
                    .collect(),
            });
            let batch = Batch {
                producer: ProducerId(1),
                first_sequence: Sequence(sequence),
                append_time: time,
                purchases: purchases.collect(),
            };
            sequence += 100;
            state.apply(state.progress().next, &batch, &mut NoSide);
            if measured {
                lines += 100 * LINES_PER_PURCHASE;
                batches += batch.encode().len();
            }
        }
        let progress = *state.progress();
        state.flush(&mut feed.delta(&progress, |record| {
            if measured {
                bytes += record.len();
                records += 1;
            }
        }));
    }
    let per_line = |bytes: usize| bytes as f64 / lines as f64;
    let keyframe = {
        let (progress, mut bytes) = (*state.progress(), 0);
        state.flush_all(&mut feed.keyframe(&progress, |record| bytes += record.len()));
        bytes
    };
    println!(
        "{lines} lines: {:.1} bytes a line in {records} records of deltas, {:.1} in batches; \
         {} pairs, keyframe of {keyframe} bytes",
        per_line(bytes),
        per_line(batches),
        state.pairs(),
    );
    assert!(per_line(bytes) < 40.0);
}
