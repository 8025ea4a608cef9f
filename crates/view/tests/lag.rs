//! How old answers are said to be.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};

use model::{Offset, Partition, PartitionCount, Timestamp};
use view::{StreamEnd, View, ViewConfig};
use window::{Progress, Sink};

/// A log elsewhere: where it ends, and how many seconds ago that was known.
#[derive(Debug, Default)]
struct Elsewhere {
    end: AtomicU64,
    unconfirmed: AtomicU64,
}

impl StreamEnd for Elsewhere {
    fn next_offset(&self, _: Partition) -> Offset {
        Offset(self.end.load(SeqCst))
    }

    fn unconfirmed(&self, _: Partition) -> Duration {
        Duration::from_secs(self.unconfirmed.load(SeqCst))
    }
}

#[test]
fn lag_is_the_age_of_the_last_batch_or_of_the_last_word_from_the_log() {
    let log = Arc::new(Elsewhere::default());
    let config = ViewConfig { partitions: PartitionCount::new(1).unwrap(), ..common::config() };
    let view = View::new(&config, log.clone());
    let partition = Partition(0);
    let mut writer = view.writer(partition);
    let at = |seconds: i64| Timestamp::from_millis(common::EPOCH + seconds * 1000);
    let progress = Progress { next: Offset(5), append_time: at(0), ..Progress::default() };
    writer.progress(&progress);
    for (end, unconfirmed, lag) in [
        // All there is, known to be.
        (5, 0, 0),
        // More has come since the last batch.
        (6, 0, 30),
        // Nothing has been heard of the log.
        (5, 10, 10),
        (6, 10, 30),
        (6, 50, 50),
    ] {
        log.end.store(end, SeqCst);
        log.unconfirmed.store(unconfirmed, SeqCst);
        let now = at(30).unwrap();
        assert_eq!(view.lag(partition, now), Duration::from_secs(lag), "{end} {unconfirmed}");
    }
}
