//! What an append that is durable costs, next to a raw file that is written and synced.
//!
//! `cargo bench -p topline-log`. One iteration puts 40 KB on the disk: as one record, or as many
//! small ones whose appenders all wait at once, so that they share a commit.

use std::{fs::File, io::Write, sync::Arc};

use bytes::Bytes;
use divan::{Bencher, counter::BytesCount};
use futures_util::future::try_join_all;
use log::{EmbeddedConfig, EmbeddedLog, Log, Retention};
use model::{Offset, Partition, PartitionCount};

const BYTES: usize = 40_000;
const SAMPLES: u32 = 2000;

fn main() {
    divan::main();
}

/// The floor: one write and one `fdatasync` per 40 KB.
#[divan::bench(sample_count = SAMPLES, sample_size = 1)]
fn raw_file(bencher: Bencher<'_, '_>) {
    let mut file = tempfile::tempfile_in(".").expect("a temporary file");
    let payload = payload(BYTES);
    bencher.counter(BytesCount::new(BYTES)).bench_local(|| write_and_sync(&mut file, &payload));
}

fn write_and_sync(file: &mut File, payload: &[u8]) {
    file.write_all(payload).expect("written");
    file.sync_data().expect("synced");
}

/// So many appenders wait for each commit; over four partitions.
#[divan::bench(args = [1, 8, 64], sample_count = SAMPLES, sample_size = 1)]
fn waiting(bencher: Bencher<'_, '_>, waiting: usize) {
    let bench = Bench::new();
    let payload = payload(BYTES / waiting);
    bencher
        .counter(BytesCount::new(BYTES))
        .bench_local(|| bench.append((0..waiting).map(|_| payload.clone())));
}

/// Appenders of 40 KB each: what large commits carry.
#[divan::bench(args = [8, 64], sample_count = SAMPLES / 20, sample_size = 1)]
fn waiting_with_40_kb_each(bencher: Bencher<'_, '_>, waiting: usize) {
    let bench = Bench::new();
    let payload = payload(BYTES);
    bencher
        .counter(BytesCount::new(BYTES * waiting))
        .bench_local(|| bench.append((0..waiting).map(|_| payload.clone())));
}

/// What opening costs after 500 MB: the whole file is verified.
#[divan::bench(sample_count = 3, sample_size = 1)]
fn open_500_mb(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    for _ in 0..500 {
        bench.append((0..25).map(|_| payload(BYTES)));
    }
    let Bench { directory, log, .. } = bench;
    drop(log);
    bencher.bench_local(|| drop(open(&directory)));
}

/// A trim of 500 records of 40 KB each.
#[divan::bench(sample_count = 5, sample_size = 1)]
fn trim_20_mb(bencher: Bencher<'_, '_>) {
    let bench = Bench::new();
    let all = Retention { not_past: Offset(u64::MAX), older_than: None, max_bytes: Some(0) };
    bencher
        .with_inputs(|| (0..4).for_each(|_| bench.append((0..500).map(|_| payload(BYTES)))))
        .bench_local_values(|()| bench.runtime.block_on(bench.log.trim(Partition(0), all)));
}

fn payload(len: usize) -> Bytes {
    Bytes::from(vec![7; len])
}

fn open(directory: &tempfile::TempDir) -> Arc<EmbeddedLog> {
    let partitions = PartitionCount::new(4).expect("valid");
    EmbeddedLog::open(EmbeddedConfig::new(directory.path(), partitions)).expect("opened")
}

/// A log in the working directory: the temporary one may be in memory.
struct Bench {
    directory: tempfile::TempDir,
    log: Arc<EmbeddedLog>,
    runtime: tokio::runtime::Runtime,
}

impl Bench {
    fn new() -> Self {
        let directory = tempfile::tempdir_in(".").expect("a temporary directory");
        let log = open(&directory);
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
        Self { directory, log, runtime }
    }

    /// Appends them all at once, spread over the partitions, and waits for them all.
    fn append(&self, payloads: impl Iterator<Item = Bytes>) {
        let partitions = self.log.partitions().iter().collect::<Vec<_>>().into_iter().cycle();
        let appends = payloads.zip(partitions).map(|(payload, p)| self.log.append(p, payload));
        self.runtime.block_on(try_join_all(appends)).expect("appended");
    }
}
