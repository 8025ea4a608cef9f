//! A state over its limits says so, with the setting to change, and takes it back when there is room
//! again; what is in the stream is counted all the same.

mod common;

use common::{append, config, log_of, partitions, records, sale, start};
use model::Partition;
use stream_job::{JobConfig, Saturated};

/// A sale every 10 seconds, each in a pane of its own.
const SECONDS: u64 = 10;
/// More than the longest window later.
const NEXT_DAY: u64 = 90_000;

fn reason(saturated: &Saturated) -> Option<&str> {
    saturated.get(&Partition(0)).map(String::as_str)
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_pairs() {
    let home = tempfile::tempdir().unwrap();
    let log = log_of(&records(1, partitions(1), 0)).await;
    let limited = JobConfig { max_pairs: 2, ..config(home.path()) };
    let mut running = start(limited, log.clone()).await.unwrap();
    for item in 0..2 {
        append(&*log, 0, sale(item, 1, item, 1)).await;
    }
    running.caught_up().await.unwrap();
    assert_eq!(reason(&running.saturation.borrow()), None, "at the limit, not over it");
    append(&*log, 0, sale(2, 1, 2, 1)).await;
    let saturated = running.saturation.wait_for(|saturated| !saturated.is_empty()).await.unwrap();
    let expected = "partition 0 holds more than 2 pairs of a store and an item: raise --max-pairs if \
                    there is memory for more";
    assert_eq!(reason(&saturated), Some(expected));
    drop(saturated);
    running.caught_up().await.unwrap();
    assert!(running.answers().iter().any(|answer| answer.contains(r#""itemID":2,"quantity":1"#)));
    running.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_entries_of_windows_until_some_have_fallen_out() {
    let home = tempfile::tempdir().unwrap();
    let log = log_of(&records(1, partitions(1), 0)).await;
    let limited = JobConfig { max_pane_entries: 2, ..config(home.path()) };
    let mut running = start(limited, log.clone()).await.unwrap();
    for sold in 0..3 {
        append(&*log, 0, sale(sold * SECONDS, 1, 1, 1)).await;
    }
    let saturated = running.saturation.wait_for(|saturated| !saturated.is_empty()).await.unwrap();
    let expected = "partition 0 holds more than 2 entries of sliding windows: raise --max-pane-entries \
                    if there is memory for more";
    assert_eq!(reason(&saturated), Some(expected));
    drop(saturated);
    append(&*log, 0, sale(NEXT_DAY, 1, 1, 1)).await;
    running.saturation.wait_for(Saturated::is_empty).await.unwrap();
    running.stop().await;
}
