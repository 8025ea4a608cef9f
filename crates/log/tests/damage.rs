//! Damaged files: what opens gives exactly what was acknowledged; all else is an error that names
//! the file. Never less, never other bytes, never a panic or a hang.

use std::{
    fs,
    ops::Range,
    path::{Path, PathBuf},
    sync::Arc,
};

use bytes::Bytes;
use log::{EmbeddedConfig, EmbeddedLog, Log, Retention};
use model::{Offset, Partition, PartitionCount};

const RECORDS: u64 = 24;

fn config(directory: &Path) -> EmbeddedConfig {
    let partitions = PartitionCount::new(3).expect("valid");
    EmbeddedConfig { tail_bytes: 0, ..EmbeddedConfig::new(directory, partitions) }
}

/// Small and large records, so that there are leaves with many and leaves of many pages.
fn payload(partition: Partition, number: u64) -> Bytes {
    let len = [10, 300, 3000, 20_000][(number % 4) as usize];
    let mut bytes = vec![(number * 7 + u64::from(partition.0)) as u8 | 1; len];
    bytes[..8].copy_from_slice(&number.to_le_bytes());
    bytes.into()
}

/// The two files of a log.
#[derive(Clone)]
struct Image {
    log: Vec<u8>,
    witness: Vec<u8>,
}

#[derive(Debug, Clone, Copy)]
enum Target {
    Log,
    Witness,
}

impl Image {
    fn of(directory: &Path) -> Self {
        let read = |name| fs::read(directory.join(name)).expect("readable");
        Self { log: read("log.redb"), witness: read("log.witness") }
    }

    fn store(&self, directory: &Path) {
        fs::write(directory.join("log.redb"), &self.log).expect("writable");
        fs::write(directory.join("log.witness"), &self.witness).expect("writable");
    }

    fn bytes(&mut self, target: Target) -> &mut Vec<u8> {
        match target {
            Target::Log => &mut self.log,
            Target::Witness => &mut self.witness,
        }
    }
}

/// A log with known records, once as a kill of the process leaves it, once closed in order.
async fn images() -> [Image; 2] {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(directory.path())).expect("opened");
    let trimmed = Retention { not_past: Offset(3), older_than: None, max_bytes: Some(0) };
    for number in 0..RECORDS {
        for partition in log.partitions().iter() {
            let offset = log.append(partition, payload(partition, number)).await;
            assert_eq!(offset, Ok(Offset(number)));
        }
        if number == RECORDS / 2 {
            log.trim(Partition(0), trimmed).await.expect("trimmed");
        }
    }
    let killed = Image::of(directory.path());
    log.shutdown().await.expect("shut down in order");
    [killed, Image::of(directory.path())]
}

/// What became of a damaged log.
#[derive(Debug, PartialEq, Eq)]
enum Outcome {
    Exact,
    Refused,
}

/// Opens the image and reads everything; panics unless it is exact or refused by name.
async fn outcome(image: &Image, case: &str) -> Outcome {
    let directory = tempfile::tempdir().expect("a temporary directory");
    image.store(directory.path());
    let names_the_file = |text: String| {
        let file: PathBuf = directory.path().join("log.");
        assert!(text.contains(&*file.to_string_lossy()), "{case}: {text}");
        Outcome::Refused
    };
    let log = match EmbeddedLog::open(config(directory.path())) {
        Ok(log) => log,
        Err(error) => return names_the_file(error.to_string()),
    };
    let all: Arc<dyn Log> = log.clone();
    for partition in log.partitions().iter() {
        if let Err(error) = check(&*all, partition, case).await {
            return names_the_file(error.to_string());
        }
    }
    // Were a damaged free list to give away a page in use, new records would overwrite old ones.
    for partition in log.partitions().iter() {
        let offset = log.append(partition, payload(partition, RECORDS)).await;
        assert_eq!(offset, Ok(Offset(RECORDS)), "{case}");
        check(&*all, partition, case).await.unwrap_or_else(|error| panic!("{case}: {error}"));
    }
    Outcome::Exact
}

async fn check(log: &dyn Log, partition: Partition, case: &str) -> Result<(), log::ReadError> {
    let bounds = log.bounds(partition);
    assert!(bounds.earliest <= Offset(3), "{case}: partition {partition} holds {bounds:?}");
    assert!(bounds.next >= Offset(RECORDS), "{case}: partition {partition} holds {bounds:?}");
    let mut from = bounds.earliest;
    while from < bounds.next {
        for record in log.read(partition, from, 30_000).await? {
            assert_eq!(record.offset, from, "{case}");
            assert!(record.payload == payload(partition, from.0), "{case}: offset {from}");
            from = from.next();
        }
    }
    Ok(())
}

