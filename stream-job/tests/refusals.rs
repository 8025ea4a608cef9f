//! Checkpoints that do not go with the settings or with the stream are refused, by name and with what
//! to do; and a refusal leaves them as they are.

mod common;

use std::{collections::BTreeMap, fs, path::Path, sync::Arc};

use bytes::Bytes;
use common::{answers_of, append, config, copy, log_of, partitions, records, sale, start};
use log::{Log, MemoryLog, Retention};
use model::{Offset, Partition};
use stream_job::{JobConfig, Rebuild};
use window::WindowKind;

const PARTITIONS: u32 = 2;

/// Checkpoints of all of `records`.
async fn save(directory: &Path, records: &[Vec<Bytes>]) {
    let mut running = start(config(directory), log_of(records).await).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
}

/// Why it does not start, or ends at once.
async fn refusal(config: JobConfig, log: &Arc<MemoryLog>) -> String {
    let mut running = match start(config, log.clone()).await {
        Err(error) => return error.to_string(),
        Ok(running) => running,
    };
    running.caught_up().await.expect_err("refused").to_string()
}

/// The first records of each partition go.
async fn trim(log: &MemoryLog, below: u64) {
    for partition in log.partitions().iter() {
        let all = Retention { not_past: Offset(below), older_than: None, max_bytes: Some(0) };
        assert_eq!(log.trim(partition, all).await.unwrap().earliest, Offset(below));
    }
}

/// The checkpoints in `directory` go on with `records` as if nothing had been.
async fn check_untouched(directory: &Path, records: &[Vec<Bytes>]) {
    let mut running = start(config(directory), log_of(records).await).await.unwrap();
    running.caught_up().await.unwrap();
    let got = running.answers();
    running.stop().await;
    assert!(got == answers_of(log_of(records).await).await);
}

/// Asked to count what `records` has, it forgets what it has counted, and goes on with that.
async fn check_counts_remaining(directory: &Path, records: &[Vec<Bytes>]) {
    let remaining = JobConfig { rebuild: Rebuild::Remaining, ..config(directory) };
    let mut running = start(remaining, log_of(records).await).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    check_untouched(directory, records).await;
}

