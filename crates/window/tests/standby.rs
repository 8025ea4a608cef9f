//! Two runs on the same stream that flush at other offsets: who takes a flush of either whenever it
//! reaches back to what is known already, and goes further, has exactly the rows that count.

use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
};

use model::{
    Batch, BusinessDate, CustomerId, ItemId, Line, Offset, ProducerId, Purchase, Sequence, StoreId,
    Timestamp,
};
use proptest::{collection, prelude::*};
use random::Random;
use window::{
    Aggregator, Config, Entity, EntityUpdate, FinalDay, Progress, SideOutput, Sink, WindowKind,
};

const BATCHES: usize = 80;

fn config(k: u32, all: bool) -> Config {
    let kinds = [WindowKind::All, WindowKind::Day, WindowKind::Minutes5, WindowKind::Minute1];
    Config { kinds: kinds[usize::from(!all)..].to_vec(), k, ..Config::default() }
}

#[derive(Debug, Default)]
struct Follower {
    rows: HashMap<Entity, BTreeMap<u64, Vec<u64>>>,
}

impl Sink for Follower {
    fn day_closed(&mut self, _: &Arc<FinalDay>) {}
    fn day_dropped(&mut self, _: BusinessDate) {}
    fn progress(&mut self, _: &Progress) {}

    fn entity(&mut self, update: EntityUpdate<'_>) {
        let rows = self.rows.entry(update.entity).or_default();
        if update.replace {
            rows.clear();
        }
        let counts = update.counts.chunks_exact(update.totals.len());
        rows.extend(update.ids.iter().copied().zip(counts.map(<[u64]>::to_vec)));
        rows.retain(|id, _| !update.removed.contains(id));
    }
}

impl Follower {
    /// The rows that are in any list.
    fn counting(mut self) -> HashMap<Entity, BTreeMap<u64, Vec<u64>>> {
        for rows in self.rows.values_mut() {
            rows.retain(|_, counts| counts.iter().any(|&count| count > 0));
        }
        self.rows.retain(|_, rows| !rows.is_empty());
        self.rows
    }
}

/// Few stores and items, in bursts, so that pairs come and go from all lists.
fn batches(seed: u64) -> Vec<Batch> {
    let mut random = Random::new(seed);
    let (mut time, mut date) = (1_000_000_000_000, 11_574);
    let batch = |sequence| {
        time += [0, 7_000, 25_000, 70_000, 400_000][random.below(5) as usize];
        date += i32::from(random.chance(15));
        let event_time = Timestamp::from_millis_clamped(time);
        let mut line = || Line { item: ItemId(random.below(14)), quantity: random.below(9) as u32 };
        let lines = (0..4).map(|_| line()).collect();
        let purchase = Purchase {
            store: StoreId(random.below(9) as u32),
            customer: CustomerId(1),
            date: BusinessDate::from_days(date).expect("a date in 2001"),
            event_time,
            key: None,
            lines,
        };
        Batch {
            producer: ProducerId(1),
            first_sequence: Sequence(sequence),
            append_time: event_time,
            purchases: vec![purchase],
        }
    };
    (0..BATCHES as u64).map(batch).collect()
}

struct NoSide;

impl SideOutput for NoSide {
    fn late(&mut self, _: Offset, _: u32, _: &Purchase) {}
}

fn advance(run: &mut Aggregator, batches: &[Batch], count: usize) {
    let next = run.progress().next.0 as usize;
    for (batch, offset) in batches.iter().skip(next).take(count).zip(next as u64..) {
        run.apply(Offset(offset), batch, &mut NoSide);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 1024, ..ProptestConfig::default() })]

    #[test]
    fn flushes_of_two_runs_together_are_as_good_as_those_of_one(
        seed in any::<u64>(),
        (k, all) in (1_u32..3, any::<bool>()),
        steps in collection::vec((0_usize..2, 0_usize..14), 1..40),
    ) {
        let batches = batches(seed);
        let mut runs = [0, 1].map(|_| Aggregator::new(config(k, all)));
        let mut flushed = [0, 0];
        let (mut follower, mut known) = (Follower::default(), 0);
        for (which, count) in steps {
            let run = &mut runs[which];
            advance(run, &batches, count);
            let from = std::mem::replace(&mut flushed[which], run.progress().next.0);
            if from <= known && flushed[which] > known {
                run.flush(&mut follower);
                known = flushed[which];
            } else {
                run.flush(&mut Follower::default());
            }
        }
        let mut straight = Aggregator::new(config(k, all));
        advance(&mut straight, &batches, known as usize);
        let mut wanted = Follower::default();
        straight.flush_all(&mut wanted);
        prop_assert_eq!(follower.counting(), wanted.counting());
    }
}