/// Places spread over the file by a fixed pseudo-random sequence; every other one where something
/// is written.
fn places(bytes: &[u8], count: u64) -> Vec<usize> {
    let written: Vec<usize> = (0..bytes.len()).filter(|place| bytes[*place] != 0).collect();
    let spread = |i: u64, len: usize| {
        let mixed = (i + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ (i << 7);
        ((u128::from(mixed) * len as u128) >> 64) as usize
    };
    let place = |i| {
        if i % 2 == 0 { spread(i, bytes.len()) } else { written[spread(i, written.len())] }
    };
    (0..count).map(place).collect()
}

async fn flip(image: &Image, target: Target, places: impl IntoIterator<Item = usize>) -> [u32; 2] {
    let mut outcomes = [0; 2];
    for place in places {
        let mut damaged = image.clone();
        let bit = 1 << (place % 8);
        damaged.bytes(target)[place] ^= bit;
        let case = format!("{target:?}: bits {bit:#010b} flipped at {place}");
        outcomes[outcome(&damaged, &case).await as usize] += 1;
    }
    outcomes
}

async fn cut(image: &Image, target: Target, lens: impl IntoIterator<Item = usize>) -> [u32; 2] {
    let mut outcomes = [0; 2];
    for len in lens {
        let mut damaged = image.clone();
        damaged.bytes(target).resize(len, 0);
        let case = format!("{target:?}: cut to {len}");
        outcomes[outcome(&damaged, &case).await as usize] += 1;
    }
    outcomes
}

const HEADER: Range<usize> = 0..320;

#[tokio::test]
async fn an_undamaged_log_is_exact() {
    for image in images().await {
        assert_eq!(outcome(&image, "undamaged").await, Outcome::Exact);
    }
}

#[tokio::test]
async fn flipped_bits_in_the_header_of_the_log() {
    for image in images().await {
        let [_, refused] = flip(&image, Target::Log, HEADER).await;
        assert!(refused > 0);
    }
}

#[tokio::test]
async fn flipped_bits_in_the_log() {
    for image in images().await {
        let [exact, refused] = flip(&image, Target::Log, places(&image.log, 200)).await;
        assert!(exact > 20 && refused > 60, "{exact} exact, {refused} refused");
    }
}

#[tokio::test]
async fn wiped_sectors_of_the_log() {
    for image in images().await {
        for place in places(&image.log, 100) {
            let mut damaged = image.clone();
            let start = place / 512 * 512;
            damaged.log[start..start + 512].fill(0);
            outcome(&damaged, &format!("sector at {start} wiped")).await;
        }
    }
}

#[tokio::test]
async fn a_log_cut_short_or_padded() {
    for image in images().await {
        let len = image.log.len();
        let lens = [0, 1, 63, 64, 320, 4095, 4096, 8192, len / 2, len - 4096, len - 1];
        let short = lens.into_iter().chain(places(&image.log, 40));
        let [exact, refused] = cut(&image, Target::Log, short).await;
        assert!(exact < 10 && refused > 30, "only unused space can go: {exact} exact");
        cut(&image, Target::Log, [len + 1, len + 4096, len * 2]).await;
    }
}

#[tokio::test]
async fn flipped_bits_in_the_witness() {
    for image in images().await {
        let [exact, refused] = flip(&image, Target::Witness, 0..100).await;
        assert_eq!((exact, refused), (100, 0), "one slot of two is enough");
        flip(&image, Target::Witness, places(&image.witness, 50)).await;
    }
}

#[tokio::test]
async fn a_witness_cut_short() {
    for image in images().await {
        let none = cut(&image, Target::Witness, [0, 1, 20, 51]).await;
        assert_eq!(none, [0, 4], "no slot is left");
        assert_eq!(cut(&image, Target::Witness, [4096, 5000, 8191]).await, [3, 0]);
    }
}

/// The very thing the witness is for: a log that went back to an earlier state.
#[tokio::test]
async fn an_earlier_log_beside_a_later_witness() {
    let directory = tempfile::tempdir().expect("a temporary directory");
    let log = EmbeddedLog::open(config(directory.path())).expect("opened");
    log.append(Partition(1), payload(Partition(1), 0)).await.expect("appended");
    let earlier = Image::of(directory.path());
    log.append(Partition(1), payload(Partition(1), 1)).await.expect("appended");
    log.shutdown().await.expect("shut down in order");
    fs::write(directory.path().join("log.redb"), &earlier.log).expect("writable");
    let error = EmbeddedLog::open(config(directory.path())).expect_err("refused").to_string();
    assert!(error.contains("log.redb") && error.contains("partition 1"), "{error}");
    fs::remove_file(directory.path().join("log.redb")).expect("removed");
    let error = EmbeddedLog::open(config(directory.path())).expect_err("refused").to_string();
    assert!(error.contains("log.redb"), "{error}");
}

/// What the message about a damaged witness advises works.
#[tokio::test]
async fn a_removed_witness_is_made_anew() {
    for image in images().await {
        let directory = tempfile::tempdir().expect("a temporary directory");
        image.store(directory.path());
        let witness = directory.path().join("log.witness");
        fs::write(&witness, b"nonsense").expect("writable");
        let error = EmbeddedLog::open(config(directory.path())).expect_err("refused").to_string();
        assert!(error.contains("log.witness") && error.contains("remove"), "{error}");
        fs::remove_file(&witness).expect("removed");
        drop(EmbeddedLog::open(config(directory.path())).expect("opened"));
        assert_eq!(outcome(&Image::of(directory.path()), "made anew").await, Outcome::Exact);
    }
}
