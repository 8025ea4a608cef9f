//! A worker of a process of its own, with a state over a limit: it leaves what follows in the stream, has replicas say
//! exactly what it has counted, and goes on with it once it is started with a higher limit.

mod common;

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use common::{
    answers_in, answers_of, append, config, feed::Running, log_of, metric, partitions, sale,
    view_of,
};
use log::{Log, MemoryLog};
use model::{Batch, Offset, Partition, ProducerId, Sequence};
use stream_job::{JobConfig, RetentionConfig};
use view::feed::Replica;

const APPLIED: &str = "topline_job_applied_offset";
const LAG: &str = "topline_job_lag_batches";
const CHECKPOINTS: &str = "topline_job_checkpoint_duration_seconds_count";
const PAIRS: &str = "topline_job_live_pairs";
/// More than the longest window.
const DAY: u64 = 90_000;

/// Sales of the stream, one a batch, each of an item that has not been sold before.
fn sales() -> Vec<Bytes> {
    (0..7).map(|sequence| sale(sequence, 1, sequence, 1)).collect()
}

/// A tick, so many seconds after the first sale.
fn tick(seconds: u64) -> Bytes {
    let first = Batch::decode(&sale(0, 1, 1, 1)).expect("a batch").append_time;
    let append_time = first.plus(Duration::from_secs(seconds));
    let (producer, first_sequence) = (ProducerId(2), Sequence(0));
    Batch { producer, first_sequence, append_time, purchases: Vec::new() }.encode().into()
}

/// What a new replica of the feed says, if `log` is the stream.
async fn replicated(config: &JobConfig, log: &Arc<dyn Log>, views: &MemoryLog) -> Vec<String> {
    let view = view_of(config, log);
    let mut replica = Replica::new(view.writer(Partition(0)));
    let (mut at, end) = (Offset(0), views.bounds(Partition(0)).next);
    while at < end {
        for record in views.read(Partition(0), at, 1 << 20).await.expect("there") {
            replica.apply(record.offset, &record.payload).expect("not damaged");
            at = record.offset.next();
        }
    }
    assert!(replica.is_ready());
    answers_in(&view)
}

fn at_most(max_pairs: usize, home: &Path) -> JobConfig {
    JobConfig { max_pairs, ..config(home) }
}

#[tokio::test(flavor = "multi_thread")]
async fn purchases_wait_in_the_stream_for_a_higher_limit() {
    let home = tempfile::tempdir().unwrap();
    let (views, sales) = (MemoryLog::new(partitions(1)), sales());
    let log: Arc<dyn Log> = MemoryLog::new(partitions(1));
    let limited = at_most(2, home.path());
    let running = Running::start(limited.clone(), log.clone(), views.clone()).await;
    running.ready().await;
    for sale in &sales[..6] {
        append(&*log, 0, sale.clone()).await;
    }
    // One batch over the limit, and no more, however many are read at once.
    running.until(APPLIED, |applied| applied as u64 == 3).await;
    running.until(LAG, |lag| lag as u64 == 3).await;
    assert_eq!(metric(&running.metrics, PAIRS) as u64, 3);
    append(&*log, 0, sales[6].clone()).await;
    running.until(LAG, |lag| lag as u64 == 4).await;
    let before = metric(&running.metrics, "topline_job_lag_seconds");
    running.until("topline_job_lag_seconds", |lag| lag > before).await;
    running.stop().await;
    let counted: Arc<dyn Log> = log_of(&[sales[..3].to_vec()]).await;
    let expected = answers_of(counted.clone()).await;
    assert!(replicated(&limited, &counted, &views).await == expected);
    let said = replicated(&limited, &log, &views).await;
    let current = said.iter().filter(|answer| answer.contains(r#""lagMs":0"#));
    assert_eq!(current.count(), 0, "none says that it has everything");

    // It stops at the same place, from the checkpoint and from the beginning.
    let elsewhere = tempfile::tempdir().unwrap();
    for home in [home.path(), elsewhere.path()] {
        let views = MemoryLog::new(partitions(1));
        let running = Running::start(at_most(2, home), log.clone(), views.clone()).await;
        running.ready().await;
        running.until(APPLIED, |applied| applied as u64 == 3).await;
        running.until(LAG, |lag| lag as u64 == 4).await;
        running.stop().await;
        assert!(replicated(&limited, &counted, &views).await == expected);
    }

    let running = Running::start(at_most(7, home.path()), log.clone(), views.clone()).await;
    running.until(APPLIED, |applied| applied as u64 == 7).await;
    running.until(LAG, |lag| lag as u64 == 0).await;
    running.stop().await;
    assert!(replicated(&limited, &log, &views).await == answers_of(log.clone()).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_has_been_counted_gets_into_a_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let log = log_of(&[sales()]).await;
    let often = JobConfig {
        checkpoint_interval: Duration::from_millis(1),
        retention: RetentionConfig {
            age: Duration::from_nanos(1),
            max_bytes: Some(0),
            interval: Duration::from_millis(1),
        },
        ..at_most(2, home.path())
    };
    let running = Running::start(often.clone(), log.clone(), MemoryLog::new(partitions(1))).await;
    // Only what is in a checkpoint is trimmed, but for the last of it.
    let trimmed = async {
        while log.bounds(Partition(0)).earliest < Offset(2) {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_mins(1), trimmed).await.expect("in time");
    running.until(LAG, |lag| lag as u64 == 4).await;
    let before = metric(&running.metrics, CHECKPOINTS);
    running.until(CHECKPOINTS, |checkpoints| checkpoints > before + 3.0).await;
    running.stop().await;
    assert_eq!(log.bounds(Partition(0)).earliest, Offset(2));

    let views = MemoryLog::new(partitions(1));
    let limited = JobConfig { max_pairs: 7, ..often };
    let running = Running::start(limited.clone(), log.clone(), views.clone()).await;
    running.until(APPLIED, |applied| applied as u64 == 7).await;
    running.stop().await;
    let expected = answers_of(log_of(&[sales()]).await).await;
    let log: Arc<dyn Log> = log;
    assert!(replicated(&limited, &log, &views).await == expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn ticks_are_taken_and_make_room() {
    let home = tempfile::tempdir().unwrap();
    let log: Arc<dyn Log> = MemoryLog::new(partitions(1));
    let limited = JobConfig { max_pane_entries: 2, ..config(home.path()) };
    let running = Running::start(limited, log.clone(), MemoryLog::new(partitions(1))).await;
    // Each in a pane of its own.
    for sold in 0..3 {
        append(&*log, 0, sale(sold * 10, 1, 1, 1)).await;
    }
    for seconds in [21, DAY] {
        append(&*log, 0, tick(seconds)).await;
    }
    append(&*log, 0, sale(DAY + 1, 1, 1, 1)).await;
    running.until(APPLIED, |applied| applied as u64 == 6).await;
    for sold in 1..4 {
        append(&*log, 0, sale(DAY + sold * 10, 1, 1, 1)).await;
    }
    running.until(APPLIED, |applied| applied as u64 == 8).await;
    running.until(LAG, |lag| lag as u64 == 1).await;
    running.stop().await;
}
