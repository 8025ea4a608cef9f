//! How large deltas are, for purchases whose stores and items follow Zipf's law.

#[path = "common/zipf.rs"]
mod zipf;

use model::Partition;
use view::feed::{FeedLimits, FeedWriter, WriterId};
use window::{Aggregator, Config};
use zipf::{Day, LINES, apply};

const BATCHES_PER_FLUSH: usize = 5_000 / LINES;
/// Flushes until stores and items have many more pairs than candidates.
const WARM_UP: usize = 40;
const MEASURED: usize = 20;

/// A line changes the counts of its pair in all windows, and again when it leaves each.
const MAX_BYTES_PER_LINE: f64 = 10.0;

#[test]
fn a_delta_takes_a_few_times_what_purchases_take() {
    let config = Config::default();
    let mut day = Day::new(500, 20_000);
    let mut state = Aggregator::new(config.clone());
    let limits = FeedLimits::default();
    let mut feed = FeedWriter::new(&config, Partition(0), WriterId(1), limits, None);
    let (mut in_batches, mut in_deltas) = (0, 0);
    for flush in 0..WARM_UP + MEASURED {
        if flush == WARM_UP {
            (in_batches, in_deltas) = (0, 0);
        }
        for _ in 0..BATCHES_PER_FLUSH {
            let batch = day.batch();
            apply(&mut state, &batch);
            in_batches += batch.encode().len();
        }
        let progress = *state.progress();
        if feed.wants_keyframe() {
            state.flush_all(&mut feed.keyframe(&progress, |record| in_deltas += record.len()));
        } else {
            state.flush(&mut feed.delta(&progress, |record| in_deltas += record.len()));
        }
    }
    let mut keyframe = 0;
    let progress = *state.progress();
    state.flush_all(&mut feed.keyframe(&progress, |record| keyframe += record.len()));
    let lines = (MEASURED * BATCHES_PER_FLUSH * LINES) as f64;
    let [in_deltas, in_batches] = [in_deltas, in_batches].map(|bytes| bytes as f64 / lines);
    println!("bytes a line: {in_deltas:.1} in deltas, {in_batches:.1} in batches");
    println!("a keyframe of {} pairs: {keyframe} bytes", state.pairs());
    assert!(in_deltas < MAX_BYTES_PER_LINE, "{in_deltas}");
}
