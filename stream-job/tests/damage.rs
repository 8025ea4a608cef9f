//! Damaged checkpoints: either the right answers, or a refusal that names the file and says how to
//! rebuild. Never other answers.

mod common;

use std::{fs, path::Path, sync::Arc};

use common::{answers_of, config, copy, log_of, partitions, records, start};
use log::MemoryLog;
use random::Random;
use stream_job::{JobError, Rebuild};

/// What a job makes of damaged checkpoints, also when it goes on from what it has saved into them.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Exact,
    Refused,
}

const CASES: usize = 120;

/// Reads on from the checkpoints, compares all answers, and saves.
async fn run(
    directory: &Path,
    log: Arc<MemoryLog>,
    expected: &[String],
    case: &str,
) -> Result<(), JobError> {
    let mut running = start(config(directory), log).await?;
    running.caught_up().await?;
    let got = running.answers();
    let differences: Vec<_> = got.iter().zip(expected).filter(|(a, b)| a != b).collect();
    assert!(differences.is_empty(), "{case}: {:#?}", differences[0]);
    running.try_stop().await
}

async fn outcome(
    directory: &Path,
    file: &Path,
    log: &Arc<MemoryLog>,
    expected: &[String],
    case: &str,
) -> Outcome {
    match first_outcome(directory, file, log, expected, case).await {
        Outcome::Exact => first_outcome(directory, file, log, expected, case).await,
        Outcome::Refused => Outcome::Refused,
    }
}

async fn first_outcome(
    directory: &Path,
    file: &Path,
    log: &Arc<MemoryLog>,
    expected: &[String],
    case: &str,
) -> Outcome {
    match run(directory, log.clone(), expected, case).await {
        Ok(()) => Outcome::Exact,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*file.to_string_lossy()), "{case}: {text}");
            assert!(text.contains("--rebuild"), "{case}: {text}");
            Outcome::Refused
        }
    }
}

/// A log, and checkpoints up to its middle.
async fn prepare(directory: &Path) -> (Arc<MemoryLog>, Vec<String>) {
    let records = records(99, partitions(1), 300);
    let half = vec![records[0][..150].to_vec()];
    let mut running = start(config(directory), log_of(&half).await).await.unwrap();
    running.caught_up().await.unwrap();
    running.stop().await;
    let log = log_of(&records).await;
    let expected = answers_of(log.clone()).await;
    (log, expected)
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated_checkpoints() {
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("good");
    let (log, expected) = prepare(&good).await;
    let length = fs::metadata(good.join("partition-0.redb")).unwrap().len();
    let mut refused = 0;
    for eighth in 0..8 {
        let directory = home.path().join(eighth.to_string());
        copy(&good, &directory);
        let file = directory.join("partition-0.redb");
        let cut = length * eighth / 8;
        fs::OpenOptions::new().write(true).open(&file).unwrap().set_len(cut).unwrap();
        let got = outcome(&directory, &file, &log, &expected, &format!("cut at {cut}")).await;
        refused += u32::from(got == Outcome::Refused);
    }
    assert!(refused >= 4, "{refused}");
}

#[tokio::test(flavor = "multi_thread")]
async fn flipped_bytes() {
    let home = tempfile::tempdir().unwrap();
    let good = home.path().join("good");
    let (log, expected) = prepare(&good).await;
    let bytes = fs::read(good.join("partition-0.redb")).unwrap();
    let mut random = Random::new(7);
    // The pages at the front are those that say where all the others are; empty pages hold nothing.
    let used: Vec<usize> = (0..bytes.len()).filter(|&at| bytes[at] != 0).collect();
    let mut refused = 0;
    for case in 0..CASES {
        let directory = home.path().join(case.to_string());
        copy(&good, &directory);
        let file = directory.join("partition-0.redb");
        let mut damaged = bytes.clone();
        let at = if case < 40 { case * 8 } else { used[random.below(used.len() as u64) as usize] };
        damaged[at] ^= 1 << random.below(8);
        fs::write(&file, &damaged).unwrap();
        let got = outcome(&directory, &file, &log, &expected, &format!("byte {at}")).await;
        refused += u32::from(got == Outcome::Refused);
        fs::remove_dir_all(&directory).unwrap();
    }
    assert!(refused > 10, "{refused}");
}

/// What the refusals advise works.
#[tokio::test(flavor = "multi_thread")]
async fn a_rebuild_gets_over_it() {
    let home = tempfile::tempdir().unwrap();
    let (log, expected) = prepare(home.path()).await;
    let file = home.path().join("partition-0.redb");
    fs::write(&file, b"not a database, for sure").unwrap();
    let refused = outcome(home.path(), &file, &log, &expected, "overwritten").await;
    assert_eq!(refused, Outcome::Refused);
    let rebuilding = stream_job::JobConfig { rebuild: Rebuild::Complete, ..config(home.path()) };
    let mut running = start(rebuilding, log.clone()).await.unwrap();
    running.caught_up().await.unwrap();
    assert!(running.answers() == expected);
    running.stop().await;
    assert_eq!(outcome(home.path(), &file, &log, &expected, "rebuilt").await, Outcome::Exact);
}
