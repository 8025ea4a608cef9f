//! A process killed at any moment loses nothing it was told was durable.

use std::{
    env,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Command, Stdio},
    sync::Arc,
};

use bytes::Bytes;
use log::{EmbeddedConfig, EmbeddedLog, Log, Retention};
use model::{Offset, Partition, PartitionCount};

const DIRECTORY: &str = "TOPLINE_TEST_LOG_DIRECTORY";
const ROUND: &str = "TOPLINE_TEST_ROUND";
const ROUNDS: u64 = 12;
const TASKS: u64 = 6;
const PARTITIONS: u32 = 2;

fn open(directory: &Path) -> Arc<EmbeddedLog> {
    let partitions = PartitionCount::new(PARTITIONS).expect("valid");
    EmbeddedLog::open(EmbeddedConfig::new(directory, partitions)).expect("opened")
}

fn payload(name: &str) -> Bytes {
    name.bytes().cycle().take(5000).collect()
}

/// Appends until it is killed, and says so of every record that was acknowledged; trims meanwhile.
async fn append_for_ever(directory: &Path, round: &str) {
    let log = open(directory);
    let tasks = (0..TASKS).map(|task| {
        let (log, round) = (Arc::clone(&log), round.to_owned());
        let partition = Partition(task as u32 % PARTITIONS);
        tokio::spawn(async move {
            for number in 0_u64.. {
                let name = format!("{round}-{task}-{number}.");
                let offset = log.append(partition, payload(&name)).await.expect("appended");
                let line = format!("ack {partition} {offset} {name}\n");
                std::io::stdout().write_all(line.as_bytes()).expect("written");
                if task == 0 && number % 16 == 0 {
                    let keep = Some(1_000_000);
                    let not_past = Offset(u64::MAX);
                    let retention = Retention { not_past, older_than: None, max_bytes: keep };
                    log.trim(partition, retention).await.expect("trimmed");
                }
            }
        })
    });
    for task in tasks.collect::<Vec<_>>() {
        task.await.expect("ran");
    }
}

/// Runs this very test as another process, kills it after some acknowledgements, and gives all that
/// were received.
fn killed(directory: &Path, round: u64) -> Vec<(Partition, Offset, String)> {
    let mut child = Command::new(env::current_exe().expect("known"))
        .args(["--exact", "nothing_acknowledged_is_lost", "--nocapture"])
        .env(DIRECTORY, directory)
        .env(ROUND, round.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .expect("started");
    let output = BufReader::new(child.stdout.take().expect("piped"));
    let mut acknowledged = Vec::new();
    for line in output.lines() {
        let line = line.expect("text");
        if let Some(ack) = line.strip_prefix("ack ") {
            let mut words = ack.split(' ');
            let mut word = || words.next().expect("three words").to_owned();
            let partition = Partition(word().parse().expect("a partition"));
            acknowledged.push((partition, Offset(word().parse().expect("an offset")), word()));
        }
        if acknowledged.len() as u64 == 1 + round * 37 {
            child.kill().expect("killed");
        }
    }
    child.wait().expect("ended");
    acknowledged
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_acknowledged_is_lost() {
    if let Some(directory) = env::var_os(DIRECTORY) {
        let round = env::var(ROUND).expect("set beside the directory");
        return append_for_ever(directory.as_ref(), &round).await;
    }
    let directory = tempfile::tempdir().expect("a temporary directory");
    let mut acknowledged = Vec::new();
    for round in 0..ROUNDS {
        acknowledged.extend(killed(directory.path(), round));
        let log = open(directory.path());
        for (partition, offset, name) in &acknowledged {
            let bounds = log.bounds(*partition);
            assert!(*offset < bounds.next, "{name} at {offset} of {partition}: {bounds:?}");
            if *offset >= bounds.earliest {
                let read = log.read(*partition, *offset, 1).await.expect("readable");
                assert_eq!(read[0].payload, payload(name), "{name} at {offset} of {partition}");
            }
        }
    }
    let wanted = (0..ROUNDS).map(|round| 1 + round * 37).sum::<u64>();
    assert!(acknowledged.len() as u64 >= wanted, "every round was killed on the way");
}
