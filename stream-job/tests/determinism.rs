//! The view is a function of the stream alone: however it is read, whenever it is flushed and saved,
//! and wherever the job is ended and started again, the answers are the same bytes.

mod common;

use std::{sync::Arc, time::Duration};

use common::{answers_of, append, config, copy, log_of, partitions, records, start};
use log::{Log, MemoryLog};
use random::Random;
use stream_job::JobConfig;

const BATCHES: usize = 250;
const PARTITIONS: u32 = 3;

/// Settings that must not matter.
fn any_pace(mut config: JobConfig, random: &mut Random) -> JobConfig {
    config.read_bytes = [1, 200, 5000, 1 << 20][random.below(4) as usize];
    config.flush_interval = Duration::from_micros([1, 2000, 20_000][random.below(3) as usize]);
    config.checkpoint_interval =
        Duration::from_millis([1, 10, 3_600_000][random.below(3) as usize]);
    config
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_do_not_depend_on_how_the_stream_is_read() {
    for seed in 0..4 {
        let records = records(seed, partitions(PARTITIONS), BATCHES);
        let expected = answers_of(log_of(&records).await).await;
        assert!(expected.iter().any(|answer| answer.contains(r#""final":true"#)));
        let mut random = Random::new(seed);
        for _ in 0..3 {
            let directory = tempfile::tempdir().unwrap();
            let config = any_pace(config(directory.path()), &mut random);
            let pace = format!("{config:?}");
            let mut running = start(config, log_of(&records).await).await.unwrap();
            running.caught_up().await.unwrap();
            assert!(running.answers() == expected, "seed {seed}, {pace}");
            // The stream has all that could make a difference.
            for name in ["late", "dead_lettered", "duplicate_purchases", "duplicate_keys"] {
                assert!(running.metric(&format!("topline_job_{name}_total")) > 0.0, "{name}");
            }
            running.stop().await;
        }
    }
}

/// The stream grows while the job is ended and started again; now and then it starts from an older
/// checkpoint, as after a crash.
#[tokio::test(flavor = "multi_thread")]
async fn answers_do_not_depend_on_restarts() {
    for seed in 10..16 {
        let records = records(seed, partitions(PARTITIONS), BATCHES);
        let expected = answers_of(log_of(&records).await).await;
        let mut random = Random::new(seed);
        let log = MemoryLog::new(partitions(PARTITIONS));
        let home = tempfile::tempdir().unwrap();
        let (directory, older) = (home.path().join("now"), home.path().join("older"));
        let mut appended = 0;
        while appended < BATCHES {
            let config = any_pace(config(&directory), &mut random);
            let mut running = start(config, log.clone()).await.unwrap();
            let more = random.below(60) as usize;
            let until = (appended + more).min(BATCHES);
            append_all(&log, &records, appended..until).await;
            appended = until;
            // Else it is ended on the way, wherever that is.
            if random.chance(2) {
                running.caught_up().await.unwrap();
            }
            running.stop().await;
            if random.chance(3) && older.exists() {
                std::fs::remove_dir_all(&directory).unwrap();
                copy(&older, &directory);
            } else if random.chance(2) {
                copy(&directory, &older);
            }
        }
        let mut running = start(config(&directory), log.clone()).await.unwrap();
        running.caught_up().await.unwrap();
        let got = running.answers();
        let differences: Vec<_> = got.iter().zip(&expected).filter(|(a, b)| a != b).collect();
        assert!(differences.is_empty(), "seed {seed}: {:#?}", &differences[..1]);
        running.stop().await;
    }
}

async fn append_all(
    log: &Arc<MemoryLog>,
    records: &[Vec<bytes::Bytes>],
    range: std::ops::Range<usize>,
) {
    let log: &dyn Log = &**log;
    for place in range {
        for (partition, records) in (0..).zip(records) {
            append(log, partition, records[place].clone()).await;
        }
    }
}