fn some(records: &[Vec<Bytes>], count: usize) -> Vec<Vec<Bytes>> {
    records.iter().map(|records| records[..count].to_vec()).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn other_settings() {
    let home = tempfile::tempdir().unwrap();
    let records = records(1, partitions(PARTITIONS), 60);
    save(home.path(), &records).await;
    let log = log_of(&records).await;
    let settings = |change: &dyn Fn(&mut window::Config)| {
        let mut config = config(home.path());
        change(&mut config.window);
        config
    };
    for other in [
        settings(&|window| window.k = 11),
        settings(&|window| window.kinds = vec![WindowKind::All, WindowKind::Hour1]),
        settings(&|window| window.lateness_days = 3),
    ] {
        let text = refusal(other, &log).await;
        assert!(text.contains("cannot be continued"), "{text}");
        assert!(text.contains(&*home.path().join("partition-").to_string_lossy()), "{text}");
        assert!(
            text.ends_with(
                "Run once with --rebuild to discard the checkpoints and count the stream again"
            ),
            "{text}"
        );
    }
    check_untouched(home.path(), &records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_for_the_time_to_come_may_change() {
    let home = tempfile::tempdir().unwrap();
    let records = records(1, partitions(PARTITIONS), 60);
    save(home.path(), &records).await;
    let mut other = config(home.path());
    other.window.day_retention_days += 1;
    other.window.key_retention *= 2;
    other.window.max_keys += 1;
    other.window.disorder *= 2;
    let mut running = start(other, log_of(&records).await).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    check_untouched(home.path(), &records).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn another_number_of_partitions() {
    let home = tempfile::tempdir().unwrap();
    let three = records(1, partitions(3), 30);
    save(home.path(), &three).await;
    let text = refusal(config(home.path()), &log_of(&records(1, partitions(2), 30)).await).await;
    assert!(text.contains("its partitions is 3, expected 2"), "{text}");
    assert!(text.contains("partition-0.redb"), "{text}");
    check_untouched(home.path(), &three).await;

    // A file in the place of another.
    fs::rename(home.path().join("partition-1.redb"), home.path().join("partition-0.redb")).unwrap();
    let text = refusal(config(home.path()), &log_of(&three).await).await;
    assert!(text.contains("its partition is 1, expected 0"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_checkpoint_ahead_of_the_log() {
    let home = tempfile::tempdir().unwrap();
    let records = records(2, partitions(PARTITIONS), 60);
    save(home.path(), &records).await;
    let shorter = some(&records, 59);
    let text = refusal(config(home.path()), &log_of(&shorter).await).await;
    assert!(text.contains("partition-0.redb ends at offset 60"), "{text}");
    assert!(text.contains("partition 0 of the stream ends at 59"), "{text}");
    assert!(text.contains("--rebuild"), "{text}");
    check_untouched(home.path(), &records).await;

    // What the stream has lost would be lost from the counts too.
    let rebuilding = JobConfig { rebuild: Rebuild::Complete, ..config(home.path()) };
    let text = refusal(rebuilding, &log_of(&shorter).await).await;
    assert!(text.contains("ends at offset 60"), "{text}");
    check_untouched(home.path(), &records).await;

    check_counts_remaining(home.path(), &shorter).await;
}

/// A topic made anew soon has as many records as the old one, ticks if nothing else.
#[tokio::test(flavor = "multi_thread")]
async fn another_log_that_has_as_much() {
    let home = tempfile::tempdir().unwrap();
    let records = records(5, partitions(PARTITIONS), 60);
    let counted = some(&records, 50);
    save(home.path(), &counted).await;
    let mut other = records.clone();
    other[1].swap(48, 49);
    assert_ne!(other[1][49], records[1][49]);
    let text = refusal(config(home.path()), &log_of(&other).await).await;
    assert!(text.contains("partition-1.redb has counted another record at offset 49"), "{text}");
    assert!(text.contains("partition 1 of the stream has there"), "{text}");
    assert!(text.contains("--rebuild=remaining"), "{text}");

    // What only the checkpoints have is not thrown away by mistake.
    let complete = JobConfig { rebuild: Rebuild::Complete, ..config(home.path()) };
    let text = refusal(complete, &log_of(&other).await).await;
    assert!(text.contains("has counted another record"), "{text}");
    check_untouched(home.path(), &records).await;

    check_counts_remaining(home.path(), &other).await;

    // A start that has nothing to count still knows what was counted last.
    check_untouched(home.path(), &other).await;
    let mut third = other.clone();
    third[1].swap(58, 59);
    assert_ne!(other[1][59], third[1][59]);
    let text = refusal(config(home.path()), &log_of(&third).await).await;
    assert!(text.contains("has counted another record at offset 59"), "{text}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_log_trimmed_past_the_checkpoint() {
    let home = tempfile::tempdir().unwrap();
    let records = records(3, partitions(PARTITIONS), 60);
    save(home.path(), &some(&records, 20)).await;
    let log = log_of(&records).await;
    // Up to the checkpoint is fine.
    trim(&log, 20).await;
    let kept = tempfile::tempdir().unwrap();
    copy(home.path(), kept.path());
    let mut running = start(config(kept.path()), log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    assert!(running.answers() == answers_of(log_of(&records).await).await);
    running.stop().await;

    trim(&log, 21).await;
    let text = refusal(config(home.path()), &log).await;
    assert!(text.contains("begins at offset 21, after offset 20 where"), "{text}");
    assert!(text.contains("partition-0.redb"), "{text}");
    assert!(text.contains("--rebuild=remaining"), "{text}");
    // What is only in the checkpoints is not thrown away for a rebuild that cannot be complete.
    let complete = JobConfig { rebuild: Rebuild::Complete, ..config(home.path()) };
    let text = refusal(complete, &log).await;
    assert!(text.contains("which have been left as they are"), "{text}");
    check_untouched(home.path(), &records).await;
}

/// Item counts of all time, from the chain-wide list.
async fn counts(config: JobConfig, log: &Arc<MemoryLog>) -> BTreeMap<u64, u64> {
    let mut running = start(config, log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    let query = view::Query {
        subject: view::Subject::TopItems,
        kind: WindowKind::All,
        date: None,
        k: 10,
        format: view::Format::V1,
    };
    let list = running.view.list(&query, model::Timestamp::now()).unwrap();
    running.stop().await;
    list.entries.into_iter().collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_beginning_that_is_gone() {
    let home = tempfile::tempdir().unwrap();
    let log = MemoryLog::new(partitions(1));
    for sequence in 0..10 {
        append(&*log, 0, sale(sequence, 1, 100 + sequence, 1)).await;
    }
    assert_eq!(counts(config(home.path()), &log).await.len(), 10);
    trim(&log, 4).await;
    append(&*log, 0, sale(10, 1, 100, 5)).await;

    // With its checkpoint, nothing is missing.
    let all = counts(config(home.path()), &log).await;
    assert_eq!((all.len(), all[&100]), (10, 6));
    // Without one there is nothing to go on from, and no silent start in the middle.
    let empty = home.path().join("empty");
    for rebuild in [Rebuild::No, Rebuild::Complete] {
        let text = refusal(JobConfig { rebuild, ..config(&empty) }, &log).await;
        assert!(text.contains("begins at offset 4"), "{text}");
        assert!(text.contains("--rebuild=remaining"), "{text}");
    }
    // Asked to, it counts what is left, and goes on from that.
    let remaining = JobConfig { rebuild: Rebuild::Remaining, ..config(home.path()) };
    let expected: BTreeMap<u64, u64> = (104..110).map(|item| (item, 1)).chain([(100, 5)]).collect();
    assert_eq!(counts(remaining, &log).await, expected);
    append(&*log, 0, sale(11, 1, 100, 1)).await;
    let after = counts(config(home.path()), &log).await;
    assert_eq!((after.len(), after[&100]), (7, 6));
    assert_eq!(log.bounds(Partition(0)).earliest, Offset(4));
}

/// One partition that cannot be rebuilt keeps the checkpoints of all.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_is_refused_before_anything_is_discarded() {
    let home = tempfile::tempdir().unwrap();
    let records = records(4, partitions(PARTITIONS), 40);
    save(home.path(), &records).await;
    let log = log_of(&records).await;
    let all = Retention { not_past: Offset(1), older_than: None, max_bytes: Some(0) };
    log.trim(Partition(1), all).await.unwrap();
    let complete = JobConfig { rebuild: Rebuild::Complete, ..config(home.path()) };
    let text = refusal(complete, &log).await;
    assert!(text.contains("partition 1 of the stream begins at offset 1"), "{text}");
    check_untouched(home.path(), &records).await;
}
