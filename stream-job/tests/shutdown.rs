//! An orderly end: nothing is left to replay, and nothing half-done is shown.

mod common;

use common::{answers_of, append, config, log_of, partitions, records, sale, start};
use log::{Log, MemoryLog, Retention};
use model::{Offset, Partition};

/// The log goes up to its end, so a checkpoint that ended earlier would be refused.
#[tokio::test(flavor = "multi_thread")]
async fn what_came_before_the_end_is_in_the_last_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let (log, whole) = (MemoryLog::new(partitions(1)), MemoryLog::new(partitions(1)));
    let mut sequence = 0;
    for _ in 0..20 {
        let mut running = start(config(home.path()), log.clone()).await.unwrap();
        running.caught_up().await.unwrap();
        for _ in 0..50 {
            let record = sale(sequence, 1, sequence % 20, 1);
            append(&*log, 0, record.clone()).await;
            append(&*whole, 0, record).await;
            sequence += 1;
        }
        running.stop().await;
        let all = Retention { not_past: Offset(sequence), older_than: None, max_bytes: Some(0) };
        let trimmed = log.trim(Partition(0), all).await.unwrap();
        assert_eq!(trimmed.earliest, Offset(sequence));
    }
    let mut running = start(config(home.path()), log).await.unwrap();
    running.caught_up().await.unwrap();
    assert!(running.answers() == answers_of(whole).await);
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replay_that_is_cut_short_is_not_shown() {
    let records = records(5, partitions(2), 400);
    let log = log_of(&records).await;
    let expected = answers_of(log.clone()).await;
    let home = tempfile::tempdir().unwrap();
    for _ in 0..10 {
        let mut config = config(home.path());
        config.read_bytes = 1;
        let running = start(config, log.clone()).await.unwrap();
        let view = running.view.clone();
        running.stop().await;
        let end = log.partitions().iter().map(|p| (p, log.bounds(p).next)).collect();
        assert!(!view.is_ready() || view.position() == end);
    }
    // Wherever it was cut, it goes on from there.
    let mut running = start(config(home.path()), log).await.unwrap();
    running.caught_up().await.unwrap();
    assert!(running.answers() == expected);
    running.stop().await;
}
