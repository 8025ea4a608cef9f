//! A shopping day in which stores and items follow Zipf's law.

use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, ProducerId, Purchase, Sequence, StoreId,
    Timestamp,
};
use random::Random;
use window::{Aggregator, SideOutput};

const LINES_PER_PURCHASE: usize = 5;
const PURCHASES_PER_BATCH: usize = 100;
/// Lines of a batch.
pub(crate) const LINES: usize = LINES_PER_PURCHASE * PURCHASES_PER_BATCH;

/// Purchases of one partition: a batch is a second.
pub(crate) struct Day {
    random: Random,
    stores: Zipf,
    items: Zipf,
    batches: u64,
}

impl Day {
    pub(crate) fn new(stores: usize, items: usize) -> Self {
        let random = Random::new(1);
        Self { random, stores: Zipf::new(stores), items: Zipf::new(items), batches: 0 }
    }

    pub(crate) fn batch(&mut self) -> Batch {
        let time = Timestamp::from_millis_clamped(1_700_000_000_000 + self.batches as i64 * 1000);
        let first_sequence = Sequence(self.batches * PURCHASES_PER_BATCH as u64);
        self.batches += 1;
        Batch {
            producer: ProducerId(1),
            first_sequence,
            append_time: time,
            purchases: (0..PURCHASES_PER_BATCH).map(|_| self.purchase(time)).collect(),
        }
    }

    fn purchase(&mut self, event_time: Timestamp) -> Purchase {
        let line = |_| Line {
            item: ItemId(self.items.draw(&mut self.random) as u64),
            quantity: 1 + self.random.below(3) as u32,
        };
        Purchase {
            lines: (0..LINES_PER_PURCHASE).map(line).collect(),
            store: StoreId(self.stores.draw(&mut self.random) as u32),
            customer: CustomerId(self.random.below(1_000_000) as u32),
            date: BusinessDate::from_days(19_675).expect("a date in 2023"),
            event_time,
            key: None,
        }
    }
}

/// Draws ranks from 0, with probabilities in proportion to 1 / (rank + 1).
struct Zipf(Vec<f64>);

impl Zipf {
    fn new(ranks: usize) -> Self {
        let add = |sum: &mut f64, rank: usize| {
            *sum += 1.0 / rank as f64;
            Some(*sum)
        };
        Self((1..=ranks).scan(0.0, add).collect())
    }

    fn draw(&self, random: &mut Random) -> usize {
        let at = random.unit() * self.0[self.0.len() - 1];
        self.0.partition_point(|&sum| sum <= at)
    }
}

struct NoSide;

impl SideOutput for NoSide {
    fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
}

/// Applies the next batch.
pub(crate) fn apply(state: &mut Aggregator, batch: &Batch) {
    state.apply(state.progress().next, batch, &mut NoSide);
}
